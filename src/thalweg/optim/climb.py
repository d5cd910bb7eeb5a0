"""SAM's first move: up along the gradient, and exactly back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.engines.base import Work
from thalweg.engines.watch import missing
from thalweg.optim.declared import choice, option
from thalweg.optim.groups import Group
from thalweg.optim.moving import Moving
from thalweg.rule import bounded, maximize, norm, rule
from thalweg.rule.rule import Values
from thalweg.rule.words import named
from thalweg.validation import NON_NEGATIVE


@bounded
@rule(state={"kept": "old_p"}, nearest=("kept",), counts=False, apply=lambda w, up, h: w + up)
def climb(w: Any, g: Any, kept: Any, *, rho: Any, adaptive: bool) -> Any:
    del kept
    length = named("length", norm(abs(w) * g if adaptive else g, "all"))
    return (w * w * g if adaptive else g) * (rho / (length + 1e-12)), {"kept": w}


@rule(state={"kept": "old_p"}, nearest=("kept",), counts=False, apply=lambda w, kept, h: kept)
def back(kept: Any) -> Any:
    return kept, {"kept": kept}


class Climb(Moving):
    """The first move, as an optimizer of its own over the same groups."""

    rule = maximize(climb)
    heedless = "a climb goes along the gradient"

    rho: float = option(default=0.05, domain=NON_NEGATIVE, doc="how far to climb; units of w.")
    adaptive: bool = choice(default=False, doc="measure the way in units of each weight.")

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group.get("nesterov") == "lookahead":
            raise ValueError(
                'nesterov="lookahead" cannot be had in SAM, which takes the gradient at another '
                "point itself"
            )

    def add_param_group(self, param_group: Group) -> None:
        self._add(param_group)  # the base optimizer's own, not a copy

    def _state_dtype(self, p: Tensor, group: Group) -> torch.dtype:
        del group
        return p.dtype  # the way back must be exact

    def take(self, group: Group) -> None:
        """Know a group that has been added to the base optimizer's."""
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self._forget()

    def _look(self, p: Tensor, values: Values, work: Work, gradient: Tensor | None) -> None:
        # What a climb writes without reading it may be of a parameter that was another one then.
        if work.rule is self.rule and _unlike(self.state.get(p, {}).get("old_p"), p):
            self.state.pop(p, None)
        super()._look(p, values, work, gradient)

    def back(self, params: list[Tensor]) -> None:
        """Give parameters that have just climbed the weights that they had."""
        with torch.no_grad(), self._lock:
            self._move_as_planned(back, params)


def _unlike(kept: Any, p: Tensor) -> bool:
    """Whether a parameter cannot be kept in a tensor, or not exactly."""
    if not isinstance(kept, Tensor) or missing(kept):
        return kept is not None
    return (kept.shape, kept.dtype, kept.device) != (p.shape, p.dtype, p.device)


Climb.__name__ = "SAM"  # to messages
