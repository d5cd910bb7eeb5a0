"""AdEMAMix."""

from __future__ import annotations

from typing import Any, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
from thalweg.rule import (
    bounded,
    cautious,
    clip_global_norm,
    decoupled_decay,
    log,
    maximize,
    rule,
    sqrt,
    where,
)
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


def _half_life(beta: Any) -> Any:
    """After how many further steps an average has forgotten half; 1e-8 is the official code's."""
    return log(0.5) / log(beta + 1e-8) - 1


@bounded
@cautious
@rule(state={"m1": "exp_avg_fast", "m2": "exp_avg_slow", "v": "exp_avg_sq"})
def ademamix(
    g: Any,
    m1: Any,
    m2: Any,
    v: Any,
    *,
    beta1: Any,
    beta2: Any,
    beta3: Any,
    alpha: Any,
    beta3_warmup: Any,
    alpha_warmup: Any,
    eps: Any,
    step: Any,
) -> Any:
    if alpha_warmup:
        alpha = where(step < alpha_warmup, step / alpha_warmup, 1) * alpha
    if beta3_warmup:
        a = step / beta3_warmup
        t = (1 - a) * _half_life(beta1) + a * _half_life(beta3)
        beta3 = where(step < beta3_warmup, 0.5 ** (1 / (t + 1)), beta3)
    new = {}
    if beta1:
        new["m1"] = m1 = beta1 * m1 + (1 - beta1) * g
    else:
        m1 = g
    new["m2"] = m2 = beta3 * m2 + (1 - beta3) * g
    new["v"] = v = beta2 * v + (1 - beta2) * g * g
    m1_hat = m1 / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    return (m1_hat + alpha * m2) / (sqrt(v_hat) + eps), new


class AdEMAMix(RuleOptimizer):
    """AdamW with a second, much slower average of the gradient beside the first: old gradients stay
    useful for tens of thousands of steps, which one average cannot keep and stay alert.

    ::

        m1 <- beta1 m1 + (1 - beta1) g          m1_hat = m1 / (1 - beta1^step)
        m2 <- beta3 m2 + (1 - beta3) g
        v  <- beta2 v + (1 - beta2) g^2         v_hat = v / (1 - beta2^step)
        w  <- (1 - lr weight_decay) w
        w  <- w - lr (m1_hat + alpha m2) / (sqrt(v_hat) + eps)

    While ``step < alpha_warmup`` alpha grows in proportion to step; while ``step < beta3_warmup``
    beta3 grows from beta1 so that its half-life ``log(1/2) / log(beta3)`` grows linearly.

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step.
        betas: how much of m1, v and m2 is kept, from 0 to below 1; with the first 0, m1 is the
            gradient and not kept.
        alpha: weight of the slow average, at least 0; 4 to 10 in the paper.
        beta3_warmup: steps until beta3 has its value; None or 0: from the start.
        alpha_warmup: steps until alpha has its value; None or 0: from the start.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        weight_decay: fraction of w taken off per step and unit of lr, at least 0.

    State: ``step``; ``exp_avg_fast`` (m1, unless beta1 is 0), ``exp_avg_slow`` (m2) and
    ``exp_avg_sq`` (v), each of the parameter's shape.

    Where papers and code disagree:
        The slow average is not corrected for its start at zero, in the paper and the code. Both
        warm up from beta1; the code adds 1e-8 to a beta before taking its logarithm, so its beta3
        is off by about 1e-8 during warm-up, as here. The paper always warms up, over the whole
        training; the code does so only where it is told how long.

    Reference: Pagliardini, Ablin & Grangier 2025, ICLR, arXiv:2409.03137, Algorithm 1 and appendix
    A.1; official code: apple/ml-ademamix, pytorch/ademamix.py.
    """

    rule = clip_global_norm(maximize(decoupled_decay(ademamix)))
    parts = {"betas": ("beta1", "beta2", "beta3")}
    domains = {
        "lr": NON_NEGATIVE,
        "beta1": DECAY,
        "beta2": DECAY,
        "beta3": DECAY,
        "alpha": NON_NEGATIVE,
        "beta3_warmup": Interval(0.0, optional=True),
        "alpha_warmup": Interval(0.0, optional=True),
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 2.0,
        beta3_warmup: float | None = None,
        alpha_warmup: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "alpha": alpha,
            "beta3_warmup": beta3_warmup,
            "alpha_warmup": alpha_warmup,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults, common)
