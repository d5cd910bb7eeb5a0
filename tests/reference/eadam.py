"""Yuan & Gao 2020 (arXiv:2011.02150), Algorithm 2, with Adam's other options."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "decoupled_weight_decay": False,
    "maximize": False,
}


def eadam(
    w, g, state, step, *, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay, maximize
):  # fmt: skip
    if maximize:
        g = np.negative(g)
    if decoupled_weight_decay:
        w = w - lr * weight_decay * w
    else:
        g = g + weight_decay * w
    beta1, beta2 = betas
    zero = np.zeros_like(g)
    m = state["exp_avg"] = beta1 * state.get("exp_avg", zero) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * g**2 + eps
    if amsgrad:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", zero), v)
    return w - lr * (m / (1 - beta1**step)) / np.sqrt(v / (1 - beta2**step))
