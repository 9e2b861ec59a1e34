#!/usr/bin/python3
"""wedge run, when it is ended: by a signal at any instant it says so (128+N), by SIGKILL it cannot; either way what it had found out stays
behind, whole and called incomplete, no process lives on, nothing is left in /dev/shm, and the next run works.

A player of a check that is killed alone takes its check with it, and the run goes on.

usage: test_run_ends.py WEDGE sample | signals | kills ROUNDS | players ROUNDS     Prints the seed; WEDGE_TEST_SEED sets it.
       sample: each signal at one instant, and a few kills
"""
import atexit
import glob
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as tree

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../ci"))
import session  # noqa: E402

WEDGE = os.path.abspath(sys.argv[1])
DEADLINE_S = 60
LOST = "ended without a word" # of a check whose player was killed
SCENARIO = """\
format: wedge.scenario/1
name: ends/{name}
title: Both queues are full
severity: low
learn: a hang with many threads
command: ${{BUILD}}/bin/wedge-pool-demo --preset=reported --processes=4 --threads=16 --queue=4 --tasks=100 --results=iterate
plan: |
  plan 1
  f1 * pool.result.room nth=1 -> full
expect: {{kind: mutual-backpressure}}
twin:
  cure: results may grow
  add: [--set, result_bound=none]
  expect: {{kind: finished}}
"""


