"""Races: interrupted in every way, continued and extended, they end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from importlib import import_module

import pytest

from thalweg.lab import plan, race
from thalweg.lab.store import Store
from thalweg.lab.trial import Outcome
from thalweg.lab.verdict import verdict

lab_race = import_module("thalweg.lab.race")


def table(p, folder):
    """What the store says, seconds aside."""
    with Store(folder) as store:
        outcomes = store.get(p.trials())
    assert len(outcomes) == len(p.trials())
    return verdict(p, {t: replace(o, seconds=0.0) for t, o in outcomes.items()})


def log_of(folder):
    """Have the store itself note whatever is written to it; returns a reader of the notes."""
    with Store(folder):
        pass
    with closing(sqlite3.connect(folder / "race.sqlite")) as db:
        db.executescript(
            "CREATE TABLE log (key); CREATE TRIGGER note AFTER INSERT ON trials"
            " BEGIN INSERT INTO log VALUES (new.key); END"
        )

    def read():
        with closing(sqlite3.connect(folder / "race.sqlite")) as db:
            return [key for (key,) in db.execute("SELECT key FROM log ORDER BY rowid")]

    return read


# Forks processes that race, and kills each at a random moment: before the store is open, while
# the workers start, between two outcomes. Prints how many outcomes each had seen.
KILLED = """
import os, random, select, signal, sys, time
from pathlib import Path
from thalweg.lab import plan, race

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
p = plan("digits", seeds=4, rates=5, epochs=1)

def start():
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        race(p, folder, 2, lambda outcomes, total: os.write(write, b"."))
        os._exit(0)
    os.close(write)
    return child, read

dice = random.Random(kills)
for _ in range(kills):
    child, read = start()
    wait = dice.choice([0, 0, 1, 1, 1, 1, 2, 3, 5])
    seen = sum(len(os.read(read, 1)) for _ in range(wait))
    end = time.monotonic() + dice.random() * ((0.05, 1.0)[wait] if wait < 2 else 0.01)
    while seen < 6 and select.select([read], [], [], max(0, end - time.monotonic()))[0]:
        seen += len(os.read(read, 1))  # of a quick machine's outcomes, leave some for the others
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the race was over: no kill"
    with os.fdopen(read) as said:
        print(max(0, seen - 1 + len(said.read())))
child, read = start()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_killed_again_and_again(tmp_path):
    p = plan("digits", seeds=4, rates=5, epochs=1)  # as above
    log = log_of(tmp_path / "killed")
    seen = {}
    for name, kills in (("killed", 8), ("undisturbed", 0)):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, tmp_path / name, str(kills)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seen[name] = [int(n) for n in done.stdout.split()]
    assert len(seen["killed"]) == 8
    assert min(seen["killed"]) == 0, "no kill came early"
    assert 0 < sum(seen["killed"]) < len(p.trials())
    # Each trial was written once: none was lost, and none run again that had been kept.
    assert sorted(log()) == sorted(t.key for t in p.trials())
    assert table(p, tmp_path / "killed") == table(p, tmp_path / "undisturbed")


RACE = """
import sys
from thalweg.lab import plan, race
p = plan("digits", "sgd,adam", seeds=1, rates=3, epochs=60)
race(p, sys.argv[1], 2, lambda outcomes, total: print(len(outcomes), flush=True))
"""


def test_interrupted_by_the_keyboard_then_extended(tmp_path):
    log = log_of(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", RACE, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would what is started from it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with parent:
        assert parent.stdout.readline() == "0\n"
        assert parent.stdout.readline() == "1\n"
        os.killpg(parent.pid, signal.SIGINT)
        said, errors = parent.communicate(timeout=10)
    assert parent.returncode == -signal.SIGINT  # Python's own way to end on Ctrl-C
    assert errors.endswith("KeyboardInterrupt\n")
    assert errors.count("Traceback") == 1, "the workers have nothing to say"
    before = log()
    assert max(map(int, said.split()), default=1) <= len(before) < 6

    p = plan("digits", "sgd,adam", seeds=1, rates=3, epochs=60)
    v = race(p, tmp_path, workers=2)
    assert sorted(log()) == sorted(t.key for t in p.trials())
    assert log()[: len(before)] == before
    assert v.finished == 6

    larger = plan("digits", "sgd,adam", seeds=2, rates=3, epochs=60)
    calls = []
    race(larger, tmp_path, progress=lambda outcomes, total: calls.append((len(outcomes), total)))
    assert calls == [(n, 12) for n in range(6, 13)]
    assert sorted(log()) == sorted(t.key for t in larger.trials())
    assert {t.seed for t in larger.trials() if t.key in log()[6:]} == {1}


@pytest.fixture
def runs(monkeypatch):
    """Have trials run by a stand-in; gives the trials of each race and who is to fail."""
    asked, failing = [], set()

    def run(trials, workers, sources):
        del workers, sources
        asked.append(list(trials))
        for t in trials:
            error = f"ValueError: {t.algorithm} cannot" if t.algorithm in failing else ""
            yield t, Outcome(90.0, 90.0, 1, 0.1, False, error, (2.0, 1.0), (2.0, 1.0))

    monkeypatch.setattr(lab_race, "run", run)
    return asked, failing


def test_failed_trials_are_named_and_tried_again(tmp_path, runs):
    asked, failing = runs
    p = plan("digits", "sgd,adam", seeds=2, rates=1)
    failing.add("adam")
    v = race(p, tmp_path)
    assert [s.algorithm.name for s in v.standings] == ["sgd"]
    assert v.sentence().endswith(
        "Adam is left out: 2 of 2 trainings failed (rate 0.003, seed 0: ValueError: adam cannot)."
    )
    failing.clear()
    v = race(p, tmp_path)
    assert {t.algorithm for t in asked[1]} == {"adam"}
    assert len(v.standings) == 2
    assert not v.left_out
    race(p, tmp_path)
    assert asked[2] == []


def test_other_settings_are_other_trials(tmp_path, runs):
    asked, _ = runs
    for epochs in (1, 2, 1):
        race(plan("digits", "sgd", seeds=1, rates=1, epochs=epochs), tmp_path)
    assert [[t.epochs for t in trials] for trials in asked] == [[1], [2], []]


def test_an_error_of_the_progress_display_keeps_what_there_is(tmp_path, runs):
    del runs
    p = plan("digits", "sgd", seeds=5, rates=1)

    def progress(outcomes, total):
        del total
        if len(outcomes) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        race(p, tmp_path, progress=progress)
    with Store(tmp_path) as store:
        assert len(store.get(p.trials())) == 3


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers(tmp_path, workers):
    with pytest.raises(ValueError, match=f"workers must be at least 1, not {workers}"):
        race(plan("digits"), tmp_path / "new", workers)
    assert not (tmp_path / "new").exists()
