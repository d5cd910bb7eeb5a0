"""Schedules in a race: what the names mean, who is told apart, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thalweg.lab import plan
from thalweg.lab.contender import PACES, pace
from thalweg.lab.plan import Trial
from thalweg.lab.trial import train
from thalweg.optim.registry import ALGORITHMS
from thalweg.schedules import Plateau, cosine
from thalweg.schedules.metric_scheduler import MetricScheduler

TRIAL = Trial("digits", "momentum", '{"momentum": 0.9}', 0.03, seed=0, epochs=3)


@pytest.mark.parametrize("steps", [20, 102, 1000])
@pytest.mark.parametrize("name", [n for n in PACES if n != "plateau"])
def test_each_reaches_one_and_never_more_or_less_than_nothing(name, steps):
    # Tenths of a step: the peak of one-cycle may lie between two.
    values = pace(name, steps)(np.arange(10 * steps) / 10)
    assert values.min() >= 0
    assert values.max() == pytest.approx(1, abs=1e-12)
    assert (values > 0).all() or name == "one-cycle"


@pytest.mark.parametrize("name", ["one_cycle", "One-Cycle", "ONE_CYCLE"])
def test_hyphens_underscores_and_capitals_are_as_good(name):
    assert plan("digits", "sgd", schedules=name) == plan("digits", "sgd", schedules="one-cycle")


def test_each_optimizer_runs_under_each_schedule():
    p = plan("digits", "momentum,adam", seeds=2, rates=3, schedules="cosine, constant")
    assert [a.title for a in p.algorithms] == [
        "SGD + momentum (cosine)", "SGD + momentum (constant)", "Adam (cosine)", "Adam (constant)",
    ]  # fmt: skip
    assert len({t.key for t in p.trials()}) == len(p.trials()) == 4 * 2 * 3
    assert {(t.algorithm, t.schedule) for t in p.trials()} == {
        (a, s) for a in ("momentum", "adam") for s in ("cosine", "constant")
    }
    colours = [a.colour for a in p.algorithms]
    assert len(set(colours)) == 4
    assert colours[::2] == [ALGORITHMS["momentum"].colour, ALGORITHMS["adam"].colour]


def test_trials_without_a_schedule_have_keys_without_one():
    [trial] = plan("digits", "sgd", seeds=1, rates=1).trials()
    assert trial.key == '[2, "digits", "sgd", "{}", 0.1, 0, 20]'


def test_a_constant_schedule_changes_nothing():
    plain, constant = train(TRIAL), train(replace(TRIAL, schedule="constant"))
    assert replace(plain, seconds=0) == replace(constant, seconds=0)


@pytest.mark.parametrize("name", PACES)
def test_each_trains(name):
    found = train(replace(TRIAL, schedule=name))
    assert not found.diverged
    assert found.train_curve[-1] < 0.85 * found.train_curve[0]


def test_a_plateau_watches_validation_data(monkeypatch):
    seen = []
    step = MetricScheduler.step
    monkeypatch.setattr(MetricScheduler, "step", lambda self, m: (seen.append(m), step(self, m)))
    found = train(replace(TRIAL, schedule="plateau"))
    assert tuple(seen) == found.validation_curve[1:]


OWN = """
from thalweg.schedules import cosine, linear, plateau

half = cosine(100)
def ramp(steps):
    return linear(0.1, 1, steps)
def none(steps):
    return 0.5
"""


def test_a_schedule_of_ones_own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    p = plan("digits", "sgd", schedules=[f"{file}:half", f"{file}:ramp"])
    assert [a.title for a in p.algorithms] == ["SGD (half)", "SGD (ramp)"]
    half, ramp = (a.schedule for a in p.algorithms)
    assert pace(half, 7) == cosine(100)
    assert pace(ramp, 50)(50) == 1
    file.write_text(OWN + "# changed\n")
    [changed] = plan("digits", "sgd", schedules=f"{file}:half").algorithms
    assert changed.schedule != half


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cosin", "there is no schedule 'cosin'; did you mean 'cosine'"),
        ("missing.py:x", "cannot read missing.py: No such file"),
        ("own.py:x", "there is no 'x' in own.py"),
        ("own.py:none", "none in own.py is neither a schedule nor a function"),
        ("broken.py:x", "broken.py cannot be run: SyntaxError"),
    ],
)
def test_what_cannot_serve_is_refused_by_name(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("def")
    with pytest.raises(ValueError, match=said):
        plan("digits", "sgd", schedules=name)


def test_plateaus_of_ones_own_count_too(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN + "soon = plateau(patience=0)\n")
    [contender] = plan("digits", "sgd", schedules=f"{file}:soon").algorithms
    assert isinstance(pace(contender.schedule, 10), Plateau)
