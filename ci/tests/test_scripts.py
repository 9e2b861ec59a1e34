#!/usr/bin/python3
"""The scripts of ci/ themselves: usage, and ci/under over small sets of tests made by hand."""
import os
import shutil
import subprocess
import tempfile
import unittest

CI = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
SCRIPTS = ("coverage", "demo", "fuzz", "lint", "sanitizers", "setup", "test", "twenty", "valgrind")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **more)


class Usage(unittest.TestCase):
    def test_help(self):
        for name in SCRIPTS:
            done = run(os.path.join(CI, name), "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""), name)
            self.assertIn(f"usage: ci/{name}", done.stdout)

    def test_unknown_argument(self):
        for name in SCRIPTS:
            done = run(os.path.join(CI, name), "--no-such-option")
            self.assertEqual(done.returncode, 2, name)
            self.assertIn("--no-such-option", done.stderr)


class Under(unittest.TestCase):
    def under(self, tests, *command, logs=False, options=()):
        """Runs ci/under over tests, given as name -> (command, labels)."""
        with tempfile.TemporaryDirectory(prefix="wedge-under-") as build:
            with open(os.path.join(build, "CTestTestfile.cmake"), "w", encoding="utf-8") as file:
                for name, (words, labels) in tests.items():
                    file.write(f'add_test({name} {" ".join(words)})\n'
                               f'set_tests_properties({name} PROPERTIES LABELS "{labels}" ENVIRONMENT "FROM=ctest")\n')
            return run(os.path.join(CI, "under"), build, "2", *(["--logs"] if logs else []), *options, "--",
                       *command)

    def test_all_pass(self):
        done = self.under({"one": (["/bin/true"], "unit"), "two": (["/bin/true"], "unit")}, "env")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("2 of 2 tests passed under env", done.stdout)

    def test_one_fails_and_is_named(self):
        done = self.under({"one": (["/bin/true"], "unit"), "two": (["/bin/false"], "unit")}, "env")
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 of 2 tests passed under env: two", done.stdout)

    def test_the_command_fails(self):
        self.assertEqual(self.under({"one": (["/bin/true"], "unit")}, "false").returncode, 1)

    def test_chooses_unit_tests(self):
        others = {"long": (["/bin/false"], "integration"), "ci.one": (["/bin/false"], "unit"),
                  "timing": (["/bin/false"], "unit;no-valgrind")}
        done = self.under({"one": (["/bin/true"], "unit"), **others}, "env")
        self.assertIn("1 of 1 tests", done.stdout)
        self.assertEqual(self.under(others, "env").returncode, 2)

    def test_chooses_by_label_and_name(self):
        tests = {"one": (["/bin/true"], "unit"), "two": (["/bin/true"], "integration;extra"),
                 "three": (["/bin/true"], "integration")}
        into_programs = ("sh", "-c", 'test "$1" = --trace-children=yes', "sh")
        done = self.under(tests, *into_programs, options=("--label", "extra"))
        self.assertIn("1 of 2 tests passed under sh: one\n", done.stdout)
        done = self.under(tests, *into_programs, options=("--label", "extra", "--only", "^tw"))
        self.assertIn("1 of 1 tests passed under sh\n", done.stdout)

    def test_limits_are_scaled(self):
        words = ["/bin/sh", "-c", '[[test "$WEDGE_TEST_PACE" -gt 1 && test "$CK_TIMEOUT_MULTIPLIER" = "$WEDGE_TEST_PACE"]]']
        self.assertEqual(self.under({"one": (words, "unit")}, "env").returncode, 0)

    def test_environment(self):
        done = self.under({"one": (["/bin/sh", "-c", '[[test "$CK_FORK$FROM" = noctest]]'], "unit")}, "env")
        self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipUnless(shutil.which("valgrind") and shutil.which("gcc"), "needs valgrind and gcc")
    def test_valgrind_finds_what_counts(self):
        bodies = {"clean": "return 0;", "leak": "p = malloc(10); p = 0; return p != 0;",
                  "touch": "p = malloc(10); free(p); return p[3] == 77;",
                  "child-leak": "if (fork() == 0) { p = malloc(10); p = 0; _exit(0); } wait(0); return 0;",
                  "child-touch": "if (fork() == 0) { p = malloc(10); free(p); _exit(p[3] == 77); } wait(0); return 0;"}
        with tempfile.TemporaryDirectory(prefix="wedge-under-") as folder:
            tests = {}
            for name, body in bodies.items():
                source = os.path.join(folder, name + ".c")
                with open(source, "w", encoding="utf-8") as file:
                    file.write("#include <stdlib.h>\n#include <sys/wait.h>\n#include <unistd.h>\n"
                               f"int main(void) {{ char *volatile p = 0; (void)p; {body} }}\n")
                self.assertEqual(run("gcc", "-g", "-w", source, "-o", source[:-2]).returncode, 0)
                tests[name] = ([source[:-2]], "unit")
            done = self.under(tests, "valgrind", "--quiet", "--leak-check=full", logs=True)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("2 of 5 tests passed under valgrind: leak touch child-touch\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
