"""The two famous races: into a valley and off a saddle, all algorithms from the same start."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.problems.landscapes import Landscape
from thalweg.report.film import Film, Track
from thalweg.report.ground import Array, Ground, around, clipped, mark, paint
from thalweg.report.landscapes import KEY
from thalweg.report.runs import Run, leaving
from thalweg.report.surface import projected, relief
from thalweg.theme import FAINT, GREY, INK, colours, readable, settle, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 7.6, 4.9  # inches
TABLE = 0.655, 0.985  # where its names begin and its readings end, in shares of the width
TOP, LINE = 0.86, 0.058  # the height of the first line and of a line, in shares of the height
NAMED = 10  # lines of the table, at most; beyond that only those in colour have one


def contour_race(f: Landscape, runs: Sequence[Run], caption: str = "") -> Film:
    """Paths that grow on a landscape's contours; the table says the loss.

    Args:
        f: a landscape of two variables.
        runs: the descents, the best first; the best eight are coloured.
        caption: what stands below.
    """
    with theme():
        ground = Ground.of(f, around(f, [r.descent.points for r in runs]))
        figure, axes = _sheet()
        paint(axes, ground)
        key = mark(axes, ground, runs[0].descent.points[0].tolist())
        settle(figure)

        def place(points: Array) -> Array:
            at: Array = axes.transData.transform(points)
            return at

        return _film(figure, axes, ground, runs, key, place, caption)


def saddle_race(f: Landscape, runs: Sequence[Run], caption: str = "") -> Film:
    """Paths that grow on a landscape seen from the side; the table says who is out, and when.

    Arguments are those of :func:`contour_race`.
    """
    with theme():
        ground = Ground.of(f)
        figure, axes = _sheet(projection="3d")
        key = relief(axes, ground, [clipped(r.descent.points, ground.box)[0] for r in runs])
        settle(figure)

        def place(points: Array) -> Array:
            at: Array = axes.transData.transform(projected(axes, ground, points))
            return at

        return _film(figure, axes, ground, runs, key, place, caption)


def _sheet(**how: Any) -> tuple[Figure, Any]:
    """A figure with room for a table at the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE)
    left, bottom, top = (-0.03, 0.1, 0.96) if how else (0.06, 0.235, 0.91)
    axes = figure.add_axes((left, bottom, TABLE[0] - 0.025 - left, top - bottom), **how)
    return figure, axes


def _film(
    figure: Figure, axes: Axes, ground: Ground, runs: Sequence[Run], key: dict[str, Any],
    place: Callable[[Array], Array], caption: str,
) -> Film:  # fmt: skip
    f, colour = ground.f, colours([r.algorithm for r in runs])
    caption = f"{caption} {ground.scale}".strip()
    steps = max(len(r.descent.points) for r in runs)
    tracks = []
    for r in runs:
        c = colour[r.algorithm.name]
        path, _ = clipped(r.descent.points, ground.box)
        path = np.vstack([path, np.repeat(path[-1:], steps - len(path), axis=0)])
        # What is far outside would not fit into a pixel's number.
        at = np.clip(figure.transFigure.inverted().transform(place(path)), -9, 9)
        name = r.algorithm.title if len(runs) <= NAMED or c != GREY else ""
        tracks.append(Track(name, c, at, _readings(f, r, steps)))
    named = [t for t in tracks if t.name]
    rows = [TOP - (i + 1) * LINE for i in range(len(named))]
    for y, t in zip(rows, named, strict=True):
        figure.text(TABLE[0], y, "●", color=t.colour, fontsize=11)
        ink = FAINT if t.colour == GREY else readable(t.colour)
        figure.text(TABLE[0] + 0.027, y, t.name, color=ink, fontsize=10)
    if len(named) < len(runs):
        words = f"and {len(runs) - len(named)} in grey"
        figure.text(TABLE[0], rows[-1] - LINE, words, color=FAINT, fontsize=10)
    heads = {"ha": "right", "fontsize": 10, "color": FAINT}
    figure.text(TABLE[1], TOP, "loss" if f.minima else "out of the picture", heads)
    figure.text(0.015, 0.937, f.title, fontsize=13, weight="bold", color=INK)
    figure.text(0.015, 0.03, textwrap.fill(caption, 118), fontsize=8, color=FAINT, linespacing=1.4)
    place_of_key: Any = {"loc": "lower left", "bbox_to_anchor": (TABLE[0] - 0.02, 0.15)}
    figure.legend(key.values(), key.keys(), **place_of_key, **{**KEY, "columnspacing": 0.7})
    window = axes.get_position().bounds
    return Film(figure, f.title, caption, tracks, window, rows, TABLE[1], (TABLE[0], TOP))


def _readings(f: Landscape, run: Run, steps: int) -> list[str]:
    """What the table says of a descent at each step: its loss, or at which step it left."""
    losses = run.descent.losses.tolist()
    losses += [losses[-1]] * (steps - len(losses))
    if f.minima:
        floor = f.minima[0].value
        return [_short(x - floor) for x in losses]
    out = leaving(f, run.descent)
    return ["" if out is None or k < out else f"at step {out}" for k in range(steps)]


def _short(x: float) -> str:
    """Two digits, in a form of few letters."""
    if not math.isfinite(x) or abs(x) >= 1e6:
        return "diverged"
    return f"{x:.2g}" if abs(x) < 100 else f"{x:.0f}"
