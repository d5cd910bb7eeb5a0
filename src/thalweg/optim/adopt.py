"""ADOPT."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
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

    lr: Any = option(default=1e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.9999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-6, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    clip_lambda: float | None = option(
        default=0.25,
        domain=Interval(0.0, optional=True),
        doc=(
            "exponent of the bound on the scaled gradient, at least 0; None: no bound. "
            "The official code takes a function of the number of steps before this one; "
            "its default ``lambda step: step**0.25`` is 0.25 here."
        ),
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc="L2 regularisation, ``g + weight_decay w``; see decouple.",
    )
    decouple: bool = choice(
        default=False,
        doc=(
            "weights shrink by ``lr weight_decay`` beside the step instead, as in AdamW; "
            "not in the first step."
        ),
    )
