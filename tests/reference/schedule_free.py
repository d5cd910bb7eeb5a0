"""Schedule-Free AdamW as its paper has it, in straight lines, and the official package's optimizers
ready to step."""

from __future__ import annotations

from functools import partial

import numpy as np
from schedulefree import AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree

DEFAULTS = {
    "lr": 0.0025,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "r": 0.0,
    "weight_lr_power": 2.0,
    "maximize": False,
}


def paper(
    y, g, state, step, *, lr, betas, eps, weight_decay, warmup_steps, r, weight_lr_power, maximize
):
    """Algorithm 1 with x told from y and z."""
    beta1, beta2 = betas
    if maximize:
        g = np.negative(g)
    z, v = state.get("z", y), state.get("exp_avg_sq", np.zeros_like(y))
    x = (y - (1 - beta1) * z) / beta1
    v = beta2 * v + (1 - beta2) * g**2
    gamma = lr * min(1, step / warmup_steps) if warmup_steps else lr
    with np.errstate(invalid="ignore"):  # without eps
        z = z - gamma * (g / (np.sqrt(v / (1 - beta2**step)) + eps) + weight_decay * y)
    weight = step**r * gamma**weight_lr_power
    total = float(state.get("weight_sum", 0.0)) + weight
    c = weight / total if total > 0 else 0.0
    x = (1 - c) * x + c * z
    state.update(z=z, exp_avg_sq=v, weight_sum=np.array(total))
    return (1 - beta1) * z + beta1 * x


def _started(cls, params, **options):
    """The official optimizers start in evaluation mode."""
    optimizer = cls(params, foreach=False, **options)
    optimizer.train()
    return optimizer


sgd = partial(_started, SGDScheduleFree)
adamw = partial(_started, AdamWScheduleFree)
radam = partial(_started, RAdamScheduleFree)
