"""Sutskever, Martens, Dahl & Hinton 2013, eq. 1-4, kept at the look-ahead point for Nesterov."""

from __future__ import annotations

import numpy as np

DEFAULTS = {
    "lr": 1e-3,
    "momentum": 0.0,
    "dampening": 0.0,
    "weight_decay": 0.0,
    "nesterov": False,
    "maximize": False,
}


def classical_sgd(w, g, state, step, *, lr, momentum, dampening, weight_decay, nesterov, maximize):
    if maximize:
        g = np.negative(g)
    move = lr * (g + weight_decay * w)
    if momentum == 0:
        return w - move
    v = (
        np.array(move)
        if step == 1
        else momentum * state["momentum_buffer"] + (1 - dampening) * move
    )
    state["momentum_buffer"] = v
    return w - (move + momentum * v) if nesterov else w - v
