"""Schedules of straight pieces: constant, linear, polynomial, warm-up–stable–decay."""

from __future__ import annotations

import math
from typing import Literal

from thalweg.schedules.checks import finite, not_negative, positive
from thalweg.schedules.entry import Course
from thalweg.schedules.schedule import constructor
from thalweg.validation import check_choice

SPAN = 100  # steps of a picture in which nothing happens


def line(start: float, end: float, t: float, steps: float) -> float:
    """From ``start`` at step 0 to ``end`` at step ``steps``, both exact."""
    if 2 * t < steps:
        return start + (end - start) * (t / steps)
    return end + (start - end) * ((steps - t) / steps)


def mix(start: float, end: float, share: float) -> float:
    """``share`` of the start, the rest of the end: exact at 1 and 0, and where both are equal."""
    if share < 0.5:
        return end + (start - end) * share
    return start + (end - start) * (1 - share)


@constructor(r"s(t) = \alpha", example=(1,))
def constant(value: float = 1.0, steps: float | None = None) -> Course:
    """One value, for ever or for a while.

    ::

        value(t) = value

    Args:
        value: finite.
        steps: its length, above 0, where another schedule is to follow. None: it never ends.

    In torch: ``ConstantLR(factor=f, total_iters=n)`` is ``constant(f, n).then(constant(1))``.
    """
    finite("value", value)
    end = None if steps is None else positive("steps", steps)
    held = float(value)
    return Course(lambda t: held, end, SPAN if end is None else end)


@constructor(
    r"s(t) = \alpha_{\mathrm{start}}"
    r" + (\alpha_{\mathrm{end}} - \alpha_{\mathrm{start}})\,\frac{t}{T}",
    example=(1, 0, 100),
)
def linear(start: float, end: float, steps: float) -> Course:
    """A straight line: up as a warm-up, down as a decay.

    ::

        value(t) = start + (end - start) t / steps

    Args:
        start: value at step 0, finite.
        end: value at step ``steps`` and after, finite.
        steps: how many, above 0.

    In torch: ``LinearLR(start_factor=start, end_factor=end, total_iters=steps)``, whose start must
    be above 0 and whose end at most 1.

    Reference: Goyal et al. 2017, arXiv:1706.02677, section 2.2, for the warm-up.
    """
    finite("start", start)
    finite("end", end)
    n = positive("steps", steps)
    return Course(lambda t: line(start, end, t, n), n, n)


@constructor(
    r"s(t) = \alpha_{\mathrm{end}} + (\alpha_{\mathrm{start}} - \alpha_{\mathrm{end}})"
    r"\left(1 - \frac{t}{T}\right)^{p}",
    example=(1, 0, 100, 2),
)
def polynomial(start: float, end: float, steps: float, power: float = 1.0) -> Course:
    """A power of the share of steps that are left.

    ::

        value(t) = end + (start - end) (1 - t / steps)^power

    Args:
        start: value at step 0, finite.
        end: value at step ``steps`` and after, finite.
        steps: how many, above 0.
        power: above 0; 1 is ``linear``, more flattens the end, less the start.

    In torch: ``PolynomialLR(total_iters=steps, power=power)`` goes from 1 to 0.

    Reference: Chen et al. 2018, IEEE TPAMI 40(4), arXiv:1606.00915, section 4.1 ("poly").
    """
    finite("start", start)
    finite("end", end)
    n, p = positive("steps", steps), positive("power", power)
    return Course(lambda t: mix(start, end, ((n - t) / n) ** p), n, n)


@constructor(
    r"s(t) = \begin{cases}"
    r"\alpha_{\mathrm{start}} + (1 - \alpha_{\mathrm{start}})\,t / W & t < W \\"
    r"1 & W \le t < T - D \\"
    r"\alpha_{\mathrm{end}} + (1 - \alpha_{\mathrm{end}})\,f\!\left(\frac{t - (T - D)}{D}\right)"
    r" & T - D \le t\end{cases}",
    example=(100, 10, 30),
)
def wsd(
    total: float,
    warmup: float,
    decay: float,
    start: float = 0.0,
    end: float = 0.0,
    shape: Literal["linear", "cosine", "sqrt"] = "linear",
) -> Course:
    """Warm-up, stable, decay: up in a line, then 1, and down in the last steps only. So training
    can go on for longer from any point of the stable part.

    ::

        t < warmup:           value(t) = start + (1 - start) t / warmup
        t < total - decay:    value(t) = 1
        after it:             value(t) = end + (1 - end) f((t - (total - decay)) / decay)

        f(x) = 1 - x (linear), (1 + cos(pi x)) / 2 (cosine) or 1 - sqrt(x) (sqrt)

    Args:
        total: steps of the whole, above 0.
        warmup: steps of the first part, at least 0.
        decay: steps of the last part, at least 0; with the warm-up at most the total.
        start: value at step 0 where there is a warm-up, finite.
        end: value at step ``total`` and after where there is a decay, finite.
        shape: of the decay: ``"linear"``, ``"cosine"`` or ``"sqrt"``.

    In torch: no counterpart.

    Reference: Hu et al. 2024, arXiv:2404.06395 (MiniCPM, whose decay is exponential); Hägele et al.
    2024, NeurIPS, arXiv:2405.18392, for the square root.
    """
    n, w = positive("total", total), not_negative("warmup", warmup)
    d = not_negative("decay", decay)
    finite("start", start)
    finite("end", end)
    check_choice("shape", shape, ("linear", "cosine", "sqrt"))
    if w > n:
        raise ValueError(f"warmup must be at most total, {n}, not {w}")
    if w + d > n:
        raise ValueError(
            f"decay must be at most what the warm-up leaves of total, {n - w}, not {d}"
        )

    def value(t: float) -> float:
        if t < w:
            return line(start, 1, t, w)
        if t <= n - d:
            return 1.0
        left = (n - t) / d
        match shape:
            case "linear":
                return mix(1, end, left)
            case "cosine":
                return mix(1, end, (1 - math.cos(math.pi * left)) / 2)
            case "sqrt":
                return mix(1, end, 1 - math.sqrt(1 - left))

    return Course(value, n, n)