def session_processes(session):
    """The live processes of a session, and those of its runs that left it (the guard): a run's mark is in their environment."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(os.path.dirname(stat) + "/environ", "rb") as file:
                marked = b"WEDGE_TEST_ENDS=%d\0" % os.getpid() in file.read()
        except OSError:
            continue
        if fields[0] not in "ZX" and (int(fields[3]) == session or marked):
            found.append(int(stat.split("/")[2]))
    return found


def shared_memory():
    return {name for name in os.listdir("/dev/shm") if "wedge" in name}


class Run:
    def __init__(self, folder, *more):
        self.dir = os.path.join(folder, "out")
        self.files = []
        for name in ("one", "two"):
            self.files.append(os.path.join(folder, name + ".yaml"))
            with open(self.files[-1], "w", encoding="utf-8") as file:
                file.write(SCENARIO.format(name=name))
        self.shm = shared_memory()
        self.log = os.path.join(folder, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([WEDGE, "run", "-o", self.dir, "--jobs", "2", *more, *self.files],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, "WEDGE_TEST_ENDS": str(os.getpid())})
        atexit.register(self.process.kill) # of one that fails; its players hear of it, and end

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def result(self):
        with open(os.path.join(self.dir, "result.json"), encoding="utf-8") as file:
            return json.load(file)

    def wait_until(self, what, seen):
        end = time.monotonic() + DEADLINE_S
        while not seen():
            assert time.monotonic() < end, f"{what}: never in {DEADLINE_S} s\n{self.said()}"
            assert self.process.poll() is None, f"{what}: the run ended first\n{self.said()}"

    def check_left(self, complete):
        """Nothing runs, nothing is half written, and what is there says what it is."""
        end = time.monotonic() + DEADLINE_S
        while (left := session_processes(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.01)  # the guards need a moment to end what a killed wedge left
        assert not left, f"still there: {left}"
        # Other tests put files there as well and take them away again: what is ours stays.
        left = shared_memory() - self.shm
        while left & shared_memory() and time.monotonic() < end:
            time.sleep(0.01)
        assert not left & shared_memory(), f"in /dev/shm: {left & shared_memory()}"
        result = self.result()
        assert result["complete"] is complete, result
        suite = tree.parse(os.path.join(self.dir, "junit.xml")).getroot()
        errors = [case for case in suite if case.find("error") is not None]
        assert len(errors) == (0 if complete else 1), tree.tostring(suite)
        assert int(suite.get("tests")) == len(suite), tree.tostring(suite)
        with sqlite3.connect(self.dir + "/runs.db") as store:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            last = store.execute("SELECT id, complete, exit FROM runs ORDER BY id DESC").fetchone()
            told = store.execute("SELECT COUNT(*) FROM checks WHERE run = ?", last[:1]).fetchone()[0]
        store.close()
        assert bool(last[1]) is complete, last
        # result.json is written first: a kill may come between the two.
        assert told <= len(result["checks"]) <= told + 1, (told, len(result["checks"]))
        shown = subprocess.run([WEDGE, "history", "-o", self.dir, "--json"], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, check=True)
        assert json.loads(shown.stdout)["runs"][0]["checks"] == told, shown.stdout
        # Where a player was killed the files of its round before that are begun anew, or there were none.
        lost = {(check["scenario"], check["check"]) for check in result["checks"] if LOST in check["message"]}
        for check in result["checks"]:
            assert "interrupted" not in check["message"], check
            if (check["scenario"], check["check"]) not in lost:
                with open(os.path.join(check["files"], "report.json"), encoding="utf-8") as file:
                    json.load(file)
        return result


def is_stopped(run):
    """A program of the run is held by a tracer. It is so for a millisecond: whoever reads all of /proc comes too late."""
    return any(map(is_held, below(run.process.pid)))


def is_writing(run):
    """A report is on its way to its place."""
    return bool(glob.glob(run.dir + "/ends/*/hang/.report.*"))


# At which instant: how it is known.
INSTANTS = {
    "at the beginning": lambda run: os.path.exists(run.dir + "/result.json"),
    "while a target is stopped for its stacks": is_stopped,
    "while a report is written": is_writing,
    "between checks": lambda run: os.path.exists(run.dir + "/result.json") and len(run.result()["checks"]) > 2,
}


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
ALL = [(number, instant) for number in SIGNALS for instant in INSTANTS]


def signals(which):
    for number, instant in which:
        with tempfile.TemporaryDirectory(prefix="wedge-ends-") as folder:
            run = Run(folder, "--repeat", "100000", "--jobs", "1" if "stopped" in instant else "2")
            run.wait_until(instant, lambda: INSTANTS[instant](run))
            # As Ctrl-C does it, to the whole group; the others to wedge alone.
            (os.killpg if number == signal.SIGINT else os.kill)(run.process.pid, number)
            status = run.process.wait(DEADLINE_S)
            assert status == 128 + number, f"{number} {instant}: status {status}\n{run.said()}"
            result = run.check_left(complete=False)
            assert result["exit"] == 128 + number, result
            assert number.name in run.said(), run.said()
            assert not glob.glob(run.dir + "/**/.*", recursive=True), os.listdir(run.dir)
            print(f"{number.name} {instant}: as promised, {len(result['checks'])} checks kept", flush=True)
    nohup()


def nohup():
    """A signal that is ignored when wedge starts is nobody's business, neither its own nor its players'."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with tempfile.TemporaryDirectory(prefix="wedge-ends-") as folder:
            run = Run(folder, "--repeat", "2")
            run.wait_until("the first check", lambda: os.path.exists(run.dir + "/result.json")
                           and run.result()["checks"])
            os.killpg(run.process.pid, signal.SIGHUP)
            assert run.process.wait(DEADLINE_S) == 0, run.said()
            run.check_left(complete=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    print("SIGHUP, ignored: as promised", flush=True)


def kills(rounds):
    seed = int(os.environ.get("WEDGE_TEST_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    kept = 0
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="wedge-ends-") as folder:
            run = Run(folder, "--repeat", "100000")
            run.wait_until("the first file", lambda: os.path.exists(run.dir + "/result.json"))
            try:
                run.process.wait(chance.uniform(0, 1.5))
            except subprocess.TimeoutExpired:
                pass
            run.process.kill()
            run.process.wait(DEADLINE_S)
            kept += len(run.check_left(complete=False)["checks"])
            if number in (1, rounds):
                again = Run(folder)
                assert again.process.wait(DEADLINE_S) == 0, again.said()
                again.check_left(complete=True)
                assert not (left := glob.glob(run.dir + "/**/.*", recursive=True)), left
    assert kept, "no check was ever kept"
    print(f"{rounds} kills: as promised, {kept} checks kept", flush=True)


def start_of(pid):
    """When a live process began; None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def below(pid):
    """Who descends from a process, by what its first threads forked: quick enough to meet a stop, which takes a millisecond."""
    found = [pid]
    for each in found:
        try:
            with open(f"/proc/{each}/task/{each}/children", "rb", buffering=0) as file:
                found += [int(child) for child in file.read().split()]
        except OSError:
            pass # gone
    return found[1:]


def is_held(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return b") t " in file.read(64)
    except OSError:
        return False


def player_at_work(run, held):
    """One who has begun a check's command; with `held` one whose command stands still for its stacks. None: nobody now."""
    for player in below(run.process.pid):
        deeper = below(player)
        if len(deeper) > 4 and (not held or any(map(is_held, deeper))):
            return player
    return None


def players(rounds):
    """What somebody played who was killed is ended by its guard, while the others play on."""
    seed = int(os.environ.get("WEDGE_TEST_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    killed = ended = 0
    while killed < rounds:
        with tempfile.TemporaryDirectory(prefix="wedge-ends-") as folder:
            run = Run(folder, "--repeat", "100000", "--keep-going")
            here = 0
            while killed < rounds and here < 3: # of four checks: the run itself is not to end
                if here: # the one that is stopped for its stacks is a hang, which there may be no more of
                    time.sleep(chance.uniform(0, 0.5))
                player = None

                def seen(held=not here):
                    nonlocal player
                    player = player_at_work(run, held)
                    return player
                run.wait_until("a stop" if not here else "a player at work", seen)
                os.kill(player, signal.SIGSTOP) # it is to have the same processes until it is killed
                processes = [(pid, start_of(pid)) for pid in session.descendants(player)]
                os.kill(player, signal.SIGKILL)
                run.wait_until("the end of what it played",
                               lambda those=processes: all(start is None or start_of(pid) != start for pid, start in those))
                ended += len(processes)
                killed += 1
                here += 1
                run.wait_until("its check", lambda n=here: lost_checks(run.result()) == n)
            run.process.terminate()
            assert run.process.wait(DEADLINE_S) == 128 + signal.SIGTERM, run.said()
            assert lost_checks(run.check_left(complete=False)) == here
    assert ended >= killed, "hardly anybody was below them"
    print(f"{killed} players killed, {(killed + 2) // 3} of them in a stop: as promised, {ended} processes ended", flush=True)


def lost_checks(result):
    return sum(LOST in check["message"] for check in result["checks"])


def main():
    what = sys.argv[2]
    if what == "signals":
        signals(ALL)
    elif what == "kills":
        kills(int(sys.argv[3]))
    elif what == "players":
        players(int(sys.argv[3]))
    else:
        signals(zip(SIGNALS, INSTANTS))
        kills(6)
        players(2)


if __name__ == "__main__":
    main()
