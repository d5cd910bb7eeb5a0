"""Equal contenders are told apart no more often than the level says, unequal ones are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from thalweg.lab import plan, verdict
from thalweg.lab.trial import Outcome
from thalweg.lab.verdict import LEVEL

STEP = 100 / 360  # one test image of the digits, in percent


@dataclass(frozen=True)
class World:
    """How scores come about: what a training is worth (its seed's luck, its own luck), and what
    a finite validation or test set makes of it."""

    seed: float
    training: float
    data: float
    step: float

    def outcomes(self, p, g, behind=0.0):
        seeds = g.normal(97, self.seed, p.seeds)
        for trial in p.trials():
            worth = seeds[trial.seed] + g.normal(0, self.training)
            if trial.algorithm == p.algorithms[-1].name:
                worth -= behind
            scores = worth + g.normal(0, self.data, 2)
            if self.step:
                scores = np.round(scores / self.step) * self.step
            yield trial, Outcome(*map(float, scores), 1, 1.0, False, "", (1.0,), (1.0,))


WORLDS = {
    "real numbers": World(0.3, 0.35, 0.35, 0.0),
    "heavy seeds": World(3.0, 0.2, 0.2, 0.0),
    "steps": World(0.3, 0.35, 0.35, STEP),
    "coarse steps": World(0.1, 0.15, 0.15, STEP),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("seeds", "rates"), [(2, 1), (3, 1), (3, 5), (5, 1)])
def test_equal_contenders_are_not_told_apart(world, seeds, rates):
    g = np.random.default_rng(0)
    p = plan("digits", seeds=seeds, rates=rates)
    races = 150
    wrong = sum(
        any(d.told_apart for d in verdict(p, dict(WORLDS[world].outcomes(p, g))).differences)
        for _ in range(races)
    )
    # At most the level, and 2.5 standard errors for the number of races.
    assert wrong / races <= LEVEL + 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / races)


@pytest.mark.parametrize("world", WORLDS)
def test_a_contender_that_is_behind_is_found(world):
    g = np.random.default_rng(0)
    p = plan("digits", "sgd,adam,adagrad", seeds=5, rates=1)
    found = 0
    for _ in range(20):
        v = verdict(p, dict(WORLDS[world].outcomes(p, g, behind=4.0)))
        found += any(d.told_apart and d.algorithm.name == "adagrad" for d in v.differences)
    assert found >= 16
