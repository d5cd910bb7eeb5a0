"""A map of which starts lead to which minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.analysis import Basins, Minimum, basins
from thalweg.problems.landscapes import Landscape
from thalweg.report.ground import LEVELS, Array, Ground, mark, outline
from thalweg.report.landscapes import below, heading, size
from thalweg.theme import FAINT, INK, canvas, settle, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Labels = np.ndarray[Any, np.dtype[np.int64]]

# Tints that are no algorithm's colour, as light as paper, so that names and symbols can be read on
# them; a basin has another one than its neighbours.
TINTS = ("#c3d3e3", "#f0ddb0", "#c5dfc4", "#ecc9c0", "#d6cbe8", "#b5dbdc", "#f3d6e4", "#dcdcd2")
FINE = 201  # points along each side
NAMED = 12  # basins with their shares, at most: more have no room


def basin_map(f: Landscape) -> Figure:
    """Which minimum gradient flow, the descent of infinitely small steps, reaches from where.

    Raises:
        ValueError: the landscape has not two variables.
    """
    with theme():
        ground = Ground.of(f)
        found = basins(f, resolution=FINE)
        figure, axes = canvas(*size(ground))
        _tint(axes, ground, found)
        heading(axes, f"{f.title}: basins")
        key = mark(axes, ground)
        below(figure, axes, key, _caption(found))
        settle(figure)
        for m in found.minima if len(found.minima) <= NAMED else ():
            _name(axes, m)
        return figure


def _tint(axes: Axes, ground: Ground, found: Basins) -> None:
    """A tint for each basin, lines between them, and the landscape's levels in white."""
    outline(axes, ground)
    labels = found.labels.numpy()
    shares = [_smooth((labels == i).astype(float)) for i in range(-1, len(found.minima))]
    for i, tint in enumerate(_tints(labels)):
        # Where three or more meet, none has half of what is around: the largest share decides.
        others = np.max([*shares[: i + 1], *shares[i + 2 :]], axis=0)
        ahead = shares[i + 1] - others
        axes.contourf(found.x, found.y, ahead, [0.0, 1.5], colors=[tint], zorder=0)
        axes.contour(found.x, found.y, ahead, [0.0], colors=FAINT, linewidths=1.2, zorder=1.5)
    height = np.ma.masked_invalid(ground.height(ground.z))
    levels = np.linspace(0, 1, LEVELS)
    ink = "white" if found.minima else FAINT  # on tints, or on paper
    axes.contour(
        ground.x, ground.y, height, levels, colors=ink, linewidths=0.7, alpha=0.9, zorder=1
    )


def _tints(labels: Labels) -> list[str]:
    """A tint for each label from 0 on: all different, or, of many, other than the neighbours'."""
    n = int(labels.max()) + 1
    if n <= len(TINTS):
        return list(TINTS[:n])
    pairs = [(labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])]
    beside = {(int(a), int(b)) for p, q in pairs for a, b in zip(p[p != q], q[p != q], strict=True)}
    beside |= {(b, a) for a, b in beside}
    found: list[str] = []
    for i in range(n):
        taken = {found[b] for a, b in beside if a == i and 0 <= b < i}
        free = [t for t in TINTS if t not in taken]
        found.append(free[0] if free else TINTS[i % len(TINTS)])
    return found


def _smooth(mask: Array) -> Array:
    """Without the stairs that a grid's cells make of an edge: means over 3 by 3, twice."""
    for _ in range(2):
        wide = np.pad(mask, 1, mode="edge")
        n, m = mask.shape
        around = [wide[i : i + n, j : j + m] for i in range(3) for j in range(3)]
        mask = np.mean(around, axis=0)
    return mask


def _name(axes: Axes, m: Minimum) -> None:
    """The value at a minimum and its basin's share, below its symbol."""
    from matplotlib.patheffects import withStroke

    value = 0.0 if abs(m.value) < 1e-12 else m.value
    words = f"{value:.4g}\n{100 * m.share:.0f} %".replace("-", "−")
    axes.annotate(
        words, (m.x[0], m.x[1]), (0, -7), textcoords="offset points",
        ha="center", va="top", fontsize=9, color=INK, zorder=9, linespacing=1.2,
        path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.75)],
    )  # fmt: skip


def _caption(found: Basins) -> str:
    n = len(found.minima)
    nowhere = float((found.labels < 0).double().mean())
    words = "Where gradient flow, the descent of infinitely small steps, ends from each start. "
    if 0 < n <= NAMED:
        words += "At each minimum its value and its basin's share of the area. "
    elif n:
        words += f"{n} minima. "
    if nowhere > 0.001:
        words += f"White: from {100 * nowhere:.0f} % no minimum in the picture is reached."
    return words.strip()
