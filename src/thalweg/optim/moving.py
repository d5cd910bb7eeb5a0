"""Optimizers whose rule can lead weights elsewhere without a gradient: ahead, or to an average."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_

import torch
from torch import Tensor

from thalweg.engines.base import Batch, Slot, drive
from thalweg.engines.observed import address, observed
from thalweg.optim.choice import batches
from thalweg.optim.optimizer import Optimizer
from thalweg.rule.rule import Rule


class Moving(Optimizer):
    """Base of optimizers that take moves: rules that know weights, hyperparameters and state, but
    no gradient, no step and no state of one number."""

    def _forget(self) -> None:
        super()._forget()
        self._moves: dict[Rule, _Kept] = {}

    @torch.no_grad()
    def _move(self, move: Rule, params: Iterable[Tensor]) -> None:
        """Replace weights by what a rule without a gradient makes of them and of the state. Raises,
        and moves nothing, for bad options."""
        self._refresh()
        params = list(params)
        tensors = [*params, *(self.state[p][k] for k in move.state.values() for p in params)]
        kept = self._moves.get(move)
        settled = self._built and not observed()
        if kept is None or not settled or not kept.fits(self.batches, tensors):
            self._sort_new()
            chosen, slots = set(map(id, params)), []
            for group in self.param_groups:
                for p in group["params"]:
                    if id(p) in chosen:
                        state = {key: self.state[p][key] for key in move.state.values()}
                        graph = move.trace(self._values[self._place[p]])
                        slot = Slot(p, self._place[p], state)
                        slots.append((slot, self._refuse(p, group), graph, False))
            kept = self._moves[move] = _Kept(self.batches, tensors, batches(move, slots))
        drive([batch.run(self._values, 0) for batch in kept.batches])


class _Kept:
    """The batches of a move, to be used again while nothing has changed that they depend on."""

    def __init__(self, beside: list[Batch], tensors: list[Tensor], made: list[Batch]) -> None:
        # A step makes its batches anew where options ask for another graph or engine.
        self.beside, self.tensors, self.batches = beside, tensors, made
        self.places = list(map(_place, tensors))

    def fits(self, beside: list[Batch], tensors: list[Tensor]) -> bool:
        return (
            beside is self.beside
            and len(tensors) == len(self.tensors)
            and all(map(is_, tensors, self.tensors))
            and list(map(_place, tensors)) == self.places
        )


def _place(x: Tensor) -> tuple[int, int]:
    """Where in memory a tensor is, and how long."""
    return address(x), x.nbytes
