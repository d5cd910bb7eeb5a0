"""Descents as paths on painted ground, and their names where they end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from thalweg.problems.landscapes.landscape import Box
from thalweg.report.ground import Array, clipped
from thalweg.theme import FAINT, GREY, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rectangle = tuple[float, float, float, float]  # left, bottom, right, top in pixels
End = tuple[float, float, str, str]  # x, y, label, colour

# Where a label may lie: distance from the path's end in points, and direction in degrees.
DISTANCES = (9, 20, 34, 50, 68, 88)
DIRECTIONS = range(0, 360, 15)


def draw(
    axes: Axes, points: Tensor, box: Box, colour: str, over: float, dots: bool = False
) -> tuple[float, float]:
    """One path [n, 2] with a white rim, a dot at its end, or an arrow where it leaves the box for
    good; with ``dots`` one at each step. Returns where it ends in the picture."""
    from matplotlib.patheffects import Normal, Stroke

    line, gone = clipped(points, box)
    grey = colour == GREY
    width = 1.3 if grey or dots else 2.2
    rim: Any = [Stroke(linewidth=width + 1.8, foreground="white", alpha=0.9), Normal()]
    axes.plot(
        *line.T, color=colour, linewidth=width, path_effects=rim, zorder=over,
        solid_joinstyle="round",
    )  # fmt: skip
    if dots:
        axes.plot(*line.T, ".", color=colour, markersize=5, zorder=over)
    x, y = line[-1]
    if gone:
        before = next((p for p in line[-2::-1] if math.dist(p, line[-1]) > 0), line[-1])
        axes.annotate(
            "", (x, y), before, zorder=over, annotation_clip=False,
            arrowprops={
                "arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0,
                "shrinkB": 0, "mutation_scale": 13,
            },
        )  # fmt: skip
    else:
        axes.plot(
            x, y, "o", color=colour, markersize=5.5 if grey else 7.5, markeredgecolor="white",
            markeredgewidth=1.2, zorder=over + 0.4, clip_on=False,
        )  # fmt: skip
    return float(x), float(y)


def name_ends(axes: Axes, ends: Sequence[End], paths: Sequence[Array], size: float = 10.5) -> None:
    """Names beside the ends of paths, inside the axes, each where it covers least: no other name,
    no end, and as little of the paths [n, 2] as can be. Call ``theme.settle`` first."""
    figure: Any = axes.figure
    point = figure.dpi / 72
    to_pixels = axes.transData.transform
    crowd = np.vstack([_dense(to_pixels(p), 4 * point) for p in paths])
    tips = to_pixels([(x, y) for x, y, _, _ in ends])
    taken: list[Rectangle] = []
    leaders: list[Array] = []
    for (x, y, label, colour), tip in zip(ends, tips, strict=True):
        width, height = _extent(figure, label, size)
        best: tuple[float, int, Rectangle] | None = None
        for distance, direction in itertools.product(DISTANCES, DIRECTIONS):
            turn = math.radians(direction)
            away = np.array([math.cos(turn), math.sin(turn)])
            # The label's nearest point is that far away, not its centre.
            left, bottom = tip + point * distance * away - (1 - away) / 2 * (width, height)
            rim = 2 * point
            box = left - rim, bottom - rim, left + width + rim, bottom + height + rim
            cost = _cost(box, tip, axes.get_window_extent(), crowd, tips, taken, leaders)
            cost += 0.35 * distance
            if best is None or cost < best[0]:
                best = cost, distance, box
        assert best is not None
        _, distance, box = best
        taken.append(box)
        leaders.append(_leader(tip, box))
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        note = axes.annotate(
            label, (x, y), xytext=tuple(axes.transAxes.inverted().transform(middle)),
            textcoords="axes fraction", fontsize=size, ha="center", va="center", zorder=9,
            color=FAINT if colour == GREY else readable(colour),
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "alpha": 0.72, "lw": 0},
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 4,
            } if distance > DISTANCES[0] else None,
        )  # fmt: skip
        note.set_in_layout(False)


def _extent(figure: Any, label: str, size: float) -> tuple[float, float]:
    """A label's width and height in pixels."""
    text = figure.text(0, 0, label, fontsize=size)
    box = text.get_window_extent()
    text.remove()
    return float(box.width), float(box.height)


def _cost(
    box: Rectangle, tip: Array, frame: Any, crowd: Array, tips: Array, taken: Sequence[Rectangle],
    leaders: Sequence[Array],
) -> float:  # fmt: skip
    """How bad it is to put a label here."""
    left, bottom, right, top = box
    outside = left < frame.x0 or right > frame.x1 or bottom < frame.y0 or top > frame.y1
    met = sum(left < t[2] and right > t[0] and bottom < t[3] and top > t[1] for t in taken)
    own = _leader(tip, box)
    crossed = sum(_inside(t, own) for t in taken) + sum(_inside(box, other) for other in leaders)
    covered = 60 * _inside(box, tips) + 4 * _inside(box, crowd)
    return float(1e4 * outside + 1e3 * met + 200 * min(crossed, 3) + covered)


def _leader(tip: Array, box: Rectangle) -> Array:
    """Points on the way from a path's end to its label."""
    return _dense(np.array([tip, np.clip(tip, box[:2], box[2:])]), 4)


def _inside(box: Rectangle, points: Array) -> int:
    left, bottom, right, top = box
    x, y = points.T
    return int(((x > left) & (x < right) & (y > bottom) & (y < top)).sum())


def _dense(path: Array, step: float) -> Array:
    """Points along a path of pixels, at most ``step`` apart; fewer on strides that leave any
    picture."""
    pieces = [path[:1]]
    for a, b in itertools.pairwise(path):
        n = min(500, max(1, math.ceil(math.dist(a, b) / step)))
        pieces.append(a + (b - a) * np.linspace(0, 1, n + 1)[1:, None])
    return np.vstack(pieces)
