"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from typing import Any, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
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

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step.
        betas: how much of each average is kept, from 0 to below 1.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        weight_decay: L2 regularisation, ``g + weight_decay w``, at least 0.
        momentum_decay: how fast mu rises from half of beta1 to beta1, at least 0; per step.
        decoupled_weight_decay: shrink w by ``lr weight_decay`` beside the step, as AdamW does.

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
    domains = {
        "lr": NON_NEGATIVE,
        "beta1": DECAY,
        "beta2": DECAY,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum_decay": NON_NEGATIVE,
    }
    flags = {"decoupled_weight_decay": (False, True)}

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults, common)
