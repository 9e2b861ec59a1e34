#!/usr/bin/python3
"""ci/real-programs can fail: a program that hangs is called a hang there, and a load with an error is an error.

usage: test_real_programs.py BUILD
"""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import unittest

CI = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = sys.argv.pop(1)


def load():
    loader = importlib.machinery.SourceFileLoader("real_programs", os.path.join(CI, "real-programs"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


class RealPrograms(unittest.TestCase):
    def setUp(self):
        self.real = load()

    def play(self, case):
        self.real.CASES["seeded"] = case
        with tempfile.TemporaryDirectory() as keep, contextlib.redirect_stdout(io.StringIO()) as said:
            wrong = self.real.play("seeded", os.path.join(BUILD, "bin/wedge"), 4, keep)
            kept = os.listdir(keep)
        return wrong, kept, said.getvalue()

    def test_a_hang_is_noticed(self):
        class Hung(self.real.Case):
            def start(self):
                self.spawn([os.path.join(BUILD, "tests/wedge-factory"), "self-deadlock"])

        wrong, kept, said = self.play(Hung)
        self.assertTrue(any("self-deadlock proved whole" in text for text in wrong), wrong)
        self.assertTrue(any("watch called it a hang" in text for text in wrong), wrong)
        self.assertTrue(kept)
        self.assertIn("WRONG", said)

    def test_an_error_of_the_load_is_noticed(self):
        class Loaded(self.real.Case):
            def start(self):
                self.spawn(["sleep", "100"])

            def load(self, seconds):
                return [["sh", "-c", "echo no such server; exit 3"]]

        wrong, _, _ = self.play(Loaded)
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn("no such server", wrong[0])

    def test_a_program_that_leaves_badly_is_noticed(self):
        class Leaves(self.real.Case):
            def start(self):
                self.spawn(["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"])

        wrong, _, _ = self.play(Leaves)
        self.assertEqual(wrong, ["it ended with status 7"])


if __name__ == "__main__":
    unittest.main()
