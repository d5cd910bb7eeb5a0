"""torch's Rprop, with the L2 regularisation that its other optimizers have."""

from __future__ import annotations

import torch


class Rprop(torch.optim.Rprop):
    def __init__(self, params, *, weight_decay=0.0, **options):
        super().__init__(params, **options)
        self.defaults["weight_decay"] = weight_decay
        for group in self.param_groups:
            group.setdefault("weight_decay", weight_decay)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint has torch's options only
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        given = {p: p.grad for g in self.param_groups for p in g["params"] if p.grad is not None}
        for group in self.param_groups:
            decay = -group["weight_decay"] if group["maximize"] else group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None and decay:
                    p.grad = p.grad + decay * p
        super().step()
        for p, g in given.items():
            p.grad = g
