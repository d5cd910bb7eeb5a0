"""Gradients around a point: whether there are derivatives at it, and what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from thalweg.analysis import batched, rounding
from thalweg.analysis.derivatives import Function, around, steps

GENERIC = 4  # directions besides the axes along which derivatives are looked at
TINY, CLOSE = 64, 4096  # last places of x at which a jump of derivatives is looked for
AGREE = 0.1  # relative difference up to which differences confirm autograd's second derivatives


class _Seen(NamedTuple):
    """Gradients ahead of x and behind it along m directions, [2, m, d], at a distance."""

    step: float
    gradients: Tensor

    def slopes(self, g: Tensor) -> Tensor:
        """Difference quotients towards x, where the gradient is g, [2, m, d]."""
        sign = self.gradients.new_tensor([1.0, -1.0])[:, None, None]
        found: Tensor = sign * (self.gradients - g) / self.step
        return found

    @property
    def curvature(self) -> Tensor:
        """Difference quotients across x, [m, d]."""
        found: Tensor = (self.gradients[0] - self.gradients[1]) / (2 * self.step)
        return found


class Surroundings:
    """Gradients near x at several distances, and what follows from how they change with it.

    ``eps`` is the relative precision with which f computes.
    """

    def __init__(self, f: Function, x: Tensor, g: Tensor, eps: float) -> None:
        self.f, self.x, self.eps = f, x, eps
        self.many = batched.values(f)
        self.confirmed = False  # autograd's Hessian, by gradients closer to x than `near`
        d = len(x)
        generator = torch.Generator().manual_seed(0)
        generic = torch.randn(GENERIC, d, generator=generator, dtype=torch.float64).to(x)
        generic = generic / torch.linalg.vector_norm(generic, dim=1, keepdim=True)
        axes = torch.eye(d, dtype=x.dtype, device=x.device)
        # Autograd has NaN on lines where a formula divides by zero, and f may be smooth.
        turned = torch.randn(d, d, generator=generator, dtype=torch.float64)
        turned = torch.linalg.qr(turned)[0].to(x)
        self.small, self.large = steps(x, eps)
        self.place = eps * max(1.0, float(x.abs().max()))
        self.look(axes, generic)
        while not self.finite:
            if self.basis is axes:
                self.look(turned, generic)
            elif self.small > 100 * CLOSE * self.place:  # f may end nearby
                self.small, self.large = self.small / 10, self.large / 10
                self.look(axes, generic)
            else:
                break
        # A gradient that has a limit at x is the gradient at x (f is continuous there).
        self.gradient = g if g.isfinite().all() else self.near.gradients.mean((0, 1))
        self.hessian = (self.near.curvature[:d].T) @ self.basis
        self.drift = self.noise = math.inf
        if self.finite:
            self.drift = norm(self.near.curvature - self.far.curvature)
            self.noise = self.rounding()
        self.hessian_error = (
            self.drift + 1e-6 * norm(self.near.curvature) + d**0.5 * self.noise / self.small
        )
        self.change = 2 * _longest(_bend(self.far, self.gradient)) / self.large

    def look(self, basis: Tensor, generic: Tensor) -> None:
        self.basis, self.directions = basis, torch.cat([basis, generic])
        self.near, self.far = (self.at(step) for step in (self.small, self.large))

    def at(self, step: float) -> _Seen:
        return _Seen(step, around(self.f, self.x, self.directions, step))

    @property
    def finite(self) -> bool:
        return bool((self.near.gradients + self.far.gradients).isfinite().all())

    def rounding(self) -> float:
        """What rounding may do to a gradient."""
        most = max(_longest(self.near.gradients), _longest(self.far.gradients))
        last_places = 16 * self.eps * (most + norm(self.hessian) * norm(self.x))
        info = torch.finfo(torch.float64 if self.eps < 1e-10 else torch.float32)
        last_places += 16 * info.tiny * info.eps  # the last place of what is no normal number
        points = torch.stack([self.x, self.x + self.large * self.directions[-1]])
        shaken = self.shaken(lambda x: batched.gradients(self.many, x)[1], points)
        return max(last_places, _longest(shaken))

    def hessian_rounding(self) -> float:
        """What rounding may do to autograd's Hessian: from its products with a few vectors, which
        its error in every direction makes shorter by about the root of d."""
        generic = self.directions[len(self.x) :]
        shaken = self.shaken(lambda x: batched.products(self.many, x, generic), self.x[None])
        return math.sqrt(len(self.x)) * _longest(shaken)

    def shaken(self, f: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        """Bounds on the rounding of what is computed at points."""
        dtype = torch.float64 if self.eps < 1e-10 else torch.float32
        return rounding.error(f, points, points.abs(), dtype).nan_to_num(0.0)

    def missing(self, h: Tensor) -> str | None:
        """Which derivative of f does not exist, if one does not; h is the Hessian by autograd."""
        return self.rough(h) or self.jumps()

    def jumps(self) -> str | None:
        """What to say if values at x jump: they change otherwise than gradients, however close."""
        directions = self.directions[len(self.x) :]
        directions = torch.cat([directions, -directions])
        with torch.no_grad():
            here = self.many(self.x[None])
        for step in (CLOSE * self.place, self.small):
            ways = step * directions
            values, gradients = batched.gradients(self.many, self.x + ways)
            told, told_here = ((g * ways).sum(1) for g in (gradients, self.gradient))
            noise = 2 * self.shaken(self.many, self.x + ways) + self.noise * step
            # A power p of the distance is off by (p - 2) / (2 p) of what gradients differ by.
            off = (values - here - (told + told_here) / 2).abs() - 0.6 * (told - told_here).abs()
            if not (off > noise).any():
                return None
        return f"the value jumps by {float((values - here).abs().max()):.3g}"

    def rough(self, h: Tensor) -> str | None:
        """Which derivative gradients show not to exist, if one does not. Whatever
        should vanish with the distance to x, and is there after many times less distance, does not
        vanish; but where autograd's second derivatives show closer to x, they are there."""
        if not self.finite:
            return f"the gradient is not finite everywhere at a distance of {self.far.step:.1e}"
        tiny, close = (self.at(places * self.place) for places in (TINY, CLOSE))
        # What is left where the gradient's change over a longer way is taken off.
        left, left_before = (
            s.step * _longest(s.slopes(self.gradient) - self.near.curvature) for s in (tiny, close)
        )
        allowed = max(self.hessian_error, AGREE * norm(self.hessian))
        if not left <= max(left_before / 2, self.noise + tiny.step * allowed):
            jump, before = (_longest(s.gradients - self.gradient) for s in (tiny, self.near))
            if not jump <= 4 * before:
                return f"the gradient grows without bound: beyond {jump:.3g}"
            return f"the gradient jumps by {jump:.3g}: there is a kink"
        middle = self.at((close.step * self.small) ** 0.5)
        self.confirmed = self.shows(h, close) or self.shows(h, middle)
        if self.confirmed:
            return None
        slopes = middle.slopes(self.gradient)
        rough = 4 * self.noise / middle.step
        sides, sides_near = (_longest(_bend(s, self.gradient)) for s in (middle, self.near))
        if not (sides <= sides_near / 2 + rough or self.settles()):
            return f"the second derivatives on two sides differ by {sides:.3g}"
        settled = _longest(slopes - self.near.slopes(self.gradient))
        before = _longest(self.near.slopes(self.gradient) - self.far.slopes(self.gradient))
        if not (settled <= before / 2 + rough + 2 * self.noise / self.small or self.settles()):
            return f"the second derivatives grow without bound: beyond {_longest(slopes):.3g}"
        return None

    def settles(self) -> bool:
        """Whether autograd's second derivatives approach one value, closer to x than differences of
        gradients can tell, along the generic directions."""
        generic = self.directions[len(self.x) :]
        levels = []
        for places in (CLOSE, TINY, 4):
            ways = places * self.place * torch.cat([generic, -generic])
            levels.append(batched.products(self.many, self.x + ways, generic))
        far, near, least = levels
        change, before = _longest(least - near), _longest(near - far)
        ahead, behind = least.chunk(2)
        sides = _longest(ahead - behind)
        noise = 64 * self.eps * _longest(least) + self.hessian_rounding()
        return change <= before / 2 + noise and sides <= before / 2 + noise

    def shows(self, h: Tensor, seen: _Seen) -> bool:
        """Whether gradients at a distance change as h says."""
        if not h.isfinite().all():
            return False
        off = _longest(seen.slopes(self.gradient) - self.directions @ h.T)
        return off <= AGREE * norm(h) and 2 * self.noise / seen.step <= AGREE * norm(h)

    def linear(self, h: Tensor) -> bool:
        """Whether gradients change as H says along all directions, not the axes alone."""
        off = _longest(self.near.curvature - self.directions @ h.T)
        narrow = self.confirmed and self.drift > AGREE * norm(self.near.curvature)
        return narrow or off <= self.hessian_error


def norm(a: Tensor) -> float:
    """Euclidean norm of a vector, spectral norm of a matrix; its square need not be a number."""
    most = a.abs().max()
    if not 0 < most < math.inf:
        return float(most)
    return float(most * torch.linalg.norm(a / most, 2))


def _bend(seen: _Seen, g: Tensor) -> Tensor:
    """By how much the difference quotients on both sides of x differ, [m, d]."""
    ahead, behind = seen.slopes(g)
    bend: Tensor = ahead - behind
    return bend


def _longest(rows: Tensor) -> float:
    most = rows.abs().max()
    if not 0 < most < math.inf:
        return float(most)
    return float(most * torch.linalg.vector_norm(rows / most, dim=-1).max())
