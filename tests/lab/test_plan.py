"""Plans: the grid, the order, the keys, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from thalweg.lab import plan
from thalweg.lab.plan import RATIO, Trial
from thalweg.optim.registry import ALGORITHMS


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("rates", [1, 3, 9])
def test_a_grid_is_log_spaced_around_the_customary_rate(name, rates):
    grid = plan("digits", name, rates=rates).grid(ALGORITHMS[name])
    assert len(grid) == rates
    assert grid[rates // 2] == ALGORITHMS[name].lr
    for a, b in pairwise(grid):
        assert b / a == pytest.approx(RATIO, rel=1e-5)


def test_everyone_gets_the_same_trials():
    p = plan("digits", seeds=2, rates=5, epochs=3)
    trials = p.trials()
    assert len({t.key for t in trials}) == len(trials) == len(ALGORITHMS) * 2 * 5
    for a in p.algorithms:
        own = [(t.rate, t.seed) for t in trials if t.algorithm == a.name]
        assert sorted(own) == [(r, s) for r in p.grid(a) for s in (0, 1)]
        # A seed at a time, the customary rate first.
        assert [s for _, s in own] == [0] * 5 + [1] * 5
        away = [round(abs(math.log(r / a.lr, RATIO))) for r, _ in own[:5]]
        assert away == [0, 1, 1, 2, 2]


def test_more_seeds_rates_or_optimizers_keep_the_trials_there_were():
    small = {t.key for t in plan("digits", "adam,sgd", seeds=2, rates=3).trials()}
    for larger in (
        plan("digits", "adam,sgd", seeds=3, rates=3),
        plan("digits", "sgd,adam", seeds=2, rates=5),
        plan("digits", seeds=2, rates=3),
    ):
        assert small < {t.key for t in larger.trials()}


TRIAL = Trial("digits", "adam", '{"eps": 1e-08}', 0.003, 0, 20)


@pytest.mark.parametrize(
    "change",
    [
        {"problem": "least-squares"},
        {"algorithm": "adamw"},
        {"options": '{"eps": 1e-07}'},
        {"rate": math.nextafter(0.003, 1)},
        {"seed": 1},
        {"epochs": 21},
        {"schedule": "cosine"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_whatever_decides_the_outcome_is_in_the_key(change):
    assert replace(TRIAL, **change).key != TRIAL.key
    assert set(Trial.__dataclass_fields__) == {
        "problem", "algorithm", "options", "rate", "seed", "epochs", "schedule"
    }, "a new field needs a row in this table"  # fmt: skip


def test_options_are_in_the_key():
    keys = {t.key for t in plan("digits", "momentum,nesterov", seeds=1, rates=1).trials()}
    assert len(keys) == 2
    assert all('\\"momentum\\": 0.9' in k for k in keys)


def test_names_are_taken_once_and_in_the_order_given():
    p = plan("digits", "sgd, adam,sgd")
    assert [a.name for a in p.algorithms] == ["sgd", "adam"]
    assert plan("digits", ["adam"]).algorithms == plan("digits", "adam").algorithms
    assert plan("digits").epochs == 20
    assert len(plan("digits").algorithms) == len(ALGORITHMS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"problem": "digit"}, ["problem", "'digit'", "did you mean 'digits'?"]),
        ({"problem": "zzz"}, ["problem", "'zzz'", "there are: digits, mnist, least-squares"]),
        ({"optimizers": "adm"}, ["optimizer", "'adm'", "did you mean 'adam'?"]),
        ({"optimizers": "Adamm"}, ["optimizer", "'Adamm'", "did you mean 'adam'?"]),
        ({"optimizers": ["sgd", "nestrov"]}, ["'nestrov'", "did you mean 'nesterov'?"]),
        ({"optimizers": ""}, ["optimizer", "''"]),
        ({"optimizers": []}, ["optimizers", "at least one"]),
        ({"optimizers": [None]}, ["optimizer", "None"]),
        ({"seeds": 0}, ["seeds", "at least 1", "0"]),
        ({"rates": -3}, ["rates", "at least 1", "-3"]),
        ({"rates": 4}, ["rates", "odd", "4"]),
        ({"rates": 2001}, ["rates", "at most", "2001"]),
        ({"epochs": 0}, ["epochs", "at least 1", "0"]),
        ({"seeds": 2.5}, ["seeds", "whole number", "2.5"]),
        ({"epochs": "5"}, ["epochs", "whole number", "'5'"]),
        ({"rates": True}, ["rates", "whole number", "True"]),
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=r".") as e:
        plan(**{"problem": "digits", **arguments})
    message = str(e.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_names_of_classes_will_do():
    assert [a.name for a in plan("Digits", "AdamW, SGD").algorithms] == ["adamw", "sgd"]
