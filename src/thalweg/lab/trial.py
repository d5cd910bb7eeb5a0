"""One training from start to end, and what is kept of it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from thalweg.lab.contender import pace
from thalweg.lab.plan import Trial, algorithm
from thalweg.lab.source import Sources
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.problems import PROBLEMS, Task
from thalweg.problems.problem import Batch
from thalweg.schedules import Plateau, Schedule, attach


@dataclass(frozen=True)
class Outcome:
    """What came of a trial. Scores are in the problem's unit; a training that diverged has the
    worst one, a trial that raised an ``error`` and no scores."""

    validation: float = math.nan
    test: float = math.nan
    steps: int = 0  # gradient evaluations
    seconds: float = 0.0
    diverged: bool = False
    error: str = ""
    # By epoch, from before the first: mean loss per example.
    train_curve: tuple[float, ...] = field(default=())
    validation_curve: tuple[float, ...] = field(default=())

    @classmethod
    def of(cls, values: Any) -> Outcome:
        """From what :func:`vars` gave, by way of JSON; ValueError for anything else."""
        try:
            curves = {k: tuple(values[k]) for k in ("train_curve", "validation_curve")}
            outcome = cls(**{**values, **curves})
            numbers = [outcome.validation, outcome.test, outcome.seconds]
            numbers += [x for curve in curves.values() for x in curve]
            kinds = type(outcome.steps), type(outcome.diverged), type(outcome.error)
            sound = kinds == (int, bool, str) and {*map(type, numbers)} <= {int, float}
            if not outcome.error:
                sound = sound and not any(math.isnan(x) for x in numbers)
                sound = sound and (outcome.diverged or all(curves.values()))
        except (KeyError, TypeError, OverflowError) as e:
            raise ValueError(f"not an outcome: {e}") from None
        if not sound:
            raise ValueError("not an outcome")
        return outcome


def train(trial: Trial, sources: Sources = MappingProxyType({})) -> Outcome:
    """Run a trial; what comes from files, from these sources."""
    start = time.perf_counter()
    problem = PROBLEMS[trial.problem]
    task = problem.start(trial.seed)
    make: Any = algorithm(trial.algorithm, sources).optimizer  # each has its own constructor
    optimizer: RuleOptimizer = make(
        task.model.parameters(), lr=trial.rate, **json.loads(trial.options)
    )
    course = pace(trial.schedule or "constant", trial.epochs * task.steps_per_epoch, sources)
    scheduler: Any = attach(optimizer, course)  # stepped with a metric or without
    curves: tuple[list[float], list[float]] = ([], [])
    steps = 0

    def evaluate(batch: Batch) -> Any:
        nonlocal steps
        steps += 1
        optimizer.zero_grad()
        loss = task.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    going = _record(task, optimizer, curves)
    for _ in range(trial.epochs):
        if not going:
            break
        for batch in task.batches():
            optimizer.step(partial(evaluate, batch))
            if isinstance(course, Schedule):
                scheduler.step()
        going = _record(task, optimizer, curves)
        if going and isinstance(course, Plateau):  # on validation data, never on the test set
            scheduler.step(curves[1][-1])
    with optimizer.averaged():
        validation, test = (task.evaluate(part)[1] for part in ("validation", "test"))
    diverged = not (going and math.isfinite(validation) and math.isfinite(test))
    if diverged:
        validation = test = problem.worst
    seconds = time.perf_counter() - start
    return Outcome(validation, test, steps, seconds, diverged, "", *map(tuple, curves))


def _record(task: Task, optimizer: RuleOptimizer, curves: tuple[list[float], list[float]]) -> bool:
    """Add a point to both curves; False if there is nothing to go on with."""
    with optimizer.averaged():
        losses = task.evaluate("train")[0], task.evaluate("validation")[0]
    if not all(map(math.isfinite, losses)):
        return False
    for curve, loss in zip(curves, losses, strict=True):
        curve.append(loss)
    return True
