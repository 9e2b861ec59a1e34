#!/usr/bin/python3
"""`wedge watch -- CMD` is killed by SIGKILL, at random instants and while it holds threads of the command for their stacks: the
command, its threads and its children run on as if nothing had been, all of its output arrives, and nothing of wedge stays but who
copies that output, for as long as the command may say something.

usage: test_killed_watch.py WEDGE TARGET ROUNDS     Prints the seed; WEDGE_TEST_SEED sets it.
"""
import contextlib
import glob
import os
import random
import select
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../ci"))
import session  # noqa: E402

WEDGE, TARGET, ROUNDS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
EVERY, STATUS = 40, 7 # as in lines_target.c
DEADLINE_S = 60


def target_below(wedge):
    """The command: who below wedge has executed it."""
    for pid in session.descendants(wedge):
        try:
            if os.path.samefile("/proc/%d/exe" % pid, TARGET):
                return pid
        except OSError:
            pass
    return None


def wait_until(what, seen):
    end = time.monotonic() + DEADLINE_S
    while not seen():
        assert time.monotonic() < end, what + ": never in %d s" % DEADLINE_S


def wait_for_a_stop(wedge):
    """Until a thread of the command is held. A stop takes a millisecond: what is read of the command is opened once."""
    wait_until("the command", lambda: target_below(wedge))
    target = target_below(wedge)
    wait_until("its threads", lambda: len(os.listdir("/proc/%d/task" % target)) == 3)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(open(path, "rb", buffering=0)) for path in glob.glob("/proc/%d/task/[0-9]*/stat" % target)]
        wait_until("a stop", lambda: any(b") t " in os.pread(file.fileno(), 64, 0) for file in files))


def statuses():
    """The ends of all that became ours when wedge died, until there is nobody left: status by pid."""
    found, end = {}, time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid:
            found[pid] = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.005)
    raise AssertionError("still there: %s" % session.descendants(os.getpid()))


def check_output(folder):
    """All of it, in order, on its own stream; True unless the command never began."""
    with open(folder + "/out", encoding="utf-8") as out, open(folder + "/err", encoding="utf-8") as err:
        out, err = out.read().split("\n"), err.read().split("\n")
    if out == [""] and err == [""]:
        return False
    lines, wanted = sum(line.startswith("out ") for line in out), []
    for i in range(1, lines + 1):
        wanted += ["out %d" % i] + (["child %d" % i] if i % EVERY == 0 else [])
    assert out == wanted + ["end %d" % lines, ""], out[-5:]
    assert [line for line in err if line.startswith("err")] == ["err %d" % i for i in range(1, lines + 1)], err[-5:]
    return True


def play(chance, held):
    """One round. Returns whether the command had begun."""
    with tempfile.TemporaryDirectory(prefix="wedge-killed-") as folder:
        shm = set(os.listdir("/dev/shm"))
        with open(folder + "/out", "wb") as out, open(folder + "/err", "wb") as err:
            wedge = subprocess.Popen([WEDGE, "watch", "-q", "-o", folder + "/report", "--", TARGET],
                                     stdin=subprocess.PIPE, stdout=out, stderr=err)
        if held:
            wait_for_a_stop(wedge.pid)
        else:
            time.sleep(chance.uniform(0, 2))
        target = target_below(wedge.pid)
        wedge.kill()
        assert wedge.wait() == -9, "the command ended first"
        wedge.stdin.close() # now the command may end
        ends = statuses()
        assert target is None or ends.get(target) == STATUS, ends
        assert set(os.listdir("/dev/shm")) <= shm, os.listdir("/dev/shm")
        began = check_output(folder)
        assert began or target is None
        return began


def names():
    """Of all that became ours."""
    found = []
    for pid in session.descendants(os.getpid()):
        try:
            with open("/proc/%d/comm" % pid, encoding="utf-8") as file:
                found.append(file.read().strip())
        except OSError:
            pass
    return sorted(found)


def read_all(stream):
    said = b""
    while True:
        assert select.select([stream], [], [], DEADLINE_S)[0], "no end of a stream in %d s" % DEADLINE_S
        more = stream.read(4096)
        if not more:
            return said
        said += more


def check_pipes():
    """Whoever reads the output to its end waits for the command alone, and not even for that once it has closed both streams."""
    with tempfile.TemporaryDirectory(prefix="wedge-killed-") as folder:
        wedge = subprocess.Popen([WEDGE, "watch", "-q", "-o", folder, "--", "/bin/sh", "-c",
                                  "echo begun; read x; echo more; exec >&- 2>&-; read y; exit %d" % STATUS],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        assert wedge.stdout.readline() == b"begun\n"
        wedge.kill()
        assert wedge.wait() == -9
        wait_until("an end of all others", lambda: names() == ["sh", "wedge-tee", "wedge-tee"])
        wedge.stdin.write(b"\n")
        for stream, said in (wedge.stdout, b"more\n"), (wedge.stderr, b""):
            assert read_all(stream) == said
            stream.close()
        wait_until("an end of who copied", lambda: names() == ["sh"])
        wedge.stdin.write(b"\n")
        wedge.stdin.close()
        assert list(statuses().values()).count(STATUS) == 1


def main():
    seed = int(os.environ.get("WEDGE_TEST_SEED", random.randrange(1 << 32)))
    print("seed %d" % seed, flush=True)
    chance, began = random.Random(seed), 0
    session.adopt()
    try:
        for number in range(ROUNDS):
            began += play(chance, number % 2 == 0)
        check_pipes()
    finally:
        session.end_descendants()
    assert began >= (ROUNDS + 1) // 2
    print("%d kills, %d of them in a stop; %d commands had begun, and went on to their end" % (ROUNDS, (ROUNDS + 1) // 2, began))


if __name__ == "__main__":
    main()
