#!/usr/bin/python3
"""wedge run --ablate: what is known of single cures comes out, the same in JSON, text and page.

usage: test_ablate.py WEDGE small | whole
"""
import json
import os
import subprocess
import sys
import tempfile
import time

WEDGE = os.path.abspath(sys.argv[1])
# preset, scenario, setting: the outcome that the setting must have. By docs/pool-settings.md, which says why.
KNOWN = {
    "reported": {
        "hang-report/2.2": {"": "hangs", "result_bound=none": "finishes", "timeouts=once": "hangs", "twin": "finishes"},
        "hang-report/6": {"": "loses", "alarms=held": "finishes", "timeouts=once": "loses", "twin": "finishes"},
        "hang-report/2.3d": {"": "hangs", "final_limit=300": "finishes", "close_by=flag": "hangs", "twin": "finishes"},
    },
    "hardened": {
        "hang-report/6": {"": "finishes", "alarms=instant": "loses"},
        "hang-report/2.3d": {"": "finishes", "final_limit=never": "hangs", "start_limit=never": "finishes"},
    },
}
GOOD = {"hangs", "finishes", "contends", "loses", "invalid", "unclear"}


def cells(scenario):
    found = {cell["set"]: cell for cell in [scenario["as_is"], *scenario["cures"]]}
    if scenario["twin"]:
        found["twin"] = scenario["twin"]
    return found


def ablate(folder, preset, *names):
    run = subprocess.run([WEDGE, "run", f"--ablate={preset}", "-o", folder, *names], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"status {run.returncode}\n{run.stderr}"
    with open(folder + "/result.json", encoding="utf-8") as file:
        model = json.load(file)
    assert model["complete"] and model["played"] == model["cells"], model
    assert model["preset"] == preset
    with open(folder + "/ablation.html", encoding="utf-8") as file:
        page = file.read()
    for scenario in model["scenarios"]:
        assert len(scenario["cures"]) == len(model["cures"]), scenario
        assert scenario["name"] in run.stdout, run.stdout
        for where, cell in cells(scenario).items():
            assert cell["outcome"] in GOOD, f"{scenario['name']} {where}: {cell}"
            if cell["files"]:
                assert os.path.exists(f"{folder}/{cell['files']}/report.json"), cell
                assert f'href="{cell["files"]}/report.html"' in page, cell
    past = subprocess.run([WEDGE, "history", f"--ablate={preset}", "--json", "-o", folder], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=True)
    past = json.loads(past.stdout)
    assert [run_before["complete"] for run_before in past["runs"]] == [True], past["runs"]
    assert len(past["checks"]) == model["cells"], (len(past["checks"]), model["cells"])
    stored = {(check["scenario"], check["check"]): list(check["verdicts"]) for check in past["checks"]}
    for scenario in model["scenarios"]:
        for where, cell in cells(scenario).items():
            word = cell["verdict"] if cell["outcome"] in ("hangs", "contends") else cell["outcome"]
            assert stored[scenario["name"], where or "as-is"] == [word], (where, cell)
    for cure in model["cures"]:
        assert f'{cure["setting"]}={cure["value"]}' in run.stdout and cure["setting"] in page, cure
    return model


def check_known(model):
    checked = 0
    for scenario in model["scenarios"]:
        for where, outcome in KNOWN[model["preset"]].get(scenario["name"], {}).items():
            cell = cells(scenario)[where]
            assert cell["outcome"] == outcome, f"{scenario['name']} {where or 'as it is'}: {cell}"
            checked += 1
    assert checked == sum(len(known) for known in KNOWN[model["preset"]].values()), checked


def main():
    for preset, known in KNOWN.items():
        with tempfile.TemporaryDirectory(prefix="wedge-ablate-") as folder:
            began = time.monotonic()
            model = ablate(folder, preset, *(known if sys.argv[2] == "small" else []))
            check_known(model)
            if sys.argv[2] == "whole":
                assert len(model["scenarios"]) > 20, model
                if preset == "reported":  # no scenario whose twin does what its hang does
                    for scenario in model["scenarios"]:
                        assert scenario["twin"]["outcome"] in ("finishes", "loses"), scenario
            print(f"{preset}: {model['cells']} combinations in {time.monotonic() - began:.0f} s, as promised")
    wrong = subprocess.run([WEDGE, "run", "--ablate=robust", "2.2"], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, check=False, cwd="/tmp")
    assert wrong.returncode == 2 and "reported, proposed, hardened" in wrong.stderr, wrong


if __name__ == "__main__":
    main()
