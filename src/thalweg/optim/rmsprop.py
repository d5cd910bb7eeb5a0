"""RMSprop."""

from __future__ import annotations

from typing import Any, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
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

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w.
        alpha: how much of the average is kept, from 0 to 1.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        weight_decay: L2 regularisation, ``g + weight_decay w``, at least 0.
        momentum: of the scaled gradients, at least 0; 0 keeps no buffer.
        centered: divide by the root of the variance instead of the mean square.

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
    domains = {
        "lr": NON_NEGATIVE,
        "momentum": NON_NEGATIVE,
        "alpha": Interval(0.0, 1.0),
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }
    heedless = "each step has the gradient's sign, so that nothing would be left out"
    flags = {"centered": (False, True)}

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults, common)

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if group["cautious"] and not group["momentum"]:
            raise ValueError(f"cautious=True needs momentum: without, {self.heedless}")
