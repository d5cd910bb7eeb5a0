"""Padam: partially adaptive momentum."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.groups import Group
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    cautious,
    clip_global_norm,
    l2_decay,
    maximize,
    maximum,
    rule,
    sqrt,
)
from thalweg.rule.rule import Values
from thalweg.validation import DECAY, NON_NEGATIVE, Interval

# Powers 2 p that are square roots, for a power in general takes many times as long.
ROOTS = {1 / 2: "", 1 / 4: "√", 1 / 8: "√√", 1 / 16: "√√√"}


@bounded
@cautious
@rule(state={"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}, nearest=("v_max",))
def padam(
    g: Any,
    m: Any,
    v: Any,
    v_max: Any,
    *,
    beta1: Any,
    beta2: Any,
    eps: Any,
    partial: Any,
    roots: str | None,
    amsgrad: bool,
    step: Any,
) -> Any:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    new = {"m": m, "v": v}
    if amsgrad:
        new["v_max"] = v = maximum(v_max, v)
    scale = sqrt(v) + eps
    if roots is None:
        scale = scale ** (2 * partial)
    else:
        for _ in roots:
            scale = sqrt(scale)
    return sqrt(1 - beta2**step) / (1 - beta1**step) * m / scale, new


class Padam(RuleOptimizer):
    """Adam's divisor raised to a power between that of momentum SGD (0) and that of AMSGrad (1/2):
    partly adaptive, for Adam's early speed and SGD's generalisation.

    ::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2          v_max <- max(v_max, v)
        c = sqrt(1 - beta2^step) / (1 - beta1^step)
        w <- w - lr c m / (sqrt(v_max) + eps)^(2 partial)

    State: ``step``; ``exp_avg`` (m), ``exp_avg_sq`` (v) and, with amsgrad, ``max_exp_avg_sq``
    (v_max), each of the parameter's shape.

    Where papers and code disagree:
        The paper corrects no bias and has no eps. The official code (uclaml/Padam) takes Adam's
        step and raises only the divisor to the power: the correction of v stays a square root
        whatever the power, and eps is raised with the root. Its default for partial is 1/4, that of
        its training scripts 1/8.

    Reference: Chen, Zhou, Tang, Yang, Cao & Gu 2020, IJCAI, arXiv:1806.06763, Algorithm 1.
    """

    rule = clip_global_norm(maximize(l2_decay(padam)))
    linked = ("partial",)

    lr: Any = option(
        default=1e-1,
        domain=NON_NEGATIVE,
        doc=(
            "learning rate; units of w per unit of gradient to the power 1 - 2 partial, "
            "hence much larger than Adam's."
        ),
    )
    betas: tuple[float, float] = option(
        default=(0.9, 0.999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    amsgrad: bool = choice(
        default=True, doc="divide by the largest v so far, as the paper does; False: by v."
    )
    partial: float = option(
        default=1 / 4,
        domain=Interval(0.0, 0.5),
        doc=(
            "the power p of v, from 0 to 1/2. 1/2, 1/4, 1/8 and 1/16 are computed by "
            "square roots; any other power is several times slower."
        ),
    )

    def hyperparameters(self, group: Group) -> Values:
        """A group's options by the rule's names, and which square roots make the power."""
        values = super().hyperparameters(group)
        return {**values, "roots": ROOTS.get(values["partial"])}
