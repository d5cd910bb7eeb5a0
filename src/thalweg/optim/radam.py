"""RAdam: rectified Adam."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.formulas import rectification
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    cautious,
    clip_global_norm,
    decoupled_decay,
    either,
    l2_decay,
    maximize,
    rule,
    sqrt,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg", "v": "exp_avg_sq"})
def radam(
    g: Any,
    m: Any,
    v: Any,
    *,
    beta1: Any,
    beta2: Any,
    eps: Any,
    step: Any,
) -> Any:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    rho, r = rectification(beta2, step)
    adapted = where(rho > 5, named("r", r) * sqrt(1 - beta2**step) / (sqrt(v) + eps), 1)
    return m / (1 - beta1**step) * adapted, {"m": m, "v": v}


class RAdam(RuleOptimizer):
    """Adam whose first steps do not trust v: few gradients have gone into it, and its root would
    make steps of random size. They are steps of momentum; then Adam's, scaled up as v firms.

    ::

        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) g^2          b = 1 - beta2^step
        rho_max = 2 / (1 - beta2) - 1           rho = rho_max - 2 step beta2^step / b
        r = sqrt((rho - 4) (rho - 2) rho_max / ((rho_max - 4) (rho_max - 2) rho))
        w <- w - lr m_hat r sqrt(b) / (sqrt(v) + eps)           (rho > 5)
        w <- w - lr m_hat                                       (else)

    State: ``step``; ``exp_avg`` (m) and ``exp_avg_sq`` (v), each of the parameter's shape.

    Where papers and code disagree:
        The paper switches at rho > 4, its official code at rho >= 5 and torch at rho > 5. Before
        the switch paper and torch make a momentum step; the official code does so only with
        degenerated_to_sgd, and otherwise leaves w alone. The paper has no eps. The official code's
        weight decay is always decoupled, and left out where it makes no step; torch's is L2 unless
        decoupled_weight_decay is set, at every step.

    Reference: Liu, Jiang, He, Chen, Liu, Gao & Han 2020, ICLR, arXiv:1908.03265, Algorithm 2.
    """

    rule = clip_global_norm(
        maximize(either("decoupled_weight_decay", decoupled_decay(radam), l2_decay(radam)))
    )

    lr: Any = option(
        default=1e-3,
        domain=NON_NEGATIVE,
        doc=(
            "learning rate; units of w per step, but of w per unit of gradient while rho "
            "is at most 5 (the first five steps, with the default betas)."
        ),
    )
    betas: tuple[float, float] = option(
        default=(0.9, 0.999),
        domain=(DECAY, DECAY),
        doc="how much of each average is kept. With beta2 up to 2/3 rho never comes to 5.",
    )
    eps: float = option(
        default=1e-8,
        domain=NON_NEGATIVE,
        doc=(
            "keeps the quotient finite; units of the gradient. Stands beside the "
            "*uncorrected* root, so it weighs more in early steps than Adam's."
        ),
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    decoupled_weight_decay: bool = choice(
        default=False, doc="shrink w by ``lr weight_decay`` beside the step, as AdamW does."
    )
