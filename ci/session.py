"""Ends what is left of a session, or of all that was ever started: a process may lead a group of its own and still belong to it (setpgid(2), credentials(7))."""
import ctypes
import errno
import glob
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ROUNDS = 100  # who forks while it is looked for is found by the next look


def session_of(pid):
    """The session of a live process; None: it is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[3])


def members(session):
    """The live processes of a session."""
    pids = [int(stat.split("/")[2]) for stat in glob.glob("/proc/[0-9]*/stat")]
    return [pid for pid in pids if session_of(pid) == session]


def end_member(session, pid):
    """SIGKILL to that process if it still is a member once its descriptor is held: never to a stranger."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if session_of(pid) == session:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError as failure:
        if failure.errno != errno.ESRCH:
            raise
    finally:
        os.close(fd)


def end(session):
    """Ends every member. Returns those that the first look found. The session's leader is the caller's child, not reaped
    yet, or has been reaped while members lived: else the number may be another's."""
    first = left = members(session)
    for _ in range(ROUNDS):
        if not left:
            break
        for pid in left:
            end_member(session, pid)
        left = members(session)
    return first


def adopt():
    """From now on orphans among the descendants of this process become its children, whatever session they lead
    (PR_SET_CHILD_SUBREAPER, prctl(2)): so that none of them is lost sight of."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(top, generations=64):
    """The live descendants of a process, parents before their children; 1 generation: its children."""
    children = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(stat.split("/")[2]))
    found, newest = [], [top]
    for _ in range(generations):
        newest = [child for pid in newest for child in children.get(pid, [])]
        found += newest
    return found


def end_descendants():
    """Ends all that descends from this process, which has called adopt() and has no other thread that waits for children:
    its children, then those that become its children by that. Returns how many could not be ended."""
    left = []
    for _ in range(ROUNDS):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return 0
        left = descendants(os.getpid(), 1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # a child's number is its own until it is reaped, here
        time.sleep(0.02)
    return len(left)
