"""Who won, by how much, and who cannot be told apart.

Everything is chosen on *validation* scores: the rate of each algorithm (the best mean over the
seeds), the order of the standings and with it the leader. Test scores are read only at the chosen
rates and only to say how good a choice is, so that they are not the best of many. Differences in
test score are paired over seeds (the same start and the same batches), each with a 95 % t interval
of its own; Holm's correction decides who is told apart. Their spread is the spread over seeds: they
speak of this problem and this split of its data.

Simulated races between equals name a difference in 5 % of cases or less (6 % with a single rate).
The exception is a single rate on a problem whose validation score *is* its test score (least
squares): there the leader is the best of what it is judged by, and 7 to 12 % do.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from thalweg.lab.plan import Plan, Trial
from thalweg.lab.trial import Outcome
from thalweg.optim.registry import Algorithm

MOST_NAMES = 6  # in a sentence; the table has them all
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
    failures: tuple[str, ...]  # "rate 0.1, seed 2: ValueError: …"; such rates are not chosen
    diverged: int  # of the trainings at all rates
    scores: Mapping[float, tuple[float, ...]]  # rate -> validation score of each seed
    outcomes: tuple[Outcome, ...]  # at the best rate, by seed


@dataclass(frozen=True)
class Difference:
    """The leader's test score minus another's, in the problem's unit; positive favours the
    leader, whichever way the score runs. The leader is the best on validation data, so that
    another may well be better on test data."""

    algorithm: Algorithm
    mean: float
    low: float
    high: float
    told_apart: bool


@dataclass(frozen=True)
class LeftOut:
    """An algorithm without a standing, and why."""

    algorithm: Algorithm
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of a race; standings come best first, by validation score."""

    plan: Plan
    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]
    finished: int  # trials with an outcome, be it a failure
    left_out: tuple[LeftOut, ...] = ()

    def sentence(self) -> str:
        """The result in plain words."""
        total = len(self.plan.trials())
        if not self.finished:
            return "No training has finished yet."
        said = [self._result()]
        if self.finished < total:
            said.insert(0, f"After {self.finished} of {total} trainings:")
        said += [
            f"{s.algorithm.title} had fewer rates to choose from: {_count(s.failures, 'training')}"
            f" failed ({s.failures[0]})."
            for s in self.standings
            if s.failures
        ]
        said += [f"{x.algorithm.title} is left out: {x.reason}." for x in self.left_out]
        return " ".join(said)

    def _result(self) -> str:
        if not self.standings:
            return "No optimizer has a rate that every seed has run."
        leader, p, seeds = self.standings[0], self.plan.problem, self.plan.seeds
        if all(s.diverged == seeds * len(s.scores) for s in self.standings):
            return "Every training diverged: no rate on the grid works for any of them."
        if not math.isfinite(leader.validation):
            return "No rate works for every seed: at each, trainings diverged."
        parts = [
            f"{leader.algorithm.title}, the best{' on validation data' if p.held_out else ''}, "
            f"reaches a {'test ' if p.held_out else ''}{p.score} of {_score(leader.test, p.unit)}"
        ]
        if self.differences and seeds < 2:
            parts.append("with one seed nobody can be told apart")
        elif self.differences:
            worse = [d for d in self.differences if d.told_apart and d.mean > 0]
            better = [d for d in self.differences if d.told_apart and d.mean < 0]
            equal = [d for d in self.differences if not d.told_apart]
            if worse:
                rest = "all others" if len(worse) == len(self.differences) > 1 else _titles(worse)
                parts.append(f"it beats {rest}{self._gap(worse)}")
            if better:
                parts.append(
                    f"on test data {_titles(better)} beat{'s' * (len(better) == 1)} it"
                    f"{self._gap(better)}"
                )
            if equal:
                others = _titles(equal) if len(equal) <= MOST_NAMES else f"{len(equal)} others"
                parts.append(f"{others} cannot be told apart from it with {seeds} seeds")
        return "; ".join(parts) + "."

    def _gap(self, told: list[Difference]) -> str:
        """How far the nearest of these is from the leader, in words that follow their names."""
        near = min(told, key=lambda d: abs(d.mean))
        if math.isinf(near.mean):
            return ", which diverged" if len(told) == 1 else ", which all diverged"
        low, high = sorted((abs(near.low), abs(near.high)))
        which = ", the nearest of them" if len(told) > 1 else ""
        points = " points" if self.plan.problem.unit == "%" else ""
        return f"{which} by {abs(near.mean):.3g}{points} (95 % interval {low:.3g} to {high:.3g})"


def verdict(plan: Plan, outcomes: Mapping[Trial, Outcome]) -> Verdict:
    """Judge what has finished. A rate counts when every seed has run it without failing; an
    algorithm without such a rate is left out, and the verdict says why."""
    better = -1.0 if plan.problem.higher_is_better else 1.0
    standings: list[Standing] = []
    left_out: list[LeftOut] = []
    for a in plan.algorithms:
        judged = _judge(plan, a, outcomes)
        if isinstance(judged, Standing):
            standings.append(judged)
        else:
            left_out.append(judged)
    # Equal scores are common where accuracy comes in steps; losses break such ties. The sort is
    # stable: what is still equal stays in the plan's order.
    standings.sort(key=lambda s: (better * s.validation, _final_loss(s)))
    finished = sum(t in outcomes for t in plan.trials())
    differences = _differences(plan, standings)
    return Verdict(plan, tuple(standings), differences, finished, tuple(left_out))


