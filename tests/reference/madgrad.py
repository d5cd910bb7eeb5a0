"""Defazio & Jelassi 2022, Algorithm 1 (no eps in lambda), and the official code's options."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-2,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "eps": 1e-6,
    "decouple_decay": False,
    "maximize": False,
}


def madgrad(w, g, state, step, *, lr, momentum, weight_decay, eps, decouple_decay, maximize):
    if maximize:
        g = np.negative(g)
    if not decouple_decay:
        g = g + weight_decay * w
    s, nu = state.get("s", np.zeros_like(g)), state.get("grad_sum_sq", np.zeros_like(g))
    # Without momentum the start is told from where the last step led.
    x0 = state.setdefault("x0", w) if momentum else w + _quotient(s, np.cbrt(nu) + eps)
    lambda_k = lr * np.sqrt(step)
    state["s"] = s = s + lambda_k * g
    state["grad_sum_sq"] = nu = nu + lambda_k * g**2
    z = x0 - _quotient(s, np.cbrt(nu) + eps)
    decay = lr * weight_decay * w if decouple_decay else 0
    return momentum * w + (1 - momentum) * z - decay


def _quotient(s, root):
    return np.divide(s, root, out=np.zeros_like(s), where=root > 0)
