"""Schedule-Free AdamW."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.schedule_free import (
    AVERAGE,
    BETWEEN,
    FACTS,
    ScheduleFree,
    average,
    views,
)
from thalweg.rule import clip_global_norm, maximize, minimum, rule, sqrt
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@rule(state={"z": "z", "v": "exp_avg_sq", **AVERAGE}, views=views("beta1"), **FACTS)
def schedule_free_adamw(
    w: Any, g: Any, z: Any, v: Any, weight_sum: Any, lr_max: Any, *, lr: Any, beta1: Any,
    beta2: Any, eps: Any, weight_decay: Any, warmup_steps: Any, r: Any, weight_lr_power: Any,
    averaging: str, step: Any,
) -> Any:  # fmt: skip
    v = beta2 * v + (1 - beta2) * g * g
    v_hat = v / (1 - beta2**step)
    u = g / (sqrt(v_hat) + eps)
    if weight_decay:
        u = u + weight_decay * w
    rate = named("rate", lr * minimum(step / warmup_steps, 1)) if warmup_steps else lr
    direction, new = average(
        w, named("u", u), z, weight_sum, lr_max, rate=rate, beta=beta1, r=r,
        weight_lr_power=weight_lr_power, averaging=averaging, step=step,
    )  # fmt: skip
    return direction, {**new, "v": v}


class ScheduleFreeAdamW(ScheduleFree):
    """AdamW without a schedule, and without having to know when training will end: z makes Adam's
    steps without their momentum, the average x of all z is what to evaluate, and gradients are
    taken at y between the two. The parameters are y (w in the formula) in training; ``eval()``,
    ``averaged()`` or ``model=`` make them x.

    ::

        v <- beta2 v + (1 - beta2) g^2          g is taken at y
        u = g / (sqrt(v / (1 - beta2^step)) + eps) + weight_decay y
        rate = lr min(step / warmup_steps, 1)
        lr_max <- max(lr_max, rate)
        weight_sum <- weight_sum + step^r lr_max^weight_lr_power
        c = step^r lr_max^weight_lr_power / weight_sum
        z <- z - rate u
        x <- (1 - c) x + c z
        y <- (1 - beta1) z + beta1 x            y is w, and x need not be kept:
                                                x = w / beta1 + (1 - 1 / beta1) z

    State: ``step``; ``z`` and ``exp_avg_sq`` (v), of the parameter's shape; ``weight_sum`` and
    ``lr_max``, one number each. While the parameters are x also ``y``, so that the way back is
    exact. With a ``state_dtype`` shorter than the weights z loses steps that are small beside it.

    Where papers and code disagree:
        The paper weighs by the rate of the step, c = rate^2 / sum of rate^2 (``"lr"``), the
        official code by the largest so far. Copies of Algorithm 1 that write ``x <- (1 - c) + c z``
        have lost an x. The official code counts steps, weights and the largest rate by group, also
        for parameters that had no gradient; here each parameter counts its own. It overwrites
        ``p.grad``, starts in evaluation mode, and comes back from it with rounding errors; its
        groups added during training are not averaged, and the next ``train()`` spoils their
        weights; it takes any number for any option, beta1 = 0 until it divides by it in ``eval()``;
        lr = 0 in a tensor gives NaN. Complex weights are pairs of real ones here, as in torch.

    Reference: Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024, NeurIPS, arXiv:2405.15682,
    Algorithm 1; official code: schedulefree 1.4.1, AdamWScheduleFree.
    """

    rule = clip_global_norm(maximize(schedule_free_adamw))

    lr: Any = option(
        default=0.0025,
        domain=NON_NEGATIVE,
        doc="learning rate; units of w per step. Often larger than AdamW's.",
    )
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
    warmup_steps: float = option(
        default=0, domain=NON_NEGATIVE, doc="steps in which the rate grows from 0 to lr."
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
