#!/usr/bin/python3
"""wedge new: what it writes parses, runs at once, and says what is to be filled in.

usage: test_new.py WEDGE CORPUS
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

WEDGE, CORPUS = (os.path.abspath(path) for path in sys.argv[1:3])


class New(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wedge-new-")
        self.addCleanup(self.folder.cleanup)

    def wedge(self, *words):
        return subprocess.run([WEDGE, *words], cwd=self.folder.name, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="surrogateescape", check=False, timeout=120)

    def result(self):
        with open(self.folder.name + "/wedge-out/result.json", encoding="utf-8") as file:
            return {check["check"]: check for check in json.load(file)["checks"]}

    def test_it_runs_at_once_and_asks_for_its_plan(self):
        made = self.wedge("new", "mine/cat", "--", "cat", "/dev/null")
        self.assertEqual(made.returncode, 0, made.stderr)
        with open(self.folder.name + "/cat.yaml", encoding="utf-8") as file:
            text = file.read()
        self.assertIn("FILL IN", text)
        self.assertRegex(text, r"(?m)^  #   c\d+ \* (open|read|close)")
        run = self.wedge("run", "cat.yaml")
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn("fill in the plan", run.stdout)
        self.assertEqual([self.result()[check]["status"] for check in ("hang", "twin")], ["failed", "passed"])

    def test_a_suggestion_is_a_rule(self):
        self.wedge("new", "cat", "--", "cat", "/dev/null")
        path = self.folder.name + "/cat.yaml"
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        taken = ["  " + line.lstrip(" #") if line.startswith("  #   c") else line for line in lines]
        self.assertNotEqual(lines, taken)
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(taken) + "\n")
        self.assertIn(self.wedge("run", "--hang-only", "cat.yaml").returncode, (0, 1))
        self.assertNotIn("fill in the plan", self.result()["hang"]["message"])

    def test_any_argument_arrives(self):
        words = ["'", '"', "a b", "\n", "# x: {y}", "%s", "\\", "ü€", "\t", ""]
        made = self.wedge("new", "n", "--no-census", "--", "sh", "-c", 'for a; do printf "<%s>" "$a"; done', "sh", *words)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.wedge("run", "n.yaml")
        with open(self.folder.name + "/wedge-out/n/hang/output.txt", encoding="utf-8") as file:
            self.assertEqual(file.read(), "".join(f"<{word}>" for word in words))

    def test_what_cannot_be_a_scenario_is_refused(self):
        for words, says in [((), "name"), (("a",), "command"), (("../a", "--", "true"), "stays"), (("a b", "--", "true"), "name"),
                            (("a/", "--", "true"), "name"), (("a", "--", "echo", "${HOME}"), "variable"),
                            (("a", "--", "/no/such/program"), "cannot execute"), (("a", "--from-hang=nowhere"), "report"),
                            (("a", "--no-census", "--", "echo", "\udcff"), "UTF-8")]:
            with self.subTest(words):
                made = self.wedge("new", *words)
                self.assertEqual(made.returncode, 2, made)
                self.assertIn(says, made.stderr)
                self.assertEqual(os.listdir(self.folder.name), [])

    def test_no_file_is_overwritten(self):
        with open(self.folder.name + "/n.yaml", "w", encoding="utf-8") as file:
            file.write("mine")
        self.assertEqual(self.wedge("new", "n", "--", "true").returncode, 2)
        with open(self.folder.name + "/n.yaml", encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        made = self.wedge("new", "n", "-f", "other.yaml", "--json", "--", "true")
        self.assertEqual(json.loads(made.stdout)["file"], "other.yaml")

    def test_from_a_hang(self):
        watched = self.wedge("watch", "--", CORPUS, "three-way")
        self.assertEqual(watched.returncode, 124, watched.stderr)
        made = self.wedge("new", "n", "--from-hang=wedge-out", "--limit=300ms")
        self.assertEqual(made.returncode, 0, made.stderr)
        run = self.wedge("run", "--hang-only", "n.yaml")
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(self.result()["hang"]["certainty"], "proved")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
