"""Adagrad."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
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

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w.
        lr_decay: 1/t decay of lr per step, at least 0.
        weight_decay: L2 regularisation, ``g + weight_decay w``, at least 0.
        initial_accumulator_value: what s starts at, at least 0; units of the gradient squared.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        convention: ``"torch"``: eps is added to the root. ``"inside"``: it is added to s under the
            root (units of the gradient squared).

    State: ``step``; ``sum``, of the parameter's shape, allocated at construction as torch does.

    Where papers and code disagree:
        The paper adds its constant to the root, as torch does (1e-10); the lecture that this
        package grows from, and many a textbook, add it under the root (1e-8). The paper's general
        form has a full matrix of products where this has the diagonal.

    Reference: Duchi, Hazan & Singer 2011, JMLR 12:2121-2159.
    """

    rule = clip_global_norm(maximize(l2_decay(adagrad)))
    heedless = "each of its steps has the gradient's sign, so that nothing would be left out"
    domains = {
        "lr": NON_NEGATIVE,
        "lr_decay": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "initial_accumulator_value": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
    }
    flags = {"convention": ("torch", "inside")}
    eager = True

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        convention: Literal["torch", "inside"] = "torch",
        **common: Unpack[Common],
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "convention": convention,
        }
        super().__init__(params, defaults, common)
