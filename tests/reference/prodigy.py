"""Mishchenko & Defazio 2024, Algorithm 4, with the official code's options: the estimate of d needs
all parameters before any of them can move."""

from __future__ import annotations

import numpy as np
import torch

from reference.straight import array

DEFAULTS = {
    "lr": 1.0,
    "betas": (0.9, 0.999),
    "beta3": None,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decouple": True,
    "use_bias_correction": False,
    "safeguard_warmup": False,
    "d0": 1e-6,
    "d_coef": 1.0,
    "growth_rate": float("inf"),
    "maximize": False,
}


class Prodigy(torch.optim.Optimizer):
    def __init__(self, params, **options):
        super().__init__(params, {**DEFAULTS, **options})
        self.d = self.d_max = self.param_groups[0]["d0"]
        self.numerator = 0.0
        self.count = {}

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        first = self.param_groups[0]
        d, d0, b3 = self.d, first["d0"], first["beta3"]
        b3 = np.sqrt(first["betas"][1]) if b3 is None else b3
        numerator, denominator, moving = b3 * self.numerator, 0.0, []
        for group in self.param_groups:
            (b1, b2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                k = self.count[p] = self.count.get(p, 0) + 1
                w, g, state = array(p), array(p.grad).copy(), self.state[p]
                if not state:
                    names = ("exp_avg", "exp_avg_sq", "s") if b1 else ("exp_avg_sq", "s")
                    state.update({name: np.zeros_like(w) for name in names}, p0=w.copy())
                if group["maximize"]:
                    g = -g
                if not group["decouple"]:
                    g += group["weight_decay"] * w
                correction = 1.0
                if group["use_bias_correction"]:
                    correction = np.sqrt(1 - b2**k) / (1 - b1**k)
                step = d * correction
                if lr > 0:
                    numerator += d / d0 * lr * step * np.sum(g * (state["p0"] - w))
                    if b1:
                        state["exp_avg"] = b1 * state["exp_avg"] + (1 - b1) * d * g
                    state["exp_avg_sq"] = b2 * state["exp_avg_sq"] + (1 - b2) * d**2 * g**2
                    by = d if group["safeguard_warmup"] else lr * step
                    state["s"] = b3 * state["s"] + d / d0 * by * g
                    denominator += np.abs(state["s"]).sum()
                moving.append((group, state, w, g, step))
        if denominator > 0:
            d_hat = first["d_coef"] * numerator / denominator
            new = max(d, d_hat) if d == d0 else d
            self.d_max = max(self.d_max, d_hat)
            self.d = min(self.d_max, new * first["growth_rate"])
            self.numerator = numerator
        for group, state, w, g, step in moving:
            root = np.sqrt(state["exp_avg_sq"]) + self.d * group["eps"]
            towards = state["exp_avg"] if "exp_avg" in state else self.d * g
            decay = group["weight_decay"] if group["decouple"] else 0.0
            w[...] = w - group["lr"] * step * (decay * w + towards / root)
        for state in self.state.values():
            common = {"d": self.d, "d_max": self.d_max, "d_numerator": self.numerator}
            state.update({name: np.array(x) for name, x in common.items()})
