#!/usr/bin/python3
"""That ci/valgrind sees the workers of the real pool: one that branches on unset memory is found, the same without is not.

usage: test_memcheck.py BUILD
"""
import os
import subprocess
import sys

VALGRIND = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "valgrind")
TEST = "torture.zygote.iterate.sample"


def run(build, **more):
    return subprocess.run([VALGRIND, "--in", build, "--only", f"^{TEST}$", "memcheck"], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL, env={**os.environ, **more})


def main(build):
    clean, seeded = run(build), run(build, WEDGE_TORTURE_ERROR="yes")
    if clean.returncode != 0 or "ci/under: 1 of 1 tests passed under valgrind" not in clean.stdout:
        sys.exit(f"without an error: status {clean.returncode}\n{clean.stdout}{clean.stderr}")
    wanted = ("Conditional jump or move depends on uninitialised value", "touch_unset", "wedge_pool_run_task",
              f"0 of 1 tests passed under valgrind: {TEST}")
    for text in wanted:
        if seeded.returncode != 1 or text not in seeded.stdout:
            sys.exit(f"with an error in the workers: status {seeded.returncode}, no '{text}'\n{seeded.stdout}{seeded.stderr}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
