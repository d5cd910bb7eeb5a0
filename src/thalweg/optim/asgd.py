"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import clip_global_norm, l2_decay, maximize, maximum, rule
from thalweg.validation import NON_NEGATIVE


@rule(
    state={"eta": "eta", "mu": "mu", "ax": "ax"},
    scalar=("eta", "mu"),
    start={"eta": "lr", "mu": 1.0},
    apply=lambda w, moved, h: moved,
)
def asgd(
    w: Any,
    g: Any,
    eta: Any,
    mu: Any,
    ax: Any,
    *,
    lr: Any,
    lambd: Any,
    alpha: Any,
    t0: Any,
    step: Any,
) -> Any:
    w = (1 - lambd * eta) * w - eta * g
    ax = (1 - mu) * ax + mu * w
    eta = lr / (1 + lambd * lr * step) ** alpha
    mu = 1 / maximum(step - t0, 1)
    return w, {"eta": eta, "mu": mu, "ax": ax}


class ASGD(RuleOptimizer):
    """Gradient descent whose rate falls slowly, and beside it the mean of the weights that it went
    through. The mean is less noisy than any of them; it is kept in the state and never stepped to.

    ::

        w   <- (1 - lambd eta) w - eta g
        ax  <- (1 - mu) ax + mu w
        eta <- lr / (1 + lambd lr step)^alpha   (lr at a parameter's first step)
        mu  <- 1 / max(step - t0, 1)            (1 at a parameter's first step)

    State: ``step``; ``eta`` and ``mu``, one number each per parameter; ``ax``, the mean, of the
    parameter's shape. For evaluation copy ``ax`` into the weights.

    Where papers and code disagree:
        Polyak & Juditsky average from the first step. The falling rate with ``lambd`` and its power
        of 0.75, and mu, are those of Bottou's svmasgd, after Xu; there lambd is the objective's L2
        regularisation. In torch and here it decays w beside the gradient all the same, and
        weight_decay comes on top. torch computes eta and mu at
        the end of a step for the next one, so what a schedule makes of lr is used a step late; it
        keeps them in its default dtype, float32, this class in double precision.

    Reference: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4):838-855; Xu 2011,
    arXiv:1107.2490; Bottou's sgd, svm/svmasgd.cpp.
    """

    rule = clip_global_norm(maximize(l2_decay(asgd)))
    heedless = "its rule says where to go, not in which direction"
    boundless = "the mean that it keeps would be of weights from before they were cut off"

    lr: Any = option(
        default=1e-2,
        domain=NON_NEGATIVE,
        doc="learning rate at the start; units of w per unit of gradient.",
    )
    lambd: float = option(
        default=1e-4,
        domain=NON_NEGATIVE,
        doc="how much w shrinks per step and unit of eta, and how early eta falls.",
    )
    alpha: float = option(
        default=0.75,
        domain=NON_NEGATIVE,
        doc="how fast eta falls in the end: with the power -alpha of the step.",
    )
    t0: float = option(
        default=1e6,
        domain=NON_NEGATIVE,
        doc=(
            "steps after which averaging starts; until then ``ax`` is w itself. The "
            "default of a million is beyond most trainings."
        ),
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
