"""Adam and its AMSGrad variant."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
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

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step.
        betas: how much of each average is kept, from 0 to below 1.
        eps: keeps the quotient finite, at least 0; units of the gradient. Values from 1e-12 to 1e-3
            are in use, and they matter.
        weight_decay: L2 regularisation, ``g + weight_decay w``, at least 0; for decay that the
            averages do not see, take :class:`~thalweg.optim.AdamW`.
        amsgrad: put the largest v so far in v's place (Reddi et al. 2018, arXiv:1904.09237).
        decoupled_weight_decay: torch's switch to AdamW's decay.
        convention: ``"torch"``: eps stands beside the root. ``"eadam"``: eps is added to v in every
            step instead, ``v <- beta2 v + (1 - beta2) g^2 + eps``, where it adds up to
            ``eps / (1 - beta2)`` under the root (units of the gradient squared).

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
    domains = {
        "lr": NON_NEGATIVE,
        "beta1": DECAY,
        "beta2": DECAY,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }
    flags = {
        "amsgrad": (False, True),
        "decoupled_weight_decay": (False, True),
        "convention": ("torch", "eadam"),
    }

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        decoupled_weight_decay: bool = False,
        convention: Literal["torch", "eadam"] = "torch",
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "decoupled_weight_decay": decoupled_weight_decay,
            "convention": convention,
        }
        super().__init__(params, defaults, common)
