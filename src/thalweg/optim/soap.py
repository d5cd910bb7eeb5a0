"""SOAP: Adam in the eigenbases of Shampoo's preconditioner."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor

from thalweg.engines.products import product
from thalweg.optim.declared import choice, option
from thalweg.optim.groups import Group
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.orthonormal import orthonormal
from thalweg.optim.soap_sides import Sides, eigenbasis, sides
from thalweg.rule import clip_global_norm, matrix, maximize, mean, rule, shaped, sqrt, where
from thalweg.rule.rule import Values
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


@shaped
def average(old: Tensor, g: Tensor, beta: float, **seen: Any) -> Tensor:
    """A moving average of the Gram matrix of each side, packed."""
    return sides(g.shape, **seen).averaged(old, g, 1 - beta)


@shaped
def iterated(f: Tensor, q: Tensor, k: float, g: Tensor, *, every: float, **seen: Any) -> Tensor:
    """Each factor times its basis at every so many steps, else the bases themselves."""
    if k == 0 or k % every != 0:
        return q
    found = sides(g.shape, **seen)
    return found.join(found.each(product, found.whole(f), found.split(q)), like=q)


@shaped
def bases(f: Tensor, q: Tensor, fq: Tensor, k: float, g: Tensor, **seen: Any) -> Tensor:
    """The next bases: eigenvectors at the start, then what a power iteration makes of them."""
    found = sides(g.shape, **seen)
    if k == 0:
        return found.join(found.each(eigenbasis, found.whole(f)), q)
    if fq is q:
        return q
    return found.join(found.each(_renewed, found.split(q), found.split(fq)), q)


def _renewed(q: Tensor, fq: Tensor) -> Tensor:
    return orthonormal(fq[:, _order(q, fq)])


@matrix
def project(q: Tensor, x: Tensor, **seen: Any) -> Tensor:
    """A tensor's coordinates in the bases."""
    return sides(x.shape, **seen).turn(q, x)


@matrix
def back(q: Tensor, x: Tensor, **seen: Any) -> Tensor:
    """The tensor that has these coordinates."""
    return sides(x.shape, **seen).turn(q, x, back=True)


@matrix
def moved(q: Tensor, new: Tensor, m: Tensor, **seen: Any) -> Tensor:
    """Coordinates in the new bases of what has these in the old ones."""
    if new is q:
        return m
    found = sides(m.shape, **seen)
    return found.turn(new, found.turn(q, m, back=True))


@matrix
def resorted(q: Tensor, fq: Tensor, v: Tensor, **seen: Any) -> Tensor:
    """Squares of coordinates in the order that the new bases have."""
    if fq is q:
        return v
    found = sides(v.shape, **seen)
    pairs = zip(found.split(q), found.split(fq), strict=True)
    orders = [None if a is None or b is None else _order(a, b) for a, b in pairs]
    return found.select(orders, v)


def _order(q: Tensor, fq: Tensor) -> Tensor:
    """Columns by estimated eigenvalue, the largest first."""
    return (q * fq).sum(0).argsort(descending=True)


def _sides(shape: tuple[int, ...], h: Values) -> Sides:
    seen = {name: h[name] for name in ("merge_dims", "precondition_1d", "data_format")}
    return sides(shape, h["max_precond_dim"], **seen)


def _apply(w: Any, direction: Any, h: Values) -> Any:
    moved = (w - h["lr"] * direction) * (1 - h["lr"] * h["weight_decay"])
    return where(h["step"] == 1, w, moved)


@rule(
    state={"m": "exp_avg", "v": "exp_avg_sq", "f": "GG", "q": "Q"},
    shaped={
        "f": lambda shape, h: (_sides(shape, h).packed_size,),
        "q": lambda shape, h: (_sides(shape, h).size,),
    },
    apply=_apply,
    reads=("weight_decay",),
)
def soap(
    g: Any, m: Any, v: Any, f: Any, q: Any, *, beta1: Any, beta2: Any, shampoo_beta: Any, eps: Any,
    precondition_frequency: Any, max_precond_dim: Any, merge_dims: bool, precondition_1d: bool,
    normalize_grads: bool, data_format: str, correct_bias: bool, step: Any,
) -> Any:  # fmt: skip
    k, first = step - 1, step == 1
    seen = {"longest": max_precond_dim, "merge_dims": merge_dims,
            "precondition_1d": precondition_1d, "data_format": data_format}  # fmt: skip
    x = named("x", where(first, 0, project(q, g, **seen)))
    m = named("m_x", beta1 * m + (1 - beta1) * x)
    v = named("v_x", beta2 * v + (1 - beta2) * x * x)
    d = named("d", back(q, m / (sqrt(v) + eps), **seen))
    if normalize_grads:
        d = d / (sqrt(mean(d * d)) + 1e-30)
    if correct_bias:
        d = d * (sqrt(1 - beta2**k) / (1 - beta1**k))
    f = average(f, g, shampoo_beta, **seen)
    fq = named("fq", iterated(f, q, k, g, every=precondition_frequency, **seen))
    new = bases(f, q, fq, k, g, **seen)
    m = moved(q, new, m, **seen)
    v = resorted(q, fq, v, **seen)
    return d, {"m": m, "v": v, "f": f, "q": new}


