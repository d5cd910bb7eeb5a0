"""Pagliardini, Ablin & Grangier 2025 (arXiv:2409.03137), Algorithm 1 and the two schedules, with
the 1e-8 that Apple's code has in the logarithm."""

from __future__ import annotations

import math

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "betas": (0.9, 0.999, 0.9999),
    "alpha": 2.0,
    "beta3_warmup": None,
    "alpha_warmup": None,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "maximize": False,
}


def ademamix(
    w, g, state, step, *, lr, betas, alpha, beta3_warmup, alpha_warmup, eps, weight_decay, maximize
):  # fmt: skip
    if maximize:
        g = np.negative(g)
    beta1, beta2, beta3 = betas
    if alpha_warmup is not None and step < alpha_warmup:
        alpha = alpha * step / alpha_warmup
    if beta3_warmup is not None and step < beta3_warmup:
        start, end = (math.log(0.5) / math.log(b + 1e-8) - 1 for b in (beta1, beta3))
        now = start + step / beta3_warmup * (end - start)
        beta3 = math.pow(0.5, 1 / (now + 1))
    zero = np.zeros_like(g)
    fast = beta1 * state.get("exp_avg_fast", zero) + (1 - beta1) * g
    slow = beta3 * state.get("exp_avg_slow", zero) + (1 - beta3) * g
    v = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * g**2
    state.update(exp_avg_slow=slow, exp_avg_sq=v)
    if beta1 != 0:
        state["exp_avg_fast"] = fast
    up = fast / (1 - beta1**step) + alpha * slow
    with np.errstate(invalid="ignore"):  # 0 / 0 where eps is 0, as in the official code
        return w - lr * (up / (np.sqrt(v / (1 - beta2**step)) + eps) + weight_decay * w)
