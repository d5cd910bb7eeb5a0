"""A schedule's picture: a figure, and a sketch of letters for a terminal."""

from __future__ import annotations

import importlib
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thalweg.schedules.checks import positive
from thalweg.schedules.schedule import Schedule
from thalweg.theme import FAINT, canvas, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 2401  # enough for a jump to be upright; many joints fall on one of them
LINE = "#255b7d"
BRAILLE = 0x2800
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of one letter


def figure(schedule: Schedule, steps: float | None = None, axes: Axes | None = None) -> Figure:
    """The values of the first steps; :meth:`Schedule.plot` says more."""
    try:
        importlib.import_module("matplotlib")
    except ModuleNotFoundError as e:
        said = f"a plot needs {e.name}: pip install 'thalweg[lab]'"
        raise ModuleNotFoundError(said, name=e.name) from None
    x, y = _points(schedule, steps, POINTS)
    low, high = _range(y)
    with theme():
        if axes is None:
            _, axes = canvas(5.2, 2.8)
            code = textwrap.fill(repr(schedule), 64)
            axes.set_title(code, loc="left", fontsize=9, color=FAINT, family="monospace", pad=10)
            axes.set_xlabel("step")
            axes.grid(visible=False, axis="x")
        axes.plot(x, y, color=LINE, clip_on=False)
        axes.set_xlim(0, float(x[-1]))
        axes.set_ylim(low, high + 0.02 * (high - low))
    whole = axes.get_figure(root=True)
    assert whole is not None
    return whole


def sketch(schedule: Schedule, steps: float | None = None, width: int = 60, height: int = 8) -> str:
    """The values of the first steps in ``height`` lines of ``width`` letters and a scale.

    Args:
        schedule: whose.
        steps: from 0 to this one, above 0; None: the schedule's ``span``.
        width: letters in a line, at least 1, the scale not counted; each is two points wide.
        height: lines, at least 1, the scale not counted; each is four points high.
    """
    x, y = _points(schedule, steps, 2 * width)
    # The finer points see peaks between those that are drawn; neither are all of the other.
    low, high = _range(np.concatenate([_points(schedule, steps, POINTS)[1], y]))
    rows = np.rint((high - y) / (high - low) * (4 * height - 1)).astype(int)
    dots = np.zeros((4 * height, 2 * width), dtype=bool)
    for column, (before, row) in enumerate(zip([rows[0], *rows], rows, strict=False)):
        # From halfway to the last point down or up to this one, so that a jump is a line, too.
        first = row if row == before else before + (1 if row > before else -1)
        dots[min(first, row) : max(first, row) + 1, column] = True
    letters = (dots.reshape(height, 4, width, 2) * DOTS[:, None, :]).sum(axis=(1, 3)) + BRAILLE
    marks = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    margin = max(map(len, marks.values()))
    lines = [
        f"{marks.get(i, ''):>{margin}} │{''.join(map(chr, line)).rstrip(chr(BRAILLE))}"
        for i, line in enumerate(letters)
    ]
    end = f"{x[-1]:g}"
    scale = f"{'':{margin}} └{'─' * width}\n{'':{margin}}  0{end:>{width - 1}}"
    return "\n".join([*lines, scale])


def _points(
    schedule: Schedule, steps: float | None, number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    end = schedule.span if steps is None else positive("steps", steps)
    x = np.linspace(0, float(end), number)
    return x, schedule(x)


def _range(y: NDArray[np.float64]) -> tuple[float, float]:
    """From zero, which is what shares are seen against, unless all values are far from it."""
    low, high = float(y.min()), float(y.max())
    if 0 <= low < 0.5 * high or low == high:
        low = min(0.0, low)
    if low == high:
        high = low + 1.0
    return low, high
