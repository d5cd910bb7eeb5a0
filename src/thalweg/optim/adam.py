"""Adam and its AMSGrad variant."""

from __future__ import annotations

from typing import Any, Literal

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
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
)
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}, nearest=("v_max",))
def adam(
    g: Any,
    m: Any,
    v: Any,
    v_max: Any,
    *,
    beta1: Any,
    beta2: Any,
    eps: Any,
    amsgrad: bool,
    convention: str,
    step: Any,
) -> Any:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    if convention == "eadam":
        v = v + eps
    new = {"m": m, "v": v}
    if amsgrad:
        new["v_max"] = v = maximum(v_max, v)
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    return m_hat / (sqrt(v_hat) if convention == "eadam" else sqrt(v_hat) + eps), new


class Adam(RuleOptimizer):
    """Moving averages of the gradient and of its square, freed of the bias of their start at zero:
    the step is the first over the root of the second, so its size is about lr in each coordinate.

    ::

        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^step)
        w <- w - lr m_hat / (sqrt(v_hat) + eps)

    State: ``step``; ``exp_avg`` (m), ``exp_avg_sq`` (v) and, with amsgrad, ``max_exp_avg_sq``, each
    of the parameter's shape.

    Where papers and code disagree:
        Section 2 of the paper offers a faster form whose eps is not corrected for bias; torch and
        this class use Algorithm 1, where eps stands beside the corrected root. AMSGrad's paper has
        no bias correction; torch takes the maximum of the uncorrected v and corrects it after.
        EAdam's code drops its change of place where amsgrad is set (eps stands beside the root
        again); here it holds for both.

    Reference: Kingma & Ba 2015, ICLR, arXiv:1412.6980, Algorithm 1; eadam: Yuan & Gao 2020,
    arXiv:2011.02150, Algorithm 2.
    """

    rule = clip_global_norm(
        maximize(either("decoupled_weight_decay", decoupled_decay(adam), l2_decay(adam)))
    )

    lr: Any = option(default=1e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per step.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-8,
        domain=NON_NEGATIVE,
        doc=(
            "keeps the quotient finite; units of the gradient. Values from 1e-12 to 1e-3 "
            "are in use, and they matter."
        ),
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc=(
            "L2 regularisation, ``g + weight_decay w``; for decay that the averages do "
            "not see, take :class:`~thalweg.optim.AdamW`."
        ),
    )
    amsgrad: bool = choice(
        default=False,
        doc="put the largest v so far in v's place (Reddi et al. 2018, arXiv:1904.09237).",
    )
    decoupled_weight_decay: bool = choice(
        default=False, doc="torch's switch to AdamW's decay.", kw_only=True
    )
    convention: Literal["torch", "eadam"] = choice(
        default="torch",
        choices=("torch", "eadam"),
        doc=(
            '``"torch"``: eps stands beside the root. ``"eadam"``: eps is added to v in '
            "every step instead, ``v <- beta2 v + (1 - beta2) g^2 + eps``, where it adds "
            "up to ``eps / (1 - beta2)`` under the root (units of the gradient squared)."
        ),
        kw_only=True,
    )
