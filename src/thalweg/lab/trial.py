"""One training from start to end, and what is kept of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from thalweg.lab.plan import Trial
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems import PROBLEMS, Task


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
    def of(cls, values: dict[str, Any]) -> Outcome:
        """From what :func:`vars` gave, by way of JSON."""
        curves = {k: tuple(values[k]) for k in ("train_curve", "validation_curve")}
        return cls(**{**values, **curves})


def train(trial: Trial) -> Outcome:
    """Run a trial on one thread, so that its numbers do not depend on the machine's load."""
    start = time.perf_counter()
    problem, algorithm = PROBLEMS[trial.problem], ALGORITHMS[trial.algorithm]
    task = problem.start(trial.seed)
    optimizer = algorithm.build(task.model.parameters(), lr=trial.rate)
    curves: tuple[list[float], list[float]] = ([], [])
    steps = 0
    diverged = not _record(task, curves)
    for _ in range(trial.epochs):
        for batch in task.batches():
            optimizer.zero_grad()
            task.loss(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
        if not _record(task, curves):
            diverged = True
            break
    validation = problem.worst if diverged else task.evaluate("validation")[1]
    test = problem.worst if diverged else task.evaluate("test")[1]
    seconds = time.perf_counter() - start
    return Outcome(validation, test, steps, seconds, diverged, "", *map(tuple, curves))


def _record(task: Task, curves: tuple[list[float], list[float]]) -> bool:
    """Add a point to both curves; False if there is nothing to go on with."""
    for curve, split in zip(curves, ("train", "validation"), strict=True):
        loss, _ = task.evaluate(split)  # type: ignore[arg-type]
        if not math.isfinite(loss):
            return False
        curve.append(loss)
    return True


def serve() -> None:
    """A worker: a trial a line on standard input, an outcome a line on standard output, until the
    input ends, which it does when the process that started the worker is gone."""
    import json
    import os
    import sys

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    for line in sys.stdin:
        try:
            outcome = train(Trial(**json.loads(line)))
        except Exception as e:  # told to the user as the trial's outcome
            outcome = Outcome(error=f"{type(e).__name__}: {e}")
        try:
            print(json.dumps(vars(outcome)), file=answers, flush=True)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    serve()
