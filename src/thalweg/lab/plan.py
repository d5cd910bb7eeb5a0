"""Which trials a race consists of: as many learning rates and the same seeds for everyone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from thalweg.lab.contender import PACES, Contender, contenders, named
from thalweg.lab.look import look
from thalweg.lab.names import known
from thalweg.lab.own import distinct, own
from thalweg.lab.source import Sources, is_own, located, parts, read
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.registry import ALGORITHMS, OWN, Algorithm
from thalweg.problems import PROBLEMS, Problem

RATIO = 10**0.5  # between neighbouring rates: half a decade
MOST_RATES = 99  # 49 decades; some way beyond, rates leave what a float can hold
FORMAT = 2  # raised whenever a trial of the same name would give other numbers


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

    @property
    def guest(self) -> str:
        """The contender, where its code is the reader's own; empty where all of it is thalweg's."""
        names = self.algorithm, self.schedule
        return " ".join(names) if any(map(is_own, names)) else ""

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
    sources: Sources = field(default_factory=dict)  # of the contenders from files

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
            an optimizer class of one's own, or ``"all"``. Such a file is executed as it is now,
            here and in the race in processes of its own.
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
    if isinstance(schedules, str):
        schedules = list(PACES) if schedules == "all" else schedules.split(",")
        schedules = [name.strip() for name in schedules]
    sources = read([*optimizers, *schedules])
    customary = _looked(optimizers, schedules, sources)
    chosen_ones: dict[str, Algorithm] = {}
    for name in optimizers:
        a = _contender(name, customary[name], sources) if is_own(name) else algorithm(name)
        chosen_ones[a.name] = a
    paces = list(dict.fromkeys(named(s, sources) for s in schedules))
    if not chosen_ones:
        raise ValueError("optimizers must name at least one")
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
    everyone = contenders(distinct(list(chosen_ones.values())), paces)
    made = Plan(PROBLEMS[chosen], everyone, seeds, rates, epochs, sources)
    for a in everyone:
        if not all(0 < rate < math.inf for rate in made.grid(a)):
            raise ValueError(
                f"{a.title} has the customary rate {a.lr:g}, around which {rates} rates are more "
                "than a float can hold"
            )
    return made


def _looked(
    optimizers: Sequence[str], schedules: Sequence[str], sources: Sources
) -> dict[str, float]:
    """The customary rates of the optimizers from files; ValueError if one, or a schedule, cannot
    serve. The files run elsewhere: what they do to their process stays there."""
    rates: dict[str, float] = {}
    # Mistakes in names first: they cost no process.
    for name in optimizers:
        located(name, sources) if is_own(name) else known("optimizer", name, ALGORITHMS)
    for name in schedules:
        named(name, sources)
    for path, source in sources.items():
        mine, paces = (
            list(dict.fromkeys(n for n in names if is_own(n) and parts(n)[0] == path))
            for names in (optimizers, schedules)
        )
        for name, (rate, why) in zip([*mine, *paces], look(source, mine, paces), strict=True):
            if why:
                raise ValueError(why)
            if rate is not None:
                rates[name] = rate
    return rates


def _contender(name: str, rate: float, sources: Sources) -> Algorithm:
    """An optimizer from a file, as a race knows it; its class is known to its workers alone."""
    source, attribute = located(name, sources)
    return Algorithm(source.name(attribute), attribute, RuleOptimizer, rate, OWN)


def algorithm(name: str, sources: Sources | None = None) -> Algorithm:
    """The algorithm of this name, or of ``FILE.py:NAME``; ValueError says what is wrong."""
    if is_own(name):
        return own(name, sources or {})
    return ALGORITHMS[known("optimizer", name, ALGORITHMS)]
