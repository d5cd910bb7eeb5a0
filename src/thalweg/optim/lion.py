"""Lion."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, cautious, clip_global_norm, decoupled_decay, maximize, rule, sign
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg"}, counts=False)
def lion(g: Any, m: Any, *, beta1: Any, beta2: Any) -> Any:
    direction = sign(beta1 * m + (1 - beta1) * g)
    return direction, {"m": beta2 * m + (1 - beta2) * g}


class Lion(RuleOptimizer):
    """Step by lr in every coordinate, in the direction of the sign of a moving average: a rule that
    a program search found. One average serves twice: the step looks at it with more weight on the
    present gradient (beta1) than it is remembered with (beta2).

    ::

        w <- (1 - lr weight_decay) w
        w <- w - lr sign(beta1 m + (1 - beta1) g)
        m <- beta2 m + (1 - beta2) g

    State: ``exp_avg`` (m), of the parameter's shape (``step`` is not kept).

    Where papers and code disagree:
        The paper takes the decay off in the same line as the step, the official PyTorch code (and
        this class) before it, which is the same. Its default is 0 there and 1e-3 in optax. A
        coordinate whose average is exactly zero does not move: the sign is 0 there.

    Reference: Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu & Le 2023, NeurIPS,
    arXiv:2302.06675, Algorithm 2; official code: google/automl, lion/lion_pytorch.py.
    """

    rule = clip_global_norm(maximize(decoupled_decay(lion)))

    lr: Any = option(
        default=1e-4,
        domain=NON_NEGATIVE,
        doc=(
            "learning rate; units of w per step, which is the size of each step. 3 to 10 "
            "times smaller than AdamW's."
        ),
    )
    betas: tuple[float, float] = option(
        default=(0.9, 0.99),
        domain=(DECAY, DECAY),
        doc="how much of the average is kept in the step and in memory.",
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc=(
            "fraction of w taken off per step and unit of lr; 3 to 10 times larger than "
            "AdamW's, as the rate is smaller."
        ),
    )
