"""Workers: the same numbers from any of them, and an outcome for every trial whatever they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from thalweg.lab import plan
from thalweg.lab.plan import FORMAT, Trial
from thalweg.lab.trial import Outcome, train

lab_run = import_module("thalweg.lab.run")
run = lab_run.run


def children(of: int) -> list[int]:
    """Live child processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == of and state != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, seconds=5.0):
    """Whether none of these runs any more, or will not in a moment."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def numbers(results):
    return {trial: replace(outcome, seconds=0.0) for trial, outcome in results}


def here(trials):
    """The same trials in this process, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return numbers((t, train(t)) for t in trials)
    finally:
        torch.set_num_threads(threads)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


def test_the_same_numbers_from_any_worker_in_any_order(tmp_path, monkeypatch):
    trials = plan("digits", "sgd,adam,rmsprop", seeds=2, rates=3, epochs=2).trials()
    trials += plan("least-squares", "sgd", seeds=1, rates=3, epochs=2).trials()
    (tmp_path / "json.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(tmp_path)
    expected = here(trials)
    assert len({repr(o) for o in expected.values()}) == len(trials)
    assert numbers(run(trials, 2)) == expected
    assert numbers(run(trials[::-1], 1)) == expected


@linux
def test_a_killed_workers_trial_goes_to_a_new_one():
    trials = plan("digits", "sgd", seeds=4, rates=1, epochs=40).trials()
    results = run(trials, 1)
    found = [next(results)]
    (worker,) = children(os.getpid())
    time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    found += results
    assert [t for t, _ in found] == trials
    assert numbers(found) == here(trials)


def test_a_trial_that_raises_is_an_outcome():
    bad = Trial("digits", "adam", '{"eps": -1.0}', 0.003, 0, 1)
    good = replace(bad, options="{}")
    found = dict(run([bad, good], 1))
    assert found[bad].error.startswith("ValueError: ")
    assert "eps" in found[bad].error
    assert not found[good].error


# What stands in for a worker, and does with a trial what its algorithm says.
STAND_IN = """
import json, os, signal, sys, time

def answer(outcome, **other):
    print(json.dumps([json.dumps([FORMAT, *(trial | other).values()]), outcome]), flush=True)

assert json.loads(sys.stdin.readline()) == [], "no files"
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    trial = json.loads(line)
    match trial["algorithm"]:
        case "exit": os._exit(7)
        case "killed": os.kill(os.getpid(), signal.SIGKILL)
        case "half": sys.stdout.write('{"validation": 9'); sys.stdout.flush(); os._exit(1)
        case "garbage": print("free(): invalid pointer", flush=True)
        case "hang": time.sleep(1000)
        case "once":
            mark = json.loads(trial["options"])
            if not os.path.exists(mark): open(mark, "w").close(); os._exit(7)
            answer(OUTCOME)
        case "threads": answer(OUTCOME | {"error": os.environ["OMP_NUM_THREADS"]})
        case "another": answer(OUTCOME, seed=99)
        case "damaged": answer(OUTCOME | {"validation": "1.0"})
        case _: answer(OUTCOME)
"""
OUTCOME = Outcome(1.0, 1.0, train_curve=(1.0,), validation_curve=(1.0,))
STAND_IN = STAND_IN.replace("OUTCOME", repr(vars(OUTCOME))).replace("FORMAT", repr(FORMAT))


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(lab_run, "COMMAND", (sys.executable, "-S", "-c", STAND_IN))


def does(what, seed=0, options="{}"):
    return Trial("digits", what, options, 0.1, seed, 1)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("exit", "its process ended with code 7, 2 times"),
        ("killed", "its process was ended by signal 9 (Killed), 2 times"),
        ("half", "its process ended with code 1, 2 times"),
        ("garbage", "its process gave no answer but a line of its own, 2 times"),
        ("another", "its process gave no answer but a line of its own, 2 times"),
        ("damaged", "its process gave no answer but a line of its own, 2 times"),
    ],
)
def test_a_trial_that_ends_its_process_fails_alone(what, error, workers):
    bad, good = [does(what, i) for i in range(3)], [does("train", i) for i in range(5)]
    found = dict(run([*bad[:1], *good, *bad[1:]], workers))
    assert {t: o.error for t, o in found.items()} == dict.fromkeys(bad, error) | dict.fromkeys(
        good, ""
    )


@pytest.mark.usefixtures("stand_in")
def test_a_second_try_may_succeed(tmp_path):
    trial = does("once", options=json.dumps(str(tmp_path / "mark")))
    assert list(run([trial], 1)) == [(trial, OUTCOME)]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (
            ("-c", "raise SystemExit(3)"),
            "no worker could be started: its process ended with code 3",
        ),
        (None, "FileNotFoundError"),
    ],
)
def test_workers_that_do_not_start_end_the_race(monkeypatch, command, error):
    monkeypatch.setattr(
        lab_run, "COMMAND", (sys.executable, "-S", *command) if command else ("/none",)
    )
    trials = [does("train", i) for i in range(200)]
    start = time.monotonic()
    found = dict(run(trials, 2))
    assert found.keys() == set(trials)
    for outcome in found.values():
        assert error in outcome.error
    assert time.monotonic() - start < 5


@pytest.mark.usefixtures("stand_in")
def test_one_thread_per_worker(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert [o.error for _, o in run([does("threads")], 1)] == ["1"]


@pytest.mark.usefixtures("stand_in")
def test_no_trials_no_workers():
    assert list(run([], 2)) == []


@linux
@pytest.mark.usefixtures("stand_in")
def test_closing_ends_workers_and_threads():
    threads = threading.active_count()
    results = run([does("train"), *(does("hang", i) for i in range(9))], 3)
    next(results)
    workers = children(os.getpid())
    assert workers
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 2
    assert gone(workers, 0)
    assert children(os.getpid()) == []
    assert threading.active_count() == threads


# Two short trials, so that both workers have started; then two that take days.
ENDLESS = """
from dataclasses import replace
from thalweg.lab import plan
from thalweg.lab.run import run
trials = plan("digits", "sgd", seeds=4, rates=1, epochs=1).trials()
for trial, outcome in run(trials[:2] + [replace(t, epochs=10**9) for t in trials[2:]], 2):
    print(trial.seed, flush=True)
"""


@linux
def test_workers_end_with_their_parent_in_the_middle_of_a_trial():
    parent = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE)
    with parent:
        for _ in range(2):
            assert parent.stdout.readline()
        workers = children(parent.pid)
        assert len(workers) == 2
        parent.kill()
    assert gone(workers)
