"""Schedule-Free SGD."""

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
from thalweg.rule import clip_global_norm, l2_decay, maximize, minimum, rule
from thalweg.rule.words import named
from thalweg.validation import NON_NEGATIVE


@rule(state={"z": "z", **AVERAGE}, views=views("momentum"), **FACTS)
def schedule_free_sgd(
    w: Any, g: Any, z: Any, weight_sum: Any, lr_max: Any, *, lr: Any, momentum: Any,
    warmup_steps: Any, r: Any, weight_lr_power: Any, averaging: str, step: Any,
) -> Any:  # fmt: skip
    rate = named("rate", lr * minimum(step / warmup_steps, 1)) if warmup_steps else lr
    return average(
        w, g, z, weight_sum, lr_max, rate=rate, beta=momentum, r=r,
        weight_lr_power=weight_lr_power, averaging=averaging, step=step,
    )  # fmt: skip


class ScheduleFreeSGD(ScheduleFree):
    """SGD without a schedule, and without having to know when training will end: z descends at a
    constant rate, the average x of all z is what to evaluate, and gradients are taken at y between
    the two. The parameters are y (w in the formula) in training; ``eval()``, ``averaged()`` or
    ``model=`` make them x.

    ::

        rate = lr min(step / warmup_steps, 1)
        lr_max <- max(lr_max, rate)
        weight_sum <- weight_sum + step^r lr_max^weight_lr_power
        c = step^r lr_max^weight_lr_power / weight_sum
        z <- z - rate g                         g is taken at y
        x <- (1 - c) x + c z
        y <- (1 - momentum) z + momentum x      y is w, and x need not be kept:
                                                x = w / momentum + (1 - 1 / momentum) z

    State: ``step``; ``z``, of the parameter's shape; ``weight_sum`` and ``lr_max``, one number
    each. While the parameters are x also ``y``, so that the way back is exact. With a
    ``state_dtype`` shorter than the weights z loses steps that are small beside it.

    Where papers and code disagree:
        The paper weighs by the rate of the step, c = rate^2 / sum of rate^2 (``"lr"``), the
        official code by the largest so far. The official code counts steps, weights and the largest
        rate by group, also for parameters that had no gradient; here each parameter counts its own.
        It writes the decay into ``p.grad``, starts in evaluation mode, and comes back from it with
        rounding errors; its groups added during training are not averaged, and the next ``train()``
        spoils their weights; lr = 0 in a tensor gives NaN.

    Reference: Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024, NeurIPS, arXiv:2405.15682;
    official code: schedulefree 1.4.1, SGDScheduleFree.
    """

    rule = clip_global_norm(maximize(l2_decay(schedule_free_sgd)))

    lr: Any = option(
        default=1.0,
        domain=NON_NEGATIVE,
        doc=("learning rate; units of w per unit of gradient. Larger than SGD's: it never decays."),
    )
    momentum: float = option(
        default=0.9,
        domain=BETWEEN,
        doc=(
            "how much of y is x; to be left alone during training, since x is told from y with it."
        ),
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation at y, ``g + weight_decay w``."
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
