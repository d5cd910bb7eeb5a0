"""Schedule-Free AdamW."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from torch import nn

from thalweg.optim.options import Common
from thalweg.optim.schedule_free import (
    AVERAGE,
    BETWEEN,
    DOMAINS,
    FACTS,
    FLAGS,
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

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step. Often larger than AdamW's.
        betas: how much of y is x, above 0 and below 1 (to be left alone during training, since x is
            told from y with it); how much of v is kept, from 0 to below 1.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        weight_decay: fraction of y taken off z per step and unit of lr, at least 0.
        warmup_steps: steps in which the rate grows from 0 to lr, at least 0.
        r: later z weigh more, by ``step^r``, at least 0; 0 is the plain average.
        weight_lr_power: z weigh by this power of the rate, at least 0; 0: not by the rate.
        averaging: which rate z weigh by: ``"lr_max"``, the largest so far, or ``"lr"``, the step's
            own. They differ once the rate falls.
        model: a module whose ``train()`` and ``eval()`` shall switch the parameters too; its flag
            ``training`` is looked at before its parts are run, and before a closure is.

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
    domains = {
        **DOMAINS,
        "beta1": BETWEEN,
        "beta2": DECAY,
        "eps": NON_NEGATIVE,
        "warmup_steps": NON_NEGATIVE,
    }
    flags = FLAGS

    def __init__(
        self,
        params: Any,
        lr: Any = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: float = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        averaging: Literal["lr_max", "lr"] = "lr_max",
        model: nn.Module | None = None,
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "r": r,
            "weight_lr_power": weight_lr_power,
            "averaging": averaging,
        }
        super().__init__(params, defaults, common, model)
