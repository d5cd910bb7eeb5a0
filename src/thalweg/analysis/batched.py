"""A function of one point, and its derivatives, at many points at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from thalweg.analysis import derivatives, precision
from thalweg.analysis.derivatives import Function
from thalweg.problems.landscapes import Landscape

LOOKS = 16  # points at which it is looked how precisely a function computes
MARKS = 1000  # points at which a function is looked at for being finite

ENTRIES = 2**27  # of second derivatives at a time: 1 GB

Box = tuple[tuple[float, float], ...]


def function(f: Function | str, domain: Any) -> tuple[Function, Box]:
    """``f``, a formula's text made a landscape, and the box to look at: a pair of ends for each
    variable. None: the landscape's own. Raises ValueError or TypeError naming the argument."""
    f = derivatives.function(f)
    if domain is None:
        if not isinstance(f, Landscape):
            raise TypeError("domain must be given for a function that is no landscape")
        domain = f.domain
    try:
        box = tuple((float(low), float(high)) for low, high in domain)
    except (TypeError, ValueError):
        wanted = "domain must be a pair (low, high) for each variable"
        raise ValueError(f"{wanted}, not {domain!r}") from None
    if isinstance(f, Landscape) and len(box) != f.dim:
        raise ValueError(f"domain must have {f.dim} pairs, one for each variable, not {len(box)}")
    for low, high in box:
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"domain must hold finite intervals, not ({low:g}, {high:g})")
        if low >= high:
            raise ValueError(f"domain: low must be below high, not ({low:g}, {high:g})")
    if not box:
        raise ValueError("domain must have a pair for each variable, not none")
    if len(box) > derivatives.LARGEST:
        raise ValueError(
            f"domain must have at most {derivatives.LARGEST} variables, for all second derivatives "
            f"are computed, not {len(box)}"
        )
    return f, box


def whole(name: str, value: Any) -> int:
    """``value`` as a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def uniform(box: Sequence[tuple[float, float]], n: int, generator: torch.Generator) -> Tensor:
    """Points of a box, [n, d] in float64."""
    low, high = torch.tensor(box, dtype=torch.float64).unbind(1)
    return low + (high - low) * torch.rand(n, len(box), generator=generator, dtype=torch.float64)


def marks(box: Box, generator: torch.Generator) -> Tensor:
    """Where a function is most often undefined: points [m, d] whose coordinates are an end of the
    box, its middle, or 0. All of them up to `MARKS`, else so many at random."""
    axes = [sorted({low, (low + high) / 2, high, min(max(0.0, low), high)}) for low, high in box]
    if math.prod(map(len, axes)) <= MARKS:
        return torch.tensor(list(product(*axes)), dtype=torch.float64)
    draws = [torch.randint(len(axis), (MARKS,), generator=generator) for axis in axes]
    chosen = [torch.tensor(a, dtype=torch.float64)[i] for a, i in zip(axes, draws, strict=True)]
    return torch.stack(chosen, 1)


def need_finite(x: Tensor, value: Tensor) -> None:
    """Raise ValueError if one of a function's values [m] at points x [m, d] is not finite."""
    bad = (~value.isfinite()).nonzero()
    if len(bad):
        i = int(bad[0])
        what = "nan" if value[i].isnan() else "infinite"
        at = ", ".join(f"{c:.6g}" for c in x[i].tolist()) + ("," if x.shape[1] == 1 else "")
        raise ValueError(f"f is {what} at ({at}): choose a domain in which it is defined")


def coarsest(f: Function, box: Box) -> torch.dtype:
    """The least precise dtype that f computes in on the box."""
    x = uniform(box, LOOKS, torch.Generator().manual_seed(0))
    return torch.float64 if isinstance(f, Landscape) else precision.coarsest(values(f), x)


def resolution(f: Function, x: Tensor) -> float:
    """The relative precision, ``eps``, with which f computes at and around a point x [d]. Raises
    TypeError if it is that of 16 bits."""
    dtype = x.dtype
    if not isinstance(f, Landscape):
        away = torch.randn(LOOKS, len(x), generator=torch.Generator().manual_seed(0)).to(x)
        points = torch.cat([x[None], x + 1e-4 * max(1.0, float(x.abs().max())) * away])
        dtype = precision.coarsest(values(f), points)
    return precision.need_32_bits(dtype)


def need_gradient(f: Function, box: Box) -> None:
    """Raise TypeError if f is not made of torch operations, as seen at a few points of the box."""
    if not isinstance(f, Landscape):
        x = uniform(box, LOOKS, torch.Generator().manual_seed(0)).requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            if not values(f)(x).requires_grad:
                raise TypeError("f must give a tensor computed from its argument by torch")


def values(f: Function) -> Callable[[Tensor], Tensor]:
    """``f`` as a function of points [m, d] to numbers [m] in float64: as it is for a landscape,
    else by ``torch.vmap``, or, where that cannot be (a Python ``if``), one by one."""
    if isinstance(f, Landscape):
        return f

    def one(x: Tensor) -> Tensor:
        return derivatives.value(f, x).double()

    def many(x: Tensor) -> Tensor:
        if not len(x):  # vmap would call f with nothing
            return x.new_empty(0)
        try:
            found: Tensor = torch.vmap(one)(x)
        except RuntimeError:
            return torch.stack([one(row) for row in x])
        return found

    return many


def gradients(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Values [m] and gradients [m, d] at points [m, d], for a function made by `values`."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        value = f(x)
        return value.detach(), _derivative(value, x, again=False)


def room(dim: int) -> int:
    """At how many points second derivatives may be computed at once."""
    return ENTRIES // dim**2


def hessians(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Second derivatives, [m, d, d], at points [m, d], for a function made by `values`;
    symmetrised. Raises ValueError where they would not fit into memory."""
    if len(x) > room(x.shape[1]):
        raise ValueError(
            f"second derivatives at {len(x)} points in {x.shape[1]} dimensions are too many to be "
            f"computed at once: at most {room(x.shape[1])}"
        )
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        slope = _derivative(f(x), x, again=True)
        # Not unbind: its backward makes a zero for every other entry, d of them a row.
        rows = [_derivative(slope[:, i], x, again=True).detach() for i in range(x.shape[1])]
        h = torch.stack(rows, -2)
    return (h + h.mT) / 2


def products(f: Callable[[Tensor], Tensor], x: Tensor, vectors: Tensor) -> Tensor:
    """Second derivatives along k vectors [k, d], ``vectors @ hessian``, at points [m, d], for a
    function made by `values`: [m, k, d]."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        slope = _derivative(f(x), x, again=True)
        rows = [_derivative(slope @ v, x, again=True).detach() for v in vectors]
    return torch.stack(rows, -2)


def _derivative(y: Tensor, x: Tensor, again: bool) -> Tensor:
    if not y.requires_grad:  # it does not depend on x
        return torch.zeros_like(x)
    (d,) = torch.autograd.grad(y.sum(), x, create_graph=again, materialize_grads=True)
    return d
