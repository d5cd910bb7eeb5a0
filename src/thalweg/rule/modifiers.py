"""Rule -> rule. What several algorithms can have is written once, here.

A modifier acts on the gradient, on the direction or on apply, never on the difference of new and
old weights, which cancels in float32. It is composed before the trace and costs only the bytes it
needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from thalweg.rule.rule import Rule, State, Values
from thalweg.rule.words import maximum, mean, minimum, named, norm, where


def _on_gradient(rule: Rule, change: Callable[[Any, Any, Values], Any], *reads: str) -> Rule:
    """A rule that sees ``change(w, g, h)`` in place of the gradient."""
    return rule.with_(
        direct=lambda w, g, s, h: rule.direct(w, named("g", change(w, g, h)), s, h),
        scalars=rule.scalars | set(reads),
    )


def maximize(rule: Rule) -> Rule:
    """Climb: the rule sees -g where the option ``maximize`` is set."""
    return _on_gradient(rule, lambda w, g, h: -g if h["maximize"] else g, "maximize")


def l2_decay(rule: Rule) -> Rule:
    """L2 regularisation: the gradient of ``weight_decay / 2 * |w|^2`` is added to g."""

    def change(w: Any, g: Any, h: Values) -> Any:
        return g + h["weight_decay"] * w if h["weight_decay"] else g

    return _on_gradient(rule, change, "weight_decay")


def decoupled_decay(rule: Rule) -> Rule:
    """Weights shrink by ``lr * weight_decay`` beside the rule, which does not see it
    (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    def apply(w: Any, direction: Any, h: Values) -> Any:
        decayed = named("w", w * (1 - h["lr"] * h["weight_decay"]))
        return rule.apply(decayed, direction, h)

    return rule.with_(apply=apply, scalars=rule.scalars | {"weight_decay"})


def either(option: str, yes: Rule, no: Rule) -> Rule:
    """``yes`` where the option is set, else ``no``. A state that both name is one and the same."""
    return no.with_(
        state={**no.state, **yes.state},
        scalar=no.scalar | yes.scalar,
        nearest=no.nearest | yes.nearest,
        compared=no.compared | yes.compared,
        shaped={**no.shaped, **yes.shaped},
        start={**no.start, **yes.start},
        counts=no.counts if no.counts is yes.counts else None,
        direct=lambda w, g, s, h: (yes if h[option] else no).direct(w, g, s, h),
        apply=lambda w, d, h: (yes if h[option] else no).apply(w, d, h),
        scalars=yes.scalars | no.scalars | {option},
    )


def told(rule: Rule, options: Callable[[Values], Values], *reads: str) -> Rule:
    """A rule that is told ``options(h)`` in place of h: under other names, or once and for all."""
    return rule.with_(
        direct=lambda w, g, s, h: rule.direct(w, g, s, options(h)),
        apply=lambda w, d, h: rule.apply(w, d, options(h)),
        scalars=frozenset(reads),
    )


def cautious(rule: Rule) -> Rule:
    """Zero the direction where the gradient has another sign, and divide what is left by its share
    of the parameter's weights, or by 1e-3 if that is more (the official code of Liang et al. 2024,
    arXiv:2411.16085). Innermost, so that g is what the rule sees: with decay and ``maximize``."""

    def direct(w: Any, g: Any, s: State, h: Values) -> tuple[Any, dict[str, Any]]:
        direction, new = rule.direct(w, g, s, h)
        if h["cautious"]:
            agrees = named("agrees", where(direction * g > 0, 1, 0))
            direction = direction * agrees / maximum(mean(agrees), 1e-3)
        return direction, new

    return rule.with_(direct=direct, scalars=rule.scalars | {"cautious"})


def bounded(rule: Rule) -> Rule:
    """Put new weights that are out of bounds on the bound: the projection onto a box, in the
    Euclidean norm and in every norm that weighs coordinates one by one, as Adam's and AdaBelief's
    do. Innermost, so that decay comes before."""

    def apply(w: Any, direction: Any, h: Values) -> Any:
        new = rule.apply(w, direction, h)
        low, high = h["bounds_low"], h["bounds_high"]
        new = new if low is None else maximum(named("w", new), low)
        return new if high is None else minimum(named("w", new), high)

    def sparse(h: Values) -> Literal["rows", "dense", "refused"]:
        # Weights may start out of bounds, and those without a gradient, too, must come back.
        within = h["bounds_low"] is None and h["bounds_high"] is None
        return "dense" if not within and rule.sparse(h) == "rows" else rule.sparse(h)

    reads = {"bounds_low", "bounds_high"}
    return rule.with_(apply=apply, sparse=sparse, scalars=rule.scalars | reads)


def clip_global_norm(rule: Rule) -> Rule:
    """Scale g so that its norm over *all* parameters is at most ``max_grad_norm`` (Pascanu, Mikolov
    & Bengio 2013), with the 1e-6 that torch.nn.utils.clip_grad_norm_ adds to the norm."""

    def change(w: Any, g: Any, h: Values) -> Any:
        if h["max_grad_norm"] is None:
            return g
        return g * minimum(h["max_grad_norm"] / (norm(g, "all") + 1e-6), 1.0)

    return _on_gradient(rule, change, "max_grad_norm")
