"""Optimizers that take the gradient not where the weights are but ahead of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor

from thalweg.optim.fit import check_fit
from thalweg.optim.groups import Group
from thalweg.optim.moving import Moving, has


class LookingAhead(Moving):
    """Base of optimizers whose rule has a move ``ahead``: where a group's options ask for it, the
    closure given to ``step`` finds the parameters there; behind it they hold, bit by bit, what they
    held before, and the step goes from there."""

    _kept = cast("dict[Tensor, Tensor] | None", None)  # while ahead: the weights to go back to
    _seen = False  # whether the gradients have been taken ahead

    def looks_ahead(self, group: Group) -> bool:
        """Whether a group's options ask for the gradient at another point."""
        raise NotImplementedError

    @contextmanager
    def ahead(self) -> Generator[None]:
        """A context in which the parameters are where the gradient is to be taken; behind it they
        hold, bit by bit, what they held before. For forward and backward where ``step`` is called
        without a closure, as with a ``GradScaler``."""
        me = self._original
        if me._kept is not None:
            raise RuntimeError("the parameters are ahead already: ahead() cannot be nested")
        far = [p for group in me.param_groups if me.looks_ahead(group) for p in group["params"]]
        assert me.rule.ahead is not None
        needed = set(me.rule.ahead.state.values())
        moving = [p for p in far if has(me.state.get(p, {}), needed)]
        self._present()
        with torch.no_grad():
            kept = {p: p.clone() for p in moving}
            me._move(me.rule.ahead, moving)
            me._kept = kept
        try:
            yield
        finally:
            kept, me._kept = me._kept, None
            wrong = []
            with torch.no_grad():
                for p, w in kept.items():  # whatever has been done to them there
                    try:
                        check_fit(p, p, partial(me._name, p), tuple(w.shape))
                    except ValueError as e:
                        wrong.append(e)
                    else:
                        p.copy_(w)
            if wrong:
                raise wrong[0]
        me._seen = bool(far)

    def _prepare(self) -> None:
        if self._kept is not None:
            raise RuntimeError("no step can be made while the parameters are ahead")
        ahead = self._seen or not any(map(self.looks_ahead, self.param_groups))
        # Without a velocity, ahead is here.
        if not ahead and (self.state or not self._flat()):
            raise RuntimeError(
                "the gradient is to be taken ahead of the weights: call step(closure), or go "
                "forward and backward inside `with optimizer.ahead():` before step()"
            )
        super()._prepare()
        self._seen = False
