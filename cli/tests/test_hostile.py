#!/usr/bin/python3
"""wedge dump, and wedge watch with the agent, against targets that mean harm (detector/tests/programs/hostile.c): it ends in time, says
what it could not do, calls nothing proved that is not, leaves nobody stopped, and prints nothing that a terminal or a CI
system would obey.

usage: test_hostile.py WEDGE HOSTILE [CASE...]     as root both as root and as an ordinary user
"""
import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../ci"))
import session as sessions  # noqa: E402

WEDGE, HOSTILE = sys.argv[1:3]
NOBODY = 65534
READY_S = 60
FINE = {0, 3}  # no hang, or could not: both are true answers to a target that nobody can see through
# (case, exit statuses, words of standard output or error of which one has to be there, seconds). ROOT: needs root.
ROOT = "root"
CASES = [
    # userfaultfd for faults of the kernel, and mounts, are root's.
    ("uffd-memory", {3}, ["userfault"], 50, ROOT),
    ("uffd-stack", {0}, ["futex"], 50, ROOT),
    ("uffd-text", {0}, ["pause"], 50, ROOT),
    ("fuse-text", {0}, ["pause"], 50, ROOT),
    ("fuse-hang", {124}, ["holds itself", "itself"], 50, ROOT),
    # Four of its five children are skipped, each after the half second that tells who is blocked.
    ("fuse-locked", {0}, ["which it owns"], 25, ROOT),
    ("many-maps", {0}, ["pause"], 50),
    ("many-descriptors", {124}, ["empty pipe"], 60),
    ("many-epolls", {124}, ["epoll"], 50),
    ("deep-tree", FINE | {124}, ["pause", "wedge:"], 60),
    ("many-readers", {0, 124}, ["pause"], 50),
    ("thread-storm", FINE, ["hang", "wedge:"], 60),
    ("fork-storm", FINE, ["hang", "wedge:"], 60),
    ("exec-storm", FINE, ["hang", "wedge:"], 60),
    ("stopped", FINE | {124}, ["stopped", "Stopped"], 50),
    ("traced", FINE, ["hang", "wedge:"], 50),
    ("undumpable", {3, 124}, ["no permission", "itself"], 50),
    ("names", {0}, ["pause"], 50),
    ("killer", FINE, ["hang", "wedge:"], 50),
    ("fifo-path", {0}, ["pause"], 50),
]
# What hangs for certain: here alone may a hang be proved.
HANGS = {"fuse-hang", "undumpable", "stopped", "many-descriptors", "many-epolls"}
ENDS_STOPPED = {"stopped"}
# Only where it is named: whoever else looks at all of the machine meanwhile is held up as well, or has a lot to do.
ALONE = {"fuse-locked", "many-readers"}
SKIPPED = {"fuse-locked": 4}


def become(uid):
    if uid != os.geteuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def become_target(uid):
    """A target goes with this test, however that ends: a change of user would take the wish back (prctl(2))."""
    become(uid)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Target:
    def __init__(self, case, uid):
        self.clean = []
        self.process = subprocess.Popen([HOSTILE, case], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        start_new_session=True, preexec_fn=lambda: become_target(uid))
        self.pid = self.process.pid
        try:
            self.await_ready(case)
        except AssertionError:
            self.end()
            raise

    def await_ready(self, case):
        said, end = b"", time.monotonic() + READY_S
        while b"ready\n" not in said:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("%s is not ready" % case)
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise AssertionError("%s ended" % case)
            said += more
        for line in said.decode().splitlines():
            if line.startswith("clean "):
                self.clean = line.split()[1:]

    def end(self):
        # All of its session, at once: the server of a file system and who waits for it. A storm is faster than one round.
        for _ in range(50):
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                break
            if self.process.poll() is not None and not members(self.pid):
                break
            time.sleep(0.02)
        self.process.wait(timeout=30)
        self.process.stdout.close()
        for path in self.clean:
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


