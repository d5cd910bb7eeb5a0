"""Optimizers whose rule can lead weights elsewhere without a gradient: ahead, or to an average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.engines.base import Batch, Slot, Work, drive
from thalweg.engines.observed import observed
from thalweg.optim.choice import batches
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.plan import Plan, same
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Rule


class Moving(RuleOptimizer):
    """Base of optimizers that take moves: rules that know weights, hyperparameters and state, but
    no gradient, no step and no state of one number."""

    def _forget(self) -> None:
        super()._forget()
        self._moves: dict[Rule, _Kept] = {}

    @torch.no_grad()
    def _move(self, move: Rule, params: Iterable[Tensor]) -> None:
        """Replace weights by what a rule without a gradient makes of them and of the state. Raises,
        and moves nothing, for bad options."""
        with self._lock:
            self._refresh()
            self._move_as_planned(move, list(params))

    def _move_as_planned(self, move: Rule, params: list[Tensor]) -> None:
        """Likewise with the options as they were last looked at."""
        tensors = [*params, *(self.state[p][k] for k in move.state.values() for p in params)]
        kept = self._moves.get(move)
        if kept is None or not kept.fits(self._plan, tensors):
            made = batches(move, self._moving(move, params))
            kept = self._moves[move] = _Kept(self._plan, tensors, made)
        drive([batch.run(self._plan.values, 0) for batch in kept.batches])

    def _moving(self, move: Rule, params: list[Tensor]) -> list[tuple[Slot, str, Graph, bool]]:
        found, left = [], set(map(id, params))
        for p, group, place in self._plan.entries():
            if id(p) not in left:
                continue
            left.discard(id(p))  # whoever stands in several places moves once
            values = self._plan.values[place]
            work, engine = Work(move, move.trace(values)), self._refuse(p, group)
            self._look(p, values, work, None)
            state = {key: self.state[p][key] for key in move.state.values()}
            slot = Slot(p, place, state)
            found.append((slot, self._settle(p, group, work, engine), work.graph, False))
        return found


def has(state: Mapping[str, Any], keys: Iterable[str]) -> bool:
    """Whether all of this state is there; None is as none."""
    return all(state.get(key) is not None for key in keys)


class _Kept:
    """The batches of a move, to be used again while nothing has changed that they depend on."""

    def __init__(self, plan: Plan, tensors: list[Tensor], made: list[Batch]) -> None:
        # A step makes its batches anew where options ask for another graph or engine.
        self.plan, self.beside, self.tensors, self.batches = plan, plan.rounds, tensors, made

    def fits(self, plan: Plan, tensors: list[Tensor]) -> bool:
        return (
            plan is self.plan
            and plan.built
            and not observed()
            and plan.rounds is self.beside
            and same(self.tensors, tensors)
            and all(batch.holds() for batch in self.batches)
        )
