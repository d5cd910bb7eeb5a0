"""Second derivatives whose order shows, where Schwarz's theorem does not hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.analysis import hidden
from thalweg.analysis.batched import resolution
from thalweg.analysis.derivatives import Function, around, point, steps


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
    eps = resolution(f, x)
    hidden.refuse(hidden.around(f, x, eps))
    step, _ = steps(x, eps)
    ahead, behind = around(f, x, axes, step)
    found: Tensor = (ahead - behind).T / (2 * step)
    return found
