"""Adan."""

from __future__ import annotations

from typing import Any, Literal

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import bounded, cautious, clip_global_norm, maximize, rule, sqrt, total, where
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


def _apply(w: Any, direction: Any, h: Any) -> Any:
    decay = h["lr"] * h["weight_decay"]
    if h["no_prox"]:
        return w * (1 - decay) - h["lr"] * direction
    return (w - h["lr"] * direction) / (1 + decay)


@bounded
@cautious
@rule(
    state={
        "m": "exp_avg",
        "v": "exp_avg_diff",
        "n": "exp_avg_sq",
        "p": "neg_pre_grad",
        "k": "restart_step",
        "path": "restart_path",
    },
    scalar=("k", "path"),
    nearest=("p",),
    apply=_apply,
)
def adan(
    w: Any, g: Any, m: Any, v: Any, n: Any, p: Any, k: Any, path: Any, *, lr: Any, beta1: Any,
    beta2: Any, beta3: Any, eps: Any, weight_decay: Any, no_prox: bool, convention: str,
    restart_radius: Any, step: Any,
) -> Any:  # fmt: skip
    restart = None if restart_radius is None else k * path > restart_radius * restart_radius
    k = step if restart is None else where(restart, 0, k) + 1
    first, paper = k == 1, convention == "paper"

    def average(old: Any, beta: Any, x: Any, whole: Any) -> Any:
        kept = beta if restart is None else where(first, 0, beta)
        return kept * old + (where(whole, 1, 1 - beta) if paper else 1 - beta) * x

    d = named("d", where(first, 0, g + p))
    u = named("u", g + beta2 * d)
    m = average(m, beta1, g, first)
    v = average(v, beta2, d, k <= 2)
    n = average(n, beta3, u * u, first)
    new = {"m": m, "v": v, "n": n, "p": -g}
    if paper:
        direction, root = m + beta2 * v, sqrt(n) + eps
    else:
        direction = m / (1 - beta1**k) + beta2 * v / (1 - beta2**k)
        root = sqrt(n / (1 - beta3**k)) + eps
    direction = direction / root
    if restart is not None:
        move = lr * (direction + weight_decay * w) / (1 if no_prox else 1 + lr * weight_decay)
        new["k"], new["path"] = k, where(restart, 0, path) + total(move * move * root, "all")
    return direction, new


class Adan(RuleOptimizer):
    """Adam with Nesterov's momentum, which needs no gradient at another point: the change of the
    gradient since the last step, d, has a moving average of its own and takes part in the square.

    ::

        d = g - g_before                                (0 at a parameter's first step)
        m <- beta1 m + (1 - beta1) g                    m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) d                    v_hat = v / (1 - beta2^step)
        n <- beta3 n + (1 - beta3) (g + beta2 d)^2      n_hat = n / (1 - beta3^step)
        w <- (w - lr (m_hat + beta2 v_hat) / (sqrt(n_hat) + eps)) / (1 + lr weight_decay)

    State: ``step``; ``exp_avg`` (m), ``exp_avg_diff`` (v), ``exp_avg_sq`` (n) and ``neg_pre_grad``
    (-g), each of the parameter's shape; with restart_radius, ``restart_step`` (k) and
    ``restart_path`` (the sum), one number each.

    Where papers and code disagree:
        See convention and betas. The official code never restarts by itself (its ``restart_opt()``
        is ``restart()`` here), nor did the paper's experiments, but for those of Table 12. It
        counts steps by group, here each parameter counts its own. Its
        ``max_grad_norm`` is 0, here None, for no clipping; it adds eps to the norm, and scales
        ``p.grad`` itself.

    Reference: Xie, Zhou, Li, Lin & Yan 2024, IEEE TPAMI 46(12), arXiv:2208.06677, Algorithm 1;
    official code: sail-sg/Adan, adan.py.
    """

    rule = clip_global_norm(maximize(adan))
    united = (*RuleOptimizer.united, "restart_radius")

    lr: Any = option(
        default=1e-3,
        domain=NON_NEGATIVE,
        doc="learning rate; units of w per step, 5 to 10 times Adam's.",
    )
    betas: tuple[float, float, float] = option(
        default=(0.98, 0.92, 0.99),
        domain=(DECAY, DECAY, DECAY),
        doc="how much of each average is kept; the paper's are one minus these.",
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc="decoupled decay per step and unit of lr, by the proximal formula.",
    )
    no_prox: bool = choice(
        default=False,
        doc="shrink w by ``1 - lr weight_decay`` before the step instead, as AdamW does.",
    )
    convention: Literal["official", "paper"] = choice(
        default="official",
        choices=("official", "paper"),
        doc=(
            '``"official"``: averages start at zero and are corrected for it. '
            '``"paper"``: no correction; m, v and n start as g, 0 and g^2, and v is the '
            "whole of d at step 2."
        ),
        kw_only=True,
    )
    restart_radius: float | None = option(
        default=None,
        domain=Interval(0.0, optional=True),
        doc=(
            "R of the paper's condition, at least 0: start afresh, from the present "
            "weights, once ``k sum |w_new - w|^2 > R^2`` over the k steps since the last "
            "start, where each square is weighted by ``sqrt(n_hat) + eps`` and the sum "
            "runs over all parameters. None: never; ``restart()`` does it by hand."
        ),
        kw_only=True,
    )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if group["cautious"] and group["restart_radius"] is not None:
            raise ValueError("cautious=True needs restart_radius=None: R speaks of whole steps")
        if group["bounds"] is not None and group["restart_radius"] is not None:
            raise ValueError("bounds need restart_radius=None: R speaks of whole steps")

    def _accept(self, given: Any) -> None:
        for group, saved in zip(self.param_groups, given["param_groups"], strict=True):
            if "step" in saved:  # the official code's: counted by group, 0 for no clipping
                group["max_grad_norm"] = saved["max_grad_norm"] or None
                counted = {"step": group.pop("step")}
                given["state"] = {
                    i: {**s, **counted} if i in saved["params"] else s
                    for i, s in given["state"].items()
                }

    def restart(self) -> None:
        """Start afresh from the present weights: all averages and step counts are forgotten."""
        self.state.clear()
        self._forget()
