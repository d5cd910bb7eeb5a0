"""A landscape as a surface seen from the side, with descents on it."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.problems.landscapes import Landscape
from thalweg.report.ground import LEVELS, MARKS, Array, Ground, around, clipped, shades, within
from thalweg.report.landscapes import KEY, LETTERS
from thalweg.report.paths import name_ends
from thalweg.report.runs import Run
from thalweg.theme import FAINT, GREY, INK, colours, settle, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ELEVATION = 36  # degrees
TALL = 0.55  # the box's height by its width
LIFT = 0.012  # of paths above the surface, in parts of its height
RAY = 60  # points looked at between a place and the eye


def surface(f: Landscape, runs: Sequence[Run], caption: str = "") -> Figure:
    """Descents on a landscape seen from the side; what lies behind a hill is drawn faintly.

    Args:
        f: a landscape of two variables.
        runs: the descents, the best first; the best eight are coloured.
        caption: what stands below.
    """
    from matplotlib.figure import Figure

    with theme():
        ground = Ground.of(f, around(f, [r.descent.points for r in runs], margin=0.3))
        paths = [clipped(r.descent.points, ground.box)[0] for r in runs]
        figure = Figure(figsize=(7.4, 5.6))  # room for labels is left by hand: 3-D axes know none
        axes: Any = figure.add_axes((0.0, 0.15, 1.0, 0.8), projection="3d")
        key = relief(axes, ground, paths, zoom=1.12)
        figure.text(0.02, 0.955, f.title, fontsize=12, color=INK, weight="bold")
        words = textwrap.fill(
            f"{caption} {ground.scale}".strip(), int(LETTERS * figure.get_figwidth())
        )
        figure.text(0.02, 0.025, words, fontsize=8.5, color=FAINT)
        figure.legend(
            key.values(), key.keys(), loc="upper right", bbox_to_anchor=(0.99, 0.99), **KEY
        )
        colour = colours([r.algorithm for r in runs])
        settle(figure)
        ends, flat = [], []
        for rank, (r, path) in enumerate(zip(runs, paths, strict=True)):
            c = colour[r.algorithm.name]
            over = 5 + (c != GREY) + (len(runs) - rank) / len(runs)
            _path(axes, ground, path, c, over)
            flat.append(projected(axes, ground, path))
            if c != GREY:
                ends.append((*flat[-1][-1], r.algorithm.title, c))
        name_ends(axes, ends, flat)
        return figure


def relief(axes: Any, ground: Ground, paths: Sequence[Array], zoom: float = 1.05) -> dict[str, Any]:
    """The surface with soft shading, lines of equal height and the start of the paths [n, 2], seen
    from where most of the paths is in sight. Returns the key of its symbols."""
    from matplotlib.colors import LightSource

    axes.computed_zorder = False
    axes.set_proj_type("ortho")
    axes.set_box_aspect((1, 1, TALL), zoom=zoom)
    axes.set_xlim(*ground.box[0])
    axes.set_ylim(*ground.box[1])
    axes.set_zlim(0, 1)
    axes.view_init(ELEVATION, _azimuth(ground, paths))
    height = ground.height(ground.z)
    x, y = np.meshgrid(ground.x, ground.y)
    light = LightSource(azdeg=axes.azim + 200, altdeg=50)
    cell = 1 / (len(ground.x) - 1)
    rgb = light.shade(
        np.nan_to_num(height), shades(), vert_exag=0.5 * TALL, dx=cell, dy=cell, vmin=0, vmax=1,
        blend_mode="soft",
    )  # fmt: skip
    stride = max(1, len(ground.x) // 100)
    axes.plot_surface(
        x, y, height, facecolors=rgb, rstride=stride, cstride=stride, linewidth=0,
        antialiased=False, shade=False, zorder=1, clip_on=False,
    )  # fmt: skip
    _lines(axes, ground)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_visible(False)
        axis.line.set_color(GREY)
        axis.set_tick_params(labelsize=9, pad=-2)
    axes.grid(visible=False)
    axes.locator_params(nbins=4, prune="both")
    axes.set_zticks([])
    axes.zaxis.line.set_visible(False)
    axes.set_xlabel(ground.f.variables[0], labelpad=-4)
    axes.set_ylabel(ground.f.variables[1], labelpad=-4)
    return _marks(axes, ground, paths[0][0])


def projected(axes: Any, ground: Ground, path: Array) -> Array:
    """A path [n, 2] on the surface, in the coordinates of the picture, which ``axes.transData``
    takes."""
    z = ground.at(path) + LIFT
    x, y, _, w = axes.get_proj() @ np.stack([*path.T, z, np.ones_like(z)])
    return np.stack([x / w, y / w], axis=-1)


def seen(ground: Ground, path: Array, azimuth: float) -> Array:
    """Which points [n, 2] on the surface are not behind a part of it, from this direction."""
    (left, right), (bottom, top) = ground.box
    turn, up = math.radians(azimuth), math.radians(ELEVATION)
    # Towards the eye in the data's units, for a rise by 1: the box's sides are (1, 1, TALL).
    towards = np.array([math.cos(turn) * (right - left), math.sin(turn) * (top - bottom)])
    towards *= TALL * math.cos(up) / math.sin(up)
    rise = np.linspace(0, 1, RAY + 1)[1:]
    on_ray = path[:, None] + rise[:, None] * towards
    inside = ((on_ray >= [left, bottom]) & (on_ray <= [right, top])).all(axis=-1)
    over = ground.at(path)[:, None] + 1.5 * LIFT + rise
    sight: Array = (~inside | (ground.at(on_ray) <= over)).all(axis=1)
    return sight


def _azimuth(ground: Ground, paths: Sequence[Array]) -> float:
    """Degrees from where most of the paths is in sight, on slopes that face the eye."""
    points = np.vstack(paths)
    points = points[[within(ground.box, p) for p in points]]
    points = points[:: max(1, len(points) // 200)]
    (left, right), (bottom, top) = ground.box
    side = np.array([right - left, top - bottom])
    h = 0.01
    slope = np.stack(
        [(ground.at(points + e) - ground.at(points - e)) / (2 * h) for e in np.diag(h * side)],
        axis=-1,
    )

    def faces(azimuth: float) -> float:
        turn = math.radians(azimuth)
        eye = np.array([math.cos(turn), math.sin(turn)])
        tilt = math.tan(math.radians(ELEVATION)) - TALL * slope @ eye
        tilt = tilt / np.sqrt(1 + (TALL * slope) ** 2 @ np.ones(2))
        return float((np.clip(tilt, 0, None) * seen(ground, points, azimuth)).sum())

    # Along an axis a box looks flat.
    oblique = [a for a in range(-180, 180, 5) if 25 <= a % 90 <= 65]
    return max(oblique, key=faces)


def _lines(axes: Any, ground: Ground) -> None:
    """Lines of equal height, and the rim, as far as they are in sight."""
    from contourpy import contour_generator

    height = ground.height(ground.z)
    level: Any = contour_generator(ground.x, ground.y, height).lines
    low, high = np.array(ground.box).T
    t = np.linspace(0, 1, len(ground.x))[:, None]
    corners = [low, [high[0], low[1]], high, [low[0], high[1]], low]
    rim = [np.array(a) * (1 - t) + np.array(b) * t for a, b in itertools.pairwise(corners)]
    white = [line for z in np.linspace(0, 1, LEVELS)[1:-1] for line in level(z)]
    for paths, colour, width in ((white, "white", 0.6), (rim, "#8795a6", 0.8)):
        for path in paths:
            x, y = np.where(seen(ground, path, axes.azim)[:, None], path, np.nan).T
            axes.plot(
                x,
                y,
                ground.at(path) + 0.002,
                color=colour,
                linewidth=width,
                zorder=2,
                clip_on=False,
            )


def _path(axes: Any, ground: Ground, path: Array, colour: str, over: float) -> None:
    from matplotlib.patheffects import Normal, Stroke

    z, sight = ground.at(path) + LIFT, seen(ground, path, axes.azim)
    width = 1.2 if colour == GREY else 2.2
    rim: Any = [Stroke(linewidth=width + 1.6, foreground="white", alpha=0.9), Normal()]
    axes.plot(*path.T, z, color=colour, linewidth=0.8, alpha=0.5, zorder=4)
    x, y = np.where(sight[:, None], path, np.nan).T
    axes.plot(x, y, z, color=colour, linewidth=width, path_effects=rim, zorder=over)
    axes.plot(
        *path[-1:].T, z[-1:], "o", color=colour, markersize=7.5 if colour != GREY else 5,
        markeredgecolor="white", markeredgewidth=1.2, zorder=over + 0.4,
        alpha=1.0 if sight[-1] else 0.5,
    )  # fmt: skip


def _marks(axes: Any, ground: Ground, start: Array) -> dict[str, Any]:
    """The start and the known points that are in sight, as :func:`thalweg.report.ground.mark`."""
    look: dict[str, Any] = {"color": INK, "linestyle": "none"}
    key: dict[str, Any] = {}
    [key["start"]] = axes.plot(
        *start[:, None], ground.at(start[None]) + LIFT, "o", markerfacecolor="white",
        markersize=6.5, markeredgewidth=1.4, zorder=8, **look,
    )  # fmt: skip
    for p in ground.f.points:
        x = np.array([p.x])
        if within(ground.box, p.x) and seen(ground, x, axes.azim)[0]:
            [found] = axes.plot(
                *x.T, ground.at(x) + LIFT, MARKS[p.kind], markersize=7.5, markeredgecolor="white",
                markeredgewidth=1.0, zorder=7.5, **look,
            )  # fmt: skip
            key.setdefault("minimum" if p.kind == "cusp" else p.kind, found)
    return key
