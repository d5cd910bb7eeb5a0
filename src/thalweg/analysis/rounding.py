"""How far rounding may have moved what a function computes: Monte Carlo arithmetic.

A computation is repeated with the result of every torch operation, forwards and backwards, moved by
a random relative amount far above rounding (and far below anything that curves); how far the
outcomes spread tells, scaled down, what rounding itself may have done. Unlike a bound from the
result's size it sees cancellation: in ``(1e8 + x²) - 1e8``, 1e-8 is lost.

Reference: Parker 1997, Monte Carlo Arithmetic, UCLA report CSD-970002.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

UNIT = 2.0**-53  # float64's largest relative error of one operation
MOVED = 2.0**-26  # the largest relative move, the root of it
SAMPLES = 16
# n errors of one size add up to n of them at worst, while the largest of 16 random sums is about
# sqrt(n): 64 covers thousands of operations, or an inaccurate few.
SAFETY = 64.0


class _Shaken(TorchDispatchMode):
    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        # A view, or what was written in place, must remain the same memory; it is moved elsewhere.
        if any(r.alias_info is not None for r in func._schema.returns):
            return out
        return tree_map(self.move, out)

    def move(self, x: Any) -> Any:
        return x * (1 + shake(x, self.generator)) if _real(x) else x


def _real(x: Any) -> bool:
    # Backward's own zeros have no memory, and tensors that only serve to tell a shape neither.
    unreal = not isinstance(x, Tensor) or x._is_zerotensor() or x.device.type == "meta"
    return not unreal and bool(x.is_floating_point())


def shake(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers of at most `MOVED`."""
    return MOVED * (2 * torch.rand(like.shape, generator=generator, dtype=torch.float64) - 1)


def samples(f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor) -> Tensor:
    """What ``f`` of points x [m, d] to [m, ...] gives in `SAMPLES` shaken computations,
    [samples, m, ...]; every coordinate of x is moved, too, by up to ``MOVED * scale``."""
    generator = torch.Generator().manual_seed(0)
    many = x.expand(SAMPLES, *x.shape)
    many = many + scale * shake(many, generator)
    with _Shaken(generator):
        out = f(many.reshape(-1, x.shape[-1]))
    return out.reshape(SAMPLES, len(x), *out.shape[1:])


def error(f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor) -> Tensor:
    """A bound [m, ...] on the rounding error of f(x); NaN where a shaken computation gives it."""
    spread = (samples(f, x, scale) - f(x)).abs().amax(0)
    return SAFETY * UNIT / MOVED * spread
