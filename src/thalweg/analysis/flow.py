"""Gradient flow, x' = -gradient, from many starts at once until each comes to rest.

It is the descent of infinitely small steps: where it ends depends on the start alone. As it is
stiff in every valley, a step follows the flow of the local quadratic model exactly,

::

    x <- x - h phi(h H) g,      phi(z) = (1 - exp(-z)) / z

which is gradient descent where h is small and Newton's method where it is large: the exponential
Rosenbrock-Euler method, of second order (Hochbruck & Ostermann 2010, Acta Numerica 19, section
2.4). How far the gradient at the new point is from the model's decides on each start's own h.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from thalweg.analysis import batched
from thalweg.analysis.batched import Box

MOST = 1_000  # steps
ERROR = 1e-3  # of a step, in units of the box
LONGEST = 0.1  # step, likewise
REST = 1e-8  # Newton step at which a minimum is taken for reached, likewise
STUCK = 1e-10  # step at which nothing more is expected, likewise
FLAT = 1e-13  # gradient at which nothing moves any more, in units of the starts' median
BENT = 1e-7  # curvature below which a direction is called flat, in units of the starts' median
SLACK = 1e-12  # by which rounding may seem to lead up, in units of the scale of the starts' values
LAST = 64  # last places, of a function that computes in float32, that take the place of these
FINE = 1e-10  # precision of a function that computes in float64, at most
UNSURE = 1e-5  # how far rounding may move a minimum that is one, in units of the box
ASIDE = 1e-3  # how far around a doubtful point to look for a way down, in units of the box
BESIDE = 1e-5  # how far around a kink to look for gradients that add up to zero, likewise
ZERO = 1e-9  # what they add up to, relative to the largest, where it is zero


class Rest(IntEnum):
    """How a flow ended."""

    MOVING = 0  # not yet, or not within the steps
    MINIMUM = 1
    FLAT = 2  # no gradient and nothing lower around, but a direction without curvature
    CUSP = 3  # nothing lower around, but a kink, where gradients from around add up to zero
    LEFT = 4  # further outside the box than the box is wide, or where f is not finite
    STUCK = 5  # its steps have become too small, as in too narrow a bend


@dataclass(frozen=True)
class Ends:
    """Where flows from n starts ended."""

    x: Tensor  # [n, d]
    values: Tensor  # [n]
    rest: Tensor  # [n], of Rest
    scale: float  # how far the starts' values are above the lowest of them, in the median
    coarse: bool  # the function does not compute in float64


def flow(f: Callable[[Tensor], Tensor], x0: Tensor, box: Box, eps: float) -> Ends:
    """Follow the flow of a function made by ``batched.values``, which computes with a relative
    precision of eps, from starts [n, d] in the box."""
    unit = _unit(f, x0.double())
    flows = _Flows(lambda x: f(x) * unit, x0.double(), box, eps)
    for _ in range(MOST):
        rows = (flows.rest == Rest.MOVING).nonzero()[:, 0]
        if not len(rows):
            break
        model = flows.model(rows)
        going = ~flows.arrive(rows, model)
        flows.step(rows[going], _Model(*(part[going] for part in model)))
    return Ends(flows.x, f(flows.x).detach(), flows.rest, flows.scale / unit, eps > FINE)


def _unit(f: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """What to multiply f by, so that squares of slopes are numbers: 1 unless they are extreme."""
    slopes = batched.gradients(f, x)[1].abs().amax(1)
    slopes = slopes[slopes.isfinite() & (slopes > 0)]
    if not len(slopes) or 1e-100 < (most := float(slopes.median())) < 1e100:
        return 1.0
    return 2.0 ** max(-1000, min(1000, -math.frexp(most)[1]))


class _Model(NamedTuple):
    """The local quadratic model by its eigenvalues, ascending, their axes (columns), and the
    gradient along these."""

    curvature: Tensor  # [n, d]
    axes: Tensor  # [n, d, d]
    c: Tensor  # [n, d]

    def back(self, y: Tensor) -> Tensor:
        """From coordinates along the axes to the function's."""
        return (self.axes @ y[..., None])[..., 0]

    def along(self, x: Tensor) -> Tensor:
        return (self.axes.mT @ x[..., None])[..., 0]


