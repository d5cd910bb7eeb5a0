"""What code written for torch.optim imports is there under thalweg.optim."""

from __future__ import annotations

import torch

from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer


def test_the_base_class_is_torchs():
    assert optim.Optimizer is torch.optim.Optimizer

    class Signs(optim.Optimizer):  # as every optimizer of one's own is written for torch
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad.sign()

    p = torch.ones(2, requires_grad=True)
    p.grad = torch.tensor([3.0, -2.0])
    Signs([p], lr=0.5).step()
    assert p.tolist() == [0.5, 1.5]
    assert isinstance(optim.LBFGS([p]), optim.Optimizer)
    assert isinstance(optim.Adam([p]), optim.Optimizer)
    assert issubclass(optim.Adam, RuleOptimizer)
