"""Sutskever, Martens, Dahl & Hinton 2013, eq. 3 and 4, on a function that may be regularised
and maximised, and with the learning rate where torch has it."""

from __future__ import annotations

import numpy as np


def lookahead(w, gradient, rates, *, momentum, weight_decay=0.0, maximize=False, classical=False):
    """The weights and the velocity after each step."""
    z = np.zeros_like(w)
    for lr in rates:
        inside, outside = (lr, 1) if classical else (1, lr)
        at = w - outside * momentum * z
        g = gradient(at)
        z = momentum * z + inside * ((-g if maximize else g) + weight_decay * at)
        w = w - outside * z
        yield w, z
