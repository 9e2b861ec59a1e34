#!/usr/bin/python3
"""ci/check-sizes against small trees: each limit at its edge, the ratchet both ways."""
import os
import subprocess
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "check-sizes")


def function(name, body_lines):
    """A function whose body, braces included, has so many lines; braces in literals and comments count for nothing."""
    filler = ['    s = "}"; /* } */', "    c = '{'; // {"]
    lines = [filler[i % 2] for i in range(body_lines - 2)]
    return f"static int {name}(int a, int (*b)(void))\n{{\n" + "\n".join(lines) + "\n}\n"


def check(files, ratchet=""):
    with tempfile.TemporaryDirectory(prefix="wedge-sizes-") as root:
        for path, text in {**files, "ci/sizes.ratchet": ratchet}.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        run = subprocess.run([CHECK, root], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


class CheckSizes(unittest.TestCase):
    def expect(self, files, ratchet, status, words):
        got, output = check(files, ratchet)
        self.assertEqual(got, status, output)
        self.assertIn(words, output)

    def test_function_at_its_edge(self):
        self.expect({"a.c": function("fits", 80)}, "", 0, "0 breaches")
        self.expect({"a.c": "int x;\n" + function("long_one", 81)}, "", 1, "a.c:3: long_one has 81 lines, at most 80")

    def test_every_function_is_seen(self):
        text = ('extern "C" {\nstruct s {\n  int a;\n} v = {1};\n#define M(x) {x\n' + function("first", 10) +
                "__attribute__((noinline)) " + function("second", 82) + "START_TEST(third)\n{\n" + "x;\n" * 90 + "}\n}\n")
        got, output = check({"b.c": text})
        self.assertEqual(got, 1)
        self.assertIn("second has 82", output)
        self.assertIn("START_TEST has 92", output)
        self.assertNotIn("first", output)

    def test_file_at_its_edge(self):
        self.expect({"a.h": "\n" * 1000}, "", 0, "0 breaches")
        self.expect({"a.h": "\n" * 1001}, "", 1, "a.h:1: file has 1001 lines, at most 1000")

    def test_words_that_put_work_off(self):
        for word in ("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"):
            self.expect({"a.c": f"\n/* {word}: later */\n"}, "", 1, f"a.c:2: puts work off: {word}")
            self.expect({"ci/run": f"# {word}\n"}, "", 1, "ci/run:1")
        self.expect({"a.c": "int TO" + "DOWN;\n"}, "", 0, "0 breaches")

    def test_code_in_a_comment(self):
        self.expect({"a.c": "// call(it);\n"}, "", 1, "a.c:1: code in a comment")
        self.expect({"a.c": "// one sentence\n"}, "", 0, "0 breaches")

    def test_ratchet_only_falls(self):
        long_one = {"a.c": function("long_one", 90)}
        self.expect(long_one, "a.c:long_one 90\n", 0, "0 breaches")
        self.expect(long_one, "a.c:long_one 89\n", 1, "has 90 lines, at most 89")
        self.expect(long_one, "a.c:long_one 91 # was\n", 1, "lower a.c:long_one to 90")
        self.expect({"a.c": function("long_one", 80)}, "a.c:long_one 90\n", 1, "drop a.c:long_one")

    def test_malformed_ratchet(self):
        for row in ("a.c\n", "a.c ten\n", "a.c 1 2\n"):
            got, _ = check({}, row)
            self.assertNotEqual(got, 0, row)


if __name__ == "__main__":
    unittest.main()
