"""An optimizer of a rule of one's own."""

from __future__ import annotations

import math
from typing import Any

from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import DEFAULTS
from thalweg.rule import Rule, bounded, cautious, clip_global_norm, l2_decay, maximize
from thalweg.validation import NON_NEGATIVE, Interval

FINITE = Interval(-math.inf)


def from_rule(own: Rule, *, lr: float = 1e-3, **defaults: Any) -> type[RuleOptimizer]:
    """An optimizer class for a rule written with :func:`thalweg.rule.rule`.

    The class has everything that the built-in ones have: both engines, groups, checkpoints, and
    the options ``weight_decay`` (L2), ``maximize``, ``max_grad_norm``, ``cautious`` and the others
    of :class:`~thalweg.optim.options.Common`.

    Args:
        own: the rule. Its keyword arguments become the optimizer's hyperparameters.
        lr: default learning rate.
        defaults: of the hyperparameters that have none in the rule's signature; numbers, or True
            and False for options that a Python ``if`` asks about.

    Raises:
        TypeError: a hyperparameter has no default, or a default has no hyperparameter.
    """
    if not isinstance(own, Rule):
        raise TypeError(f"from_rule takes a rule, not {own!r}: write @rule(...) above the function")
    values = {**own.defaults, **defaults}
    mine = own.scalars - {"lr", "weight_decay"} - set(DEFAULTS)
    for name in sorted(mine ^ (set(values) - {"lr", "weight_decay"})):
        has = "has no default" if name in mine else "is not an argument of the rule"
        raise TypeError(f"from_rule({own.name}): {name!r} {has}")
    for name, value in values.items():
        if not isinstance(value, int | float):
            raise TypeError(f"from_rule({own.name}): {name} must be a number, not {value!r}")

    try:
        own.trace({**values, "lr": lr})
    except (TypeError, AttributeError) as e:
        raise TypeError(
            f"from_rule({own.name}): {e}; a rule speaks arithmetic and the words of thalweg.rule, "
            "and gives back (direction, {state: its new value})"
        ) from e

    declared = {
        "lr": option(default=lr, domain=NON_NEGATIVE, doc="learning rate."),
        "weight_decay": option(default=0.0, domain=NON_NEGATIVE, doc="L2 regularisation."),
    }
    for name, value in values.items():
        if isinstance(value, bool):
            declared[name] = choice(default=value, doc="an argument of the rule.")
        else:
            declared[name] = option(default=value, domain=FINITE, doc="a number of the rule.")
    made = clip_global_norm(maximize(l2_decay(bounded(cautious(own)))))
    doc = f"The optimizer of the rule ``{own.name}``."
    body = {"rule": made, "__doc__": doc, "__module__": __name__, **declared}
    return type(own.name, (RuleOptimizer,), body)
