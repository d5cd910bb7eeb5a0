"""Straight-line NumPy versions of algorithms, made to look like torch optimizers.

A reference is one function ``(w, g, state, step, **options) -> w`` on float64 arrays that writes
its new state into ``state``; it is written from the paper and shares nothing with ``src``.
"""

from __future__ import annotations

import torch


class Straight(torch.optim.Optimizer):
    """Steps torch tensors by a function on arrays."""

    def __init__(self, params, function, defaults, **options):
        super().__init__(params, {**defaults, **options})
        self.function = function
        self.count = {}  # beside the state: not every algorithm keeps it there

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        for group in self.param_groups:
            options = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.count[p] = step = self.count.get(p, 0) + 1
                state = {k: v.numpy() for k, v in self.state[p].items()}
                w, g = array(p).copy(), array(p.grad)
                array(p)[...] = self.function(w, g, state, step, **options)
                self.state[p] = {k: torch.as_tensor(v) for k, v in state.items()}


def array(x):
    """The tensor's memory as an array; complex numbers as pairs of real ones."""
    x = x.to_dense() if x.is_sparse else x
    return (torch.view_as_real(x) if x.is_complex() else x).detach().numpy()


class Unseen(Straight):
    """Its state is not compared: it is kept otherwise, or has signs of its own."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.unseen = {}

    def step(self, closure=None):
        self.state.update(self.unseen)
        super().step(closure)
        self.unseen = dict(self.state)
        self.state.clear()
