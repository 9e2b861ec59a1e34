#!/usr/bin/python3
"""That ci/under ends all that a test has started, whatever group it leads: when the test is through, and at its deadline.

usage: test_under.py
"""
import os
import select
import subprocess
import sys
import tempfile

UNDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "under")
# It says that it is there once it leads a group, holds the pipe as long as it lives, and is gone after a minute at the latest.
STRAY = "import os, time; os.setpgid(0, 0); pipe = open({pipe!r}, 'w'); pipe.write('h'); pipe.flush(); time.sleep(60)"
# The test itself, which ends when the stray is there, or does not.
TEST = """import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {stray!r}], stdin=subprocess.DEVNULL)
open({ready!r}).read(1)
time.sleep({more})"""
LIST = 'add_test(case "{python}" "{script}")\nset_tests_properties(case PROPERTIES LABELS unit)\n'


def play(folder, more, deadline):
    """Returns what ci/under said and its status, and whether the stray is gone."""
    name = os.path.join(folder, "pipe")
    ready = os.path.join(folder, "ready")
    os.mkfifo(name)
    os.mkfifo(ready)
    script = os.path.join(folder, "case.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(TEST.format(stray=STRAY.format(pipe=name), ready=ready, more=more))
    with open(os.path.join(folder, "CTestTestfile.cmake"), "w", encoding="utf-8") as file:
        file.write(LIST.format(python=sys.executable, script=script))
    pipe = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    under = subprocess.Popen([sys.executable, UNDER, folder, "1", "--deadline", str(deadline), "--", "env"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    here = bool(select.select([pipe], [], [], 30)[0]) and os.read(pipe, 1) == b"h"
    with open(ready, "w", encoding="utf-8") as file:
        file.write("r")
    said, _ = under.communicate(timeout=60)
    gone = bool(select.select([pipe], [], [], 10)[0]) and os.read(pipe, 1) == b""
    os.close(pipe)
    return said, under.returncode, here, gone


def main():
    for more, deadline, status, words in ((0, 60, 0, "1 of 1 tests passed"), (60, 3, 1, "no end within 3 s")):
        with tempfile.TemporaryDirectory(prefix="wedge-test-under-") as folder:
            said, got, here, gone = play(folder, more, deadline)
        if not here or got != status or words not in said:
            sys.exit(f"status {got}, not {status}, or no '{words}':\n{said}")
        if not gone:
            sys.exit(f"deadline {deadline} s: what the test had started outlived it")


if __name__ == "__main__":
    main()
