"""Taniguchi et al. 2024 (arXiv:2411.02853), Algorithm 2, with the official code's count of steps:
the first gradient only sets v."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "betas": (0.9, 0.9999),
    "eps": 1e-6,
    "clip_lambda": 0.25,
    "weight_decay": 0.0,
    "decouple": False,
    "maximize": False,
}


def adopt(
    w, g, state, step, *, lr, betas, eps, clip_lambda, weight_decay, decouple, maximize
):  # fmt: skip
    if maximize:
        g = np.negative(g)
    if not decouple:
        g = g + weight_decay * w
    t = step - 1
    if t == 0:
        state["exp_avg"], state["exp_avg_sq"] = np.zeros_like(g), g * g
        return w
    beta1, beta2 = betas
    if decouple:
        w = w - lr * weight_decay * w
    before = np.sqrt(state["exp_avg_sq"])
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = g / np.where(before > eps, before, eps)
    if clip_lambda is not None:
        scaled = np.clip(scaled, -(t**clip_lambda), t**clip_lambda)
    m = state["exp_avg"] = beta1 * state["exp_avg"] + (1 - beta1) * scaled
    state["exp_avg_sq"] = beta2 * state["exp_avg_sq"] + (1 - beta2) * g * g
    return w - lr * m
