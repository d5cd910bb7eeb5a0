"""Who evaluates a closure twice must know whether the closure makes the whole gradient."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

Gradients = dict[Tensor, tuple[Tensor, Tensor]]  # a parameter's gradient, and a copy of its values


class Accumulation:
    """Notices a closure that adds to gradients which were there before it."""

    def __init__(self) -> None:
        self.zeroed = False  # whether the closure that is being called has zeroed the gradients
        self._left: dict[Tensor, tuple[int, int]] = {}

    def leave(self, params: Iterable[Tensor]) -> None:
        """Remember, by identity and version, the gradients that a step has left behind."""
        grads = ((p, p.grad) for p in params)
        self._left = {p: (id(g), g._version) for p, g in grads if g is not None}

    def before(self, params: Iterable[Tensor]) -> Gradients:
        """The gradients that have been taken since the last step."""
        self.zeroed, found = False, {}
        for p in params:
            if p.grad is not None and self._left.get(p) != (id(p.grad), p.grad._version):
                found[p] = p.grad, p.grad.clone()
        return found

    def untouched(self, before: Gradients) -> bool:
        """Whether there were gradients, and the closure has left all as they were."""
        same = (p.grad is g and torch.equal(g, was) for p, (g, was) in before.items())
        return bool(before) and not self.zeroed and all(same)

    def refuse(self, before: Gradients) -> None:
        """Raise where the closure has added to other gradients than its own. Its own, once more,
        may have been there: scripts made for SAM's official code go backward before the step, and
        the climb does not depend on the gradient's length."""
        if self.zeroed:
            return
        kept = [(g, was) for p, (g, was) in before.items() if p.grad is g]
        added = [(g, was) for g, was in kept if not torch.equal(g, was)]
        off = sum(float((now - 2 * was).norm()) ** 2 for now, was in added)
        if off > 1e-4 * sum(float(was.norm()) ** 2 for _, was in added):
            raise RuntimeError(
                "the closure has added to gradients that were there before, which the second "
                "evaluation would not see: let it zero the gradients first. To accumulate "
                "gradients, go through all micro-batches before first_step(), and again before "
                "second_step()"
            )
