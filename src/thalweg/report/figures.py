"""The figures of a race: each a function of the verdict, each about one question."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from thalweg.lab import Verdict
from thalweg.lab.verdict import Standing, mean_of
from thalweg.problems import Problem
from thalweg.theme import (
    FAINT,
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

Curve = Literal["train", "validation"]
LABEL = 20  # letters in a line of a label at a line's end
# What is drawn: a logarithmic axis goes some way beyond, and its ends must be numbers, too.
SMALLEST, LARGEST = 1e-200, 1e200
DECADES = 1e6  # of a logarithmic axis of scores, from the best one up


def loss(verdict: Verdict, curve: Curve) -> Figure:
    """How fast: loss against epoch at each one's best rate, median and range of the seeds."""
    from matplotlib.ticker import MaxNLocator

    with theme():
        figure, axes = canvas(5.2, 3.5)
        colour = colours([s.algorithm for s in verdict.standings])
        names = {
            a.name: textwrap.fill(a.title, LABEL) for s in verdict.standings for a in [s.algorithm]
        }
        named = [n for name, n in names.items() if colour[name] != GREY]
        room_for_labels(figure, max(len(line) for n in named for line in n.split("\n")))
        ends = []
        starts = [getattr(o, f"{curve}_curve")[:1] for s in verdict.standings for o in s.outcomes]
        # What diverges leaves the picture at the top, instead of making the others flat.
        top = min(10 * max([x for start in starts for x in start], default=1.0), LARGEST)
        for rank, s in reversed(list(enumerate(verdict.standings))):
            middle, low, high = _bands([getattr(o, f"{curve}_curve") for o in s.outcomes])
            shown = [epoch for epoch, x in enumerate(middle) if x > 0]
            if not shown:
                continue
            middle, low, high = ([min(v, 2 * top) for v in b] for b in (middle, low, high))
            x, c = range(len(middle)), colour[s.algorithm.name]
            over = 3 + len(verdict.standings) - rank
            axes.fill_between(x, low, high, color=c, alpha=0.15, linewidth=0, zorder=over)
            axes.plot(x, middle, color=c, zorder=over + 0.5)
            if c != GREY:
                last = shown[-1]
                ends.append((last, min(middle[last], top), names[s.algorithm.name], c))
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        if axes.get_ylim()[1] > top:
            axes.set_ylim(top=top)
        axes.set_xlim(0, max((e[0] for e in ends), default=1))
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss" if curve == "train" else "validation loss")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(visible=False, axis="x")
        settle(figure)
        label_ends(axes, ends)
        return figure


def rate(verdict: Verdict, standing: Standing, size: tuple[float, float] = (3.7, 2.6)) -> Figure:
    """How sensitive: one algorithm's validation score against its learning rate, the others' behind
    it in grey."""
    with theme():
        figure, axes = canvas(*size)
        _rate(axes, verdict, standing)
        axes.set_xlabel("learning rate")
        axes.set_ylabel(textwrap.fill(_score_name(verdict.plan.problem, "validation"), 24))
        return figure


def rates(verdict: Verdict) -> Figure:
    """All of :func:`rate` on one sheet."""
    from matplotlib.figure import Figure

    with theme():
        n = len(verdict.standings)
        columns = min(3 if n <= 9 else 5, n)
        rows = math.ceil(n / columns)
        figure = Figure(figsize=(3.7 * columns, 2.6 * rows + 0.3), layout="constrained")
        grid: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[n:]:
            axes.set_visible(False)
        for axes, s in zip(grid.flat, verdict.standings, strict=False):
            _rate(axes, verdict, s)
            axes.set_title(s.algorithm.title, loc="left", fontsize=11, color=INK, weight="bold")
            axes.tick_params(labelbottom=True)
        figure.supxlabel("learning rate", fontsize=11, color=FAINT)
        figure.supylabel(_score_name(verdict.plan.problem, "validation"), fontsize=11, color=FAINT)
        return figure


