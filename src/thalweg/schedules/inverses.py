"""Schedules that fall as a power of the step."""

from __future__ import annotations

import math

from thalweg.schedules.checks import finite, not_negative, positive
from thalweg.schedules.entry import Course
from thalweg.schedules.lines import SPAN, line
from thalweg.schedules.schedule import constructor


@constructor(r"s(t) = \frac{1}{1 + k t}", example=(0.1,))
def inverse_time(k: float) -> Course:
    """1/t decay: fast at first, and slower and slower.

    ::

        value(t) = 1 / (1 + k t)

    Args:
        k: per step, at least 0; half is left after 1 / k steps.

    In torch: no counterpart.

    Reference: Robbins & Monro 1951, Annals of Mathematical Statistics 22(3), for why 1/t.
    """
    rate = not_negative("k", k)
    return Course(lambda t: 1 / (1 + rate * t), None, 10 / rate if rate else SPAN)


@constructor(
    r"s(t) = \begin{cases}\alpha_{\mathrm{start}} + (1 - \alpha_{\mathrm{start}})\,t / W & t < W \\"
    r"\sqrt{W / t} & t \ge W\end{cases}",
    example=(20,),
)
def inverse_sqrt(warmup: float, start: float = 0.0) -> Course:
    """The transformer's: up in a line, then down as one over the root of the step.

    ::

        t < warmup:    value(t) = start + (1 - start) t / warmup
        after it:      value(t) = sqrt(warmup / t)

    Args:
        warmup: steps until the value is 1, above 0.
        start: value at step 0, finite.

    In torch: no counterpart.

    Where papers and code disagree:
        The paper's largest rate is (d_model warmup)^-0.5 and its steps count from 1; here the
        largest value is 1, times the optimizer's lr.

    Reference: Vaswani et al. 2017, NeurIPS, arXiv:1706.03762, equation 3.
    """
    w = positive("warmup", warmup)
    finite("start", start)
    return Course(lambda t: line(start, 1, t, w) if t < w else math.sqrt(w / t), None, 5 * w)
