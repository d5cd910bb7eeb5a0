"""Foret et al. 2021, Algorithm 1, and Kwon et al. 2021 (without its 0.01): the weights at which the
second gradient is taken."""

from __future__ import annotations

import numpy as np


def top(weights, gradients, *, rho=0.05, adaptive=False, maximize=False):
    """Where the climb from ``weights`` leads, array by array."""
    gradients = [-g if maximize else g for g in gradients]
    scales = [np.abs(w) if adaptive else np.ones_like(w) for w in weights]
    length = np.sqrt(sum(np.sum((t * g) ** 2) for t, g in zip(scales, gradients, strict=True)))
    return [
        w + rho * t**2 * g / (length + 1e-12)
        for w, t, g in zip(weights, scales, gradients, strict=True)
    ]
