"""Gradients around a point: whether there are derivatives at it, and what they are."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.analysis.derivatives import Function, around, steps

GENERIC = 4  # directions besides the axes along which derivatives are looked at


class Surroundings:
    """Gradients near x at two distances, and what follows from how they change with it."""

    def __init__(self, f: Function, x: Tensor, g: Tensor) -> None:
        d = len(x)
        generator = torch.Generator().manual_seed(0)
        generic = torch.randn(GENERIC, d, generator=generator, dtype=torch.float64).to(x)
        generic = generic / torch.linalg.vector_norm(generic, dim=1, keepdim=True)
        self.directions = torch.cat([torch.eye(d, dtype=x.dtype, device=x.device), generic])
        self.small, self.large = steps(x)
        self.near = around(f, x, self.directions, self.small)
        self.far = around(f, x, self.directions, self.large)
        # A gradient that has a limit at x is the gradient at x (f is continuous there).
        self.gradient = g if g.isfinite().all() else self.near.mean((0, 1))
        self.curvature = (self.near[0] - self.near[1]) / (2 * self.small)
        curvature_far = (self.far[0] - self.far[1]) / (2 * self.large)
        self.hessian = self.curvature[:d].T
        # Of one gradient: a few last places of its terms, which are taken to be of order 1 or more.
        terms = 1 + norm(self.gradient) + norm(self.hessian) * norm(x)
        self.noise = 16 * torch.finfo(x.dtype).eps * terms
        drift = norm(self.curvature - curvature_far) + 1e-6 * norm(self.curvature)
        self.hessian_error = drift + d**0.5 * self.noise / self.small
        self.change = 2 * _longest(self._bend(self.far, self.large)) / self.large

    def _bend(self, gradients: Tensor, step: float) -> Tensor:
        """By how much the difference quotients on both sides of x differ, [m, d]."""
        ahead, behind = gradients
        bend: Tensor = (ahead - 2 * self.gradient + behind) / step
        return bend

    def missing(self) -> str | None:
        """Which derivative does not exist, if one does not: whatever should vanish with the
        distance to x, and is there after 90 times less distance, does not vanish."""
        if not (self.near.isfinite().all() and self.far.isfinite().all()):
            return f"the gradient is not finite everywhere at a distance of {self.large:.1e}"
        jump, jump_far = (_longest(g - self.gradient) for g in (self.near, self.far))
        if jump > jump_far / 2 + self.noise:
            return f"the gradient jumps by {jump:.3g}: there is a kink"
        rough = 2 * self.noise / self.small
        slopes = _longest((self.near - self.gradient) / self.small)
        slopes_far = _longest((self.far - self.gradient) / self.large)
        if slopes > 2 * slopes_far + rough:
            return f"the second derivatives grow without bound: beyond {slopes:.3g}"
        bend = _longest(self._bend(self.near, self.small))
        bend_far = _longest(self._bend(self.far, self.large))
        if bend > bend_far / 2 + rough + 1e-6 * slopes:
            return f"the second derivatives on two sides differ by {bend:.3g}"
        return None

    def linear(self, h: Tensor) -> bool:
        """Whether gradients change as H says along all directions, not the axes alone."""
        return bool(_longest(self.curvature - self.directions @ h.T) <= self.hessian_error)


def norm(a: Tensor) -> float:
    """Euclidean norm of a vector, spectral norm of a matrix."""
    return float(torch.linalg.norm(a, 2))


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=-1).max())
