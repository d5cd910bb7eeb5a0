"""Figures of a landscape from above: descents on its contours, and what each start leads to."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thalweg.problems.landscapes import Landscape
from thalweg.report.ground import Ground, around, clipped, mark, paint
from thalweg.report.paths import draw, name_ends
from thalweg.report.runs import Run
from thalweg.theme import FAINT, GREY, INK, canvas, colours, settle, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTERS = 15  # of a caption's line, an inch
KEY: dict[str, Any] = {  # how a legend of symbols looks
    "ncols": 4,
    "frameon": False,
    "fontsize": 9.5,
    "labelcolor": FAINT,
    "handletextpad": 0.1,
    "columnspacing": 1.0,
    "borderpad": 0.2,
    "borderaxespad": 0.3,
}
NAMED = 12  # paths with a name, at most; beyond that only the coloured ones have room


def contours(f: Landscape, runs: Sequence[Run], caption: str = "") -> Figure:
    """Descents on a landscape's contours.

    Args:
        f: a landscape of two variables.
        runs: the descents, the best first; the best eight are coloured.
        caption: what stands below, after the number of steps.
    """
    with theme():
        ground = Ground.of(f, around(f, [r.descent.points for r in runs]))
        figure, axes = canvas(*size(ground))
        paint(axes, ground)
        heading(axes, f.title)
        key = mark(axes, ground, runs[0].descent.points[0].tolist())
        colour = colours([r.algorithm for r in runs])
        ends = []
        for rank, r in enumerate(runs):
            c = colour[r.algorithm.name]
            over = 3 + (c != GREY) + (len(runs) - rank) / len(runs)
            end = draw(axes, r.descent.points, ground.box, c, over)
            ends.append((*end, r.algorithm.title, c))
        named = [e for e in ends if len(ends) <= NAMED or e[3] != GREY]
        if len(named) < len(ends):
            caption = f"{len(ends) - len(named)} more in grey. {caption}"
        below(figure, axes, key, f"{caption} {ground.scale}".strip())
        settle(figure)
        name_ends(axes, named, [clipped(r.descent.points, ground.box)[0] for r in runs])
        return figure


def size(ground: Ground, area: float = 30.0) -> tuple[float, float]:
    """Inches for a figure of one landscape, by the ratio of its sides."""
    (left, right), (bottom, top) = ground.box
    ratio = (right - left) / (top - bottom)
    ratio = ratio if 1 / 3 < ratio < 3 else 1.0
    return float((area * ratio) ** 0.5) + 0.6, float((area / ratio) ** 0.5) + 1.1


def heading(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK, weight="bold", pad=10)


def below(figure: Figure, axes: Axes, key: dict[str, Any], caption: str) -> None:
    """The key of symbols, right of the heading, and the caption, under everything else."""
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.1, h_pad=0.1)  # inches
    if key:
        key_at: Any = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(key.values(), key.keys(), **key_at, **KEY)
    if caption:
        words = textwrap.fill(caption, int(LETTERS * figure.get_figwidth()))
        figure.supxlabel(words, x=0.012, ha="left", fontsize=8.5, color=FAINT)