class SOAP(RuleOptimizer):
    """Adam in a rotated space: for each side of a matrix the gradient's second moments are
    averaged, as Shampoo does, and their eigenvectors are the axes along which Adam works. Only the
    bases are costly, and they may be a little out of date: they are refreshed every few steps.

    ::

        k = step - 1                            (k = 0: only F and Q; w stays)
        x = Q1' g Q2                            (a product with Q for every side that has one)
        m <- beta1 m + (1 - beta1) x
        v <- beta2 v + (1 - beta2) x^2
        d = Q1 (m / (sqrt(v) + eps)) Q2' sqrt(1 - beta2^k) / (1 - beta1^k)
        w <- (w - lr d) (1 - lr weight_decay)
        F1 <- shampoo_beta F1 + (1 - shampoo_beta) g g'         (F2 likewise with g' g)
        k = 0: Q = eigenvectors of F;   k a multiple of precondition_frequency:
            Q's columns and v sorted by diag(Q' F Q);   Q <- orthonormalised F Q;   m turned along

    State: ``step``; ``exp_avg`` (m) and ``exp_avg_sq`` (v) in the bases, of the parameter's shape;
    ``GG`` (F) and ``Q``, those of all sides one after another in a flat tensor of float32 or
    float64: of F, which is symmetric, what is below the diagonal (``thalweg.optim.packed``), of Q
    the square matrices.

    Where papers and code disagree:
        As the official code: the first step only looks, where the paper starts from bases that are
        given; m is kept in the bases and turned with them, where the paper projects it anew each
        step (the same but for rounding); v's columns follow the sorting. Decay comes last, after
        the step. GG and Q are lists there, kept in the gradient's dtype: its checkpoints are not
        read, and step is one less there. Vectors without a basis are Adam's, first step left out.

    Reference: Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson & Kakade 2025, ICLR,
    arXiv:2409.11321, Algorithm 3; official code: nikhilvyas/SOAP, soap.py (a1e5535).
    """

    rule = clip_global_norm(maximize(soap))
    heedless = "its steps are taken in another basis than the gradient"
    boundless = "in the basis of its steps the bounds are no box, and cutting off no projection"
    cannot = {
        "complex": "its bases are real",
        "differentiable": "factors and bases are written in place",
    }
    linked = ("betas", "shampoo_beta")

    lr: Any = option(default=3e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.95, 0.95), domain=(DECAY, DECAY), doc="how much of m and v is kept."
    )
    shampoo_beta: float = option(
        default=-1,
        domain=Interval(-math.inf, 1.0, open_high=True),
        doc="how much of F is kept, below 1; negative: as beta2.",
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.01, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )
    precondition_frequency: int = option(
        default=10,
        domain=Interval(1.0, whole=True),
        doc="steps from one refreshment of the bases to the next, at least 1.",
    )
    max_precond_dim: int = option(
        default=10000,
        domain=Interval(0.0, whole=True),
        doc="longer sides have no basis; at least 0.",
    )
    merge_dims: bool = choice(
        default=False,
        doc=(
            "see neighbouring dimensions as one while that has at most max_precond_dim. "
            "With 10000 a small tensor is one vector, with one large basis: give a "
            "smaller limit."
        ),
    )
    precondition_1d: bool = choice(default=False, doc="give vectors a basis too.")
    normalize_grads: bool = choice(
        default=False, doc="divide d by its root mean square over the parameter."
    )
    data_format: Literal["channels_first", "channels_last"] = choice(
        default="channels_first",
        choices=("channels_first", "channels_last"),
        doc=(
            'for merge_dims, ``"channels_first"`` or ``"channels_last"``: what the second '
            "to fourth dimension of a kernel are."
        ),
    )
    correct_bias: bool = choice(
        default=True, doc="free m and v of the bias of their start at zero."
    )

    def hyperparameters(self, group: Group) -> Values:
        """A group's options by the rule's names."""
        h = super().hyperparameters(group)
        return {**h, "shampoo_beta": h["beta2"]} if h["shampoo_beta"] < 0 else h
