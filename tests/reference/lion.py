"""Chen et al. 2023 (arXiv:2302.06675), Algorithm 2."""

from __future__ import annotations

import numpy as np

DEFAULTS = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0, "maximize": False}


def lion(w, g, state, step, *, lr, betas, weight_decay, maximize):
    del step
    if maximize:
        g = np.negative(g)
    beta1, beta2 = betas
    m = state.get("exp_avg", np.zeros_like(g))
    c = m * beta1 + g * (1 - beta1)
    state["exp_avg"] = m * beta2 + g * (1 - beta2)
    return w - lr * (np.sign(c) + weight_decay * w)
