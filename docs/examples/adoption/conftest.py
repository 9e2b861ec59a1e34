"""pytest and wedge: copy this into your conftest.py.

`watched` runs a program that may hang. A hang fails the test at once, with the verdict as its message; the report stays in
the test's tmp_path. For tests that hang inside Python itself, run all of pytest under it: `wedge watch -- pytest`.
"""
import json
import subprocess

import pytest


@pytest.fixture
def watched(tmp_path):
    """watched([program, argument, …], limit="30s", **options of subprocess.run) -> subprocess.CompletedProcess"""

    def run(command, limit="60s", **options):
        out = tmp_path / "wedge-out"
        done = subprocess.run(["wedge", "watch", "-q", "-o", str(out), "--limit", limit, "--", *command], check=False,
                              **options)
        if done.returncode == 124 and (out / "report.json").exists():
            verdict = json.loads((out / "report.json").read_text())["verdict"]
            pytest.fail(f"{verdict['kind']} ({verdict['certainty']}): {verdict['summary']}\n{out}/report.html", pytrace=False)
        return done

    return run
