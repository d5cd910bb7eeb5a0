"""What a range test says over several seeds, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.analysis.rate_curve import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class RateRange:
    """The answer of :func:`~thalweg.analysis.rate_range_test`.

    Rates are geometric means over the seeds. Intervals are 95 % t intervals of the logarithm, the
    grid of rates included; from 0 to infinity for one seed. They tell how much the order of the
    batches and the model's own noise (dropout) matter, not whether the rule suits the problem.

    ``rate`` and ``interval`` are None where a sweep cannot tell: ``why`` says what was the matter.
    ``largest`` and ``largest_interval`` are None unless every sweep fell and then diverged.
    """

    sweeps: tuple[Sweep, ...]
    rate: float | None
    interval: tuple[float, float] | None
    largest: float | None
    largest_interval: tuple[float, float] | None
    why: str

    def __repr__(self) -> str:
        seeds = _seeds(len(self.sweeps))
        if self.rate is None or self.interval is None:
            return f"<RateRange: cannot tell; {self.why}; {seeds}>"
        largest = "" if self.largest is None else f"; largest {self.largest:.2g}"
        return f"<RateRange: rate {self.rate:.2g} ({_span(self.interval)}){largest}; {seeds}>"

    def sentence(self) -> str:
        """The answer in plain words."""
        if self.rate is None or self.interval is None:
            return f"No learning rate can be told: {self.why}."
        if len(self.sweeps) == 1:
            sure = "how sure that is, one seed cannot tell"
        else:
            sure = f"95 % interval over {_seeds(len(self.sweeps))}: {_span(self.interval)}"
        said = f"A learning rate of about {self.rate:.2g} suits ({sure}); "
        if self.largest is None:
            top = max(s.rates[-1] for s in self.sweeps)
            return said + f"not all sweeps diverged, with rates up to {top:.2g}."
        return said + f"the sweeps diverged above about {self.largest:.2g}."

    def plot(self, axes: Axes | None = None) -> Figure:
        """The smoothed loss against the rate, a line for each seed, with the suggested rate and the
        largest one; in ``axes``, or on a new figure."""
        from thalweg.analysis.rate_range_plot import plot

        return plot(self, axes)


def conclude(sweeps: Sequence[Sweep], step: float) -> RateRange:
    """Put sweeps together; ``step`` is the distance of neighbouring rates, in decades."""
    unsure = [s for s in sweeps if s.why]
    rate, interval = _estimate([s.rate for s in sweeps], step)
    largest, largest_interval = _estimate([s.largest for s in sweeps], step)
    why = ""
    if unsure:
        share = f"{len(unsure)} of {_seeds(len(sweeps))}"
        why = f"{unsure[0].why} ({share})" if len(sweeps) > 1 else unsure[0].why
    return RateRange(tuple(sweeps), rate, interval, largest, largest_interval, why)


def _estimate(
    found: Sequence[float | None], step: float
) -> tuple[float, tuple[float, float]] | tuple[None, None]:
    """Geometric mean and interval; nothing if one is missing."""
    from scipy import stats

    logs = [math.log10(x) for x in found if x is not None]
    n = len(logs)
    if n < len(found):
        return None, None
    mean = float(np.mean(logs))
    if n == 1:
        return 10**mean, (0.0, math.inf)
    # What lies between two rates of the grid is told as one of them: the variance of a uniform
    # error is a twelfth of its square.
    error = math.sqrt((float(np.var(logs, ddof=1)) + step**2 / 12) / n)
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    return 10**mean, (10 ** (mean - reach), 10 ** (mean + reach))


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2g} to {interval[1]:.2g}"


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"
