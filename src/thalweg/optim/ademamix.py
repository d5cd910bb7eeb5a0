"""AdEMAMix."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
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

    lr: Any = option(default=1e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float, float] = option(
        default=(0.9, 0.999, 0.9999),
        domain=(DECAY, DECAY, DECAY),
        doc=(
            "how much of m1, v and m2 is kept; with the first 0, m1 is the gradient and not kept."
        ),
    )
    alpha: float = option(
        default=2.0, domain=NON_NEGATIVE, doc="weight of the slow average; 4 to 10 in the paper."
    )
    beta3_warmup: float | None = option(
        default=None,
        domain=Interval(0.0, optional=True),
        doc="steps until beta3 has its value; None or 0: from the start.",
    )
    alpha_warmup: float | None = option(
        default=None,
        domain=Interval(0.0, optional=True),
        doc="steps until alpha has its value; None or 0: from the start.",
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )
