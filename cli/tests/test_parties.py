#!/usr/bin/python3
"""A scenario that names the wrong one fails: of each hang, every role, function and point that its `expect` asks of a culprit or victim is
replaced in turn by one that nobody has, and the check must say that nobody is that.

usage: test_parties.py WEDGE SCENARIOS [NAME...]     without a name, every hang of the hang report
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

WRONG = {"role": "nobody", "function": "no_such_function", "point": "no.such.point"}
# Of the hang alone, which stands first; a remedy's `expect` further down has parties too.
EXPECT = re.compile(r"^expect:\n(?:  .*\n)+", re.M)
ASKED = re.compile(r"^  (culprit|victim): \{(.*)\}$", re.M)


def wrong_texts(text):
    """The file with one thing asked wrongly, and whom it then asks for in vain."""
    begin, end = EXPECT.search(text).span()
    for party in ASKED.finditer(text, begin, end):
        for key in re.findall(r"(\w+):", party.group(2)):
            at = re.compile(rf"\b{key}: [^,}}]+").search(text, party.start(2), party.end(2))
            yield text[:at.start()] + f"{key}: {WRONG[key]}" + text[at.end():], party.group(1)


def main():
    wedge, folder, *names = sys.argv[1:]
    files = [os.path.join(folder, name + ".yaml") for name in names] or sorted(glob.glob(os.path.join(folder, "*.yaml")))
    asked = failed = 0
    with tempfile.TemporaryDirectory(prefix="wedge-parties-") as scratch:
        for file in files:
            with open(file, encoding="utf-8") as source:
                text = source.read()
            for wrong, who in wrong_texts(text):
                asked += 1
                changed = os.path.join(scratch, os.path.basename(file))
                with open(changed, "w", encoding="utf-8") as out:
                    out.write(wrong)
                done = subprocess.run([wedge, "run", changed, "--hang-only", "-o", os.path.join(scratch, "out")], capture_output=True,
                                      text=True, timeout=120, check=False)
                if done.returncode != 1 or f"no {who} is " not in done.stdout:
                    failed += 1
                    print(f"{file}: a wrong {who} passed, or something else failed:\n{done.stdout}{done.stderr}")
    print(f"{asked} wrong parties in {len(files)} files, {failed} not noticed")
    return 0 if asked >= len(names) and asked and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
