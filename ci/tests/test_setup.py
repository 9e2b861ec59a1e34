#!/usr/bin/python3
"""ci/setup with real dpkg and apt: what it says and how it ends when packages are there, missing, and out of reach.

Nothing is ever installed here: the lists name what is installed already, or what no Debian has.
"""
import os
import shutil
import subprocess
import tempfile
import unittest

CI = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
NOBODY = 65534


def no_sources(folder):
    """A configuration under which apt knows no package source, and the environment that names it."""
    path = os.path.join(folder, "apt.conf")
    os.makedirs(os.path.join(folder, "lists", "partial"))
    with open(path, "w", encoding="utf-8") as file:
        file.write('Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/dev/null";\n'
                   f'Dir::State::lists "{folder}/lists";\nDir::Cache "{folder}/cache";\n')
    return {**os.environ, "APT_CONFIG": path}


def no_sudo(folder):
    """An environment whose PATH has every usual tool but sudo."""
    for place in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for name in os.listdir(place):
            target = os.path.join(folder, name)
            if name != "sudo" and not os.path.lexists(target):
                os.symlink(os.path.join(place, name), target)
    return {**os.environ, "PATH": folder}


class Setup(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wedge-setup-")
        os.chmod(self.folder.name, 0o755)
        self.addCleanup(self.folder.cleanup)
        # A copy that any user may read: the tree itself may stand below a home folder.
        os.mkdir(os.path.join(self.folder.name, "ci"))
        for name in ("setup", "lib.sh", "packages"):
            shutil.copy(os.path.join(CI, name), os.path.join(self.folder.name, "ci"))
        self.setup = os.path.join(self.folder.name, "ci", "setup")

    def run_setup(self, packages, *arguments, environment=None, user=None):
        path = os.path.join(self.folder.name, "packages")
        with open(path, "w", encoding="utf-8") as file:
            file.write(packages)
        return subprocess.run([self.setup, f"--packages={path}", *arguments], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env=environment, user=user)

    def test_nothing_missing(self):
        run = self.run_setup("bash build -  # the shell\n\n# a comment\ndpkg test 1.0\n")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(run.stdout, "ci/setup: for all: all 2 packages are there\n")

    def test_purpose_chooses(self):
        packages = "bash build -\nwedge-none-such test -\n"
        self.assertEqual(self.run_setup(packages, "--for=build", "--check").returncode, 0)
        for purpose in ("--for=test", "--for=all"):
            self.assertEqual(self.run_setup(packages, purpose, "--check").returncode, 3)

    def test_check_names_the_missing_in_one_line(self):
        run = self.run_setup("bash build -\nwedge-none-such build -\nbash test 999:1\n", "--check")
        self.assertEqual((run.returncode, run.stdout), (3, ""))
        self.assertEqual(run.stderr, "ci/setup: missing: wedge-none-such bash\n")

    def test_neither_root_nor_sudo(self):
        with tempfile.TemporaryDirectory(prefix="wedge-path-") as path:
            os.chmod(path, 0o755)
            user = NOBODY if os.geteuid() == 0 else None
            run = self.run_setup("wedge-none-such build -\n", environment=no_sudo(path), user=user)
        self.assertEqual(run.returncode, 3)
        self.assertEqual(run.stderr,
                         "ci/setup: missing, and neither root nor sudo to install them: wedge-none-such\n")

    @unittest.skipUnless(os.geteuid() == 0, "apt-get update needs root")
    def test_no_package_source(self):
        run = self.run_setup("wedge-none-such build -\nbash build -\n", environment=no_sources(self.folder.name))
        self.assertEqual(run.returncode, 3)
        self.assertEqual(run.stderr, "ci/setup: missing, and no package source has them: wedge-none-such\n")

    def test_malformed_lists(self):
        for row in ("bash\n", "bash build\n", "bash demo -\n", "bash build - more\n"):
            run = self.run_setup("dpkg build -\n" + row)
            self.assertEqual(run.returncode, 2, row)
            self.assertIn(":2: expected: NAME build|test AT-LEAST", run.stderr)

    def test_bad_usage(self):
        for argument in ("--for=demo", "--what", "more"):
            self.assertEqual(self.run_setup("bash build -\n", argument).returncode, 2, argument)

    def test_own_list_is_well_formed(self):
        run = subprocess.run([self.setup, "--check"], capture_output=True, text=True, check=False)
        self.assertIn(run.returncode, (0, 3), run.stderr)


if __name__ == "__main__":
    unittest.main()
