"""Schedules that fall by the same factor every step."""

from __future__ import annotations

import math

from thalweg.schedules.checks import finite, positive
from thalweg.schedules.entry import Course
from thalweg.schedules.lines import SPAN
from thalweg.schedules.schedule import constructor


@constructor(r"s(t) = e^{-k t} = \gamma^{t}, \quad \gamma = e^{-k}", example=(0.04,))
def exponential(k: float | None = None, gamma: float | None = None) -> Course:
    """Exponential decay: by the same factor every step, for ever.

    ::

        value(t) = exp(-k t) = gamma^t          gamma = exp(-k), k = -log(gamma)

    Args:
        k: rate per step, finite; below 0 it grows. The lecture calls it k or gamma.
        gamma: factor per step, above 0, as torch has it. Either k or gamma must be given.

    In torch: ``ExponentialLR(gamma=gamma)``.
    """
    if k is not None and gamma is not None:
        raise ValueError(f"k and gamma = exp(-k) say the same: give one, not k={k}, gamma={gamma}")
    if gamma is not None:
        factor = positive("gamma", gamma)
        return Course(lambda t: factor**t, None, _span(math.log(factor)))
    if k is None:
        raise ValueError("k or gamma must be given")
    rate = finite("k", k)
    return Course(lambda t: math.exp(-rate * t), None, _span(rate))


def _span(k: float) -> float:
    return 5 / abs(k) if k else SPAN


@constructor(
    r"s(t) = \alpha^{t}, \quad \alpha = \left(\frac{\beta}{T}\right)^{1 / T}", example=(100, 1)
)
def exponential_steps(total: float, beta: float = 1.0) -> Course:
    """Exponential decay whose factor follows from the number of steps. These "exponential step
    sizes" leave next to nothing to tune.

    ::

        value(t) = alpha^t                      alpha = (beta / total)^(1 / total)

    Args:
        total: steps of the training, T, above 0.
        beta: the value at the end is beta / total; above 0, at most the total.

    In torch: ``ExponentialLR(gamma=alpha)``. The paper's baseline, stagewise decay with a number of
    milestones, is ``multi_step``.

    Where papers and code disagree:
        The official code counts steps from 1 and never uses alpha^0 = 1; here the first step is
        step 0, as everywhere. It takes alpha itself, not beta.

    Reference: Li, Zhuang & Orabona 2021, ICML, arXiv:2002.05273 (2020 under the title "Exponential
    Step Sizes for Non-Convex Optimization"); official code:
    zhenxun-zhuang/SGD-Exponential-Cosine-Stepsize.
    """
    n, b = positive("total", total), positive("beta", beta)
    if b > n:
        raise ValueError(f"beta must be at most total, {n}, not {b}")
    return Course(lambda t: float((b / n) ** (t / n)), n, n)
