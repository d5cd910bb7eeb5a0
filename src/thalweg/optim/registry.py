"""The one list of algorithms: command line, race, report and docs all read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop


@dataclass(frozen=True)
class Algorithm:
    """One named way to descend: an optimizer class and the options that make it this algorithm."""

    name: str  # what the command line calls it: lower case, a-z 0-9 and -
    title: str  # what a figure's label or a table's row says
    optimizer: type[Optimizer]
    lr: float  # the customary learning rate: the centre of a race's grid
    colour: str  # in every figure, as #rrggbb
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, params: Any, lr: float, **options: Any) -> Optimizer:
        """The optimizer for these parameters, at this learning rate."""
        make: Any = self.optimizer  # every subclass has its own constructor
        built: Optimizer = make(params, lr=lr, **self.options, **options)
        return built


ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("sgd", "SGD", SGD, 0.1, "#255b7d"),
        Algorithm("momentum", "SGD + momentum", SGD, 0.03, "#539fb1", {"momentum": 0.9}),
        Algorithm(
            "nesterov", "SGD + Nesterov", SGD, 0.03, "#2d19a2", {"momentum": 0.9, "nesterov": True}
        ),
        Algorithm("adagrad", "Adagrad", Adagrad, 0.03, "#517b50"),
        Algorithm("rmsprop", "RMSprop", RMSprop, 0.003, "#c68206"),
        Algorithm("adam", "Adam", Adam, 0.003, "#892504"),
        Algorithm("adamw", "AdamW", AdamW, 0.003, "#a76ef8"),
    )
}
