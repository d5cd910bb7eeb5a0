"""First and second derivatives of a function at a point: by autograd, and from gradients nearby."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.problems.landscapes import parse

Function = Callable[[Tensor], Tensor]


def function(f: Function | str) -> Function:
    """``f``, a formula's text made a landscape. Raises TypeError if it is neither, nor callable."""
    if isinstance(f, str):
        f = parse(f)
    if not callable(f):
        raise TypeError(f"f must be a landscape, a formula or a function, not {f!r}")
    return f


def point(x: Any) -> Tensor:
    """``x`` as one finite point [d], a tensor's floating dtype kept and all else made float64."""
    if isinstance(x, Tensor) and x.is_complex():
        raise TypeError(f"x must be real, not {x.dtype}")
    if isinstance(x, Tensor) and x.is_floating_point():
        found = x.detach().clone()
    else:
        found = torch.as_tensor(x, dtype=torch.float64)
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(f"x must be one point of shape [d], not of shape {tuple(found.shape)}")
    if not found.isfinite().all():
        raise ValueError(f"x must be finite, not {found.tolist()}")
    return found


def gradient(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), of shape [], and its gradient [d] by autograd, which may hold NaN.

    Raises TypeError if f is not made of torch operations, ValueError if it gives several numbers.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        value = _one_number(f, x)
        (slope,) = torch.autograd.grad(value, x)
    return value.detach(), slope


def hessian(f: Function, x: Tensor) -> Tensor:
    """Second derivatives [d, d] by autograd, ``[i, j]`` being d/dx_j (df/dx_i); not symmetrised.

    At a point where a formula has two pieces autograd differentiates one of them, which need not
    be the function's own derivative: :func:`mixed_derivatives` looks at the points around.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(_one_number(f, x), x, create_graph=True)
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


def steps(x: Tensor) -> tuple[float, float]:
    """A small and a large step for differences of gradients at x.

    A difference quotient over a step h is off by about h² from the curvature of the gradient and by
    eps / h from rounding. The small one, eps^(3/8) = 1.4e-6 in float64, favours the first and
    leaves 1e-10 of the second; eps^(1/4) = 1.2e-4 is 90 times as large, to tell how things change
    with h. Both in units of the largest coordinate of x, at least 1.
    """
    eps = torch.finfo(x.dtype).eps
    scale = max(1.0, float(x.abs().max()))
    return scale * eps**0.375, scale * eps**0.25


def mixed_derivatives(f: Function, x: Any) -> Tensor:
    """Second derivatives as two limits taken one after the other, which shows their order.

    ``[i, j]`` is d/dx_j (df/dx_i): first the derivative along x_i, exactly and *at* points on a
    line along x_j through x, by autograd; then the change of that along the line,

    ::

        (df/dx_i (x + h e_j) - df/dx_i (x - h e_j)) / (2 h)

    At x itself f is not evaluated. Schwarz's theorem says that ``[i, j]`` and ``[j, i]`` agree if
    the second derivatives are continuous at x. For Peano's x y (x² - y²) / (x² + y²) they are not
    at the origin: df/dx is -y on the y axis and df/dy is x on the x axis, hence -1 and +1.
    The Hessian by autograd cannot show this: it differentiates the formula *at* x, which gives NaN
    or, for a formula with a value of its own there, that value's derivatives, 0.

    Args:
        f: a function of a tensor [d], written in torch operations, to one number.
        x: the point, [d].

    Returns:
        [d, d], in x's dtype (float64 for anything but a tensor); the error is of the order of
        1e-10 times the size of the Hessian in float64 (h is 1.4e-6), 1e-4 in float32. Values that
        grow as h falls, where a derivative does not exist, are not noticed here:
        :func:`thalweg.analysis.critical_point` does.
    """
    x = point(x)
    axes = torch.eye(len(x), dtype=x.dtype, device=x.device)
    step, _ = steps(x)
    ahead, behind = around(f, x, axes, step)
    found: Tensor = (ahead - behind).T / (2 * step)
    return found


def _one_number(f: Function, x: Tensor) -> Tensor:
    value: Any = f(x)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise TypeError(f"f must give a tensor computed from its argument by torch, not {value!r}")
    if value.numel() != 1:
        raise ValueError(f"f must give one number at a point, not shape {tuple(value.shape)}")
    return value.reshape(())
