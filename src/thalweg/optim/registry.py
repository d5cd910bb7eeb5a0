"""The one list of algorithms: command line, race, report and docs all read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from thalweg import optim


@dataclass(frozen=True)
class Algorithm:
    """One named way to descend: an optimizer class and the options that make it this algorithm."""

    name: str  # what the command line calls it: lower case, a-z 0-9 and -
    title: str  # what a figure's label or a table's row says
    optimizer: type[Optimizer]
    lr: float  # the customary learning rate: the centre of a race's grid
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, params: Any, lr: float) -> Optimizer:
        return self.optimizer(params, lr=lr, **self.options)  # type: ignore[call-arg]


ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("sgd", "SGD", optim.SGD, 0.1),
        Algorithm("momentum", "SGD + momentum", optim.SGD, 0.03, {"momentum": 0.9}),
        Algorithm(
            "nesterov", "SGD + Nesterov", optim.SGD, 0.03, {"momentum": 0.9, "nesterov": True}
        ),
        Algorithm("adagrad", "Adagrad", optim.Adagrad, 0.03),
        Algorithm("rmsprop", "RMSprop", optim.RMSprop, 0.003),
        Algorithm("adam", "Adam", optim.Adam, 0.003),
        Algorithm("adamw", "AdamW", optim.AdamW, 0.003),
    )
}
