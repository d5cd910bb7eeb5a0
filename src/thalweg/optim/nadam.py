"""NAdam: Adam with Nesterov's momentum."""

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
    rule,
    sqrt,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(
    state={"m": "exp_avg", "v": "exp_avg_sq", "p": "mu_product"},
    scalar=("p",),
    start={"p": 1.0},
)
def nadam(
    g: Any,
    m: Any,
    v: Any,
    p: Any,
    *,
    beta1: Any,
    beta2: Any,
    eps: Any,
    momentum_decay: Any,
    step: Any,
) -> Any:
    mu = named("mu", beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay)))
    mu_next = named("mu_next", beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay)))
    p = mu * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    ahead = mu_next / (1 - mu_next * p) * m + (1 - mu) / (1 - p) * g
    return ahead / (sqrt(v / (1 - beta2**step)) + eps), {"m": m, "v": v, "p": p}


class NAdam(RuleOptimizer):
    """Adam that looks ahead: the momentum of the coming step takes the place of this step's, as in
    Nesterov's method, and this step's gradient counts in full.

    ::

        mu = beta1 (1 - 0.96^(step momentum_decay) / 2)         mu_next likewise, at step + 1
        p <- mu p                               (the product of all mu so far)
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^step)
        ahead = mu_next / (1 - mu_next p) m + (1 - mu) / (1 - p) g
        w <- w - lr ahead / (sqrt(v_hat) + eps)

    State: ``step``; ``mu_product`` (p), one number per parameter; ``exp_avg`` (m) and
    ``exp_avg_sq`` (v), each of the parameter's shape.

    Where papers and code disagree:
        The paper's m is decayed by mu, which changes from step to step; torch's and this class's by
        beta1, and mu weighs only what is applied. The schedule, ``1 - 0.96^(step / 250) / 2``, is
        that of Dozat's report and of Keras, whose comment credits Sutskever et al. 2013; theirs is
        another, ``min(1 - 2^(-1 - log2(floor(step / 250) + 1)), mu_max)``. torch keeps mu_product
        in its default dtype, float32 as a rule, and its weights are 1e-9 off in float64; this class
        keeps it in double precision.

    Reference: Dozat 2016, ICLR workshop, Incorporating Nesterov Momentum into Adam.
    """

    rule = clip_global_norm(
        maximize(either("decoupled_weight_decay", decoupled_decay(nadam), l2_decay(nadam)))
    )

    lr: Any = option(default=2e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    momentum_decay: float = option(
        default=4e-3,
        domain=NON_NEGATIVE,
        doc="how fast mu rises from half of beta1 to beta1; per step.",
    )
    decoupled_weight_decay: bool = choice(
        default=False, doc="shrink w by ``lr weight_decay`` beside the step, as AdamW does."
    )
