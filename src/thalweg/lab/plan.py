"""Which trials a race consists of: as many learning rates and the same seeds for everyone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.lab.contender import PACES, Contender, contenders, named
from thalweg.lab.names import known
from thalweg.optim.registry import ALGORITHMS, Algorithm, find
from thalweg.problems import PROBLEMS, Problem

RATIO = 10**0.5  # between neighbouring rates: half a decade
MOST_RATES = 99  # 49 decades; some way beyond, rates leave what a float can hold
FORMAT = 1  # raised whenever a trial of the same name would give other numbers


@dataclass(frozen=True)
class Trial:
    """One training. All that decides its outcome is here, and hence in its key."""

    problem: str
    algorithm: str
    options: str  # the algorithm's fixed options, as JSON
    rate: float
    seed: int
    epochs: int
    schedule: str = ""  # of the rate; empty: it stays as it is

    @property
    def key(self) -> str:
        """The trial's name in a store."""
        return json.dumps([FORMAT, *self.as_dict().values()])

    def as_dict(self) -> dict[str, Any]:
        """Without the schedule where there is none, as before there were any."""
        return {k: v for k, v in vars(self).items() if (k, v) != ("schedule", "")}


@dataclass(frozen=True)
class Plan:
    """A race: its trials in the order in which they are run."""

    problem: Problem
    algorithms: tuple[Algorithm, ...]
    seeds: int
    rates: int
    epochs: int

    def grid(self, algorithm: Algorithm) -> list[float]:
        """Learning rates in half decades around the algorithm's customary one, ascending."""
        middle = self.rates // 2
        return [float(f"{algorithm.lr * RATIO ** (i - middle):.6g}") for i in range(self.rates)]

    def trial(self, algorithm: Algorithm, rate: float, seed: int) -> Trial:
        options = json.dumps(dict(algorithm.options), sort_keys=True)
        name, schedule = algorithm.name, ""
        if isinstance(algorithm, Contender):
            name, schedule = algorithm.algorithm, algorithm.schedule
        return Trial(self.problem.name, name, options, rate, seed, self.epochs, schedule)

    def trials(self) -> list[Trial]:
        """Seed by seed, and the customary rates first, so that a leader is known early."""
        middle = self.rates // 2
        outwards = sorted(range(self.rates), key=lambda i: (abs(i - middle), i))
        return [
            self.trial(a, self.grid(a)[i], seed)
            for seed in range(self.seeds)
            for i in outwards
            for a in self.algorithms
        ]


def plan(
    problem: str,
    optimizers: str | Sequence[str] = "all",
    seeds: int = 3,
    rates: int = 9,
    epochs: int | None = None,
    schedules: str | Sequence[str] = (),
) -> Plan:
    """Check what is asked for; raises ValueError naming the argument and the nearest good value.

    Args:
        problem: a name in ``thalweg.problems.PROBLEMS``.
        optimizers: names in ``thalweg.optim.registry.ALGORITHMS``, ``FILE.py:NAME`` for a rule or
            an optimizer class of one's own, or ``"all"``.
        seeds: how many, at least 1.
        rates: learning rates per optimizer, odd so that the customary one is the middle.
        epochs: passes over the training data; None takes the problem's own number.
        schedules: names in ``thalweg.lab.contender.PACES``, ``FILE.py:NAME`` for a schedule of
            one's own (or a function that returns one for a number of steps), or ``"all"``. Each
            optimizer runs under each of them; without any, at a constant rate.
    """
    chosen = known("problem", problem, PROBLEMS)
    if isinstance(optimizers, str):
        optimizers = list(ALGORITHMS) if optimizers == "all" else optimizers.split(",")
        optimizers = [name.strip() for name in optimizers]
    chosen_ones = {a.name: a for a in map(algorithm, optimizers)}
    if not chosen_ones:
        raise ValueError("optimizers must name at least one")
    if isinstance(schedules, str):
        schedules = list(PACES) if schedules == "all" else schedules.split(",")
    paces = list(dict.fromkeys(named(s.strip()) for s in schedules))
    epochs = PROBLEMS[chosen].epochs if epochs is None else epochs
    for argument, value in (("seeds", seeds), ("rates", rates), ("epochs", epochs)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{argument} must be a whole number, not {value!r}")
        if value < 1:
            raise ValueError(f"{argument} must be at least 1, not {value}")
    if rates % 2 == 0:
        raise ValueError(
            f"rates must be odd, so that the customary rate is the middle, not {rates}"
        )
    if rates > MOST_RATES:
        raise ValueError(f"rates must be at most {MOST_RATES}, not {rates}")
    everyone = contenders(tuple(chosen_ones.values()), paces)
    return Plan(PROBLEMS[chosen], everyone, seeds, rates, epochs)


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name, or of ``FILE.py:NAME``; ValueError says what is wrong."""
    return find(name if ".py:" in str(name) else known("optimizer", name, ALGORITHMS))
