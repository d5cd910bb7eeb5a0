"""Chen et al. 2020, Algorithm 1, with bias correction and eps as in the official code."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 0.1,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": True,
    "partial": 0.25,
    "maximize": False,
}


def padam(w, g, state, step, *, lr, betas, eps, weight_decay, amsgrad, partial, maximize):
    b1, b2 = betas
    g = np.negative(g) if maximize else g
    if weight_decay:
        g = g + weight_decay * w
    m = state["exp_avg"] = b1 * state.get("exp_avg", 0.0) + (1 - b1) * g
    v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0.0) + (1 - b2) * g**2
    if amsgrad:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    alpha = lr * np.sqrt(1 - b2**step) / (1 - b1**step)
    with np.errstate(invalid="ignore"):
        return w - alpha * m / (np.sqrt(v) + eps) ** (2 * partial)
