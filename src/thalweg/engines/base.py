"""What the engines agree on.

The optimizer hands an engine *slots* (a parameter and its state) that share one graph; the engine's
batch steps them. A batch runs as a coroutine: at each reduction over *all* parameters
it yields its partial sum and is sent the total, so that batches of different engines stay in step
and nobody writes before the total is known to all.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from thalweg.rule.graph import Graph
from thalweg.rule.rule import Rule, Values

Run = Generator[float, float, None]


@dataclass(eq=False)
class Slot:
    """One parameter as the engines see it."""

    param: Tensor
    group: int  # which of the values are its own: its group's, or a part's of that
    state: dict[str, Any]  # torch's state of this parameter: tensors by key, `step` among them
    # Whether its first step is still to come; `step` is not kept in every rule's state.
    fresh: bool = True
    number: int = 0  # which of its optimizer's parameters it is


@dataclass(frozen=True, eq=False)
class Work:
    """What is done to a batch: a rule, and its graph for the options of these parameters."""

    rule: Rule
    graph: Graph

    @property
    def keys(self) -> dict[str, str]:
        """Symbol -> key in torch's state, for the states that these options need."""
        return {s: self.rule.state[s] for s in self.graph.states}

    def at_random(self, symbol: str, dtype: torch.dtype) -> bool:
        """Whether a state is rounded at random where it is stored in this dtype."""
        compared = self.rule.compared if self.rule.compared <= {*self.graph.states} else ()
        return dtype is torch.bfloat16 and symbol not in (*self.rule.nearest, *compared)

    @property
    def scalar_keys(self) -> dict[str, str]:
        """Likewise for the states that have one value per parameter."""
        return {s: self.rule.state[s] for s in self.graph.new_scalars}

    @property
    def shaped_keys(self) -> dict[str, str]:
        """Likewise for the states that have a shape of their own."""
        return {s: self.rule.state[s] for s in self.graph.new_shaped}


class Batch(Protocol):
    """Parameters that one engine steps together."""

    work: Work
    slots: Sequence[Slot]

    def holds(self) -> bool:
        """Whether parameters and state are still where and what they were; if not, the batch must
        be built anew."""
        ...

    def collect(self) -> bool:
        """Look at gradients too, before a step; False likewise."""
        ...

    def count(self) -> int:
        """Elements that take part in the coming step (a complex one counts twice)."""
        ...

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        """Step every slot that has a gradient; every slot, if gradients were never collected (the
        views of a rule). ``values`` holds the hyperparameters by group, ``everything`` the number
        of elements over all batches."""
        ...


def real(x: Tensor) -> Tensor:
    """A complex tensor as pairs of real ones, which is how torch.optim steps it."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def drive(runs: Sequence[Run]) -> None:
    """Run batches to their end, exchanging partial sums for totals."""
    if torch._C._is_any_autocast_enabled():  # a model's products may be rounded; a rule's are not
        with torch._C._DisableAutocast():
            _drive(runs)
    else:
        _drive(runs)


def _drive(runs: Sequence[Run]) -> None:
    total: float | None = None
    while runs:
        partial, alive = 0.0, []
        for run in runs:
            # No exception where there is nothing to add up: this runs at every step.
            found = next(run, None) if total is None else _resumed(run, total)
            if found is not None:
                partial += found
                alive.append(run)
        if alive and len(alive) != len(runs):
            raise AssertionError("batches of one optimizer disagree about its reductions")
        runs, total = alive, partial


def _resumed(run: Run, total: float) -> float | None:
    try:
        return run.send(total)
    except StopIteration:
        return None
