#!/usr/bin/python3
"""What the documentation names exists, and what exists is documented.

usage: test_facts.py BUILD_FOLDER
"""
import glob
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = "build/release"
MARKDOWN = [os.path.join(ROOT, f) for f in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    glob.glob(os.path.join(ROOT, "docs/*.md")))
PAGES = {os.path.basename(f)[:-len(".scd")]: f for f in glob.glob(os.path.join(ROOT, "docs/man/*.scd"))}
# Words of --help that argp adds by itself.
ARGP_OWN = {"--help", "--usage", "--version"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def help_of(*verb):
    run = subprocess.run([os.path.join(BUILD, "bin", "wedge"), *verb, "--help"], capture_output=True, text=True,
                         check=True, stdin=subprocess.DEVNULL)
    return run.stdout


def verbs():
    return re.findall(r"^  ([a-z]+) ", help_of().split("Examples:")[0], re.M)


def options_of_help(text):
    """The long options that stand at the start of an entry of an argp help text."""
    return set(re.findall(r"^\s+(?:-\w, +)?(--[a-z-]+)", text, re.M)) - ARGP_OWN


def options_of_page(path):
    """The long options that head an entry of a page's options section."""
    sections = re.findall(r"^# [A-Z ]*OPTIONS\n(.*?)(?=^# |\Z)", read(path), re.M | re.S)
    return set(re.findall(r"^\*.*?(--[a-z-]+)", "\n".join(sections), re.M))


class Facts(unittest.TestCase):
    def test_verbs_have_pages(self):
        self.assertGreaterEqual(len(verbs()), 5)
        for verb in verbs():
            self.assertIn(f"wedge-{verb}.1", PAGES)
            self.assertIn(f"*wedge-{verb}*(1)", read(PAGES["wedge.1"]))

    def test_options_are_those_of_help(self):
        common = options_of_page(PAGES["wedge.1"])
        self.assertTrue(common)
        for verb in verbs():
            with self.subTest(verb):
                own = options_of_help(help_of(verb)) - common
                self.assertEqual(own, options_of_page(PAGES[f"wedge-{verb}.1"]) - ARGP_OWN)
                self.assertLessEqual(common - ARGP_OWN, options_of_help(help_of(verb)))

    def test_pool_settings_are_the_librarys(self):
        made = subprocess.run([os.path.join(ROOT, "docs/man/make-pool-settings"),
                               os.path.join(BUILD, "lib", "libwedge-pool.so")], capture_output=True, text=True,
                              check=True, stdin=subprocess.DEVNULL).stdout
        page = read(PAGES["wedge-pool.3"])
        self.assertEqual(page.split("make-pool-settings from here\n")[1].split("; to here")[0], made,
                         "the header or the table has changed: docs/man/make-pool-settings LIBRARY --write")

    def test_pool_functions_have_a_line(self):
        header = read(os.path.join(ROOT, "pool/include/wedge/pool.h"))
        functions = re.findall(r"^WEDGE_POOL_API [^;(]*?\b(wedge_pool_\w+)\(", header, re.M)
        self.assertGreater(len(functions), 10)
        synopsis = read(PAGES["wedge-pool.3"]).split("# DESCRIPTION")[0]
        self.assertEqual(sorted(functions), sorted(re.findall(r"\*(wedge_pool_\w+)\*\(", synopsis)))

    def test_pool_demo_options_are_those_of_help(self):
        demo = os.path.join(BUILD, "bin", "wedge-pool-demo")
        helped = subprocess.run([demo, "--help"], capture_output=True, text=True, check=True,
                                stdin=subprocess.DEVNULL).stdout
        settings = subprocess.run([demo, "--print-settings"], capture_output=True, text=True, check=True,
                                  stdin=subprocess.DEVNULL).stdout
        keys = {"--" + line.split("=")[0].replace("_", "-") for line in settings.splitlines()}
        sections = re.findall(r"^# OPTIONS\n(.*?)(?=^# )", read(PAGES["wedge-pool-demo.1"]), re.M | re.S)
        self.assertEqual(options_of_help(helped), keys | set(re.findall(r"\*(--[a-z-]+)\*=?", re.sub(
            r"(?m)^\t.*", "", sections[0]))))

    def test_pages_name_pages_that_exist(self):
        for name, path in PAGES.items():
            for other, section in re.findall(r"\*(wedge[a-z-]*)\*\(([1-9])\)", read(path)):
                self.assertIn(f"{other}.{section}", PAGES, f"{name} names {other}({section})")

    def test_pages_have_their_sections(self):
        for name, path in PAGES.items():
            text = read(path)
            title, section = name.rsplit(".", 1)
            self.assertTrue(text.startswith(f"{title}({section})"), name)
            for wanted in ("# NAME", "# SYNOPSIS", "# DESCRIPTION", "# SEE ALSO"):
                self.assertIn(f"\n{wanted}\n", text, name)

    def test_links_lead_somewhere(self):
        for path in MARKDOWN:
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(path)):
                if "://" not in target:
                    self.assertTrue(os.path.exists(os.path.join(os.path.dirname(path), target)),
                                    f"{os.path.relpath(path, ROOT)} links {target}")

    def test_scripts_that_are_named_exist(self):
        for path in [*MARKDOWN, *PAGES.values()]:
            for script in re.findall(r"\bci/[a-z][a-z.-]*[a-z]\b", read(path)):
                self.assertTrue(os.path.exists(os.path.join(ROOT, script)),
                                f"{os.path.relpath(path, ROOT)} names {script}")

    def test_verdicts_are_the_detectors(self):
        words = re.search(r"wedge_verdict_words\[[^]]*\]\s*=\s*\{(.*?)\}", "\n".join(
            read(f) for f in glob.glob(os.path.join(ROOT, "detector/**/*.c"), recursive=True)), re.S)
        self.assertIsNotNone(words)
        real = re.findall(r'"([a-z-]+)"', words.group(1))
        table = read(os.path.join(ROOT, "docs/verdicts.md")).split("## Kinds")[1].split("<!-- kinds end -->")[0]
        self.assertEqual(re.findall(r"^\| `([a-z-]+)` \|", table, re.M), real)

    def test_rules_have_their_two_programs(self):
        factory = dict(re.findall(r'{"([a-z0-9-]+)", \w+, (true|false)},', "\n".join(
            read(f) for f in glob.glob(os.path.join(ROOT, "detector/tests/programs/factory*.c")))))
        asked = set(re.findall(r'"([a-z0-9-]+)"', "\n".join(
            read(f) for f in glob.glob(os.path.join(ROOT, "detector/tests/test_*.c")))))
        rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| (`[^|]+`) \|$", read(os.path.join(ROOT, "docs/verdict-rules.md")), re.M)
        self.assertGreater(len(rows), 20)
        for row in rows:
            for cell, healthy in zip(row, ("true", "false")):
                for case in re.findall("`([^`]+)`", cell):
                    self.assertEqual(factory.get(case), healthy, case)
                    self.assertIn(case, asked)

    def test_every_man_page_is_in_the_index(self):
        pages = sorted(os.path.basename(f) for f in glob.glob(os.path.join(ROOT, "docs/man/*.scd")))
        listed = re.findall(r"^\| \[[^]]+\]\(man/([^)]+)\) \|", read(os.path.join(ROOT, "docs/index.md")), re.M)
        self.assertEqual(sorted(listed), pages)
        also = read(os.path.join(ROOT, "docs/man/wedge.1.scd")).split("# SEE ALSO")[1]
        for verb in verbs():
            self.assertIn(f"*wedge-{verb}*(1)", also)

    def test_rows_of_tables_are_one_line(self):
        for name in glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "*/*.md")):
            for number, line in enumerate(read(name).splitlines(), 1):
                if line.startswith("|"):
                    self.assertTrue(line.rstrip().endswith("|"), f"{name}:{number}")

    def test_scenarios_stand_in_the_hang_report(self):
        files = glob.glob(os.path.join(ROOT, "scenarios/hang-report/*.yaml"))
        rows = re.findall(r"\|((?: `[0-9a-z.-]+`,?)+) \|$", read(os.path.join(ROOT, "docs/hang-report.md")), re.M)
        listed = re.findall("`([^`]+)`", " ".join(rows))
        self.assertEqual(sorted(listed), sorted(os.path.basename(f)[:-len(".yaml")] for f in files))

    def test_corpus_is_the_table(self):
        """A row for each file, with its verdict, cure and reports; and a file for each case of the program."""
        rows = re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \| ([a-z-]+) \| ([^|]+) \| ([^|]+) \|$",
                          read(os.path.join(ROOT, "docs/corpus.md")), re.M)
        cases = subprocess.run([os.path.join(BUILD, "bin", "wedge-corpus"), "--list"], capture_output=True, text=True,
                               check=True, stdin=subprocess.DEVNULL).stdout.split()
        files = glob.glob(os.path.join(ROOT, "scenarios/corpus/*.yaml"))
        self.assertEqual(sorted(cases), sorted(os.path.basename(f)[:-len(".yaml")] for f in files))
        self.assertEqual(sorted(row[0] for row in rows), sorted(cases))
        for name, verdict, cure, reference in rows:
            text = read(os.path.join(ROOT, "scenarios/corpus", name + ".yaml"))
            for line in (f"name: corpus/{name}", f"  kind: {verdict}", f"  cure: {cure}", f"reference: {reference}"):
                self.assertIn("\n" + line + "\n", text, name)
            self.assertRegex(text, rf"\ncommand: \$\{{BUILD\}}/bin/wedge-corpus {name}\n")

    def test_hangs_say_who(self):
        """Each hang pins its kind, how certain it is, how far it goes, and who has to do with it."""
        files = glob.glob(os.path.join(ROOT, "scenarios/*/*.yaml"))
        self.assertGreater(len(files), 90)
        for file in files:
            expect = re.search(r"^expect:\n((?: .*\n)+)", read(file), re.M).group(1)
            if "  kind: finished\n" not in expect:
                self.assertRegex(expect, r"(?s)^(  #.*\n)?  kind: .*  certainty: .*  scope: .*  (culprit|victim): \{.+\}\n", file)

    def test_scenarios_come_to_what_they_expect(self):
        rows = {(name, check): kind for name, check, kind in re.findall(
            r"^\| ([0-9a-z.-]+) \| ([a-z]+) \| ([a-z-]+) \|.*\|$", read(os.path.join(ROOT, "docs/hang-report.md")), re.M)}
        expected = {}
        for file in glob.glob(os.path.join(ROOT, "scenarios/hang-report/*.yaml")):
            name = os.path.basename(file)[:-len(".yaml")]
            for check, block in re.findall(r"^(expect|proposed|twin|hardened):\n((?: .*\n)+)", read(file), re.M):
                check = "hang" if check == "expect" else check
                expected[name, check] = re.search(r"^ +kind: ([a-z-]+)$", block, re.M).group(1)
        self.assertGreater(len(expected), 100)
        self.assertEqual(rows, expected, "docs/make-hang-report RESULT.json --write")

    def test_plan_words_are_the_compilers(self):
        page = read(PAGES["wedge-plan.5"])
        table = re.search(r"wedge_plan_actions\[\]\s*=\s*\{(.*?)\}", "\n".join(
            read(f) for f in glob.glob(os.path.join(ROOT, "faults/*.c"))), re.S)
        self.assertIsNotNone(table)
        actions = set(re.findall(r'"([a-z]+)"', table.group(1)))
        section = page.split("# ACTION")[1].split("The fault comes before")[0]
        documented = set(re.findall(r"^(?:\*([a-z]+)[^*\n]*\*)", section, re.M))
        documented |= set(re.findall(r", \*([a-z]+)\*", section))
        self.assertEqual(documented, actions)
        families = {row[2] for row in re.findall(r"^[FHV]\(([^,]+), (\w+), (\w+), (?:MINUS1|CODE|NULLED|THRD|LEFT|PLAIN|VOID)", "".join(
            read(f) for f in glob.glob(os.path.join(ROOT, "faults/functions/*.def"))), re.M)}
        self.assertTrue(families)
        for family in families:
            self.assertRegex(page, rf"\b{family}\b")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        BUILD = sys.argv.pop(1)
    unittest.main()
