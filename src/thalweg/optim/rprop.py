"""Rprop: resilient backpropagation."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    clip_global_norm,
    l2_decay,
    maximize,
    maximum,
    minimum,
    rule,
    where,
)
from thalweg.validation import NON_NEGATIVE, Interval


@bounded
@rule(
    state={"last": "prev", "s": "step_size"},
    nearest=("last", "s"),
    start={"s": "lr"},
    apply=lambda w, move, h: w - move,
)
def rprop(
    g: Any,
    last: Any,
    s: Any,
    *,
    eta_minus: Any,
    eta_plus: Any,
    step_min: Any,
    step_max: Any,
) -> Any:
    turn = last * g
    factor = where(turn > 0, eta_plus, where(turn < 0, eta_minus, 1))
    s = minimum(maximum(factor * s, step_min), step_max)
    g = where(turn < 0, 0, g)
    move = where(g > 0, s, where(g < 0, -s, 0))
    return move, {"last": g, "s": s}


class Rprop(RuleOptimizer):
    """Go by the gradient's sign alone, each coordinate at a step size of its own, which grows while
    the sign stays and shrinks when it turns. For full batches: on small ones the sign is noise.

    ::

        s <- s * eta_plus    where last g > 0
             s * eta_minus   where last g < 0, and g <- 0: no step this time
             s               where last g = 0
        s <- min(max(s, step_min), step_max)
        w <- w - s sign(g)
        last <- g

    State: ``step``; ``prev`` (last) and ``step_size`` (s), each of the parameter's shape.

    Where papers and code disagree:
        The paper takes the last move back where the sign turns (Rprop+ in Igel & Hüsken 2003).
        torch only leaves the step out and forgets the gradient, so that the step after it keeps its
        size; Igel & Hüsken's iRprop- does the same. Their Rprop- goes on at once with the smaller
        step. A gradient that is NaN makes no step, since the sign of NaN is 0 in torch.

    Reference: Riedmiller & Braun 1993, IEEE ICNN, 586-591; Igel & Hüsken 2003, Neurocomputing
    50:105-123.
    """

    rule = clip_global_norm(maximize(l2_decay(rprop)))
    heedless = "each of its steps has the gradient's sign, so that nothing would be left out"
    linked = ("etas", "step_sizes")

    lr: Any = option(
        default=1e-2,
        domain=NON_NEGATIVE,
        doc=(
            "every step size at the start; units of w. Not read after a parameter's first "
            "step, so that a schedule of lr does nothing."
        ),
    )
    etas: tuple[float, float] = option(
        default=(0.5, 1.2),
        domain=(Interval(0.0, 1.0, open_high=True), Interval(1.0)),
        doc=(
            "(eta_minus, eta_plus), what a step size is multiplied by; the first between "
            "0 and 1, the second above 1."
        ),
        parts=("eta_minus", "eta_plus"),
    )
    step_sizes: tuple[float, float] = option(
        default=(1e-6, 50.0),
        domain=(NON_NEGATIVE, NON_NEGATIVE),
        doc="(step_min, step_max), the least and the largest step size; units of w.",
        parts=("step_min", "step_max"),
    )
    weight_decay: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc="L2 regularisation, ``g + weight_decay w``; torch has none.",
        kw_only=True,
    )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        (slower, faster), (low, high) = group["etas"], group["step_sizes"]
        if slower == 0 or faster == 1:
            raise ValueError(f"etas must be above 0 and above 1, not {group['etas']!r}")
        if low > high:
            raise ValueError(f"step_sizes must be in order, not {group['step_sizes']!r}")
