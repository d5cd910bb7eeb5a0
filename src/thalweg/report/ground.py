"""The ground that descents are drawn on: levels of a landscape in quiet blues, and its points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg.problems.landscapes import Landscape, Point
from thalweg.problems.landscapes.landscape import Box
from thalweg.theme import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

Array = np.ndarray[Any, np.dtype[np.float64]]

LOW, HIGH = "#fbfcfd", "#a9b9cb"  # the ground's colours: light below, where paths end and are read
LEVELS = 22
STEEPEST = 10.0  # root of the scale, at most
SLIM = 1.6  # one side by the other, in shares of the domain's, at most
LEAST = 0.15  # of the domain's side, at least
MARKS = {"minimum": "v", "cusp": "v", "saddle": "X", "maximum": "^"}  # a kind's symbol


def shades() -> Colormap:
    """From the lowest ground to the highest."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ground", [LOW, "#dfe6ee", HIGH])


@dataclass(frozen=True, eq=False)
class Ground:
    """A landscape of two variables on a grid, and the scale on which its heights are shown.

    Heights are raised to the power 1/``root``, chosen so that half of the ground lies below half of
    the height: a valley with steep walls keeps its floor visible (Rosenbrock: about 4), and where
    high and low ground are as common, as on x² − y², nothing is changed.
    """

    f: Landscape
    box: Box  # what is shown of the domain
    x: Array  # [n]
    y: Array  # [n]
    z: Array  # [n, n], the function at (x[j], y[i])
    low: float  # the least value, known minima included
    top: float  # the greatest finite one
    root: float

    @classmethod
    def of(cls, f: Landscape, box: Box | None = None, n: int = 201) -> Ground:
        """The landscape over a box, by default its domain, at n by n points.

        Raises:
            ValueError: it has not two variables, or is finite nowhere in the domain.
        """
        if f.dim != 2:
            raise ValueError(f"landscape must have 2 variables to be drawn, {f.name} has {f.dim}")
        box = f.domain if box is None else box
        x, y = (np.linspace(low, high, n) for low, high in box)
        points = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1))
        with torch.no_grad():
            z: Array = f(points).numpy()
        finite = z[np.isfinite(z)]
        if not len(finite):
            raise ValueError(f"landscape {f.name} is finite nowhere in {box}")
        low = min([float(finite.min()), *(p.value for p in f.minima if within(box, p.x))])
        top = float(finite.max())
        share = (float(np.median(finite)) - low) / ((top - low) or 1.0)
        root = min(max(1.0, math.log(share) / math.log(0.5)), STEEPEST) if 0 < share < 1 else 1.0
        return cls(f, box, x, y, z, low, top, root)

    def height(self, z: Any) -> Array:
        """Heights on the scale shown: 0 at the least value, 1 at the greatest."""
        span = (self.top - self.low) or 1.0
        scaled: Array = (np.clip(np.asarray(z, float) - self.low, 0, None) / span) ** (
            1 / self.root
        )
        return scaled

    @property
    def scale(self) -> str:
        """What a caption says of the heights; nothing where they are the function's own."""
        if self.root < 1.05:
            return ""
        return f"Heights: the loss above its least, to the power 1/{self.root:.2g}."

    def at(self, points: Any) -> Array:
        """Heights on the scale shown at points [..., 2]."""
        with torch.no_grad():
            return self.height(self.f(torch.as_tensor(points)).numpy())


def paint(axes: Axes, ground: Ground) -> None:
    """Filled levels with white lines between them, over the whole of the domain."""
    levels = np.linspace(0, 1, LEVELS)
    z = np.ma.masked_invalid(ground.height(ground.z))
    filled = axes.contourf(ground.x, ground.y, z, levels, cmap=shades(), extend="max", zorder=0)
    filled.set_rasterized(True)  # 20 polygons of thousands of corners make a vector file slow
    axes.contour(
        ground.x, ground.y, z, levels, colors="white", linewidths=0.6, alpha=0.8, zorder=0.5
    )
    outline(axes, ground)


