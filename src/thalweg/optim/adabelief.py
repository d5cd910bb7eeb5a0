"""AdaBelief."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.formulas import rectification
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
    rule,
    sqrt,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg", "s": "exp_avg_var", "s_max": "max_exp_avg_var"}, nearest=("s_max",))
def adabelief(
    g: Any, m: Any, s: Any, s_max: Any, *, beta1: Any, beta2: Any, eps: Any, amsgrad: bool,
    rectify: bool, degenerated_to_sgd: bool, step: Any,
) -> Any:  # fmt: skip
    m = beta1 * m + (1 - beta1) * g
    off = g - m
    s = beta2 * s + (1 - beta2) * (off * off) + eps
    new = {"m": m, "s": s}
    if amsgrad:
        new["s_max"] = s = maximum(s_max, s)
    m_hat = m / (1 - beta1**step)
    if not rectify:
        return m_hat / (sqrt(s / (1 - beta2**step)) + eps), new
    rho, r = rectification(beta2, step)
    early = m_hat if degenerated_to_sgd else 0
    late = named("r", r) * sqrt(1 - beta2**step) * m_hat / (sqrt(s) + eps)
    return where(rho >= 5, late, early), new


def _fixed_decay(rule: Rule) -> Rule:
    """Weights shrink by ``weight_decay`` beside the rule, whatever lr is."""

    def apply(w: Any, direction: Any, h: Any) -> Any:
        return rule.apply(w * (1 - h["weight_decay"]), direction, h)

    return rule.with_(apply=apply, scalars=rule.scalars | {"weight_decay"})


class AdaBelief(RuleOptimizer):
    """Adam that divides by how far the gradient is from what was expected, its moving average,
    instead of by how large it is: long steps where the average is to be believed.

    ::

        m <- beta1 m + (1 - beta1) g                    m_hat = m / (1 - beta1^step)
        s <- beta2 s + (1 - beta2) (g - m)^2 + eps      s_hat = s / (1 - beta2^step)
        w <- w - lr m_hat / (sqrt(s_hat) + eps)

    With ``rectify`` the step is multiplied by RAdam's r, and is ``lr m_hat`` while rho is below 5:
    ``rho_max = 2 / (1 - beta2) - 1``, ``rho = rho_max - 2 step beta2^step / (1 - beta2^step)``,
    ``r = sqrt((rho - 4) (rho - 2) rho_max / ((rho_max - 4) (rho_max - 2) rho))``.

    State: ``step``; ``exp_avg`` (m), ``exp_avg_var`` (s) and, with amsgrad, ``max_exp_avg_var``,
    each of the parameter's shape.

    Where papers and code disagree:
        The paper has no rectification, and projects each step onto a feasible set in the norm that
        sqrt(s_hat) weighs; the code does not, ``bounds`` does so for a box. adabelief-pytorch up to
        0.0.5 had eps 1e-8, rectify False and weight_decouple False; since 0.1.0 they are 1e-16,
        True and True, as here. Rectified, the code adds eps to the root before the correction for
        bias, otherwise after it; it then also ignores amsgrad, which is refused here. Its L2 decay
        writes to ``p.grad``.

    Reference: Zhuang et al. 2020, NeurIPS, arXiv:2010.07468, Algorithm 2; official code:
    adabelief-pytorch 0.2.1.
    """

    rule = clip_global_norm(
        maximize(
            either(
                "weight_decouple",
                either("fixed_decay", _fixed_decay(adabelief), decoupled_decay(adabelief)),
                l2_decay(adabelief),
            )
        )
    )

    lr: Any = option(default=1e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-16,
        domain=NON_NEGATIVE,
        doc=(
            "added to s in each step and to its root; the authors advise 1e-8 where SGD "
            "beats Adam and 1e-16 where Adam beats SGD."
        ),
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )
    amsgrad: bool = choice(
        default=False, doc="put the largest s so far in s's place; without ``rectify`` only."
    )
    weight_decouple: bool = choice(
        default=True, doc="False: weight_decay is L2 regularisation, ``g + weight_decay w``."
    )
    fixed_decay: bool = choice(
        default=False,
        doc="weights shrink by ``weight_decay`` whatever lr is; with ``weight_decouple``.",
    )
    rectify: bool = choice(default=True, doc="hold steps back while s is an average of few.")
    degenerated_to_sgd: bool = choice(
        default=True, doc="with ``rectify``: whether to step at all while rho is below 5."
    )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name, needs, value in (
            ("amsgrad", "rectify", False),
            ("fixed_decay", "weight_decouple", True),
        ):
            if group[name] and group[needs] is not value:
                raise ValueError(f"{name}=True needs {needs}={value}, not {not value}")
