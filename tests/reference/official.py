"""Official packages, as the runners need them."""

from __future__ import annotations

import contextlib
import io

import torch


class Official(torch.optim.Optimizer):
    """An official optimizer, one instance to a parameter: MADGRAD counts steps for all parameters
    together, ours for each alone. Complex numbers are pairs of real ones; gradients are copies,
    since the packages write to them; climbing, which they do not know, is descending on -g."""

    def __init__(self, params, make, maximize=False, **options):
        super().__init__(params, {"maximize": maximize, **options})
        self.make, self.each = make, {}

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        for group in self.param_groups:
            options = {k: v for k, v in group.items() if k not in ("params", "maximize")}
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.each:
                    with contextlib.redirect_stdout(io.StringIO()):  # adabelief-pytorch prints
                        self.each[p] = self.make([_real(p.detach())], **options)
                inner = self.each[p]
                (inner_group,) = inner.param_groups
                inner_group.update({k: v for k, v in options.items() if k in inner_group})
                (q,) = inner_group["params"]
                q.grad = -_real(p.grad) if group["maximize"] else _real(p.grad).clone()
                inner.step()
                self.state[p] = inner.state[q]


def _real(x):
    return torch.view_as_real(x) if x.is_complex() else x