def outline(axes: Axes, ground: Ground) -> None:
    """Axes that show the ground's box, with the variables' names."""
    axes.set_xlim(*ground.box[0])
    axes.set_ylim(*ground.box[1])
    axes.set_aspect("equal" if 1 / 3 < _ratio(ground.box) < 3 else "auto")
    axes.grid(visible=False)
    axes.set_xlabel(ground.f.variables[0])
    axes.set_ylabel(ground.f.variables[1], rotation=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(nbins=5)


def mark(axes: Axes, ground: Ground, start: Iterable[float] | None = None) -> dict[str, Any]:
    """The landscape's known points and the start, as small symbols; kind -> its symbol, for a key
    below the figure."""
    key: dict[str, Any] = {}
    if start is not None:
        key["start"] = axes.plot(
            *start, "o", color=INK, markerfacecolor="white", markersize=6.5, markeredgewidth=1.4,
            zorder=8, linestyle="none",
        )[0]  # fmt: skip
    for p in ground.f.points:
        if not within(ground.box, p.x):
            continue
        kind = "minimum" if p.kind == "cusp" else p.kind
        found = axes.plot(
            *p.x, MARKS[p.kind], color=INK, markersize=7.5, markeredgecolor="white",
            markeredgewidth=1.0, zorder=7, linestyle="none",
        )[0]  # fmt: skip
        key.setdefault(kind, found)
    return key


def within(box: Box, x: Iterable[float]) -> bool:
    """Whether a point is in a box, its edge included."""
    return all(low <= c <= high for c, (low, high) in zip(x, box, strict=True))


def clipped(points: Tensor, box: Box) -> tuple[Array, bool]:
    """A path [n, 2] up to where it leaves the box for good, and whether it does. What lies outside
    before is kept: axes cut it off."""
    path: Array = points.detach().double().numpy()
    if within(box, path[-1]):
        return path, False
    stay = [i for i, p in enumerate(path) if within(box, p)]
    if not stay:
        return path[:1], False
    last, then = path[stay[-1]], path[stay[-1] + 1]
    # How much of the step fits into the box.
    share = min(
        ((high if b > a else low) - a) / (b - a)
        for a, b, (low, high) in zip(last, then, box, strict=True)
        if not low <= b <= high
    )
    return np.vstack([path[: stay[-1] + 1], last + share * (then - last)]), True


def around(f: Landscape, paths: Sequence[Tensor], margin: float = 0.12) -> Box:
    """The part of the domain that paths [n, 2] run through: with the nearest minimum, a margin, and
    sides that are not too unequal."""
    low, high = torch.tensor(f.domain, dtype=torch.float64).T
    parts = [torch.from_numpy(clipped(p, f.domain)[0]) for p in paths]
    seen = torch.cat([*parts, *(torch.tensor([m.x]).double() for m in _goal(f, paths))])
    seen = seen[((seen >= low) & (seen <= high)).all(dim=1)]
    left, right = seen.amin(dim=0), seen.amax(dim=0)
    side = right - left
    unit = high - low  # a domain may have sides of different units
    least = torch.maximum(side / unit, (side / unit).max() / SLIM).clamp_min(LEAST)
    grow = (least * unit - side) / 2 + margin * least * unit
    left, right = left - grow, right + grow
    # What would lie outside the domain is added on the other side.
    left, right = left - (right - high).clamp_min(0), right + (low - left).clamp_min(0)
    left, right = torch.maximum(left, low), torch.minimum(right, high)
    return tuple(zip(left.tolist(), right.tolist(), strict=True))


def _goal(f: Landscape, paths: Sequence[Tensor]) -> list[Point]:
    """The minimum that lies nearest to where some path ends."""
    near = [m for m in f.minima if within(f.domain, m.x)]
    return sorted(near, key=lambda m: min(math.dist(m.x, p[-1].tolist()) for p in paths))[:1]


def _ratio(box: Box) -> float:
    (left, right), (bottom, top) = box
    return (right - left) / (top - bottom)
