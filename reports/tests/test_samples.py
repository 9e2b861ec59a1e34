#!/usr/bin/python3
"""Samples of every report, looked at by tools that are not ours: the schema by jsonschema, JUnit by xmllint, the vendored
files by their checksums, the page by Chromium where it is installed.

usage: test_samples.py REPORT_SAMPLES_PROGRAM
"""
import copy
import hashlib
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

REPORTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FOLDER = None


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def samples():
    return sorted(name for name in os.listdir(FOLDER) if os.path.isdir(os.path.join(FOLDER, name)))


class Schema(unittest.TestCase):
    def setUp(self):
        schema = load(os.path.join(REPORTS, "schema", "wedge.report-2.schema.json"))
        jsonschema.Draft7Validator.check_schema(schema)
        self.validator = jsonschema.Draft7Validator(schema)

    def test_every_sample_is_valid(self):
        self.assertGreaterEqual(len(samples()), 7)
        for name in samples():
            with self.subTest(name):
                report = load(os.path.join(FOLDER, name, "report.json"))
                self.assertEqual([], [f"{list(e.path)}: {e.message}" for e in self.validator.iter_errors(report)])

    def test_what_fuzzing_begins_with_is_valid(self):
        """Else it would never come past the check, to the writers."""
        folder = os.path.join(REPORTS, "fuzz", "corpus", "report")
        seeds = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
        self.assertGreaterEqual(len(seeds), 4)
        for name in seeds:
            with self.subTest(name):
                self.assertEqual([], [f"{list(e.path)}: {e.message}" for e in self.validator.iter_errors(load(os.path.join(folder, name)))])

    def test_what_is_no_report_is_refused(self):
        good = load(os.path.join(FOLDER, "orphaned-wait", "report.json"))
        changes = [("verdict", "kind", "deadlock"), ("verdict", "certainty", None), ("run", "seed", 5), ("run", "more", 1),
                   ("metrics", "threads", -1)]
        for section, key, value in changes:
            with self.subTest(f"{section}.{key}"):
                bad = copy.deepcopy(good)
                bad[section][key] = value
                self.assertFalse(self.validator.is_valid(bad))
        for key in good:
            with self.subTest(f"without {key}"):
                bad = {k: v for k, v in good.items() if k != key}
                self.assertFalse(self.validator.is_valid(bad))
        for stacks in ({}, [[]], [["main"]], [[-1]], [0]):
            with self.subTest(stacks=stacks):
                self.assertFalse(self.validator.is_valid({**good, "stacks": stacks}))


class JUnit(unittest.TestCase):
    def test_is_well_formed(self):
        if not shutil.which("xmllint"):
            self.skipTest("xmllint is not installed")
        for path in (os.path.join(FOLDER, "junit.xml"), os.path.join(REPORTS, "tests", "golden", "junit.xml")):
            subprocess.run(["xmllint", "--nonet", "--noout", path], check=True)


class Vendor(unittest.TestCase):
    def test_stands_as_published(self):
        folder = os.path.join(REPORTS, "html", "vendor")
        listed = {}
        with open(os.path.join(folder, "SHA256SUMS"), encoding="ascii") as file:
            for row in file:
                digest, name = row.split()
                listed[name] = digest
        self.assertEqual(set(listed), set(os.listdir(folder)) - {"SHA256SUMS", "README.md"})
        for name, digest in listed.items():
            with open(os.path.join(folder, name), "rb") as file:
                self.assertEqual(digest, hashlib.sha256(file.read()).hexdigest(), name)


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, as an HTML parser sees them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


class Page(unittest.TestCase):
    def page(self, name):
        with open(os.path.join(FOLDER, name, "report.html"), encoding="utf-8") as file:
            return file.read()

    def test_asks_for_nothing_from_outside(self):
        for name in samples():
            with self.subTest(name):
                text = self.page(name)
                for tag, attributes in Elements(text).found:
                    self.assertNotIn(tag, ("img", "iframe", "object", "embed", "link", "base", "form"))
                    self.assertFalse({"src", "href", "action", "style"} & set(attributes), (tag, attributes))
                    self.assertFalse([a for a in attributes if a.startswith("on")], (tag, attributes))
                # The one address is the name of SVG's namespace.
                urls = set(re.findall(r"https?://[^\"'\s\\]+", text.split("<script nonce", 1)[0]))
                self.assertEqual(set(), urls)
                self.assertNotIn("//# source", text)

    def test_scripts_never_write_html(self):
        for name in ("graph.js", "report.js"):
            with open(os.path.join(REPORTS, "html", name), encoding="utf-8") as file:
                text = file.read()
            for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setTimeout",
                         "fetch(", "XMLHttpRequest", "import("):
                self.assertNotIn(word, text, name)

    def test_chromium_draws_it(self):
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if not browser:
            self.skipTest("no Chromium here")
        for name in samples():
            with self.subTest(name), tempfile.TemporaryDirectory() as profile:
                drawn = subprocess.run(
                    [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--user-data-dir=" + profile, "--enable-logging=stderr", "--dump-dom",
                     "file://" + os.path.join(FOLDER, name, "report.html")],
                    capture_output=True, text=True, timeout=60, check=True)
                self.assertNotRegex(drawn.stderr, r"CONSOLE.*(Uncaught|Refused|Error)")
                self.assertIn('data-drawn="yes"', drawn.stdout)
                self.assertIn("<svg", drawn.stdout)
                self.assertNotIn("<script>alert", drawn.stdout)
                report = load(os.path.join(FOLDER, name, "report.json"))
                for process in report["processes"]:
                    for thread in process["threads"]:
                        for number in report["stacks"][thread["stack"]] if thread["stack"] is not None else []:
                            function = report["frames"][number]["function"]
                            if name != "hostile" and function:
                                self.assertIn(function, drawn.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = sys.argv.pop()
    with tempfile.TemporaryDirectory(prefix="wedge-samples-") as made:
        FOLDER = made
        subprocess.run([program, made], check=True)
        unittest.main(verbosity=1)