class _Flows:
    """All flows: each has its place, value, gradient g and step h."""

    def __init__(self, f: Callable[[Tensor], Tensor], x: Tensor, box: Box, eps: float) -> None:
        self.f, self.x, self.eps = f, x.clone(), eps
        coarse = LAST * eps if eps > FINE else 0.0
        self.near, self.slack, self.least = (max(s, coarse) for s in (REST, SLACK, STUCK))
        self.low, self.high = torch.tensor(box, dtype=torch.float64).unbind(1)
        self.width = self.high - self.low
        self.value, self.g = batched.gradients(f, x)
        alive = self.value.isfinite() & self.g.isfinite().all(1)
        if not self.value.isfinite().any():
            batched.need_finite(x, self.value)
        self.rest = torch.where(alive, int(Rest.MOVING), int(Rest.LEFT))
        self.h = LONGEST / (self.lengths(self.g) + 1e-300)
        self.random = torch.Generator().manual_seed(0)
        # What counts as small is told from the starts.
        self.flat = self.bent = self.scale = 0.0
        if alive.any():
            value, h = self.value[alive], batched.hessians(f, x[alive]).nan_to_num(0.0, 0.0, 0.0)
            self.flat = max(FLAT, coarse) * float(
                torch.linalg.vector_norm(self.g[alive], dim=1).median()
            )
            self.bent = max(BENT, coarse) * float(h.abs().amax((1, 2)).median())
            self.scale = float((value - value.min()).median())

    def lengths(self, moves: Tensor) -> Tensor:
        """In units of the box."""
        found: Tensor = (moves / self.width).abs().amax(-1)
        return found

    def model(self, rows: Tensor) -> _Model:
        h = batched.hessians(self.f, self.x[rows]).nan_to_num(0.0, 0.0, 0.0)
        curvature, axes = torch.linalg.eigh(h)
        return _Model(curvature, axes, (axes.mT @ self.g[rows][..., None])[..., 0])

    def arrive(self, rows: Tensor, model: _Model) -> Tensor:
        """Which of the rows are not to be stepped: they rest, or have just been put aside."""
        newton = model.back(model.c / model.curvature)
        # Rounding of x alone moves the gradient by eps |H| |x|, and the minimum with it.
        size = self.eps * model.curvature.abs().amax(1) * self.lengths(self.x[rows])
        arrived: Tensor = (
            (model.curvature[:, 0] > self.bent)
            & (self.lengths(newton) <= self.near)
            & (size <= UNSURE * model.curvature[:, 0])
        )
        self.x[rows[arrived]] -= newton[arrived]
        self.rest[rows[arrived]] = int(Rest.MINIMUM)
        still: Tensor = torch.linalg.vector_norm(self.g[rows], dim=1) <= self.flat
        # A small step that is no Newton step.
        bent = self.h[rows] * model.curvature.abs().amax(1)
        stuck = (self.lengths(self.h[rows, None] * self.g[rows]) <= self.least) & (bent < 1)
        doubtful: Tensor = ~arrived & (still | stuck)
        if doubtful.any():
            self.look_around(rows[doubtful], still[doubtful])
        return arrived | doubtful

    def look_around(self, rows: Tensor, still: Tensor) -> None:
        """Go where it is lower near a point without gradient or steps, or say what it is."""
        x, value = self.x[rows], self.value[rows]
        away = torch.randn(32, 1, x.shape[1], generator=self.random, dtype=x.dtype)
        away = self.width * away / torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        around = torch.cat([x + ASIDE * away, x - ASIDE * away])
        values = self.f(around.flatten(0, 1)).detach().reshape(around.shape[:2])
        least, i = values.nan_to_num(torch.inf).min(0)
        lower = least < value - self.slack * (value.abs() + (values - value).abs().amax(0))
        again = rows[lower]
        self.x[again] = around[i, torch.arange(len(rows))][lower]
        self.value[again], self.g[again] = batched.gradients(self.f, self.x[again])
        self.h[again] = 0.01 * LONGEST / (self.lengths(self.g[again]) + 1e-300)
        # The gradient's jump across a kink does not shrink with the distance.
        distance = max(1e-6, 1e4 * self.eps)
        far, near = (self.jump(x, r * away) for r in (distance, distance / 10))
        rounding = LAST * self.eps * torch.linalg.vector_norm(self.g[rows], dim=1)
        cusp = (near > 0.5 * far) & (near > rounding)
        kind = torch.where(cusp, int(Rest.CUSP), int(Rest.STUCK))
        kind = torch.where(still, int(Rest.FLAT), kind)
        kind = torch.where(values.isfinite().all(0), kind, int(Rest.LEFT))
        self.rest[rows[~lower]] = kind[~lower]
        self.follow(rows[cusp & (self.rest[rows] == int(Rest.CUSP))], away)

    def follow(self, rows: Tensor, away: Tensor) -> None:
        """From kinks that are no minima, go down along them if that can be seen.

        The shortest vector among the weighted means of the gradients around is the slope along the
        kink, and zero only at a minimum (Burke, Lewis & Overton 2005, SIAM J. Optim. 15).
        """
        if not len(rows):
            return
        r = max(BESIDE, 100 * self.eps)
        ways = torch.cat([away, -away]) * r
        around = (self.x[rows] + ways).flatten(0, 1)
        gradients = batched.gradients(self.f, around)[1].reshape(len(ways), len(rows), -1)
        sizes = torch.linalg.vector_norm(gradients, dim=-1).amax(0)
        slopes = torch.stack([_shortest(gradients[:, i]) for i in range(len(rows))])
        slope = torch.linalg.vector_norm(slopes, dim=1)
        going = slope > max(ZERO, LAST * self.eps) * sizes
        rows, slopes = rows[going], slopes[going]
        self.rest[rows] = int(Rest.STUCK)
        if not len(rows):
            return
        lengths = self.lengths(slopes)[:, None].clamp(min=1e-300)
        t = torch.logspace(-7, -1, 25, dtype=slopes.dtype)[:, None, None]
        ahead = self.x[rows] - t * slopes / lengths
        least, i = self.f(ahead.flatten(0, 1)).detach().reshape(25, -1).nan_to_num(torch.inf).min(0)
        lower = least < self.value[rows] - self.slack * (self.value[rows].abs() + self.scale)
        rows, x = rows[lower], ahead[i, torch.arange(len(rows))][lower]
        self.rest[rows] = int(Rest.MOVING)
        self.x[rows] = x
        self.value[rows], self.g[rows] = batched.gradients(self.f, x)
        self.h[rows] = 0.01 * LONGEST / (self.lengths(self.g[rows]) + 1e-300)

    def jump(self, x: Tensor, away: Tensor) -> Tensor:
        ahead, behind = (
            batched.gradients(self.f, (x + s * away).flatten(0, 1))[1] for s in (1, -1)
        )
        found: Tensor = (ahead - behind).abs().amax(1).reshape(len(away), -1).amax(0)
        return found

    def step(self, rows: Tensor, model: _Model) -> None:
        h = self.h[rows, None]
        z = (h * model.curvature).clamp(min=-30.0)
        reach = h * torch.where(z.abs() < 1e-8, 1 - z / 2, -torch.expm1(-z) / z)
        along = -reach * model.c
        move = model.back(along)
        new = self.x[rows] + move
        value, g = batched.gradients(self.f, new)
        off = model.along(g) - (model.c + model.curvature * along)
        error = self.lengths(model.back(reach * off)) / ERROR
        worst = torch.maximum(error, (self.lengths(move) / LONGEST) ** 2)
        fine = (
            value.isfinite()
            & g.isfinite().all(1)
            & (value <= self.value[rows] + self.slack * self.scale + 4 * self.eps * value.abs())
        )
        taken = fine & (worst <= 1)
        on = rows[taken]
        self.x[on], self.value[on], self.g[on] = new[taken], value[taken], g[taken]
        change = torch.where(taken, 0.9 * worst.clamp(min=1e-12) ** -0.5, 0.25)
        self.h[rows] = (self.h[rows] * change.clamp(0.25, 4.0)).clamp(max=1e300)
        beyond = (self.x[on] < self.low - self.width) | (self.x[on] > self.high + self.width)
        self.rest[on[beyond.any(1)]] = int(Rest.LEFT)


def _shortest(gradients: Tensor) -> Tensor:
    """The shortest weighted mean of gradients [m, d]."""
    from scipy.optimize import nnls

    size = gradients.abs().max()
    if not 0 < size < math.inf:
        return torch.zeros_like(gradients[0])
    g = (gradients / size).numpy()
    # min |g'w|² + |sum w - 1|² over w >= 0 is a multiple of the shortest mean.
    w, _ = nnls(np.vstack([g.T, np.ones(len(g))]), np.append(np.zeros(g.shape[1]), 1.0))
    total = w.sum()
    return torch.from_numpy(g.T @ w / total) * size if total > 0 else gradients.mean(0)
