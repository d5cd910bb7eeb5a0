"""One training from start to end, and what is kept of it."""

from __future__ import annotations

import json
import math
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import torch

from thalweg.lab.contender import pace
from thalweg.lab.plan import Trial
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.registry import find
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
    def of(cls, values: dict[str, Any]) -> Outcome:
        """From what :func:`vars` gave, by way of JSON."""
        curves = {k: tuple(values[k]) for k in ("train_curve", "validation_curve")}
        return cls(**{**values, **curves})


def train(trial: Trial) -> Outcome:
    """Run a trial."""
    start = time.perf_counter()
    problem = PROBLEMS[trial.problem]
    task = problem.start(trial.seed)
    make: Any = find(trial.algorithm).optimizer  # every class has its own constructor
    optimizer: RuleOptimizer = make(
        task.model.parameters(), lr=trial.rate, **json.loads(trial.options)
    )
    course = pace(trial.schedule or "constant", trial.epochs * task.steps_per_epoch)
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


def serve() -> None:
    """A worker: a trial a line on standard input, a line on standard output when it is ready and
    an outcome a line from then on. It ends with its input, in the middle of a trial if need be:
    then the process that started it is gone, or has no more use for it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    torch.set_num_threads(1)  # a trial's numbers do not depend on how many cores are free
    trials: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(trials,), daemon=True).start()
    _answer(answers, "ready")
    while True:
        trial = trials.get()
        try:
            outcome = train(trial)
        except Exception as e:  # told to the user as the trial's outcome
            outcome = Outcome(error=f"{type(e).__name__}: {' '.join(str(e).split())}")
        _answer(answers, vars(outcome))


def _listen(trials: queue.SimpleQueue[Trial]) -> None:
    try:
        for line in sys.stdin:
            trials.put(Trial(**json.loads(line)))
    finally:
        os._exit(0)


def _answer(answers: TextIO, what: Any) -> None:
    with suppress(BrokenPipeError):  # nobody listens: the input has ended, too
        print(json.dumps(what), file=answers, flush=True)
