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
        self.real.session.adopt()

    def play(self, case):
        self.real.CASES["seeded"] = case
        with tempfile.TemporaryDirectory() as keep, contextlib.redirect_stdout(io.StringIO()) as said:
            wrong = self.real.Play("seeded", os.path.join(BUILD, "bin/wedge"), 4, keep).wrong
            kept = {}
            for root, _, names in os.walk(keep):
                for name in names:
                    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as text:
                        kept[name] = text.read()
        self.assertEqual(self.real.session.descendants(os.getpid()), [])
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

    def stands(self, what, wrong, kept):
        """It failed cleanly, and what stood is described by the kernel and by eu-stack."""
        self.assertIn(what, wrong[0])
        self.assertIn("what stood: ", wrong[1])
        self.assertIn("sleep", wrong[1])
        self.assertTrue([page for page in kept.values() if "nanosleep" in page and "in wait for one" in page], kept)

    def test_a_load_that_does_not_end(self):
        class Stands(self.real.Case):
            def start(self):
                self.spawn(["sleep", "1000"])

            def load(self, seconds):
                return [["sh", "-c", "echo loading; setsid sleep 1000"]]

        self.real.LEAVE_S = 1
        wrong, kept, _ = self.play(Stands)
        self.stands("the load did not end within 3 s", wrong, kept)
        self.assertEqual(kept["load0"], "loading\n")

    def test_a_program_that_does_not_leave(self):
        class Stays(self.real.Case):
            def start(self):
                self.spawn(["sh", "-c", "trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done"])

        self.real.LEAVE_S = 1
        wrong, kept, _ = self.play(Stays)
        self.stands("it did not end within 1 s", wrong, kept)

    def test_a_program_that_does_not_begin(self):
        class Fails(self.real.Case):
            def start(self):
                self.spawn(["sleep", "1000"])
                self.real.wait_until("the beginning", lambda: False)

        Fails.real = self.real
        self.real.START_S = 1
        wrong, _, _ = self.play(Fails)
        self.assertIn("the beginning did not happen within 1 s", wrong[0])

    def test_an_examiner_that_fails_is_noticed(self):
        self.real.LOOK_S = 0.001
        wrong, _, _ = self.play(type("Slow", (self.real.Case,), {"start": lambda case: case.spawn(["sleep", "1000"])}))
        self.assertTrue(any("timed out" in text for text in wrong), wrong)

    def test_a_program_that_leaves_badly_is_noticed(self):
        class Leaves(self.real.Case):
            def start(self):
                self.spawn(["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"])

        wrong, _, _ = self.play(Leaves)
        self.assertEqual(wrong, ["it ended with status 7"])


if __name__ == "__main__":
    unittest.main()
