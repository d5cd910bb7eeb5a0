"""The picture of a range test."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal

from thalweg.theme import FAINT, GREY, canvas, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from thalweg.analysis.rate_range_result import RateRange

LINE, EDGE = "#255b7d", "#892504"
ROOM = 1.6  # factor to the right of the largest rate
HEADROOM = 0.4  # above the start, in units of the descent; what has diverged leaves at the top


def plot(result: RateRange, axes: Axes | None = None) -> Figure:
    """Draw what :meth:`~thalweg.analysis.RateRange.plot` says."""
    from matplotlib.ticker import NullLocator

    with theme():
        if axes is None:
            _, axes = canvas(5.6, 3.5)
        for sweep in result.sweeps:
            axes.plot(
                sweep.rates, sweep.losses, ".",
                color=GREY, markersize=4, markeredgewidth=0, alpha=0.7, zorder=2,
            )  # fmt: skip
        for sweep in result.sweeps:
            axes.plot(sweep.rates, sweep.smoothed, color=LINE, linewidth=1.5, alpha=0.8, zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(result.sweeps[0].rates[0], ROOM * max(s.rates[-1] for s in result.sweeps))
        axes.set_ylim(*_limits(result))
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss of a batch (lines: smoothed)")
        axes.grid(visible=False, axis="x")
        if result.rate is not None and result.interval is not None:
            if len(result.sweeps) > 1:
                axes.axvspan(*result.interval, color=LINE, alpha=0.12, linewidth=0, zorder=1)
            _mark(axes, result.rate, f"{result.rate:.2g}", LINE, "center")
        else:
            why = textwrap.fill(f"cannot tell: {result.why}", 60)
            axes.set_title(why, loc="left", fontsize=10.5, color=FAINT)
        if result.largest is not None:
            _mark(axes, result.largest, f"largest {result.largest:.2g}", EDGE, "left")
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _mark(
    axes: Axes, rate: float, label: str, colour: str, side: Literal["left", "center"]
) -> None:
    """A line at a rate, and above the picture which rate it is."""
    axes.axvline(rate, color=colour, linewidth=1, zorder=4)
    axes.annotate(
        label,
        xy=(rate, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-4 if side == "left" else 0, 4),
        textcoords="offset points",
        color=colour,
        fontsize=10.5,
        ha=side,
        annotation_clip=False,
    )


def _limits(result: RateRange) -> tuple[float, float]:
    start = max(s.start for s in result.sweeps)
    low = min(min(s.smoothed) for s in result.sweeps)
    reach = start - low or 1.0
    return low - 0.2 * reach, start + HEADROOM * reach
