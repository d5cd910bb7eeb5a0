"""Adafactor."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from thalweg.optim.declared import option
from thalweg.optim.groups import Group
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    clip_global_norm,
    decoupled_decay,
    matrix,
    maximize,
    maximum,
    mean,
    minimum,
    rule,
    shaped,
    sqrt,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import NON_NEGATIVE, Interval

SHORT, MANY = 8, 1000  # sides and stacks of matrices at which torch's own loops are the slower ones


def _short(shape: torch.Size, axis: int) -> bool:
    return 1 < shape[axis] < SHORT and shape[:-2].numel() >= MANY


def _means(x: Tensor, axis: int) -> Tensor:
    n = x.shape[axis]
    if n == 1:
        return x
    if not _short(x.shape, axis):
        return x.sum(axis, keepdim=True).div_(max(1, n))
    total = x.select(axis, 0) + x.select(axis, 1)
    for i in range(2, n):
        total += x.select(axis, i)
    return total.div_(n).unsqueeze(axis)


@shaped
def row_means(old: Tensor, squares: Tensor, share: float) -> Tensor:
    """A moving average of the mean of g^2 over each row."""
    return old.lerp(_means(squares, -1), share)


@shaped
def column_means(old: Tensor, squares: Tensor, share: float) -> Tensor:
    """A moving average of the mean of g^2 over each column."""
    return old.lerp(_means(squares, -2), share)


@matrix
def product(r: Tensor, c: Tensor, eps: float) -> Tensor:
    """The matrix of rank one whose rows and columns have these means."""
    r = r / _means(r, -2).clamp(min=eps)
    shape = torch.Size((*r.shape[:-1], c.shape[-1]))
    if not _short(shape, -1):
        return r * c
    whole = r.new_empty(shape)
    for i in range(shape[-1]):
        torch.mul(r[..., 0], c[..., i], out=whole[..., i])
    return whole


def _larger(a: Any, b: Any) -> Any:
    """As Python's ``max(b, a)``, with which torch keeps one NaN from spoiling a whole tensor."""
    return where(a > b, a, b)


@bounded
@rule(
    state={"r": "row_var", "c": "col_var", "v": "variance"},
    shaped={
        "r": lambda shape, h: (*shape[:-1], 1),
        "c": lambda shape, h: (*shape[:-2], 1, *shape[-1:]),
    },
    apply=lambda w, direction, h: w - direction,
)
def adafactor(
    w: Any, g: Any, r: Any, c: Any, v: Any, *, lr: Any, beta2_decay: Any, eps1: Any, eps2: Any,
    d: Any, factored: bool, step: Any,
) -> Any:  # fmt: skip
    share = step**beta2_decay
    if factored:
        r, c = row_means(r, g * g, share), column_means(c, g * g, share)
        v, new = product(r, c, eps=eps1), {"r": r, "c": c}
    else:
        v = (1 - share) * v + share * g * g
        new = {"v": v}
    # The root is bounded, not v: the square of eps1 may be zero in float32.
    u = named("u", g / maximum(sqrt(v), eps1))
    rms = named("rms", sqrt(mean(u * u)))
    size = named("size", _larger(sqrt(mean(w * w)), eps2))
    scale = size * minimum(lr, 1 / sqrt(step)) / _larger(rms / d, 1)
    return scale * u, new


class Adafactor(RuleOptimizer):
    """Adam's second moment from the means of its rows and of its columns, which is all that is
    kept: for a matrix of r rows and c columns, r + c numbers in place of r c. There is no first
    moment; steps are as large as the weights are, and bounded where g is suddenly larger than v.

    ::

        share = step^beta2_decay
        r <- (1 - share) r + share mean of g^2 along rows          (matrices)
        c <- (1 - share) c + share mean of g^2 along columns
        v = r c / max(mean(r), eps1)
        v <- (1 - share) v + share g^2                              (vectors, in place of these)
        u = g / sqrt(max(v, eps1^2))
        alpha = max(eps2, rms(w)) min(lr, 1 / sqrt(step))           rms(x) = sqrt(mean(x^2))
        w <- (1 - lr weight_decay) w - alpha u / max(1, rms(u) / d)

    State: ``step``; ``row_var`` (r) and ``col_var`` (c), whose last or last but one dimension is 1,
    in float32 or float64; ``variance`` (v) for parameters of fewer than two dimensions, of their
    shape.

    Where papers and code disagree:
        As torch: lr is the bound that the paper fixes at 0.01; the paper adds eps1 = 1e-30 to g^2
        in both averages, torch bounds v by it afterwards; the paper has sums for means, which is
        the same, and no decay. torch keeps r and c in the parameter's dtype, and takes eps1 = None
        for the dtype of a group's first parameter. Tensors of more than two dimensions are stacks
        of matrices for both.

    Reference: Shazeer & Stern 2018, ICML, arXiv:1804.04235, Algorithms 4-6; torch 2.13.
    """

    rule = clip_global_norm(maximize(decoupled_decay(adafactor)))
    heedless = "its rule has no momentum: step and gradient never differ in sign"
    cannot = {
        "complex": "rows and columns have means of real squares",
        "differentiable": "the averages of rows and columns are written in place",
    }

    lr: Any = option(
        default=1e-2,
        domain=NON_NEGATIVE,
        doc="largest relative step: the share of rms(w) that w may move.",
    )
    beta2_decay: float = option(
        default=-0.8,
        domain=Interval(-math.inf, 0.0),
        doc=("exponent of the step count, at most 0: how fast old squares are forgotten less."),
    )
    eps: tuple[float | None, float] = option(
        default=(None, 1e-3),
        domain=(Interval(0.0, optional=True), NON_NEGATIVE),
        doc=(
            "(eps1, eps2). The least root of v, in units of the gradient; None: the "
            "rounding unit of the parameter's dtype. The least rms(w) that steps are "
            "measured by, at least 0, in units of w."
        ),
        parts=("eps1", "eps2"),
    )
    d: float = option(default=1.0, domain=Interval(1.0), doc="the largest rms of u, at least 1.")
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )

    def particulars(self, p: Tensor, group: Group) -> dict[str, Any]:
        """Whether v is kept in factors, and what eps1 is for this dtype."""
        eps1 = group["eps"][0]
        own = {} if eps1 is not None else {"eps1": torch.finfo(p.dtype).eps}
        return {"factored": p.dim() > 1, **own}
