"""Stochastic gradient descent, with momentum and Nesterov's look-ahead."""

from __future__ import annotations

from typing import Any, Literal

from thalweg.optim.declared import choice, option
from thalweg.optim.groups import Group
from thalweg.optim.lookahead import LookingAhead
from thalweg.rule import Rule, bounded, cautious, clip_global_norm, l2_decay, maximize, rule, where
from thalweg.rule.rule import State, Values
from thalweg.validation import NON_NEGATIVE


def _apply(w: Any, direction: Any, h: Any) -> Any:
    return w - direction if h["convention"] == "classical" else w - h["lr"] * direction


@bounded
@cautious
@rule(
    state={"z": "momentum_buffer"},
    apply=_apply,
    counts=False,
    sparse=lambda h: "refused" if h["weight_decay"] else "dense" if h["momentum"] else "rows",
)
def sgd(
    g: Any, z: Any, *, momentum: Any, dampening: Any, nesterov: bool | str, convention: str,
    lr: Any, step: Any,
) -> Any:  # fmt: skip
    if convention == "classical":
        g = lr * g
    if not momentum:
        return g, {}
    if dampening:  # the first gradient is taken whole
        z = where(step == 1, 0, momentum) * z + where(step == 1, 1, 1 - dampening) * g
    else:
        z = momentum * z + g
    return g + momentum * z if nesterov is True else z, {"z": z}


@bounded
@rule(state={"z": "momentum_buffer"}, apply=_apply, counts=False, reads=("convention",))
def coast(z: Any, *, momentum: Any) -> Any:
    """Where momentum alone would lead."""
    return momentum * z, {"z": z}


def _looking_ahead(rule: Rule) -> Rule:
    """With ``nesterov="lookahead"`` the gradient, and the decay in it, are those of the point to
    which momentum alone would lead."""

    def apply(w: Any, direction: Any, h: Any) -> Any:
        return coast.apply(w, direction, h) if h["nesterov"] == "lookahead" else w

    def direct(w: Any, g: Any, s: State, h: Values) -> Any:
        seen = coast.update(w, g, s, h)[0] if h["nesterov"] == "lookahead" else w
        return rule.direct(seen, g, s, h)

    ahead = coast.with_(apply=apply, scalars=coast.scalars | {"nesterov"})
    return rule.with_(direct=direct, ahead=ahead)


class SGD(LookingAhead):
    """Follow the negative gradient. Momentum keeps a velocity, so that steps add up where the
    gradient agrees with itself and cancel where it swings.

    ::

        z <- momentum z + (1 - dampening) g     (z <- g at a parameter's first step)
        w <- w - lr z                           (Nesterov: w <- w - lr (g + momentum z))
        nesterov="lookahead": g is the gradient at w - lr momentum z, and w <- w - lr z

    State: ``momentum_buffer``, of the parameter's shape (``step`` is not kept).

    Where papers and code disagree:
        Polyak and Sutskever have lr inside the velocity, torch outside; at constant lr both give
        the same weights, after a change of lr they do not. Nesterov's gradient is taken ahead of
        the weights (``"lookahead"``); torch (True) keeps the point ahead as its parameters. With
        w of the one and y of the other, ``y = w - lr momentum z`` after every step if both start
        at the same point, weight decay included: the same sequence, seen a half-step later (Bengio
        et al. 2013, arXiv:1212.0901). Bounds and cautious apply to w, or to y.

    Reference: Polyak 1964, USSR Comput. Math. 4(5); Nesterov 1983, Soviet Math. Dokl. 27(2);
    Sutskever, Martens, Dahl & Hinton 2013, ICML 28(3):1139-1147.
    """

    rule = clip_global_norm(maximize(_looking_ahead(l2_decay(sgd))))
    heedless = "each step has the gradient's sign, so that nothing would be left out"

    lr: Any = option(
        default=1e-3, domain=NON_NEGATIVE, doc="learning rate; units of w per unit of gradient."
    )
    momentum: float = option(
        default=0.0,
        domain=NON_NEGATIVE,
        doc=("how much of the velocity is kept; 0 is plain gradient descent and keeps no state."),
    )
    dampening: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="what is taken off the new gradient in the velocity."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation, ``g + weight_decay w``."
    )
    nesterov: bool | Literal["lookahead"] = choice(
        default=False,
        choices=(False, True, "lookahead"),
        doc=(
            "look ahead; needs momentum and no dampening. True: torch's form, as above. "
            '``"lookahead"``: the gradient itself is taken where momentum alone would '
            "lead, as the papers have it. ``step(closure)`` then evaluates there; without "
            "a closure, go forward and backward inside ``with optimizer.ahead():``, then "
            "``step()``."
        ),
    )
    convention: Literal["torch", "classical"] = choice(
        default="torch",
        choices=("torch", "classical"),
        doc=(
            '``"torch"``: the velocity is a sum of gradients and lr multiplies it. '
            '``"classical"``: the velocity is a sum of steps, ``z <- momentum z + lr g`` '
            "and ``w <- w - z``, so that a change of lr does not touch what is already "
            "under way."
        ),
        kw_only=True,
    )

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["cautious"] and not group["momentum"]:
            raise ValueError(f"cautious=True needs momentum: without, {self.heedless}")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"nesterov={group['nesterov']!r} needs momentum above 0 and dampening 0, not "
                f"momentum={group['momentum']!r} and dampening={group['dampening']!r}"
            )
        if group["differentiable"] and self.looks_ahead(group):
            raise ValueError(
                'differentiable=True needs nesterov=True or False: with "lookahead" weights are '
                "moved there and back, which no gradient would flow through"
            )

    def looks_ahead(self, group: Group) -> bool:
        """Whether a group's options ask for the gradient at another point."""
        return bool(group["nesterov"] == "lookahead")

    def _accept(self, given: Any) -> None:
        moving = any(s.get("momentum_buffer") is not None for s in given["state"].values())
        for here, there in zip(self.param_groups, given["param_groups"], strict=True):
            mine, theirs = here["convention"], there.get("convention", "torch")
            if moving and mine != theirs:
                raise ValueError(
                    f"the checkpoint's velocity is in the convention {theirs!r}, this one's in "
                    f"{mine!r}: they differ by a factor lr"
                )
