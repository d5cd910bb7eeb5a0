"""A verdict that is quick to make and has everything a report must show."""

from __future__ import annotations

import math
import random

import pytest

from thalweg import lab
from thalweg.lab.trial import Outcome
from thalweg.problems import PROBLEMS


def outcome(trial, rank, lr):
    """Numbers as a training might give: a bowl in the rate, noise by seed, at last divergence."""
    seed = f"{trial.algorithm}{trial.rate}{trial.seed}".encode(errors="replace")
    noise = random.Random(seed).gauss
    off = math.log10(trial.rate / lr)
    if off > 1.9:
        worst = PROBLEMS[trial.problem].worst
        return Outcome(
            worst, worst, 40, 0.1, diverged=True, train_curve=(2.3,), validation_curve=(2.3,)
        )
    held_out = PROBLEMS[trial.problem].held_out
    score = 97 - rank - 8 * off * off + noise(0, 0.3)
    curve = tuple(2.3 * math.exp(-k * (1 - 0.1 * rank) / 2) + 0.05 for k in range(trial.epochs + 1))
    return Outcome(
        score, score - 0.5, 34 * trial.epochs, 0.1, train_curve=curve,
        validation_curve=tuple(1.2 * x for x in curve) if held_out else curve,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make():
    """A verdict of a race that nobody ran, from the arguments of ``lab.plan``."""

    def verdict(*arguments, **more):
        plan = lab.plan(*arguments, **more)
        names = [a.name for a in plan.algorithms]
        lrs = {a.name: a.lr for a in plan.algorithms}
        outcomes = {
            t: outcome(t, names.index(t.algorithm) / len(names), lrs[t.algorithm])
            for t in plan.trials()
        }
        return lab.verdict(plan, outcomes)

    return verdict


@pytest.fixture(scope="session")
def race(make):
    return make("digits")
