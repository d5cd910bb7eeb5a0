"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, cautious, clip_global_norm, l2_decay, maximize, maximum, rule
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg", "u": "exp_inf"})
def adamax(g: Any, m: Any, u: Any, *, beta1: Any, beta2: Any, eps: Any, step: Any) -> Any:
    m = beta1 * m + (1 - beta1) * g
    u = maximum(beta2 * u, abs(g) + eps)
    return m / (1 - beta1**step) / u, {"m": m, "u": u}


class Adamax(RuleOptimizer):
    """Adam whose divisor is the largest recent gradient, forgotten exponentially, in place of the
    root of a mean square. It starts without bias, and no step is longer than lr by much.

    ::

        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^step)
        u <- max(beta2 u, |g| + eps)
        w <- w - lr m_hat / u

    State: ``step``; ``exp_avg`` (m) and ``exp_inf`` (u), each of the parameter's shape.

    Where papers and code disagree:
        The paper has no eps: where every gradient so far was zero it divides zero by zero. torch
        adds eps to the gradient's size before the maximum, so that it is part of the state and
        fades with it; Keras adds it to u when dividing.

    Reference: Kingma & Ba 2015, ICLR, arXiv:1412.6980, Algorithm 2.
    """

    rule = clip_global_norm(maximize(l2_decay(adamax)))

    lr: Any = option(default=2e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999),
        domain=(DECAY, DECAY),
        doc="how much of the average, and of the largest gradient, is kept.",
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
