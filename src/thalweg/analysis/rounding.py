"""How far rounding may have moved what a function computes: Monte Carlo arithmetic.

A computation is repeated with the result of every torch operation, forwards and backwards, moved by
a random relative amount far above rounding (and far below anything that curves); how far the
outcomes spread tells, scaled down, what rounding itself may have done. Unlike a bound from the
result's size it sees cancellation: in ``(1e8 + x²) - 1e8``, 1e-8 is lost.

Reference: Parker 1997, Monte Carlo Arithmetic, UCLA report CSD-970002.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from thalweg.analysis.precision import unit

SAMPLES = 16
# n errors of one size add up to n of them at worst, while the largest of 16 random sums is about
# sqrt(n): 64 covers thousands of operations, or an inaccurate few.
SAFETY = 64.0


class _Shaken(TorchDispatchMode):
    """Moves what is computed in a dtype by the root of its unit. A dtype coarser than the one that
    the function computes in holds constants, which are what they are."""

    def __init__(self, generator: torch.Generator, coarsest: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator, self.most = generator, unit(coarsest)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        # A view, or what was written in place, must remain the same memory; it is moved elsewhere.
        if any(r.alias_info is not None for r in func._schema.returns):
            return out
        return tree_map(self.move, out)

    def move(self, x: Any) -> Any:
        if not _real(x) or unit(x.dtype) > self.most:
            return x
        # Below the smallest normal number, rounding is no longer relative. A zero stays one.
        info = torch.finfo(x.dtype)
        least = info.tiny * info.eps / 2 / unit(x.dtype)
        moved: Tensor = x + (x.abs() + least * (x != 0)) * shake(x, x.dtype, self.generator)
        return moved.to(x.dtype)


def _real(x: Any) -> bool:
    # Backward's own zeros have no memory, and tensors that only serve to tell a shape neither.
    if not isinstance(x, Tensor) or x.layout != torch.strided:
        return False
    return not (x._is_zerotensor() or x.is_meta) and bool(x.is_floating_point())


def shake(like: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Random numbers of at most the root of a dtype's unit."""
    most = math.sqrt(unit(dtype))
    draw = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return (2 * draw - 1) * most


def samples(
    f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, coarsest: torch.dtype
) -> Tensor:
    """What ``f``, of points x [m, d] to [m, ...], gives in `SAMPLES` shaken computations,
    [samples, m, ...]; every coordinate of x is moved, too, by up to ``scale``, as its dtype is."""
    generator = torch.Generator().manual_seed(0)
    many = x.expand(SAMPLES, *x.shape)
    many = many + (scale * shake(many, x.dtype, generator)).to(x.dtype)
    with _Shaken(generator, coarsest):
        out = f(many.reshape(-1, x.shape[-1]))
    return out.reshape(SAMPLES, len(x), *out.shape[1:])


def bound(spread: Tensor, coarsest: torch.dtype) -> Tensor:
    """What rounding may do, where shaken computations spread so far. What is computed more
    precisely than in the coarsest dtype has been moved less, and is taken to round as much."""
    return spread * (SAFETY * math.sqrt(unit(coarsest)))


def error(f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, coarsest: torch.dtype) -> Tensor:
    """A bound [m, ...] on the rounding error of f(x); NaN where a shaken computation gives it."""
    return bound((samples(f, x, scale, coarsest) - f(x)).abs().amax(0), coarsest)


def unseen(f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor) -> Tensor:
    """A bound [m] on the rounding error of f(x), to numbers, by how rough f is: for what torch does
    not compute. Third differences over 2^-20 of the scale are far below the rounding of anything
    smooth in float64, and eight errors at most (Moré & Wild 2011, SIAM J. Sci. Comput. 33)."""
    generator = torch.Generator().manual_seed(0)
    along = scale * (2 * torch.rand(x.shape, generator=generator, dtype=torch.float64) - 1)
    steps = torch.arange(-2.0, 4.0, dtype=torch.float64) * 2.0**-20
    points = x + steps[:, None, None] * along
    values = f(points.flatten(0, 1)).reshape(points.shape[:2])
    # Where f ends there is nothing to be seen.
    return values.diff(n=3, dim=0).abs().amax(0).nan_to_num(0.0, 0.0, 0.0) * SAFETY
