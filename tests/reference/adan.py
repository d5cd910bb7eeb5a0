"""Xie et al. 2024 (arXiv:2208.06677), Algorithm 1 and its restart condition, and what the official
code (sail-sg/Adan) does instead of Algorithm 1's start."""

from __future__ import annotations

import numpy as np
import torch

from reference.straight import Straight, array

DEFAULTS = {
    "lr": 1e-3,
    "betas": (0.98, 0.92, 0.99),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "no_prox": False,
    "convention": "official",
    "restart_radius": None,
    "maximize": False,
}


def paper(w, g, state, step, *, lr, betas, eps, weight_decay, no_prox, **_):
    b1, b2, b3 = (1 - b for b in betas)  # the paper's
    if step == 1:
        m, v, n = g, np.zeros_like(g), g**2
    else:
        change = g + state["neg_pre_grad"]
        m = (1 - b1) * state["exp_avg"] + b1 * g
        v = change if step == 2 else (1 - b2) * state["exp_avg_diff"] + b2 * change
        n = (1 - b3) * state["exp_avg_sq"] + b3 * (g + (1 - b2) * change) ** 2
    state.update(exp_avg=m, exp_avg_diff=v, exp_avg_sq=n, neg_pre_grad=-g)
    state["weighting"] = np.sqrt(n) + eps
    move = lr / (np.sqrt(n) + eps) * (m + (1 - b2) * v)
    return (1 - lr * weight_decay) * w - move if no_prox else (w - move) / (1 + weight_decay * lr)


def official(w, g, state, step, *, lr, betas, eps, weight_decay, no_prox, **_):
    beta1, beta2, beta3 = betas
    if step == 1:
        for key in ("exp_avg", "exp_avg_diff", "exp_avg_sq"):
            state[key] = np.zeros_like(g)
        state["neg_pre_grad"] = -g
    change = g + state["neg_pre_grad"]
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    v = beta2 * state["exp_avg_diff"] + (1 - beta2) * change
    n = beta3 * state["exp_avg_sq"] + (1 - beta3) * (g + beta2 * change) ** 2
    state.update(exp_avg=m, exp_avg_diff=v, exp_avg_sq=n, neg_pre_grad=-g)
    root = np.sqrt(n) / np.sqrt(1 - beta3**step) + eps
    state["weighting"] = root
    if no_prox:
        w = w * (1 - lr * weight_decay)
    w = w - lr / (1 - beta1**step) * m / root - lr * beta2 / (1 - beta2**step) * v / root
    return w if no_prox else w / (1 + lr * weight_decay)


def adan(w, g, state, step, *, maximize, convention, restart_radius, **options):
    del restart_radius
    rule = {"paper": paper, "official": official}[convention]
    return rule(w, np.negative(g) if maximize else g, state, step, **options)


class Adan(Straight):
    """With the restarts: `count` is how many steps were made since the last."""

    def __init__(self, params, **options):
        super().__init__(params, adan, DEFAULTS, **options)
        self.path, self.restarts = {}, 0

    @torch.no_grad()
    def step(self, closure=None):
        moved = [(p, group["restart_radius"]) for group in self.param_groups
                 for p in group["params"] if p.grad is not None]  # fmt: skip
        before = {p: array(p).copy() for p, _ in moved}
        with np.errstate(divide="ignore", invalid="ignore"):  # eps may be 0
            super().step()
        weighting = {p: self.state[p].pop("weighting").numpy() for p, _ in moved}
        length = sum(np.sum((array(p) - before[p]) ** 2 * weighting[p]) for p, _ in moved)
        for p, radius in moved:
            if radius is None:
                continue
            self.path[p] = self.path.get(p, 0.0) + length
            self.state[p]["restart_step"] = torch.tensor(float(self.count[p]))
            if self.count[p] * self.path[p] > radius**2:
                self.count[p], self.path[p], self.restarts = 0, 0.0, self.restarts + 1
