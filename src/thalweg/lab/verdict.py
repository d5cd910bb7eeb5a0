"""Who won, by how much, and who cannot be told apart.

The rate of each algorithm is the one with the best mean *validation* score over the seeds; test
scores are only read at that rate. Differences in test score are paired over seeds (the same start
and the same batches), with a t interval; Holm's correction covers the comparisons with the leader.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from thalweg.lab.plan import Plan, Trial
from thalweg.lab.trial import Outcome
from thalweg.optim.registry import Algorithm

LEVEL = 0.05


@dataclass(frozen=True)
class Standing:
    """One algorithm at its best rate. Scores are means over seeds, ``spread`` the sample standard
    deviation of the test score (NaN for one seed)."""

    algorithm: Algorithm
    rate: float
    at_edge: bool  # the best rate is the grid's first or last: a better one may lie beyond
    validation: float
    test: float
    spread: float
    evaluations: int  # gradients per training
    seconds: float  # per training, median
    failures: tuple[str, ...]
    diverged: int  # of the trainings at all rates
    scores: Mapping[float, tuple[float, ...]]  # rate -> validation score of each seed
    outcomes: tuple[Outcome, ...]  # at the best rate, by seed


@dataclass(frozen=True)
class Difference:
    """The leader's test score minus another's, in the problem's unit; positive favours the
    leader."""

    algorithm: Algorithm
    mean: float
    low: float
    high: float
    told_apart: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of a race; standings come best first."""

    plan: Plan
    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]
    finished: int

    def sentence(self) -> str:
        """The result in plain words."""
        if not self.standings:
            return "No training has finished yet."
        leader = self.standings[0]
        p = self.plan.problem
        if leader.diverged and leader.test == p.worst:
            return "Every training diverged: no rate on the grid works for any of them."
        first = f"{leader.algorithm.title} leads with {_score(leader.test, p.unit)} test {p.score}"
        if not self.differences:
            return first + "."
        if self.plan.seeds < 2:
            return f"{first}; with one seed nobody can be told apart."
        worse = [d for d in self.differences if d.told_apart]
        equal = [d.algorithm.title for d in self.differences if not d.told_apart]
        parts = [first]
        if worse:
            nearest = min(worse, key=lambda d: d.mean)
            points = " points" if p.unit == "%" else ""
            beaten = "all others" if not equal else _list([d.algorithm.title for d in worse])
            parts.append(
                f"it beats {beaten}, the nearest of them by {nearest.mean:.3g}{points} "
                f"(95 % interval {nearest.low:.3g} to {nearest.high:.3g})"
            )
        if equal:
            parts.append(f"{_list(equal)} cannot be told apart from it with {self.plan.seeds} seeds")
        return "; ".join(parts) + "."


def verdict(plan: Plan, outcomes: Mapping[Trial, Outcome]) -> Verdict:
    """Judge what has finished; algorithms without a rate that all seeds have run are left out."""
    better = -1.0 if plan.problem.higher_is_better else 1.0
    standings = [s for a in plan.algorithms if (s := _standing(plan, a, outcomes)) is not None]
    standings.sort(key=lambda s: (better * s.test, better * s.validation))
    differences = _differences(plan, standings)
    return Verdict(plan, tuple(standings), differences, sum(t in outcomes for t in plan.trials()))


def _standing(plan: Plan, a: Algorithm, outcomes: Mapping[Trial, Outcome]) -> Standing | None:
    better = -1.0 if plan.problem.higher_is_better else 1.0
    grid = plan.grid(a)
    runs: dict[float, list[Outcome]] = {}
    failures: list[str] = []
    for rate in grid:
        found = [outcomes.get(plan.trial(a, rate, seed)) for seed in range(plan.seeds)]
        failures += [o.error for o in found if o is not None and o.error]
        complete = [o for o in found if o is not None and not o.error]
        if len(complete) == plan.seeds:
            runs[rate] = complete
    if not runs:
        return None
    scores = {r: tuple(o.validation for o in os) for r, os in runs.items()}
    # Ties go to the rate nearest the customary one: the middle of the plateau, not its edge.
    best = min(runs, key=lambda r: (better * statistics.fmean(scores[r]), abs(math.log(r / a.lr))))
    chosen = runs[best]
    tests = [o.test for o in chosen]
    return Standing(
        a,
        best,
        len(grid) > 1 and best in (grid[0], grid[-1]),
        statistics.fmean(scores[best]),
        statistics.fmean(tests),
        statistics.stdev(tests) if len(tests) > 1 and all(map(math.isfinite, tests)) else math.nan,
        max(o.steps for o in chosen),
        statistics.median(o.seconds for o in chosen),
        tuple(failures),
        sum(o.diverged for os in runs.values() for o in os),
        scores,
        tuple(chosen),
    )


def _differences(plan: Plan, standings: list[Standing]) -> tuple[Difference, ...]:
    if len(standings) < 2:
        return ()
    sign = 1.0 if plan.problem.higher_is_better else -1.0
    leader, *others = standings
    found = []
    for s in others:
        gaps = [sign * (x.test - y.test) for x, y in zip(leader.outcomes, s.outcomes, strict=True)]
        found.append((s.algorithm, *_interval(gaps)))
    apart = _holm([p for *_, p in found])
    return tuple(
        Difference(a, mean, low, high, told)
        for (a, mean, low, high, _), told in zip(found, apart, strict=True)
    )


def _interval(gaps: list[float]) -> tuple[float, float, float, float]:
    """Mean, 95 % t interval and two-sided p of paired differences."""
    from scipy import stats

    if not all(map(math.isfinite, gaps)):  # one of the two diverged, the other did not
        return math.inf, math.inf, math.inf, 0.0 if len(gaps) > 1 else 1.0
    mean = statistics.fmean(gaps)
    if len(gaps) < 2:
        return mean, -math.inf, math.inf, 1.0
    error = statistics.stdev(gaps) / math.sqrt(len(gaps))
    if error == 0:  # the same gap for every seed
        return mean, mean, mean, 0.0 if mean else 1.0
    reach = float(stats.t.ppf(1 - LEVEL / 2, len(gaps) - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, len(gaps) - 1))
    return mean, mean - reach, mean + reach, p


def _holm(ps: list[float]) -> list[bool]:
    """Which of several hypotheses are rejected when all errors together stay below the level."""
    rejected = [False] * len(ps)
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[i] > LEVEL / (len(ps) - rank):
            break
        rejected[i] = True
    return rejected


def _score(x: float, unit: str) -> str:
    return f"{x:.4g}{f' {unit}' if unit else ''}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
