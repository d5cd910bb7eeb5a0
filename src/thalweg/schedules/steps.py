"""Schedules that fall in steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from thalweg.schedules.checks import not_negative, positive
from thalweg.schedules.entry import Course
from thalweg.schedules.lines import SPAN
from thalweg.schedules.schedule import constructor


@constructor(r"s(t) = \gamma^{\lfloor t / P \rfloor}", example=(25, 0.5))
def step(every: float, factor: float = 0.1) -> Course:
    """Multiplied by the same factor again and again, after the same number of steps.

    ::

        value(t) = factor^floor(t / every)

    Args:
        every: steps from one fall to the next, above 0.
        factor: at least 0.

    In torch: ``StepLR(step_size=every, gamma=factor)``.
    """
    period, gamma = positive("every", every), not_negative("factor", factor)
    return Course(lambda t: float(gamma ** (t // period)), None, 5 * period)


@constructor(r"s(t) = \gamma^{\left|\{m \in M : m \le t\}\right|}", example=((30, 60, 80), 0.5))
def multi_step(milestones: Sequence[float], factor: float = 0.1) -> Course:
    """Multiplied by the same factor at each milestone. It never ends: after the last one comes the
    last stage.

    ::

        value(t) = factor^(number of milestones up to and with t)

    Args:
        milestones: the first step of each new stage, at least 0, in ascending order; one that is
            there twice counts twice.
        factor: at least 0.

    In torch: ``MultiStepLR(milestones=milestones, gamma=factor)``.
    """
    if not isinstance(milestones, tuple):
        raise TypeError(f"milestones must be a sequence of steps, not {milestones!r}")
    for m in milestones:
        not_negative("milestones", m)
    for one, two in pairwise(milestones):
        if two < one:
            raise ValueError(f"milestones must ascend, not {milestones!r}: {two} follows {one}")
    gamma = not_negative("factor", factor)
    span = 1.25 * milestones[-1] if milestones and milestones[-1] else SPAN
    return Course(lambda t: float(gamma ** bisect_right(milestones, t)), None, span)
