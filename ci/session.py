"""Ends what is left of a session: a process may lead a group of its own and still belong to it (setpgid(2), credentials(7))."""
import errno
import glob
import os
import signal

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
