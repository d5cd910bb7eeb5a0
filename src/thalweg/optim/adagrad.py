"""Adagrad."""

from __future__ import annotations

from typing import Any, Literal

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, clip_global_norm, l2_decay, maximize, rule, sqrt
from thalweg.validation import NON_NEGATIVE


@bounded
@rule(
    state={"s": "sum"},
    start={"s": "initial_accumulator_value"},
    sparse=lambda h: "refused" if h["weight_decay"] else "rows",
)
def adagrad(g: Any, s: Any, *, lr_decay: Any, eps: Any, convention: str, step: Any) -> Any:
    s = s + g * g
    root = sqrt(s + eps) if convention == "inside" else sqrt(s) + eps
    return g / (1 + (step - 1) * lr_decay) / root, {"s": s}


class Adagrad(RuleOptimizer):
    """Divide each coordinate's gradient by the root of the sum of all its squares so far.
    Coordinates that are rarely touched keep a large step, which suits sparse features; the sum
    only grows, so every step shrinks in the end.

    ::

        s <- s + g^2
        w <- w - lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps)

    State: ``step``; ``sum``, of the parameter's shape, allocated at construction as torch does.

    Where papers and code disagree:
        The paper adds its constant to the root, as torch does (1e-10); the lecture that this
        package grows from, and many a textbook, add it under the root (1e-8). The paper's general
        form has a full matrix of products where this has the diagonal.

    Reference: Duchi, Hazan & Singer 2011, JMLR 12:2121-2159.
    """

    rule = clip_global_norm(maximize(l2_decay(adagrad)))
    heedless = "each of its steps has the gradient's sign, so that nothing would be left out"
    eager = True

    lr: Any = option(default=1e-2, domain=NON_NEGATIVE, doc="learning rate; units of w.")
    lr_decay: float = option(default=0.0, domain=NON_NEGATIVE, doc="1/t decay of lr per step.")
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    initial_accumulator_value: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="what s starts at; units of the gradient squared."
    )
    eps: float = option(
        default=1e-10, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    convention: Literal["torch", "inside"] = choice(
        default="torch",
        choices=("torch", "inside"),
        doc=(
            '``"torch"``: eps is added to the root. ``"inside"``: it is added to s under '
            "the root (units of the gradient squared)."
        ),
        kw_only=True,
    )