def stat_fields(pid):
    try:
        with open("/proc/%s/stat" % pid, "rb") as f:
            return f.read().rsplit(b")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def members(session):
    """Processes of a session that live."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        fields = stat_fields(pid)
        if fields and int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
            found.append(int(pid))
    return found


def held(pid):
    """Threads of the process that stand still for a tracer."""
    found = []
    try:
        for tid in os.listdir("/proc/%d/task" % pid):
            fields = stat_fields("%d/task/%s" % (pid, tid))
            if fields and fields[0] == b"t":
                found.append(tid)
    except FileNotFoundError:
        pass
    return found


def left_behind():
    """Children of wedge that outlive it are ours (adopt()); what they are called is kept by a fork."""
    found = []
    for pid in sessions.descendants(os.getpid(), 1):
        try:
            with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as f:
                found += [pid] if f.read() == "wedge\n" else []
        except OSError:
            pass
    return found


def check_harmless(text, what):
    for line in text.split(b"\n"):
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line), (what, line)
        assert b"##" not in line, (what, line)
        assert not line.lstrip().startswith(b"::"), (what, line)
    text.decode()  # UTF-8 throughout
    for deceptive in ("\u202e", "\u2028", "\x9b"):
        assert deceptive.encode() not in text, (what, deceptive)


def proved_hang(folder):
    try:
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
            verdict = json.load(f)["verdict"]
    except FileNotFoundError:
        return False
    return verdict["hang"] and verdict["certainty"] == "proved"


def run(arguments, uid, seconds):
    """Runs wedge in a session of its own; its status and both outputs. Nothing of it may be left."""
    wedge = subprocess.Popen([WEDGE] + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                             start_new_session=True, preexec_fn=lambda: become(uid))
    try:
        out, err = wedge.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(wedge.pid, signal.SIGKILL)
        wedge.communicate()
        raise AssertionError("wedge %s did not end within %d s" % (arguments, seconds)) from None
    end = time.monotonic() + 5  # what was killed with it may need a moment to be gone
    while left_behind() and time.monotonic() < end:
        time.sleep(0.01)
    assert not left_behind(), "wedge left something behind"
    return wedge.returncode, out, err


def examine(case, statuses, words, seconds, uid, wedge_uid):
    target = Target(case, uid)
    folder = tempfile.mkdtemp()
    os.chown(folder, wedge_uid, wedge_uid)
    try:
        began = time.monotonic()
        status, out, err = run(["dump", str(target.pid), "-v", "-o", folder], wedge_uid, seconds)
        took = time.monotonic() - began
        where = "%s (user %d, wedge %d)" % (case, uid, wedge_uid)
        killed = case == "killer" and uid == wedge_uid and status == -signal.SIGKILL  # the same user can
        assert killed or status in statuses, (where, status, out[-2000:], err)
        assert killed or any(word.encode() in out + err for word in words), (where, out[-2000:], err)
        check_harmless(out, where)
        check_harmless(err, where)
        assert case in HANGS or not proved_hang(folder), where
        assert (out + err).count(b"was left out (") == SKIPPED.get(case, (out + err).count(b"was left out (")), (where, out[-2000:])
        assert case == "traced" or not held(target.pid), (where, held(target.pid))
        if case in ENDS_STOPPED:
            assert stat_fields(target.pid)[0] == b"T", where
        print("%-18s user %5d, wedge %5d: status %3d, %.1f s" % (case, uid, wedge_uid, status, took), flush=True)
    finally:
        target.end()
        shutil.rmtree(folder)


def scribbled(uid):
    """An arena that its own process writes all over while it is read."""
    folder = tempfile.mkdtemp()
    os.chown(folder, uid, uid)
    try:
        status, out, err = run(["watch", "--limit", "4s", "--stall", "1s", "-o", folder, "--", HOSTILE, "scribble"], uid, 90)
        assert status in (124, 125, 128 + signal.SIGKILL), (status, out, err)
        check_harmless(err, "scribble")
        assert not proved_hang(folder)
        print("%-18s user %5d: status %3d" % ("scribble", uid, status), flush=True)
    finally:
        shutil.rmtree(folder)


def main():
    root = os.geteuid() == 0
    wanted = sys.argv[3:]
    me = os.geteuid()
    sessions.adopt()
    for case, statuses, words, seconds, *needs in CASES:
        if case not in wanted if wanted else case in ALONE:
            continue
        if needs and not root:
            continue
        # Root beside itself, root beside an ordinary user's, an ordinary user beside its own.
        pairs = [(0, 0)] if needs else [(NOBODY, 0), (NOBODY, NOBODY)] if root else [(me, me)]
        for uid, wedge_uid in pairs:
            examine(case, statuses, words, seconds, uid, wedge_uid)
    if not wanted or "scribble" in wanted:
        scribbled(NOBODY if root else me)
        if root:
            scribbled(0)


main()