def differences(verdict: Verdict) -> Figure:
    """Who can be told apart: the difference in test score to the leader, with its interval."""
    with theme():
        n = len(verdict.differences)
        figure, axes = canvas(5.2, 0.9 + 0.42 * n)
        colour = colours([s.algorithm for s in verdict.standings])
        finite = [x for d in verdict.differences for x in (d.mean, d.low, d.high) if _drawn(x)]
        reach = 1.1 * max([abs(x) for x in finite], default=1.0) or 1.0
        left, right = 1.1 * min([0.0, *finite]), 1.1 * max([0.0, *finite])
        axes.axvline(0, color=INK, linewidth=1)
        for row, d in enumerate(verdict.differences):
            c = colour[d.algorithm.name]
            if not _drawn(d.mean):
                axes.text(right, row, "diverged ", color=FAINT, ha="right", va="center")
                continue
            low, high = max(d.low, -reach), min(d.high, reach)
            axes.plot([low, high], [row, row], color=c, linewidth=2)
            face = c if d.told_apart else "white"
            axes.plot(d.mean, row, "o", color=c, markerfacecolor=face, markersize=7, zorder=4)
        axes.set_yticks(range(n), [d.algorithm.title for d in verdict.differences])
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=10.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_xlim(left - 0.02 * reach, right + 0.02 * reach)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        p = verdict.plan.problem
        unit = "points" if p.unit == "%" else p.unit
        behind = (
            f"{_score_name(p, 'test', unit='')}: behind {verdict.standings[0].algorithm.title} by"
        )
        axes.set_xlabel(textwrap.fill(behind + (f" ({unit})" if unit else ""), 44))
        return figure


def _rate(axes: Axes, verdict: Verdict, standing: Standing) -> None:
    from matplotlib.ticker import NullLocator

    p = verdict.plan.problem
    _score_scale(axes, verdict)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    for s in verdict.standings:
        if s is not standing:
            rates_, means = _means(s, p)
            axes.plot(rates_, means, color=GREY, linewidth=1, alpha=0.55, zorder=2)
    c = colours([s.algorithm for s in verdict.standings])[standing.algorithm.name]
    c = FAINT if c == GREY else c
    rates_, means = _means(standing, p)
    axes.plot(rates_, means, color=c, zorder=4)
    for r, seeds in standing.scores.items():
        scores = [x for x in seeds if _drawn(x)]
        axes.plot([r] * len(scores), scores, ".", color=c, markersize=4, alpha=0.6, zorder=3)
    if not _drawn(standing.validation):
        axes.text(0.5, 0.5, "diverged", transform=axes.transAxes, color=FAINT, ha="center")
        return
    axes.plot(
        standing.rate, standing.validation, "o",
        color=c, markersize=8, markeredgecolor="white", markeredgewidth=1.5, clip_on=False,
        zorder=5,
    )  # fmt: skip
    axes.grid(visible=False, axis="x")


def _means(s: Standing, p: Problem) -> tuple[list[float], list[float]]:
    pairs = [(r, mean_of(x)) for r, x in sorted(s.scores.items())]
    pairs = [(r, m) for r, m in pairs if _drawn(m)]
    return [r for r, _ in pairs], [m for _, m in pairs]


def _drawn(x: float) -> bool:
    return abs(x) <= LARGEST


def _score_scale(axes: Axes, verdict: Verdict) -> None:
    """Equal steps for equal factors: of the error for a percentage, of the score elsewhere."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    p = verdict.plan.problem
    found = [x for s in verdict.standings for xs in s.scores.values() for x in xs]
    found = [x for x in found if _drawn(x)] or [0.0, 1.0]
    if p.unit == "%":
        import numpy as np

        def forward(x: Any) -> Any:
            return -np.log10(np.clip(100.5 - np.asarray(x, dtype=float), 1e-3, None))

        axes.set_yscale("function", functions=(forward, lambda y: 100.5 - 10.0 ** (-np.asarray(y))))
        ticks = [t for t in (50, 80, 90, 95, 98, 99, 100) if t <= max(found) + 1]
        axes.yaxis.set_major_locator(FixedLocator([0, *ticks]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_ylim(0, min(100.3, max(found) + 0.6))
    elif min(found) >= SMALLEST:
        axes.set_yscale("log")
        # What diverged without overflowing would leave no room for the others.
        low, high = min(found), min(max(found), DECADES * min(found))
        axes.set_ylim(low / 2, 2 * high)
        plain_log(axes.yaxis)


def _score_name(p: Problem, split: str, unit: str | None = None) -> str:
    where, unit = f"{split} " if p.held_out else "", p.unit if unit is None else unit
    return f"{where}{p.score}{f' ({unit})' if unit else ''}"


def _bands(
    curves: Sequence[Sequence[float]],
) -> tuple[list[float], list[float], list[float]]:
    """Median, least and greatest over seeds, as far as all of them got; NaN, a gap, for what a
    logarithmic axis does not have."""
    points = list(zip(*curves, strict=False))
    return (
        [_positive(statistics.median(x)) for x in points],
        [_positive(min([y for y in x if y >= SMALLEST], default=0.0)) for x in points],
        [_positive(max(x)) for x in points],
    )


def _positive(x: float) -> float:
    return x if x >= SMALLEST else math.nan
