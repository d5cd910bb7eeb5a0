"""What arguments of schedules may be: errors name the argument and the value."""

from __future__ import annotations

import math
from typing import Any

from thalweg.schedules.schedule import Schedule
from thalweg.validation import NON_NEGATIVE, Interval, check, number

FINITE = Interval(-math.inf)
POSITIVE = Interval(0.0, open_low=True)
SHARE = Interval(0.0, 1.0)


def within(domain: Interval, name: str, value: Any) -> float:
    """``value``, whole numbers remaining whole, if it is a number of the domain."""
    number(name, value)
    check(name, value, domain)
    return value  # type: ignore[no-any-return]  # a number, as has just been checked


def finite(name: str, value: Any) -> float:
    return within(FINITE, name, value)


def not_negative(name: str, value: Any) -> float:
    return within(NON_NEGATIVE, name, value)


def positive(name: str, value: Any) -> float:
    return within(POSITIVE, name, value)


def schedule(name: str, value: Any) -> Schedule:
    if not isinstance(value, Schedule):
        raise TypeError(f"{name} must be a schedule, not {value!r}")
    return value
