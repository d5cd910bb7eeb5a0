"""Schedule-Free RAdam."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.formulas import rectification
from thalweg.optim.schedule_free import (
    AVERAGE,
    BETWEEN,
    FACTS,
    ScheduleFree,
    average,
    views,
)
from thalweg.rule import clip_global_norm, maximize, rule, sqrt, where
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@rule(state={"z": "z", "v": "exp_avg_sq", **AVERAGE}, views=views("beta1"), **FACTS)
def schedule_free_radam(
    w: Any, g: Any, z: Any, v: Any, weight_sum: Any, lr_max: Any, *, lr: Any, beta1: Any,
    beta2: Any, eps: Any, weight_decay: Any, r: Any, weight_lr_power: Any,
    silent_sgd_phase: bool, averaging: str, step: Any,
) -> Any:  # fmt: skip
    v = beta2 * v + (1 - beta2) * g * g
    v_hat = v / (1 - beta2**step)
    rho, grown = rectification(beta2, step)
    early = 0 if silent_sgd_phase else 1
    rate = named("rate", lr * where(rho > 4, named("grown", grown), early))
    u = g / where(rho > 4, sqrt(v_hat) + eps, 1)
    if weight_decay:
        u = u + weight_decay * w
    direction, new = average(
        w, named("u", u), z, weight_sum, lr_max, rate=rate, beta=beta1, r=r,
        weight_lr_power=weight_lr_power, averaging=averaging, step=step,
    )  # fmt: skip
    return direction, {**new, "v": v}


class ScheduleFreeRAdam(ScheduleFree):
    """Schedule-Free AdamW without a warm-up to choose: the rate grows as v becomes reliable, by
    RAdam's rectification. z makes the steps, the average x of all z is what to evaluate, and
    gradients are taken at y between the two. The parameters are y (w in the formula) in training;
    ``eval()``, ``averaged()`` or ``model=`` make them x.

    ::

        v <- beta2 v + (1 - beta2) g^2          g is taken at y
        rho_max = 2 / (1 - beta2) - 1
        rho = rho_max - 2 step beta2^step / (1 - beta2^step)
        rate = lr sqrt((rho - 4) (rho - 2) rho_max / ((rho_max - 4) (rho_max - 2) rho))
        u = g / (sqrt(v / (1 - beta2^step)) + eps) + weight_decay y
               where rho > 4, else rate = 0 (lr unless silent) and u = g + weight_decay y
        lr_max <- max(lr_max, rate)
        weight_sum <- weight_sum + step^r lr_max^weight_lr_power
        c = step^r lr_max^weight_lr_power / weight_sum    (0 while weight_sum is 0)
        z <- z - rate u
        x <- (1 - c) x + c z
        y <- (1 - beta1) z + beta1 x            y is w, and x need not be kept:
                                                x = w / beta1 + (1 - 1 / beta1) z

    State: ``step``; ``z`` and ``exp_avg_sq`` (v), of the parameter's shape; ``weight_sum`` and
    ``lr_max``, one number each. While the parameters are x also ``y``, so that the way back is
    exact. With a ``state_dtype`` shorter than the weights z loses steps that are small beside it.

    Where papers and code disagree:
        There is no paper on this one: rectification is RAdam's (Liu et al. 2020, arXiv:1908.03265),
        and it is applied where rho is above 4, as there; torch's RAdam asks for 5. What is said of
        the official code in :class:`~thalweg.optim.ScheduleFreeAdamW` holds here too. With beta2 up
        to 0.6 rho never gets above 4, and in the silent phase nothing is ever learnt.

    Reference: Defazio et al. 2024, NeurIPS, arXiv:2405.15682; official code: schedulefree 1.4.1,
    RAdamScheduleFree.
    """

    rule = clip_global_norm(maximize(schedule_free_radam))

    lr: Any = option(default=0.0025, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999),
        domain=(BETWEEN, DECAY),
        doc=(
            "how much of y is x (to be left alone during training, since x is told from y "
            "with it); how much of v is kept."
        ),
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="fraction of y taken off z per step and unit of lr."
    )
    r: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc="later z weigh more, by ``step^r``; 0 is the plain average.",
    )
    weight_lr_power: float = option(
        default=2.0,
        domain=NON_NEGATIVE,
        doc="z weigh by this power of the rate; 0: not by the rate.",
    )
    silent_sgd_phase: bool = choice(
        default=True,
        doc=(
            "while too few gradients are known for a variance (4 with beta2 = 0.999) only "
            "v moves; False: SGD's steps at lr meanwhile."
        ),
    )
