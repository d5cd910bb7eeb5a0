"""First and second derivatives of a function at a point: by autograd, and from gradients nearby."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.problems.landscapes import parse

Function = Callable[[Tensor], Tensor]

LARGEST = 5000  # dimensions: a dense Hessian then takes 0.2 GB, and several copies are needed


def function(f: Function | str) -> Function:
    """``f``, a formula's text made a landscape. Raises TypeError if it is neither, nor callable."""
    if isinstance(f, str):
        f = parse(f)
    if not callable(f):
        raise TypeError(f"f must be a landscape, a formula or a function, not {f!r}")
    return f


def point(x: Any) -> Tensor:
    """``x`` as one finite point [d], float32 of a tensor kept and all else made float64."""
    if isinstance(x, Tensor | np.ndarray) and "complex" in str(x.dtype):
        raise TypeError(f"x must be real, not {x.dtype}")
    if isinstance(x, Tensor) and x.is_floating_point():
        if x.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"x must be float32 or float64, not {x.dtype}, in which second derivatives are "
                "mostly rounding"
            )
        found = x.detach().clone()
    else:
        found = torch.as_tensor(x, dtype=torch.float64)
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(f"x must be one point of shape [d], not of shape {tuple(found.shape)}")
    if len(found) > LARGEST:
        raise ValueError(
            f"x must have at most {LARGEST} coordinates, for all second derivatives are computed, "
            f"not {len(found)}; thalweg.analysis.extreme_eigenvalues needs no Hessian"
        )
    if not found.isfinite().all():
        raise ValueError(f"x must be finite, not {found.tolist()}")
    return found


def gradient(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), of shape [], and its gradient [d] by autograd, which may hold NaN.

    Raises TypeError if f is not made of torch operations, ValueError if it gives several numbers.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        found = _differentiable(f, x)
        (slope,) = torch.autograd.grad(found, x)
    return found.detach(), slope


def hessian(f: Function, x: Tensor) -> Tensor:
    """Second derivatives [d, d] by autograd, ``[i, j]`` being d/dx_j (df/dx_i); not symmetrised.

    At a point where a formula has two pieces autograd differentiates one of them, which need not
    be the function's own derivative: :func:`thalweg.analysis.mixed_derivatives` looks at the points
    around.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(_differentiable(f, x), x, create_graph=True)
        if not slope.requires_grad:  # f is linear
            return torch.zeros_like(torch.outer(slope, slope))
        rows = [
            torch.autograd.grad(s, x, retain_graph=True, materialize_grads=True)[0] for s in slope
        ]
    return torch.stack(rows)


def around(f: Function, x: Tensor, directions: Tensor, step: float) -> Tensor:
    """Gradients [2, m, d] ahead of x and behind it, at x ± step u for m directions u [m, d]."""
    both = [[gradient(f, x + s * u)[1] for u in directions] for s in (step, -step)]
    return torch.stack([torch.stack(side) for side in both])


def steps(x: Tensor, eps: float) -> tuple[float, float]:
    """A small and a large step for differences of gradients at x, of a function that computes with
    a relative precision of eps.

    A difference quotient over a step h is off by about h² from the curvature of the gradient and by
    eps / h from rounding. The small one, eps^(3/8) = 1.4e-6 in float64, favours the first and
    leaves 1e-10 of the second; eps^(1/4) = 1.2e-4 is 90 times as large, to tell how things change
    with h. Both in units of the largest coordinate of x, at least 1.
    """
    scale = max(1.0, float(x.abs().max()))
    return scale * eps**0.375, scale * eps**0.25


def value(f: Function, x: Tensor) -> Tensor:
    """f(x), checked to be one real number, of shape []."""
    found: Any = f(x.clone())  # whoever writes to it must not change the point, nor a leaf
    if not isinstance(found, Tensor):
        raise TypeError(f"f must give a tensor computed from its argument by torch, not {found!r}")
    if found.numel() != 1:
        raise ValueError(f"f must give one number at a point, not shape {tuple(found.shape)}")
    if not found.is_floating_point() or found.itemsize < 2:
        raise TypeError(f"f must give a real number of a floating dtype, not {found.dtype}")
    if found.is_meta:
        raise TypeError("f must give a number, not a tensor on the device meta, which holds none")
    return found.reshape(())


def _differentiable(f: Function, x: Tensor) -> Tensor:
    found = value(f, x)
    if not found.requires_grad:
        raise TypeError(f"f must give a tensor computed from its argument by torch, not {found!r}")
    return found
