"""Where the functions that a formula may use are convex or concave, and which way they go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from thalweg.analysis.intervals import EVERYTHING, Interval, add, monotone, negative, power, wider


@dataclass(frozen=True)
class Shape:
    """A function of one number on an interval. Neither convex nor concave: unknown, or it has no
    value somewhere."""

    convex: bool = False
    concave: bool = False
    increasing: bool = False
    decreasing: bool = False
    range: Interval = EVERYTHING


def shape(word: str, on: Interval) -> Shape:
    """Of a function of one argument, by its name in a formula."""
    low, high = on
    match word:
        case "exp":
            return Shape(True, False, True, False, monotone(math.exp, on, 0.0, math.inf))
        case "log" if low > 0:
            return Shape(False, True, True, False, monotone(math.log, on, -math.inf, math.inf))
        case "abs":
            far, near = max(-low, high), 0.0 if low <= 0 <= high else min(abs(low), abs(high))
            return Shape(True, low >= 0 or high <= 0, low >= 0, high <= 0, (near, far))
        case "tanh":
            return Shape(high <= 0, low >= 0, True, False, _odd(math.tanh, on, 1.0))
        case "atan":
            return Shape(high <= 0, low >= 0, True, False, _odd(math.atan, on, 1.6))
        case "sin":
            return _sine(on)
        case "cos":
            return _sine(add(on, wider(math.pi / 2, math.pi / 2)))
        case "tan" if -1.57 < low <= high < 1.57:
            return Shape(low >= 0, high <= 0, True, False, _odd(math.tan, on, math.inf))
    return Shape()


def power_shape(p: float, on: Interval) -> Shape:
    """Of x^p; p is neither 0 nor 1."""
    low, high = on
    whole, odd, ends = p.is_integer(), p % 2 == 1, power(on, p)
    if low >= 0 and (p > 0 or low > 0):
        return Shape(p > 1 or p < 0, 0 < p < 1, p > 0, p < 0, ends)
    if not whole or (p < 0 and high >= 0):
        return Shape()
    if high <= 0:
        # x^p is (-x)^p, or minus it if p is odd.
        return Shape(not odd, odd, odd == (p > 0), odd != (p > 0), ends)
    return Shape(convex=not odd, increasing=odd, range=ends)


def _odd(f: Callable[[float], float], on: Interval, most: float) -> Interval:
    """The range of an increasing function that has the sign of its argument."""
    low, high = on
    return monotone(f, on, 0.0 if low >= 0 else -most, 0.0 if high <= 0 else most)


def _sine(on: Interval) -> Shape:
    """Concave from 0 to pi, convex from pi to 2 pi, and so on."""
    low, high = on
    if not math.isfinite(high - low):
        return Shape(range=(-1.0, 1.0))
    k = math.floor(low / math.pi)
    start, end = _multiple(k)[1], _multiple(k + 1)[0]
    inside = start <= low and high <= end
    return Shape(inside and k % 2 == 1, inside and k % 2 == 0, range=(-1.0, 1.0))


def _multiple(k: int) -> Interval:
    """Bounds on k pi. As floats have it, pi is too small by less than half an ulp."""
    if k < 0:
        return negative(_multiple(-k))
    low, high = wider(k * math.pi, k * math.pi)
    return (k * math.pi if k in (0, 1, 2) else low, 0.0 if k == 0 else high)
