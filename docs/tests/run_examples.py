#!/usr/bin/python3
"""Runs the examples of the documentation as a reader would, and compares what came of it with what is promised.

usage: run_examples.py BUILD_FOLDER [FILE…]         default: README.md, docs/*.md, docs/man/*.scd

An example is a fenced block whose fence says so (in Markdown "```sh run", "```sh run status=124", "```sh run
says=lock-cycle"), or in a man page one after a comment line "; run …". Each runs by `bash -eu` in an empty folder in which `docs`
is the tree's, with the build's bin/ first in PATH, no terminal and no input. `status` is what the last command must end
with (0 if not given), `says` a word that its output must have (_ for a blank; may stand more than once).
In Markdown more is possible: "```sh run then" goes on in the folder of the example before; "```yaml file=NAME" is a file that the
reader writes there; "```text output" is what the last example prints: its lines stand there in that order, with other numbers, behind each other
except at a line "…", and anything may come before and after.
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
FENCE = re.compile(r"^```(?:(?P<kind>sh run|\w+ file=|text output)(?P<md>.*)|.*)$")
COMMENT = re.compile(r"^; run(?P<scd>.*)$")


def examples(path):
    """Yields (line, kind, words, rows) of each example of a file, and of what belongs to one: kind is run, file or output."""
    words, inside, rows_inside, start, kind = None, False, [], 0, ""
    with open(path, encoding="utf-8") as file:
        rows = file.read().splitlines()
    for number, row in enumerate(rows, 1):
        if row.lstrip("\t ").startswith("```"):
            fence = FENCE.match(row.strip())
            if not inside:
                inside, rows_inside, start = True, [], number
                if fence and fence.group("kind"):
                    words = fence.group("md").split()
                    kind = fence.group("kind").split()[1].rstrip("=")
            else:
                inside = False
                if words is not None:
                    yield start, kind, words, rows_inside
                words = None
        elif inside:
            rows_inside.append(row)
        elif COMMENT.match(row):
            words, kind = COMMENT.match(row).group("scd").split(), "run"
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


def run(build, folder, commands):
    """Runs commands in a folder and a session of their own; what is left of the session afterwards is ended."""
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


def plain(row):
    """A line without what differs each time: addresses, numbers with their unit, and how they are set."""
    row = re.sub(r"0x[0-9a-f]+", "0x", row)
    row = re.sub(r"\d+(\.\d+)? (us|ms|s|min)\b", "TIME", row)
    row = re.sub(r"\b(pid|tid|process|thread) \d+", r"\1 N", row)
    return " ".join(row.split())


def missing_rows(promised, output):
    """The first promised line that does not come, None: all do. Rows are compared as words: where a line is broken depends on its
    numbers."""
    text = " ".join(plain(row) for row in output.splitlines())
    for part in "\n".join(promised).split("\n…\n"):
        wanted = " ".join(plain(row) for row in part.split("\n"))
        if wanted not in text:
            return wanted
        text = text[text.index(wanted) + len(wanted):]
    return None


class Reader:
    """Somebody who follows a page: a folder, and what the last example printed."""

    def __init__(self, build):
        self.build, self.folder, self.output, self.commands = build, None, "", []

    def close(self):
        if self.folder:
            self.folder.cleanup()
        self.folder = None

    def begin(self):
        self.close()
        self.folder = tempfile.TemporaryDirectory(prefix="wedge-example-")
        os.symlink(os.path.join(ROOT, "docs"), os.path.join(self.folder.name, "docs"))

    def follow(self, kind, words, rows):
        """What is wrong with an example, or with what belongs to it."""
        if kind == "output":
            missing = missing_rows(rows, self.output)
            return [f"does not print: {missing}"] if missing else []
        if kind == "file":
            with open(os.path.join(self.folder.name, words[0]), "w", encoding="utf-8") as file:
                file.write("\n".join(rows) + "\n")
            return []
        goes_on = "then" in words
        status, says = expectation([word for word in words if word != "then"])
        if not goes_on:
            self.begin()
        self.commands = [row.lstrip("\t") for row in rows]
        got, self.output, left = run(self.build, self.folder.name, self.commands)
        wrong = [] if got == status else [f"status {got}, not {status}"]
        wrong += [f"does not say '{word}'" for word in says if word not in self.output]
        return wrong + ([f"left processes behind: {left}"] if left else [])


def main(arguments):
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    build, *files = arguments
    files = files or [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs/*.md"))),
                      *sorted(glob.glob(os.path.join(ROOT, "docs/man/*.scd")))]
    failed = ran = 0
    for path in files:
        reader = Reader(build)
        for line, kind, words, rows in examples(path):
            wrong = reader.follow(kind, words, rows)
            ran += kind != "file"
            print(f"{os.path.relpath(path, ROOT)}:{line}: {'; '.join(wrong) or 'as promised'}")
            if wrong:
                failed += 1
                print("\n".join(reader.commands) + "\n--- came to:\n" + reader.output)
        reader.close()
    print(f"{ran} examples, {failed} failed")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
