"""Cosine annealing, once and with warm restarts."""

from __future__ import annotations

import math

from thalweg.schedules.checks import finite, positive, within
from thalweg.schedules.entry import Course
from thalweg.schedules.lines import mix
from thalweg.schedules.schedule import constructor
from thalweg.validation import Interval, check_choice

FORMULA = (
    r"s(t) = \alpha_{\mathrm{end}} + \tfrac{1}{2}(\alpha_{\mathrm{start}} - \alpha_{\mathrm{end}})"
    r"\left(1 + \cos\frac{\pi t}{T}\right)"
)


def fall(t: float, steps: float) -> float:
    """Half a wave, from 1 at step 0 to 0 at step ``steps``."""
    # In torch's order of operations: near the end, where 1 + cos cancels, the last bit of the angle
    # decides the tenth digit.
    return (1 + math.cos(math.pi * t / steps)) / 2


@constructor(FORMULA, example=(100,))
def cosine(steps: float, end: float = 0.0, start: float = 1.0, periodic: bool = False) -> Course:
    """Cosine annealing: half a wave of a cosine, slow at the start and at the end.

    ::

        value(t) = end + (start - end) (1 + cos(pi t / steps)) / 2

    Args:
        steps: from the largest to the smallest value, above 0; half a period.
        end: value at step ``steps``, finite: the lecture's alpha_min, as a factor of lr.
        start: value at step 0, finite.
        periodic: go up again after it, and so on, with the period ``2 steps``; else the end is
            held.

    In torch: ``CosineAnnealingLR(T_max=steps, eta_min=lr * end)`` is the periodic one, for all that
    its name says; most use it for T_max steps, where both are the same. Its eta_min is a rate, the
    same for all groups; here the end is a factor.

    Reference: Loshchilov & Hutter 2017, ICLR, arXiv:1608.03983, equation 5.
    """
    n = positive("steps", steps)
    finite("end", end)
    finite("start", start)
    check_choice("periodic", periodic, (False, True))
    if periodic:
        return Course(lambda t: mix(start, end, fall(t, n)), None, 4 * n)
    return Course(lambda t: mix(start, end, fall(t, n)), n, n)


@constructor(
    FORMULA.replace("{\\pi t}{T}", r"{\pi (t - t_i)}{T_i}")
    + r", \quad T_{i + 1} = m\,T_i, \quad t_{i + 1} = t_i + T_i",
    example=(15, 2),
)
def warm_restarts(
    first: float, factor: float = 1.0, end: float = 0.0, start: float = 1.0
) -> Course:
    """Cosine annealing again and again, over as many steps or more each time. It never ends.

    ::

        value(t) = end + (start - end) (1 + cos(pi s / n)) / 2

        s: steps since the last restart         n: steps from it to the next one

    Args:
        first: steps to the first restart, above 0.
        factor: how many times longer each period is than the one before, at least 1.
        end: value that each period goes to, finite.
        start: value that each period starts with, finite.

    In torch: ``CosineAnnealingWarmRestarts(T_0=first, T_mult=factor, eta_min=lr * end)``, where the
    first two are whole numbers.

    Reference: Loshchilov & Hutter 2017, ICLR, arXiv:1608.03983 (SGDR), equation 5.
    """
    n, m = positive("first", first), within(Interval(1.0), "factor", factor)
    finite("end", end)
    finite("start", start)

    def value(t: float) -> float:
        if m == 1:
            return mix(start, end, fall(t % n, n))
        i = int(math.log1p(t * (m - 1) / n) / math.log(m))
        begin = _restart(i, n, m)
        if t < begin:  # the logarithm was rounded up, or down
            i, begin = i - 1, _restart(i - 1, n, m)
        elif t >= _restart(i + 1, n, m):
            i, begin = i + 1, _restart(i + 1, n, m)
        return mix(start, end, fall(t - begin, n * m**i))

    return Course(value, None, n * (1 + m + m**2))


def _restart(i: int, first: float, factor: float) -> float:
    """The step of the i-th restart, the start being the 0-th."""
    return first * (factor**i - 1) / (factor - 1)
