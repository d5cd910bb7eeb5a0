"""Descents to draw: each algorithm at the rate that serves it best on this landscape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from thalweg.analysis import Descent, descend
from thalweg.optim.registry import Algorithm
from thalweg.problems.landscapes import Landscape

DECADES = tuple(10.0**e for e in range(-4, 3))
HALF = 10**0.5
TOO_MUCH, BISECTIONS = 1e6, 5
FEW = 10  # whose rates a caption names, at most
# The longest step that counts, in parts of the domain's diagonal: whoever leaps may be lucky, and
# on a landscape without a minimum the longest leaps would win by definition.
STRIDE, STRIDE_DOWN = 10, 20


@dataclass(frozen=True)
class Run:
    """One algorithm's descent, and the learning rate it had."""

    algorithm: Algorithm
    rate: float
    descent: Descent


def runs(
    f: Landscape,
    start: Sequence[float],
    algorithms: Sequence[Algorithm],
    steps: int,
    rate: float | None = None,
) -> list[Run]:
    """A descent of each algorithm from the same start, the best first.

    Args:
        f: the landscape.
        start: where all of them begin.
        algorithms: each is run once.
        steps: of each.
        rate: the same for all; None gives each one that of :func:`best`.

    Raises:
        ValueError: what :func:`thalweg.analysis.descend` says of a bad argument.
    """
    if rate is None:
        found = [best(f, start, a, steps) for a in algorithms]
    else:
        found = [Run(a, rate, descend(f, start, a, rate, steps)) for a in algorithms]
    return sorted(found, key=lambda r: merit(f, r.descent))


def best(
    f: Landscape, start: Sequence[float], algorithm: Algorithm, steps: int, leaps: bool = False
) -> Run:
    """The descent at the rate that serves the algorithm best here: first the best decade from 1e-4
    to 1e2, then its neighbours at half a decade. A rate that leaps (see
    :func:`merit`) serves only if all do, or with ``leaps``."""

    def rank(r: Run) -> tuple[bool, float, float]:
        leapt, first, then = merit(f, r.descent)
        return leapt and not leaps, first, then

    tried = [Run(algorithm, rate, descend(f, start, algorithm, rate, steps)) for rate in DECADES]
    middle = min(tried, key=rank).rate
    beside = (middle / HALF, middle * HALF)
    tried += [Run(algorithm, rate, descend(f, start, algorithm, rate, steps)) for rate in beside]
    return min(tried, key=rank)


def rate_too_large(
    f: Landscape, start: Sequence[float], algorithm: Algorithm, steps: int, rate: float
) -> float:
    """The least rate above ``rate`` found at which the loss ends above where it began, or not at
    all; ValueError if no rate below `TOO_MUCH` does that."""

    def fails(rate: float) -> bool:
        d = descend(f, start, algorithm, rate, steps)
        return d.diverged_at is not None or bool(d.losses[-1] > d.losses[0])

    good = bad = rate
    while not fails(bad):
        good, bad = bad, 2 * bad
        if bad > TOO_MUCH:
            raise ValueError(f"no rate up to {TOO_MUCH:g} is too large for {algorithm.title} here")
    for _ in range(BISECTIONS if bad > good else 0):
        middle = (good * bad) ** 0.5
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return bad


def how(f: Landscape, found: Sequence[Run], rate: float | None) -> str:
    """How the rates were chosen, as a caption says it, and which they are."""
    if rate is not None:
        return f"Learning rate {rate:g} for all."
    parts, aim = (
        (STRIDE, "lowest loss at the end") if f.minima else (STRIDE_DOWN, "fastest way out")
    )
    words = (
        f"Each at its best rate from 10⁻⁴ to 10² (decades, then half decades): {aim}, no step over "
        f"1/{parts} of the diagonal"
    )
    if len(found) > FEW:
        return words + "."
    return f"{words}: " + ", ".join(f"{r.algorithm.title} {r.rate:.2g}" for r in found) + "."


def diverged(found: Sequence[Run], names: Sequence[str] | None = None) -> str:
    """Who diverged, and when, as a caption says it: such a path ends where nobody looks, or at its
    start. Names are the algorithms' unless given."""
    names = [r.algorithm.title for r in found] if names is None else names
    steps = zip(names, (r.descent.diverged_at for r in found), strict=True)
    gone = [f"{name} at step {step}" for name, step in steps if step is not None]
    if len(gone) > FEW:
        return f"{len(gone)} of {len(found)} diverged."
    return f"Diverged: {', '.join(gone)}." if gone else ""


def merit(f: Landscape, descent: Descent) -> tuple[bool, float, float]:
    """What descents are ranked by, the least first: no leaps; then, where the landscape has a
    minimum, the loss at the end, and else the number of steps until the domain is left, or how far
    down it has come."""
    out = leaving(f, descent)
    inside = descent.points[: len(descent.points) if out is None else out + 1]
    strides = torch.linalg.vector_norm(inside.diff(dim=0), dim=1)
    longest = math.dist(*zip(*f.domain, strict=True)) / (STRIDE if f.minima else STRIDE_DOWN)
    leaps = bool((strides > longest).any())
    if f.minima:
        end = math.inf if descent.diverged_at is not None else float(descent.losses[-1])
        return leaps, end, 0.0
    return leaps, math.inf if out is None else out, float(descent.losses[-1])


def leaving(f: Landscape, descent: Descent) -> int | None:
    """The first step that is outside the domain; None if none is."""
    low, high = torch.tensor(f.domain, dtype=descent.points.dtype).T
    outside = ((descent.points < low) | (descent.points > high)).any(dim=1).nonzero()
    return int(outside[0]) if len(outside) else None
