"""torch's Adafactor, which divides by zero at a tensor without elements: here it only counts."""

from __future__ import annotations

import torch


class Adafactor(torch.optim.Adafactor):
    @torch.no_grad()
    def step(self, closure=None):
        params = [p for group in self.param_groups for p in group["params"]]
        empty = {p: p.grad for p in params if p.grad is not None and not p.numel()}
        for p in empty:
            p.grad = None
            if not self.state[p]:
                rows, columns = list(p.shape), list(p.shape)
                rows[-1], columns[-2] = 1, 1
                self.state[p] = {
                    "step": torch.tensor(0.0),
                    "row_var": p.new_zeros(rows),
                    "col_var": p.new_zeros(columns),
                }
            self.state[p]["step"] += 1
        super().step(closure)
        for p, g in empty.items():
            p.grad = g
