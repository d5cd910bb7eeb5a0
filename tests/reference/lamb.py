"""You et al. 2020, Algorithm 2, with the switches of NVIDIA's FusedLAMB."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "bias_correction": True,
    "betas": (0.9, 0.999),
    "eps": 1e-6,
    "weight_decay": 0.01,
    "grad_averaging": True,
    "adam_w_mode": True,
    "use_nvlamb": False,
    "maximize": False,
}


def lamb(w, g, state, step, *, lr, bias_correction, betas, eps, weight_decay, grad_averaging,
         adam_w_mode, use_nvlamb, maximize):  # fmt: skip
    beta1, beta2 = betas
    g = np.negative(g) if maximize else g
    if not adam_w_mode:
        g = g + weight_decay * w
    m = beta1 * state.get("exp_avg", np.zeros_like(w)) + (1 - beta1 if grad_averaging else 1) * g
    v = beta2 * state.get("exp_avg_sq", np.zeros_like(w)) + (1 - beta2) * g**2
    state["exp_avg"], state["exp_avg_sq"] = m, v
    first = m / (1 - beta1**step) if bias_correction else m
    second = v / (1 - beta2**step) if bias_correction else v
    r = first / (np.sqrt(second) + eps)
    if adam_w_mode:
        r = r + weight_decay * w
    ratio = 1.0
    if weight_decay > 0 or use_nvlamb:
        long_w, long_r = np.sqrt(np.sum(w**2)), np.sqrt(np.sum(r**2))
        if long_w > 0 and long_r > 0:
            ratio = long_w / long_r
    return w - lr * ratio * r
