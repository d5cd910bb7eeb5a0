"""What Schedule-Free optimizers share: the average, the way to it and back, the official package's
checkpoints (Defazio et al. 2024, arXiv:2405.15682).

Three sequences belong to a weight: ``z`` descends, ``x`` is the average of all z so far, and the
gradient is taken between the two, at ``y = (1 - beta) z + beta x``. The parameters hold y and the
state z; x is what to evaluate, and is told from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from thalweg.optim.averaging import AveragingOptimizer
from thalweg.optim.declared import choice
from thalweg.optim.groups import Group
from thalweg.rule import Rule, maximum, where
from thalweg.rule.words import named
from thalweg.validation import Interval

# y would be z, or x: then the third sequence could not be told from two.
BETWEEN = Interval(0.0, 1.0, open_low=True, open_high=True)


def subtract(w: Any, direction: Any, h: Any) -> Any:
    """The apply of a rule that has lr in its direction."""
    return w - direction


def views(beta: str) -> dict[str, Rule]:
    """The way from y to x by means of z, and back; ``beta`` names the hyperparameter."""

    def view(name: str, part: Any) -> Rule:
        def direct(w: Any, g: Any, s: Any, h: Any) -> Any:
            return part(h[beta]) * (w - s["z"]), {"z": s["z"]}

        return Rule(name, direct, {"z": "z"}, frozenset({beta}), subtract)

    return {
        "averaged": view("averaged", lambda beta: 1 - 1 / beta),
        "training": view("training", lambda beta: 1 - beta),
    }


FACTS: dict[str, Any] = {
    "scalar": ("weight_sum", "lr_max"),
    "start": {"z": "w"},
    "apply": subtract,
}
AVERAGE = {"weight_sum": "weight_sum", "lr_max": "lr_max"}


def average(
    w: Any, u: Any, z: Any, weight_sum: Any, lr_max: Any, *, rate: Any, beta: Any, r: Any,
    weight_lr_power: Any, averaging: str, step: Any,
) -> Any:  # fmt: skip
    """Direction and new state: z moves by ``-rate u`` and makes up the part c of the average x, and
    y = w stays between the two. Without x, that comes to
    ``y <- (1 - c) y + c z - (1 - c) (1 - beta) rate u``."""
    new = {}
    if averaging == "lr_max":
        new["lr_max"] = lr_max = maximum(rate, lr_max)
    weight = step**r * (lr_max if averaging == "lr_max" else rate) ** weight_lr_power
    new["weight_sum"] = weight_sum = weight_sum + weight
    c = named("c", where(weight_sum > 0, weight / weight_sum, 0))
    new["z"] = z = z - rate * u
    return c * (w - z) + (1 - c) * (1 - beta) * rate * u, new


class ScheduleFree(AveragingOptimizer):
    """Base of the three; reads checkpoints of the official package, which counts by group."""

    heedless = "a weight held back would no longer lie between z and the average"
    boundless = "a weight cut off would no longer lie between z and the average"

    averaging: Literal["lr_max", "lr"] = choice(
        default="lr_max",
        choices=("lr_max", "lr"),
        doc=(
            'which rate z weigh by: ``"lr_max"``, the largest so far, or ``"lr"``, the '
            "step's own. They differ once the rate falls."
        ),
        kw_only=True,
    )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class or of the official package's (schedulefree 1.4.1)."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for name in ("k", "weight_sum", "lr_max", "scheduled_lr"):
                group.pop(name, None)

    def _loaded(self, p: Tensor, group: Group, given: Mapping[str, Any]) -> dict[str, Any]:
        if "step" not in given and "k" in group:
            given = {**given, "step": group["k"], **{name: group[name] for name in AVERAGE}}
        return super()._loaded(p, group, given)
