"""One sweep of the learning rate: how its losses are smoothed as they come, and what is read from
them at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BELOW = 10.0  # the suggested rate is this many times below the one where the curve is lowest
LOST = 0.5  # share of the descent; a loss that has risen by it is on its way out
SURE = 4.0  # standard errors; with fewer, the least of some 20 independent means may be chance
ROUNDING = 1e-6  # relative; the least that a loss computed in float32 may be off by


class Curve:
    """Losses as they come in, and their exponential mean, corrected for starting at zero as Adam's
    are. The first loss is that of the weights as they were, each further one that after a step."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.window = window(smoothing)
        self.overflowed = False  # the loss that came last was not finite, and is not here
        self._sum = 0.0

    def add(self, loss: float) -> None:
        if not math.isfinite(loss):
            self.overflowed = True
            return
        self.losses.append(loss)
        self._sum = self.smoothing * self._sum + (1 - self.smoothing) * loss
        self.smoothed.append(self._sum / (1 - self.smoothing ** len(self.losses)))

    @property
    def start(self) -> float:
        """The loss at rates too small to change it: the mean of the first ones."""
        return float(np.mean(self.losses[: self.window]))

    @property
    def lowest(self) -> int:
        """Where the smoothed loss is least, not among the first, means of too few losses."""
        first = min(self.window, len(self.smoothed) - 1)
        return first + int(np.argmin(self.smoothed[first:]))

    @property
    def descent(self) -> float:
        """By how much the smoothed loss has fallen at most."""
        return self.start - self.smoothed[self.lowest]

    @property
    def error(self) -> float:
        """Standard error of a smoothed loss minus the start, by the differences of successive
        losses on the way down."""
        way = np.diff(self.losses[: max(self.lowest, self.window) + 1])
        noise = math.sqrt(float(np.mean(way**2)) / 2)
        share = 1 / self.window + (1 - self.smoothing) / (1 + self.smoothing)
        return max(noise, ROUNDING * abs(self.start)) * math.sqrt(share)

    @property
    def fell(self) -> bool:
        """Whether there is a descent that cannot be chance."""
        return self.descent > SURE * self.error

    @property
    def diverged(self) -> bool:
        """Whether the loss is not finite, or, smoothed, has lost half of its descent; without one,
        whether it has risen above the start by more than chance. None of it depends on the loss's
        unit or origin."""
        if self.overflowed:
            return True
        if len(self.losses) <= 2 * self.window:  # too few to tell it from chance
            return False
        now = self.smoothed[-1]
        if self.fell:
            return now - self.smoothed[self.lowest] > LOST * self.descent
        return now - self.start > 2 * SURE * self.error


@dataclass(frozen=True, eq=False)
class Sweep:
    """One sweep of n steps, and what it says.

    ``rate`` is a tenth of the rate where the smoothed loss is least, ``largest`` the last rate
    before it has lost half of its descent or is not finite; each is None where the curve does not
    tell, and then ``why`` says what is wrong with it, which is "" otherwise.
    """

    seed: int
    rates: tuple[float, ...]  # n learning rates, ascending
    losses: tuple[float, ...]  # n of mini-batches, each after the step with that rate
    smoothed: tuple[float, ...]  # n
    start: float  # the loss before the descent
    diverged: bool  # and was ended there; the last loss is finite
    rate: float | None
    largest: float | None
    why: str


def read(seed: int, rates: Sequence[float], curve: Curve) -> Sweep:
    """What a finished sweep says, for which these ``rates`` were planned."""
    lowest, steps, diverged = curve.lowest, len(curve.losses) - 1, curve.diverged
    rate = rates[max(lowest, 1) - 1] / BELOW
    # After the last step the loss was still as it should be, or was not.
    last = steps - 1 if curve.overflowed else steps - 2
    largest = rates[max(last, 0)] if diverged and curve.fell else None
    why = ""
    if not curve.fell:
        why = "the loss does not fall by more than chance"
    elif not diverged and lowest > steps - curve.window:
        why = f"the loss still falls at the largest rate, {rates[-1]:.3g}"
    elif rate < rates[0]:
        why = f"the loss is least within a decade of the smallest rate, {rates[0]:.3g}"
    return Sweep(
        seed,
        tuple(rates[:steps]),
        tuple(curve.losses[1:]),
        tuple(curve.smoothed[1:]),
        curve.start,
        diverged,
        None if why else rate,
        largest,
        why,
    )


def window(smoothing: float) -> int:
    """How many losses an exponential mean is about."""
    return round(1 / (1 - smoothing))
