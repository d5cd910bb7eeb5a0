"""Whether derivatives by autograd are those of the function: it may hide its argument from it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg.analysis import batched, precision, rounding
from thalweg.analysis.batched import Box
from thalweg.analysis.derivatives import Function
from thalweg.problems.landscapes import Landscape

OFF = 0.01  # relative difference of slopes that is not the curvature over a short way


def on_box(f: Function, box: Box, dtype: torch.dtype) -> bool:
    """Whether f, which computes in a dtype, hides its argument on a box."""
    if isinstance(f, Landscape):
        return False
    low, high = torch.tensor(box, dtype=torch.float64).unbind(1)
    x = batched.uniform(box, batched.LOOKS, torch.Generator().manual_seed(0))
    return hides(batched.values(f), x, high - low, dtype)


def around(f: Function, x: Tensor, eps: float) -> bool:
    """Whether f, which computes with a relative precision of eps, hides its argument around x."""
    if isinstance(f, Landscape):
        return False
    size = max(1.0, float(x.abs().max()))
    away = torch.randn(batched.LOOKS, len(x), generator=torch.Generator().manual_seed(0)).to(x)
    dtype = torch.float64 if eps < 1e-10 else torch.float32
    scale = torch.full_like(x, size, dtype=torch.float64)
    return hides(batched.values(f), x + size * away, scale, dtype)


def refuse(hidden: bool) -> None:
    """Raise TypeError if it is so."""
    if hidden:
        raise TypeError(
            "f must change as its gradients by autograd say, but does not: it hides its argument "
            "(detach, no_grad, .data, .item()), draws at random or goes in steps"
        )


def hides(f: Callable[[Tensor], Tensor], x: Tensor, scale: Tensor, dtype: torch.dtype) -> bool:
    """Whether at most of the points [m, d] values change otherwise than gradients say, as they do
    after ``detach``, ``no_grad`` or ``.data``, and for steps too fine to be seen.

    f is made by `batched.values` and computes in a dtype; ``scale``, [d], is that of x.
    """
    x = x.double()
    generator = torch.Generator().manual_seed(0)
    way = 2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1
    way = way * scale * precision.unit(dtype) ** (1 / 3)
    # A long way may lead over a wave, a short one drown in rounding.
    long, short = (_off(f, x, way / shorter, dtype) for shorter in (1, 64))
    return 2 * int((long & short).sum()) > len(x)


def _off(f: Callable[[Tensor], Tensor], x: Tensor, way: Tensor, dtype: torch.dtype) -> Tensor:
    """From which points [m] values change otherwise than gradients say; not where f ends."""
    (before, g), (after, h) = (batched.gradients(f, p) for p in (x, x + way))
    told = ((g + h) / 2 * way).sum(1)
    sizes = torch.maximum((g * way).abs().sum(1), (h * way).abs().sum(1))
    changed = after - before
    points = torch.cat([x, x + way])
    noise = rounding.error(f, points, points.abs(), dtype).reshape(2, -1).sum(0)
    off = (changed - told).abs() > OFF * torch.maximum(sizes, changed.abs()) + noise
    return off & (changed + told + noise).isfinite()
