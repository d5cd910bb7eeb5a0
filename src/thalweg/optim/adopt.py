"""ADOPT."""

from __future__ import annotations

from typing import Any, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
from thalweg.rule import (
    Rule,
    bounded,
    cautious,
    clip_global_norm,
    decoupled_decay,
    either,
    l2_decay,
    maximize,
    maximum,
    minimum,
    rule,
    sqrt,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


@bounded
@cautious
@rule(state={"m": "exp_avg", "v": "exp_avg_sq"})
def adopt(
    g: Any, m: Any, v: Any, *, beta1: Any, beta2: Any, eps: Any, clip_lambda: Any, step: Any
) -> Any:
    scaled = named("scaled", g / maximum(sqrt(v), eps))
    if clip_lambda is not None:
        bound = named("bound", (step - 1) ** clip_lambda)
        scaled = maximum(minimum(scaled, bound), -bound)
    m = where(step == 1, m, beta1 * m + (1 - beta1) * scaled)
    v = where(step == 1, g * g, beta2 * v + (1 - beta2) * g * g)
    return m, {"m": m, "v": v}


def _look_first(rule: Rule) -> Rule:
    """A parameter's first step leaves the weights where they are: its rate is 0."""

    def apply(w: Any, direction: Any, h: Any) -> Any:
        return rule.apply(w, direction, {**h, "lr": where(h["step"] == 1, 0, h["lr"])})

    return rule.with_(apply=apply)


class ADOPT(RuleOptimizer):
    """Adam that divides the gradient by the root of the *previous* v, so that the two are
    independent, and averages after dividing: with both changes it converges for any beta2.

    ::

        scaled = g / max(sqrt(v), eps)          clipped to within +-(step - 1)^clip_lambda
        m <- beta1 m + (1 - beta1) scaled
        w <- w - lr m
        v <- beta2 v + (1 - beta2) g^2          (step 1: only v <- g^2)

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step.
        betas: how much of each average is kept, from 0 to below 1.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        clip_lambda: exponent of the bound on the scaled gradient, at least 0; None: no bound. The
            official code takes a function of the number of steps before this one; its default
            ``lambda step: step**0.25`` is 0.25 here.
        weight_decay: L2 regularisation, ``g + weight_decay w``, at least 0; see decouple.
        decouple: weights shrink by ``lr weight_decay`` beside the step instead, as in AdamW; not in
            the first step.

    State: ``step``; ``exp_avg`` (m) and ``exp_avg_sq`` (v), each of the parameter's shape.

    Where papers and code disagree:
        The paper's first version, and the code until November 2024, clip nothing, and an early
        division by a small v can be fatal; since then both clip at step^(1/4). The paper takes v_0
        from a gradient that it does not count; to the code, and here, that is a step.

    Reference: Taniguchi, Harada, Minegishi, Oshima, Jeong, Nagahara, Iiyama, Suzuki, Iwasawa &
    Matsuo 2024, NeurIPS, arXiv:2411.02853, Algorithm 2; official code: iShohei220/adopt.
    """

    rule = clip_global_norm(
        maximize(_look_first(either("decouple", decoupled_decay(adopt), l2_decay(adopt))))
    )
    domains = {
        "lr": NON_NEGATIVE,
        "beta1": DECAY,
        "beta2": DECAY,
        "eps": NON_NEGATIVE,
        "clip_lambda": Interval(0.0, optional=True),
        "weight_decay": NON_NEGATIVE,
    }
    flags = {"decouple": (False, True)}

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        clip_lambda: float | None = 0.25,
        weight_decay: float = 0.0,
        decouple: bool = False,
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "clip_lambda": clip_lambda,
            "weight_decay": weight_decay,
            "decouple": decouple,
        }
        super().__init__(params, defaults, common)
