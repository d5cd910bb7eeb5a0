"""Adai: adaptive inertia."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    cautious,
    clip_global_norm,
    decoupled_decay,
    either,
    l2_decay,
    maximize,
    maximum,
    mean,
    minimum,
    rule,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


@bounded
@cautious
@rule(
    state={"m": "exp_avg", "v": "exp_avg_sq", "p": "beta1_prod"},
    start={"p": 1.0},
)
def adai(g: Any, m: Any, v: Any, p: Any, *, beta0: Any, beta2: Any, eps: Any, step: Any) -> Any:
    v = beta2 * v + (1 - beta2) * g * g
    v_hat = v / (1 - beta2**step)
    v_mean = named("v_mean", mean(v_hat, "all"))
    # While all gradients have been zero there is nothing to compare with.
    relative = v_hat / where(v_mean == 0, 1, v_mean)
    beta1 = named("beta1", minimum(maximum(1 - beta0 * relative, 0), 1 - eps))
    p = beta1 * p
    m = beta1 * m + (1 - beta1) * g
    return m / (1 - p), {"m": m, "v": v, "p": p}


class Adai(RuleOptimizer):
    """Momentum SGD with an inertia of its own for each coordinate: none where its gradients are
    larger than ten times the mean, nearly all of it where they are small. The learning rate is the
    same for all, which is to find flatter minima than Adam's does.

    ::

        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^step)
        v_mean = mean of v_hat over all parameters of all groups
        beta1 = min(max(1 - beta0 v_hat / v_mean, 0), 1 - eps)
        p <- beta1 p                            (the product of all beta1 so far)
        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - p)
        w <- w - lr m_hat

    State: ``step``; ``exp_avg`` (m), ``exp_avg_sq`` (v) and ``beta1_prod`` (p), each of the
    parameter's shape. In 16 bits p cannot say that it is 0.999: keep the state in float32.

    Where papers and code disagree:
        The official code (zeke-xie/adaptive-inertia-adai) requires lr; here it is 0.1. It
        adds L2 regularisation to ``p.grad`` itself, where the caller finds it. While all gradients
        have been zero it divides zero by zero and loses the weights; here nothing moves then.
        Parameters without a gradient count in the mean neither there nor here. With eps 0 a
        coordinate whose gradients have all been zero becomes NaN, in both.

    Reference: Xie, Wang, Zhang, Sato & Sugiyama 2022, ICML, arXiv:2006.15815.
    """

    rule = clip_global_norm(maximize(either("decoupled", decoupled_decay(adai), l2_decay(adai))))

    lr: Any = option(
        default=1e-1,
        domain=NON_NEGATIVE,
        doc=(
            "learning rate; units of w per unit of gradient. As for SGD without momentum, "
            "or ten times that of SGD with momentum 0.9."
        ),
    )
    betas: tuple[float, float] = option(
        default=(0.1, 0.99),
        domain=(NON_NEGATIVE, DECAY),
        doc=(
            "(beta0, beta2): how far beta1 is from 1 where v_hat is at its mean; how much "
            "of v is kept."
        ),
        parts=("beta0", "beta2"),
    )
    eps: float = option(
        default=1e-3,
        domain=Interval(0.0, 1.0),
        doc="how far beta1 is from 1 at least, from 0 to 1; no unit.",
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    decoupled: bool = choice(
        default=False, doc="shrink w by ``lr weight_decay`` beside the step instead (AdaiW)."
    )