def _final_loss(s: Standing) -> float:
    """Mean validation loss after the last epoch; infinite if a training did not get there."""
    return mean_of(math.inf if o.diverged else o.validation_curve[-1] for o in s.outcomes)


def _judge(plan: Plan, a: Algorithm, outcomes: Mapping[Trial, Outcome]) -> Standing | LeftOut:
    better = -1.0 if plan.problem.higher_is_better else 1.0
    grid = plan.grid(a)
    runs: dict[float, list[Outcome]] = {}
    failures: list[str] = []
    missing = 0
    for rate in grid:
        found = [outcomes.get(plan.trial(a, rate, seed)) for seed in range(plan.seeds)]
        missing += found.count(None)
        failures += [
            f"rate {rate:g}, seed {seed}: {o.error}"
            for seed, o in enumerate(found)
            if o is not None and o.error
        ]
        complete = [o for o in found if o is not None and not o.error]
        if len(complete) == plan.seeds:
            runs[rate] = complete
    if not runs:
        trainings = plan.seeds * len(grid)
        why = [f"{missing} of {trainings} trainings are still to be run"] if missing else []
        if failures:
            why.append(f"{len(failures)} of {trainings} trainings failed ({failures[0]})")
        return LeftOut(a, " and ".join(why))
    scores = {r: tuple(o.validation for o in os) for r, os in runs.items()}
    # Ties go to the rate nearest the customary one: the middle of the plateau, not its edge.
    best = min(
        runs,
        key=lambda r: (
            better * mean_of(scores[r]),
            abs(grid.index(r) - len(grid) // 2),
        ),
    )
    chosen = runs[best]
    tests = [o.test for o in chosen]
    return Standing(
        a,
        best,
        len(grid) > 1 and best in (grid[0], grid[-1]),
        mean_of(scores[best]),
        mean_of(tests),
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
    step = _step([o.test for s in standings for o in s.outcomes])
    found = []
    for s in others:
        gaps = [sign * (x.test - y.test) for x, y in zip(leader.outcomes, s.outcomes, strict=True)]
        found.append((s.algorithm, *_interval(gaps, step)))
    apart = _holm([p for *_, p in found])
    return tuple(
        Difference(a, mean, low, high, told)
        for (a, mean, low, high, _), told in zip(found, apart, strict=True)
    )


def _step(scores: list[float]) -> float:
    """The smallest difference between two scores: one test example in accuracies, next to nothing
    in scores that are real numbers."""
    near = sorted(x for x in scores if math.isfinite(x))
    rounding = 1e-12 * max(map(abs, near), default=0.0)
    return min((b - a for a, b in pairwise(near) if b - a > rounding), default=0.0)


def _interval(gaps: list[float], step: float) -> tuple[float, float, float, float]:
    """Mean, 95 % t interval and two-sided p of paired differences between scores that come in
    steps. Both scores were rounded to a step, which adds step²/6 to a gap's variance: without it a
    few gaps that happen to be the same would leave no doubt at all."""
    from scipy import stats

    n, mean = len(gaps), sum(gaps) / len(gaps)  # unlike fmean, NaN for inf − inf
    if n < 2:
        return mean, -math.inf, math.inf, 1.0
    if not all(map(math.isfinite, gaps)):  # trainings diverged, and the score has no worst value
        if set(gaps) in ({math.inf}, {-math.inf}):  # all of one, none of the other
            return mean, mean, mean, 0.0
        return mean, -math.inf, math.inf, 1.0
    try:
        error = math.sqrt((statistics.variance(gaps) + step * step / 6) / n)
    except OverflowError:
        error = math.inf
    if error == math.inf:  # about to diverge: their squares are more than a float can hold
        return mean, -math.inf, math.inf, 1.0
    if error == 0:  # all scores are equal
        return mean, mean, mean, 1.0
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return mean, mean - reach, mean + reach, p


def _holm(ps: list[float]) -> list[bool]:
    """Which of several hypotheses are rejected when all errors together stay below the level."""
    rejected = [False] * len(ps)
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[i] > LEVEL / (len(ps) - rank):
            break
        rejected[i] = True
    return rejected


def mean_of(scores: Iterable[float]) -> float:
    """Their mean, also where their sum is more than a float can hold."""
    found = list(scores)
    try:
        return statistics.fmean(found)
    except OverflowError:
        return math.fsum(x / len(found) for x in found)


def _score(x: float, unit: str) -> str:
    return f"{x:.4g}{f' {unit}' if unit else ''}"


def _titles(told: list[Difference]) -> str:
    *most, last = (d.algorithm.title for d in told)
    return f"{', '.join(most)} and {last}" if most else last


def _count(things: tuple[str, ...], name: str) -> str:
    return f"1 {name}" if len(things) == 1 else f"{len(things)} {name}s"
