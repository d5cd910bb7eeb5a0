"""MADGRAD."""

from __future__ import annotations

from typing import Any, Literal

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import cbrt, clip_global_norm, either, l2_decay, maximize, rule, sqrt, where
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


def _rate(h: Any) -> Any:
    """The official code adds eps to a learning rate that is not zero."""
    return h["lr"] if h["convention"] == "paper" else where(h["lr"] != 0, h["lr"] + h["eps"], 0)


def _apply(w: Any, z: Any, h: Any) -> Any:
    return h["momentum"] * w + (1 - h["momentum"]) * z if h["momentum"] else z


def _decayed(w: Any, z: Any, h: Any) -> Any:
    return _apply(w, z, h) - _rate(h) * h["weight_decay"] * w


@rule(
    state={"s": "s", "nu": "grad_sum_sq", "x0": "x0"},
    start={"x0": "w"},
    apply=_apply,
    sparse=lambda h: "refused" if h["weight_decay"] or h["momentum"] else "rows",
)
def madgrad(
    w: Any, g: Any, s: Any, nu: Any, x0: Any, *, lr: Any, momentum: Any, eps: Any, convention: str,
    step: Any,
) -> Any:  # fmt: skip
    def quotient(s: Any, nu: Any) -> Any:
        root = cbrt(nu) + eps
        # Without eps nothing is done to a weight whose gradients have all been zero.
        return s / root if eps else where(root != 0, s / root, 0)

    rate = _rate({"lr": lr, "eps": eps, "convention": convention})
    lambda_k = named("lambda", rate * sqrt(step))
    before = quotient(s, nu)
    s = s + lambda_k * g
    nu = nu + lambda_k * g * g
    if momentum:
        return named("z", x0 - quotient(s, nu)), {"s": s, "nu": nu, "x0": x0}
    # The start need not be kept: w is where the last step led from it.
    return w + (before - quotient(s, nu)), {"s": s, "nu": nu}


class MADGRAD(RuleOptimizer):
    """AdaGrad by dual averaging: the next point is the *start* minus the scaled sum of all
    gradients, of which later ones weigh more. The sum of squares is under a cube root; momentum
    averages the points.

    ::

        lambda = (lr + eps) sqrt(step)
        s  <- s + lambda g
        nu <- nu + lambda g^2
        z  = x0 - s / (cbrt(nu) + eps)
        w  <- momentum w + (1 - momentum) z

    State: ``step``; ``s``, ``grad_sum_sq`` (nu) and, with momentum, ``x0`` (the weights before the
    first step), each of the parameter's shape. A short ``state_dtype`` makes x0 short as well.

    Where papers and code disagree:
        The paper has no eps in lambda, and 1 - momentum (its c) may change with the step. The
        official code counts steps for all parameters together, so that one with a late first
        gradient starts with a large lambda; here each counts its own. With momentum 0 and eps 0
        the official code divides zero by zero at the first step; here such weights stay.

    Reference: Defazio & Jelassi 2022, JMLR 23(144), arXiv:2101.11075, Algorithm 1; official code:
    madgrad 1.3.
    """

    rule = clip_global_norm(
        maximize(either("decouple_decay", madgrad.with_(apply=_decayed), l2_decay(madgrad)))
    )
    heedless = "its rule says where to go, not in which direction"
    boundless = "it goes from the start every time: what is cut off comes back with the next step"

    lr: Any = option(
        default=1e-2, domain=NON_NEGATIVE, doc="learning rate; not comparable with SGD's or Adam's."
    )
    momentum: float = option(
        default=0.9, domain=DECAY, doc="how much of w is kept; 0 does not keep x0."
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc=(
            "L2 regularisation, ``g + weight_decay w``; less is needed than for other "
            "methods, often none. See decouple_decay."
        ),
    )
    eps: float = option(
        default=1e-6,
        domain=NON_NEGATIVE,
        doc=(
            "keeps the quotient finite; units of the root. 0 helps where gradients are very small."
        ),
    )
    decouple_decay: bool = choice(
        default=False,
        doc=("take ``lr weight_decay w`` off beside the step instead (with the lr of lambda)."),
    )
    convention: Literal["official", "paper"] = choice(
        default="official",
        choices=("official", "paper"),
        doc='``"official"``: eps is added to lr. ``"paper"``: lr is what it is.',
        kw_only=True,
    )

    def _accept(self, given: Any) -> None:
        if "k" in self.state:  # the official code's count of steps, one for all parameters
            counted = {"step": self.state.pop("k")}  # type: ignore[call-overload]
            given["state"] = {i: {**s, **counted} for i, s in given["state"].items() if i != "k"}
