#!/usr/bin/python3
"""Runs the examples of the documentation as a reader would, and compares what came of it with what is promised.

usage: run_examples.py BUILD_FOLDER [FILE…]         default: README.md, docs/*.md, docs/man/*.scd

An example is a fenced block whose fence says so (in Markdown "```sh run", "```sh run status=124", "```sh run
says=lock-cycle"), or in a man page one after a comment line "; run …". Each runs by `bash -eu` in an empty folder in which `docs`
is the tree's, with the build's bin/ first in PATH, no terminal and no input. `status` is what the last command must end
with (0 if not given), `says` a word that its output must have (_ for a blank; may stand more than once).
An example that ends differently, or leaves a process behind, fails.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.dont_write_bytecode = True  # nothing is left in the tree
sys.path.insert(0, os.path.join(ROOT, "ci"))
import session  # noqa: E402

DEADLINE_S = 60
FENCE = re.compile(r"^```(?:sh run(?P<md>.*))?$")
COMMENT = re.compile(r"^; run(?P<scd>.*)$")


def examples(path):
    """Yields (line, words, commands) of each example of a file."""
    words, inside, commands, start = None, False, [], 0
    with open(path, encoding="utf-8") as file:
        rows = file.read().splitlines()
    for number, row in enumerate(rows, 1):
        if row.lstrip("\t ").startswith("```"):
            fence = FENCE.match(row.strip())
            if not inside:
                inside, commands, start = True, [], number
                if fence and fence.group("md") is not None:
                    words = fence.group("md").split()
            else:
                inside = False
                if words is not None:
                    yield start, words, [command.lstrip("\t") for command in commands]
                words = None
        elif inside:
            commands.append(row)
        elif COMMENT.match(row):
            words = COMMENT.match(row).group("scd").split()
        elif row.strip():
            words = None


def expectation(words):
    status, says = 0, []
    for word in words:
        key, _, value = word.partition("=")
        if key == "status" and value.isdigit():
            status = int(value)
        elif key == "says" and value:
            says.append(value.replace("_", " "))
        else:
            raise ValueError(f"'{word}': expected status=N or says=WORD")
    return status, says


def run(build, commands):
    """Runs commands in a folder and a session of their own; what is left of the session afterwards is ended."""
    with tempfile.TemporaryDirectory(prefix="wedge-example-") as folder:
        os.symlink(os.path.join(ROOT, "docs"), os.path.join(folder, "docs"))
        environment = {**os.environ, "PATH": os.path.join(os.path.abspath(build), "bin") + ":" + os.environ["PATH"],
                       "NO_COLOR": "1"}
        shell = subprocess.Popen(["bash", "-eu", "-o", "pipefail", "-c", "\n".join(commands)], cwd=folder,
                                 env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        try:
            output, _ = shell.communicate(timeout=DEADLINE_S)
            status = shell.returncode
        except subprocess.TimeoutExpired:
            status = f"no end within {DEADLINE_S} s"
            session.end(shell.pid)
            output, _ = shell.communicate()
        return status, output, session.end(shell.pid)


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    build, *files = arguments
    files = files or [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs/*.md"))),
                      *sorted(glob.glob(os.path.join(ROOT, "docs/man/*.scd")))]
    failed = ran = 0
    for path in files:
        for line, words, commands in examples(path):
            where = f"{os.path.relpath(path, ROOT)}:{line}"
            status, says = expectation(words)
            got, output, left = run(build, commands)
            ran += 1
            wrong = [] if got == status else [f"status {got}, not {status}"]
            wrong += [f"does not say '{word}'" for word in says if word not in output]
            wrong += [f"left processes behind: {left}"] if left else []
            print(f"{where}: {'; '.join(wrong) or 'as promised'}")
            if wrong:
                failed += 1
                print("\n".join(commands) + "\n--- came to:\n" + output)
    print(f"{ran} examples, {failed} failed")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
