"""What processes that stand are doing, told by others than wedge: the kernel's figures and eu-stack.

The first question about a load that did not end is whether it stood or was slow. schedstat(5th and 6th field of
Documentation/scheduler/sched-stats.rst: time on a processor, time in wait for one) answers it: a thread that was always
runnable has lost no wake-up.
"""
import glob
import os
import subprocess
import time

import session

MOMENT_S = 1.0  # between the two readings of what a thread does
STACKS_S = 20  # eu-stack waits for a thread that does not stop (D state)
FILES = ("comm", "syscall", "wchan", "stack")


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError as failure:
        return "(%s)" % failure.strerror


def states(pid):
    """By thread: its state, and ns on a processor and in wait for one."""
    found = {}
    for task in glob.glob("/proc/%d/task/[0-9]*" % pid):
        figures = read(task + "/schedstat").split()
        state = read(task + "/stat").rpartition(")")[2].split()
        if len(figures) == 3 and state:
            found[task] = (state[0], int(figures[0]), int(figures[1]))
    return found


def describe(pid, before, after):
    """A page about one process."""
    lines = ["%d: %s" % (pid, read("/proc/%d/cmdline" % pid).replace("\0", " "))]
    for task, (state, on, waiting) in sorted(after.items()):
        was = before.get(task, (state, 0, 0))
        lines.append("%s %s: %.3f s on a processor and %.3f s in wait for one; in the last second %.3f and %.3f" % (
            os.path.basename(task), state, on / 1e9, waiting / 1e9, (on - was[1]) / 1e9, (waiting - was[2]) / 1e9))
        lines += ["  %s: %s" % (name, read(os.path.join(task, name))) for name in FILES]
    try:
        stacks = subprocess.run(["eu-stack", "-p", str(pid)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                errors="replace", timeout=STACKS_S, check=False)
        lines.append(stacks.stdout + stacks.stderr)
    except (OSError, subprocess.TimeoutExpired) as failure:
        lines.append("no stacks: %s" % failure)
    return "\n".join(lines) + "\n"


def moves(before, after):
    """Words for what the threads of one process did between two readings."""
    stopped = [t for t, (state, _, _) in after.items() if state in "Tt"]
    ran = sum(on - before[t][1] for t, (_, on, _) in after.items() if t in before)
    waited = sum(waiting - before[t][2] for t, (_, _, waiting) in after.items() if t in before)
    if stopped:
        return "%d of its threads stopped" % len(stopped)
    return "in a second %.3f s on a processor, %.3f s in wait for one" % (ran / 1e9, waited / 1e9)


def save(folder, tops):
    """Writes a page for each of `tops` and their descendants into the folder. Returns a line that says how they stand."""
    os.makedirs(folder, exist_ok=True)
    pids = list(dict.fromkeys(pid for top in tops for pid in [top] + session.descendants(top)))
    before = {pid: states(pid) for pid in pids}
    time.sleep(MOMENT_S)
    after = {pid: states(pid) for pid in pids}
    words = []
    for pid in pids:
        name = read("/proc/%d/comm" % pid)
        words.append("%s %d: %s" % (name, pid, moves(before[pid], after[pid]) if after[pid] else "gone, or a zombie"))
        with open(os.path.join(folder, "process-%d" % pid), "w", encoding="utf-8") as out:
            out.write(describe(pid, before[pid], after[pid]))
    return "; ".join(words) + " (%s)" % folder
