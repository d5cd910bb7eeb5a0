"""Intervals that hold every value an expression can take, rounded outwards."""

from __future__ import annotations

import math
from collections.abc import Callable

Interval = tuple[float, float]

EVERYTHING: Interval = (-math.inf, math.inf)


def wider(low: float, high: float, ulps: int = 1) -> Interval:
    """Both ends moved outwards: by 1 where an operation is correctly rounded, by 2 for what a
    library computes to within one. An end that has no value is none."""
    for _ in range(ulps):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def add(a: Interval, b: Interval) -> Interval:
    # A sum in floating point is 0 only where it is exactly, and has the right sign elsewhere.
    low, high = a[0] + b[0], a[1] + b[1]
    wide = wider(low, high)
    return (low if low == 0 else wide[0], high if high == 0 else wide[1])


def negative(a: Interval) -> Interval:
    return -a[1], -a[0]


def multiply(a: Interval, b: Interval) -> Interval:
    ends = [_product(x, y) for x in a for y in b]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _product(x: float, y: float) -> Interval:
    if x == 0 or y == 0:  # what is multiplied is finite, even if its bound is not
        return 0.0, 0.0
    low, high = wider(x * y, x * y)
    # The sign is known, even where a product underflows.
    return (max(low, 0.0), high) if (x > 0) == (y > 0) else (low, min(high, 0.0))


def monotone(f: Callable[[float], float], a: Interval, least: float, most: float) -> Interval:
    """The range of an increasing function, computed to within an ulp, that never leaves
    ``least ... most``."""
    low, high = wider(_value(f, a[0]), _value(f, a[1]), 2)
    return max(low, least), min(high, most)


def _value(f: Callable[[float], float], x: float) -> float:
    try:
        return f(x)
    except OverflowError:
        return math.inf
    except ValueError:  # log(0)
        return -math.inf


def power(a: Interval, p: float) -> Interval:
    """The range of x^p; ``EVERYTHING`` where it is not defined on all of the interval."""
    low, high = a
    if p < 0:
        if low > 0 or (high < 0 and p.is_integer()):
            return inverse(power(a, -p))
        return EVERYTHING
    if p.is_integer() and p % 2 == 0:
        far, near = max(-low, high), 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return monotone(lambda x: x**p, (near, far), 0.0, math.inf)
    if p.is_integer():
        least, most = 0.0 if low >= 0 else -math.inf, 0.0 if high <= 0 else math.inf
        return monotone(lambda x: math.copysign(_value(lambda u: u**p, abs(x)), x), a, least, most)
    return monotone(lambda x: x**p, a, 0.0, math.inf) if low >= 0 else EVERYTHING


def inverse(a: Interval) -> Interval:
    """The range of 1/x; ``EVERYTHING`` where 0 is in the interval."""
    low, high = a
    if low <= 0 <= high:
        return EVERYTHING
    new = wider(1 / high, 1 / low)
    return (max(new[0], 0.0), new[1]) if low > 0 else (new[0], min(new[1], 0.0))
