"""Schedules made of schedules, written as methods of :class:`Schedule`.

Joints are defined here. The last value is handed on, not found at the last step: sums and quotients
of lengths are rounded, and a step that is a little too early may be one before a jump.
"""

from __future__ import annotations

import math

from thalweg.schedules import checks
from thalweg.schedules.checks import not_negative, positive
from thalweg.schedules.entry import Course
from thalweg.schedules.schedule import Schedule, constructor
from thalweg.validation import check_choice


@constructor()
def then(first: Schedule, second: Schedule) -> Course:
    """A schedule until it ends, and then another one: its length is the other's step 0."""
    joint = _end_of(checks.schedule("first", first))
    checks.schedule("second", second)

    def value(t: float) -> float:
        return first(t) if t < joint else second(t - joint)

    length = None if second.length is None else joint + second.length
    return Course(value, length, joint + second.span, second.last)


@constructor()
def times(schedule: Schedule, other: Schedule | float) -> Course:
    """The product of two schedules, each holding its last value, or of one and a number."""
    checks.schedule("schedule", schedule)
    if isinstance(other, Schedule):
        lengths = [s.length for s in (schedule, other) if s.length is not None]
        length = max(lengths) if len(lengths) == 2 else None
        span = max(schedule.span, other.span)
        return Course(lambda t: schedule(t) * other(t), length, span)
    factor = float(checks.finite("other", other))
    return Course(lambda t: schedule(t) * factor, schedule.length, schedule.span)


@constructor()
def until(schedule: Schedule, steps: float) -> Course:
    """A schedule, cut off."""
    checks.schedule("schedule", schedule)
    end = positive("steps", steps)
    return Course(schedule, end, end)


@constructor()
def delayed(schedule: Schedule, steps: float) -> Course:
    """A schedule, later; its first value until then."""
    checks.schedule("schedule", schedule)
    wait = not_negative("steps", steps)
    length = None if schedule.length is None else schedule.length + wait
    span = schedule.span + wait
    return Course(lambda t: schedule(max(0.0, t - wait)), length, span, schedule.last)


@constructor()
def stretched_to(schedule: Schedule, total: float) -> Course:
    """A schedule, slower or faster, so that its length is the total."""
    end = positive("total", total)
    length = _end_of(checks.schedule("schedule", schedule))
    return Course(lambda t: schedule(t * length / end), end, end, schedule.last)


@constructor()
def in_epochs(schedule: Schedule, steps_per_epoch: float, whole: bool = False) -> Course:
    """A schedule whose step is the epoch."""
    checks.schedule("schedule", schedule)
    n = positive("steps_per_epoch", steps_per_epoch)
    check_choice("whole", whole, (False, True))
    length = None if schedule.length is None else schedule.length * n

    def value(t: float) -> float:
        return schedule(math.floor(t / n) if whole else t / n)

    return Course(value, length, schedule.span * n, schedule.last)


def _end_of(schedule: Schedule) -> float:
    if schedule.length is None:
        raise ValueError(f"{schedule!r} never ends; .until(steps) gives it an end")
    return schedule.length
