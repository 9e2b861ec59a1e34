#!/usr/bin/python3
"""ci/fifty on a build whose `wedge run` is a script that says what this test tells it to: what it counts, what it keeps, and where it goes on."""
import json
import os
import stat
import subprocess
import tempfile
import unittest

FIFTY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fifty")
# One line of the file `rounds` for each call: a signature, "fails", or "stops" for a run that does not come to its end.
WEDGE = """#!/usr/bin/python3
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
out = sys.argv[sys.argv.index("-o") + 1]
with open(os.path.join(here, "rounds"), encoding="utf-8") as file:
    lines = file.read().split()
with open(os.path.join(here, "rounds"), "w", encoding="utf-8") as file:
    file.write("\\n".join(lines[1:]))
check = {"scenario": "hang-report/a", "check": "hang", "status": "failed" if lines[0] == "fails" else "passed", "verdict": "closed-wait",
         "certainty": "proved", "scope": "whole", "signature": lines[0], "seconds": 0.5, "message": "why"}
os.makedirs(out)
with open(os.path.join(out, "result.json"), "w", encoding="utf-8") as file:
    json.dump({"complete": lines[0] != "stops", "checks": [check]}, file)
"""


class Fifty(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wedge-fifty-")
        self.addCleanup(self.folder.cleanup)
        os.mkdir(os.path.join(self.folder.name, "bin"))
        wedge = os.path.join(self.folder.name, "bin", "wedge")
        with open(wedge, "w", encoding="utf-8") as file:
            file.write(WEDGE)
        os.chmod(wedge, stat.S_IRWXU)

    def run_with(self, *rounds):
        with open(os.path.join(self.folder.name, "bin", "rounds"), "w", encoding="utf-8") as file:
            file.write("\n".join(rounds))
        self.out = os.path.join(self.folder.name, "out")
        return subprocess.run([FIFTY, "--build", self.folder.name, "--out", self.out, "--times", "3"], capture_output=True, text=True,
                              check=False, timeout=60)

    def test_the_same_each_time(self):
        done = self.run_with("sig1:1", "sig1:1", "sig1:1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"hang-report/a hang +closed-wait +proved +whole +sig1:1 +0\.50 +0\.50 +3/3\n")
        with open(os.path.join(self.out, "result.json"), encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["checks"]), 3)

    def test_another_signature(self):
        done = self.run_with("sig1:1", "sig1:2", "sig1:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not always the same: hang-report/a hang (2 of 3)", done.stdout)

    def test_a_round_that_fails_keeps_its_reports(self):
        done = self.run_with("sig1:1", "fails", "sig1:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("hang-report/a hang: why", done.stdout)
        self.assertTrue(os.path.isdir(os.path.join(self.out, "round-2")))
        self.assertFalse(os.path.exists(os.path.join(self.out, "round-1")))

    def test_goes_on_where_it_was_stopped(self):
        self.assertEqual(self.run_with("sig1:1", "sig1:1", "stops").returncode, 1)
        done = self.run_with("sig1:1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_forgets_the_rounds_of_another_build(self):
        self.assertEqual(self.run_with("sig1:1", "sig1:1", "sig1:1").returncode, 0)
        with open(os.path.join(self.folder.name, "bin", "wedge"), "a", encoding="utf-8") as file:
            file.write("# another one\n")
        done = self.run_with("sig1:2", "sig1:2", "sig1:2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("sig1:2", done.stdout)


if __name__ == "__main__":
    unittest.main()
