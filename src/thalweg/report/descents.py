"""Figures of descents: loss against step, the learning rate, noise, effective steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.problems.landscapes import Landscape
from thalweg.report.ground import Array, Ground, around, mark, paint
from thalweg.report.landscapes import KEY, below, heading
from thalweg.report.paths import draw
from thalweg.report.runs import Run
from thalweg.theme import (
    GREY,
    INK,
    canvas,
    colours,
    label_ends,
    plain_log,
    room_for_labels,
    settle,
    theme,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 1e-12  # of the first loss: less is rounding, and is drawn as this
MOST = 1e6  # likewise: more is far beyond the picture
SMOOTH = 7  # steps over which an effective step is taken


def loss(f: Landscape, runs: Sequence[Run], caption: str = "") -> Figure:
    """Loss against step; on a logarithmic axis, as the distance to the least known value, where
    there is one.

    Args:
        f: the landscape, of any number of variables.
        runs: the descents, the best first; the best eight are coloured.
        caption: what stands below.
    """
    with theme():
        figure, axes = canvas(7.0, 4.6)
        colour, named = _named(figure, runs)
        ends = []
        for rank, r in enumerate(runs):
            c = colour[r.algorithm.name]
            y = _gap(f, r)
            over = 3 + (c != GREY) + (len(runs) - rank) / len(runs)
            axes.plot(y, color=c, linewidth=1.2 if c == GREY else 2.2, zorder=over)
            if r in named:
                ends.append((len(y) - 1, y[-1], r.algorithm.title, c))
        _loss_axes(axes, f, [_gap(f, r) for r in runs])
        heading(axes, f.title)
        below(figure, axes, {}, caption)
        settle(figure)
        low, high = axes.get_ylim()
        label_ends(axes, [(x, min(max(y, low), high), t, c) for x, y, t, c in ends])
        return figure


def panels(f: Landscape, runs: Sequence[Run], titles: Sequence[str], caption: str = "") -> Figure:
    """Some descents of one algorithm side by side: each one's path, and below it its loss.

    Args:
        f: a landscape of two variables.
        runs: two to four descents from one start.
        titles: over each, what is different in it.
        caption: what stands below.
    """
    from matplotlib.figure import Figure

    with theme():
        ground = Ground.of(f, around(f, [r.descent.points for r in runs]))
        (left, right), (bottom, top) = ground.box
        height = 3.1 * min(max((top - bottom) / (right - left), 0.6), 1.3)
        figure = Figure(figsize=(3.4 * len(runs) + 0.4, height + 3.0), layout="constrained")
        share = {"height_ratios": [height, 1.5]}
        above, under = figure.subplots(2, len(runs), sharex="row", sharey="row", gridspec_kw=share)
        for axes, r, title in zip(above, runs, titles, strict=True):
            paint(axes, ground)
            axes.set_anchor("S")
            heading(axes, title)
            key = mark(axes, ground, r.descent.points[0].tolist())
            draw(axes, r.descent.points, ground.box, r.algorithm.colour, 4, dots=True)
        for axes, r in zip(under, runs, strict=True):
            axes.plot(_gap(f, r), color=r.algorithm.colour)
            _loss_axes(axes, f, [_gap(f, r) for r in runs])
        for axes in (*above[1:], *under[1:]):
            axes.set_ylabel("")
        words = " ".join([f"{f.title}, {runs[0].algorithm.title}.", caption]).strip()
        below(figure, above[-1], {}, words)
        figure.legend(key.values(), key.keys(), loc="outside upper right", **KEY)
        return figure


def effective_steps(f: Landscape, runs: Sequence[Run], caption: str = "") -> Figure:
    """How large a learning rate each coordinate gets: the length of its moves by that of its
    gradients, over a few steps.

    Args:
        f: a landscape of two variables; one with a steep and a flat axis shows most.
        runs: the descents, the best first.
        caption: what stands below.
    """
    from matplotlib.figure import Figure

    with theme():
        figure = Figure(figsize=(8.6, 4.4), layout="constrained")
        pair: Any = figure.subplots(1, 2, sharex=True, sharey=True)
        colour, named = _named(figure, runs)
        ends = []
        for rank, r in enumerate(runs):
            c = colour[r.algorithm.name]
            found = _effective(f, r)
            for i, axes in enumerate(pair):
                axes.plot(
                    range(SMOOTH, SMOOTH + len(found)), found[:, i], color=c,
                    linewidth=1.2 if c == GREY else 2.2, zorder=4 + (len(runs) - rank) / len(runs),
                )  # fmt: skip
            seen = np.flatnonzero(np.isfinite(found[:, 1]))  # none at rest, where the gradient is 0
            if r in named and len(seen):
                last = int(seen[-1])
                ends.append((SMOOTH + last, found[last, 1], r.algorithm.title, c))
        curvature = np.diagonal(f.hessian(f.minima[0].x).numpy()) if f.minima else None
        for i, (axes, name) in enumerate(zip(pair, f.variables, strict=True)):
            axes.set_yscale("log")
            plain_log(axes.yaxis)
            axes.grid(visible=False, axis="x")
            of = f": curvature {curvature[i]:.3g}" if curvature is not None else ""
            axes.set_title(f"along {name}{of}", loc="left", fontsize=11, color=INK, weight="bold")
            axes.set_xlabel("step")
        pair[0].set_ylabel("effective learning rate")
        words = f"Length of a coordinate's moves by that of its gradients, over {SMOOTH} steps."
        below(figure, pair[0], {}, f"{f.title}. {words} {caption}")
        settle(figure)
        label_ends(pair[1], ends)
        return figure


def _effective(f: Landscape, run: Run) -> Array:
    """Moves by gradients [steps - SMOOTH + 1, 2], each summed over SMOOTH steps: a quotient of
    single ones is infinite wherever a gradient changes its sign."""
    points = run.descent.points
    moves = points.diff(dim=0).abs()
    gradients = f.gradient(points[:-1]).abs()
    sums = (
        [x.unfold(0, SMOOTH, 1).sum(dim=-1) for x in (moves, gradients)]
        if len(moves) >= SMOOTH
        else []
    )
    found: Array = (sums[0] / sums[1]).numpy() if sums else np.empty((0, 2))
    found[~np.isfinite(found) | (found == 0)] = np.nan
    return found


def _named(figure: Figure, runs: Sequence[Run]) -> tuple[dict[str, str], list[Run]]:
    """Everyone's colour, and who gets a name at the line's end, for which room is made."""
    colour = colours([r.algorithm for r in runs])
    named = [r for r in runs if colour[r.algorithm.name] != GREY or len(runs) <= 12]
    room_for_labels(figure, max(len(r.algorithm.title) for r in named))
    return colour, named


def _gap(f: Landscape, run: Run) -> Array:
    """The losses, above the least known value where there is one."""
    y: Array = run.descent.losses.double().numpy()
    if not f.minima:
        return y
    y = y - f.minima[0].value
    # What is far beyond the picture's ends need not be drawn there, and might overflow.
    within: Array = np.clip(y, LEAST * max(float(y[0]), 1e-300), MOST * max(float(y[0]), 1e-300))
    return within


def _loss_axes(axes: Axes, f: Landscape, losses: Sequence[Array]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.set_ylabel("loss above the minimum" if f.minima and f.minima[0].value else "loss")
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(0, max(1, max(map(len, losses)) - 1))  # all may diverge at once
    first = float(losses[0][0])
    if f.minima:
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        low = min(float(y.min()) for y in losses)
        # What diverges leaves the picture at the top, instead of making the others flat.
        high = min(max(float(y.max()) for y in losses), 100 * first)
        axes.set_ylim(low / 2, 2 * high)
    else:
        low = max(min(float(y.min()) for y in losses), first - 4 * abs(first) - 1)
        axes.set_ylim(low, first + 0.1 * (first - low))
