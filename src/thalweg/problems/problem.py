"""What a race needs to know of a problem, and the list of those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

from torch import Tensor, nn

Split = Literal["train", "validation", "test"]
Batch = tuple[Tensor, Tensor]


class Unavailable(Exception):
    """Data that are neither on this machine nor to be had from the network."""


class Task(Protocol):
    """One training: a fresh model and its data in an order of its own, both decided by a seed."""

    model: nn.Module

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        ...

    def batches(self) -> Iterator[Batch]:
        """One epoch of training batches."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """What is minimised, on one batch; a 0-dim tensor with a gradient."""
        ...

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss per example and score on a part of the data."""
        ...


@dataclass(frozen=True)
class Problem:
    """A problem by name; the data are loaded when a task is started."""

    name: str
    title: str
    about: str  # one sentence: data, model, loss
    score: str  # what the score is, e.g. "accuracy"
    unit: str  # of the score, e.g. "%"
    higher_is_better: bool
    epochs: int  # of a race, unless told otherwise
    module: str
    held_out: bool = True  # whether validation and test data are other than the training data
    remote: bool = False  # whether the data come from the network, once

    def prepare(self) -> None:
        """Fetch what a training needs, if that is to be fetched.

        Raises:
            thalweg.problems.problem.Unavailable: it cannot be had; one line says why.
        """
        if self.remote:
            import_module(self.module).prepare()

    def start(self, seed: int) -> Task:
        """A fresh task; the same seed gives the same numbers in any process."""
        task: Task = import_module(self.module).start(seed)
        return task

    @property
    def worst(self) -> float:
        """The score of a training that diverged."""
        return 0.0 if self.higher_is_better else float("inf")

    def as_dict(self) -> dict[str, Any]:
        return {"problem": self.name}


PROBLEMS: dict[str, Problem] = {
    p.name: p
    for p in (
        Problem(
            name="digits",
            title="Handwritten digits",
            about="1797 images of 8×8 pixels from scikit-learn, split 60/20/20 into training, "
            "validation and test; a 64-100-10 perceptron with ReLU, cross-entropy, batches of 32",
            score="accuracy",
            unit="%",
            higher_is_better=True,
            epochs=20,
            module="thalweg.problems.digits",
        ),
        Problem(
            name="mnist",
            title="MNIST",
            about="60,000 images of 28×28 pixels of handwritten digits and 10,000 to test, fetched "
            "from OpenML once; 10,000 of the former are for validation; a 784-100-10 perceptron "
            "with ReLU, cross-entropy, batches of 100",
            score="accuracy",
            unit="%",
            higher_is_better=True,
            epochs=10,
            module="thalweg.problems.mnist",
            remote=True,
        ),
        Problem(
            name="least-squares",
            title="Linear least squares",
            about="mean radius and mean area → mean perimeter of 569 breast-cancer samples, all "
            "standardised; squared error summed over batches of 10, no held-out part",
            score="distance to the analytic solution",
            unit="",
            higher_is_better=False,
            epochs=10,
            module="thalweg.problems.least_squares",
            held_out=False,
        ),
    )
}
