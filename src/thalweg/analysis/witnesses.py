"""The search for what speaks against convexity: chords, and directions of negative curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.analysis import batched, precision, rounding
from thalweg.analysis.batched import Box

Points = Callable[[Tensor], Tensor]  # made by batched.values

ROUNDS = 6  # in which the search for negative curvature closes in on the best points so far
BEST = 8  # such points
CHECKED = 32  # candidates, the most promising ones, whose rounding error is looked into


@dataclass(frozen=True)
class Chord:
    """Two points between which the function leaves the right side of its chord: by ``excess``, at
    ``t x1 + (1 - t) x2``. ``bound`` is what rounding may have made of the excess, at most."""

    x1: tuple[float, ...]
    x2: tuple[float, ...]
    t: float
    excess: float
    bound: float

    @property
    def x(self) -> tuple[float, ...]:
        """The point on the chord."""
        return tuple(self.t * a + (1 - self.t) * b for a, b in zip(self.x1, self.x2, strict=True))

    def __str__(self) -> str:
        return (
            f"between x1 = {_text(self.x1)} and x2 = {_text(self.x2)}, at t = {self.t:.4g}, by "
            f"{self.excess:.4g} (rounding: at most {self.bound:.1e})"
        )


@dataclass(frozen=True)
class Curvature:
    """A point and a direction v of length 1 in which the function bends the wrong way: ``value`` is
    v'Hv, with H the second derivatives by autograd, and rounding makes ``bound`` of it at most."""

    x: tuple[float, ...]
    direction: tuple[float, ...]
    value: float
    bound: float

    def __str__(self) -> str:
        return (
            f"at {_text(self.x)}, whose second derivative along {_text(self.direction)} is "
            f"{self.value:.4g} (rounding: at most {self.bound:.1e})"
        )


def chords(box: Box, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random ones, half of them across the box and half shorter, down to 1e-3 of it."""
    x1, x2 = batched.uniform(box, n, generator), batched.uniform(box, n, generator)
    draw = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    length = torch.where(draw[:, :1] < 0.5, 1.0, 1e3 ** (1 - 2 * draw[:, :1]))
    return x1, x1 + length * (x2 - x1), 0.05 + 0.9 * draw[:, 1]


def along(x: Tensor, v: Tensor, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Chords with their middle in x and along v, from the whole box's length down to 1e-4 of it."""
    low, high = torch.tensor(box, dtype=x.dtype).unbind(1)
    room = torch.minimum((x - low), (high - x)) / v.abs().clamp(min=1e-300)
    lengths = room.amin(1)[:, None] * torch.logspace(-4, 0, 13, dtype=x.dtype)
    # Rounding must not lead out of the box, where the function may end.
    ends = [
        (x[:, None] + s * lengths[..., None] * v[:, None]).clamp(low, high).flatten(0, 1)
        for s in (1, -1)
    ]
    return ends[0], ends[1], x.new_full((len(ends[0]),), 0.5)


def broken(f: Points, x1: Tensor, x2: Tensor, t: Tensor, coarsest: torch.dtype) -> Chord | None:
    """The chord that is left furthest, in units of its rounding error; None if none is. Raises
    ValueError if f is not finite at one of the points. ``coarsest`` is the dtype f computes in."""
    unit = precision.unit(coarsest)

    def excess(x1: Tensor, x2: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = t[:, None] * x1 + (1 - t[:, None]) * x2
        points = torch.cat([x1, x2, x])
        value = f(points)
        batched.need_finite(points, value)
        a, b, middle = value.chunk(3)
        return middle - (t * a + (1 - t) * b), a.abs() + b.abs() + middle.abs(), x

    with torch.no_grad():
        found, size, _ = excess(x1, x2, t)
        usable = found.isfinite() & (found > 4 * unit * size)
        promising = torch.where(usable, found / size, -1.0).topk(min(CHECKED, len(t))).indices
        best = promising[usable[promising]]
        if not len(best):
            return None
        x1, x2, t = x1[best], x2[best], t[best]
        found, size, x = excess(x1, x2, t)
        # The point between is rounded in units of the ends, not of itself.
        scale = torch.maximum(x1.abs(), x2.abs())
        points, scales = torch.cat([x1, x2, x]), scale.repeat(3, 1)
        errors = rounding.error(f, points, scales, coarsest) + rounding.unseen(f, points, scales)
        info = torch.finfo(coarsest)
        # Below the smallest normal number, every operation may be off by the last place there.
        bound = errors.reshape(3, -1).sum(0) + 4 * (unit * size + info.tiny * info.eps)
    ratio = torch.where(bound.isfinite(), found / bound, 0.0)
    i = int(ratio.argmax())
    if ratio[i] <= 1:
        return None
    return Chord(_tuple(x1[i]), _tuple(x2[i]), float(t[i]), float(found[i]), float(bound[i]))


def bends(f: Points, box: Box, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The points, of about n, with the least eigenvalue of the Hessian, and its eigenvectors."""
    low, high = torch.tensor(box, dtype=torch.float64).unbind(1)
    best_x = best_v = low.new_empty(0, len(box))
    best = low.new_empty(0)
    each = max(1, n // ROUNDS)
    for k in range(ROUNDS):
        x = batched.uniform(box, each, generator)
        if k:
            around = best_x[torch.arange(each) % len(best_x)]
            x = (around + (x - (low + high) / 2) * 4.0**-k).clamp(low, high)
        h = torch.nan_to_num(batched.hessians(f, x), 0.0, 0.0, 0.0)
        # Relative, so that a steep wall far away does not draw all points to itself.
        size = h.abs().amax((-2, -1)).clamp(min=1e-300)
        values, vectors = torch.linalg.eigh(h)
        best_x, best_v = torch.cat([best_x, x]), torch.cat([best_v, vectors[..., 0]])
        best = torch.cat([best, values[:, 0] / size])
        keep = best.topk(min(BEST, len(best)), largest=False).indices
        best_x, best_v, best = best_x[keep], best_v[keep], best[keep]
    return best_x, best_v


def bent(f: Points, x: Tensor, v: Tensor, box: Box, coarsest: torch.dtype) -> Curvature | None:
    """The direction of curvature below zero by most, in units of its rounding error."""

    def second(h: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("...i,...ij,...j->...", v, h, v)

    def hessians(x: Tensor) -> Tensor:
        return batched.hessians(f, x)

    fit = batched.room(len(box)) // rounding.SAMPLES
    if not fit:
        return None
    x, v = x[:fit], v[:fit]
    width = torch.tensor([high - low for low, high in box], dtype=x.dtype)
    value = second(hessians(x), v)
    shaken = second(rounding.samples(hessians, x, width, coarsest), v)
    bound = rounding.bound((shaken - value).abs().amax(0), coarsest)
    # Where a formula has two pieces that meet, autograd's value at the point may be nobody's: the
    # points around must agree.
    usable = (shaken.amax(0) < 0) & (value < -bound)
    ratio = torch.where(usable, -value / bound.clamp(min=1e-300), 0.0)
    i = int(ratio.argmax())
    if not usable[i]:
        return None
    return Curvature(_tuple(x[i]), _tuple(v[i]), float(value[i]), float(bound[i]))


def _tuple(x: Tensor) -> tuple[float, ...]:
    return tuple(x.tolist())


def _text(x: tuple[float, ...]) -> str:
    return f"({', '.join(f'{c:.6g}' for c in x)})"
