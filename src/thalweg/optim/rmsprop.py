"""RMSprop."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, cautious, clip_global_norm, l2_decay, maximize, rule, sqrt
from thalweg.validation import NON_NEGATIVE, Interval


@bounded
@cautious
@rule(state={"v": "square_avg", "z": "momentum_buffer", "m": "grad_avg"}, compared=("v", "m"))
def rmsprop(
    g: Any, v: Any, z: Any, m: Any, *, alpha: Any, eps: Any, momentum: Any, centered: bool
) -> Any:
    v = alpha * v + (1 - alpha) * g * g
    new = {"v": v}
    if centered:
        new["m"] = m = alpha * m + (1 - alpha) * g
        v = v - m * m
    direction = g / (sqrt(v) + eps)
    if momentum:
        new["z"] = direction = momentum * z + direction
    return direction, new


class RMSprop(RuleOptimizer):
    """Divide the gradient by the root of a moving average of its square: Adagrad that forgets, so
    that its steps do not die out.

    ::

        v <- alpha v + (1 - alpha) g^2
        m <- alpha m + (1 - alpha) g            (centered: v - m^2 takes v's place below)
        z <- momentum z + g / (sqrt(v) + eps)
        w <- w - lr z

    State: ``step``; ``square_avg``, ``momentum_buffer`` (with momentum) and ``grad_avg``
    (centered), each of the parameter's shape.

    Where papers and code disagree:
        The method is a lecture slide and has no eps; with a gradient of zero it divides zero by
        zero. torch adds eps after the root, TensorFlow inside. In the centered form rounding can
        make ``v - m^2`` negative, and the step NaN, in torch and here alike.

    Reference: Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture 6.5; centered:
    Graves 2013, arXiv:1308.0850, eq. 38-45.
    """

    rule = clip_global_norm(maximize(l2_decay(rmsprop)))
    heedless = "each step has the gradient's sign, so that nothing would be left out"

    lr: Any = option(default=1e-2, domain=NON_NEGATIVE, doc="learning rate; units of w.")
    alpha: float = option(
        default=0.99, domain=Interval(0.0, 1.0), doc="how much of the average is kept, from 0 to 1."
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    momentum: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="of the scaled gradients; 0 keeps no buffer."
    )
    centered: bool = choice(
        default=False, doc="divide by the root of the variance instead of the mean square."
    )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if group["cautious"] and not group["momentum"]:
            raise ValueError(f"cautious=True needs momentum: without, {self.heedless}")
