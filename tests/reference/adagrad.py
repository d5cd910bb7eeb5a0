"""Adagrad with its constant under the root, and torch's other options."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-2,
    "lr_decay": 0.0,
    "weight_decay": 0.0,
    "initial_accumulator_value": 0.0,
    "eps": 1e-10,
    "maximize": False,
}


def adagrad(
    w, g, state, step, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize
):  # fmt: skip
    if maximize:
        g = np.negative(g)
    g = g + weight_decay * w
    state["sum"] = state.get("sum", initial_accumulator_value) + g**2
    return w - lr / (1 + lr_decay * (step - 1)) * g / np.sqrt(state["sum"] + eps)
