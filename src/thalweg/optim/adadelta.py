"""Adadelta."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, clip_global_norm, l2_decay, maximize, rule, sqrt
from thalweg.validation import NON_NEGATIVE, Interval


@bounded
@rule(state={"v": "square_avg", "u": "acc_delta"})
def adadelta(g: Any, v: Any, u: Any, *, rho: Any, eps: Any) -> Any:
    v = rho * v + (1 - rho) * g * g
    delta = sqrt(u + eps) / sqrt(v + eps) * g
    u = rho * u + (1 - rho) * delta * delta
    return delta, {"v": v, "u": u}


class Adadelta(RuleOptimizer):
    """Scale each coordinate's gradient by the root mean square of its past steps over that of its
    gradients. Steps then have the units of w, which no other factor has to supply.

    ::

        v <- rho v + (1 - rho) g^2
        delta = sqrt(u + eps) / sqrt(v + eps) g
        u <- rho u + (1 - rho) delta^2
        w <- w - lr delta

    State: ``step``; ``square_avg`` (v) and ``acc_delta`` (u), each of the parameter's shape.

    Where papers and code disagree:
        The paper has no learning rate; torch multiplies the step by lr, whose default of 1 is the
        paper's method, but averages the steps before that factor. Keras has 0.001 for it, a
        thousandth of the method. With eps 0 nothing ever moves.

    Reference: Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    """

    rule = clip_global_norm(maximize(l2_decay(adadelta)))
    heedless = "each of its steps has the gradient's sign, so that nothing would be left out"

    lr: Any = option(
        default=1.0,
        domain=NON_NEGATIVE,
        doc="factor of the step; no unit. 1 is the paper's method.",
    )
    rho: float = option(
        default=0.9, domain=Interval(0.0, 1.0), doc="how much of each average is kept, from 0 to 1."
    )
    eps: float = option(
        default=1e-6,
        domain=NON_NEGATIVE,
        doc=(
            "sets the size of the first steps, for u is zero then, and keeps the quotient "
            "finite; added to squares of steps and of gradients alike, whatever their "
            "units."
        ),
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
