"""The one list of algorithms: command line, race, report and docs all read it."""

from __future__ import annotations

import hashlib
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from thalweg.optim import (
    ADOPT,
    ASGD,
    LAMB,
    MADGRAD,
    SAM,
    SGD,
    SOAP,
    AdaBelief,
    Adadelta,
    Adafactor,
    Adagrad,
    Adai,
    Adam,
    Adamax,
    AdamW,
    Adan,
    AdEMAMix,
    Lion,
    Muon,
    NAdam,
    Padam,
    Prodigy,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeRAdam,
    ScheduleFreeSGD,
)
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.own import from_rule
from thalweg.rule import Rule


@dataclass(frozen=True)
class Algorithm:
    """One named way to descend: an optimizer class and the options that make it this algorithm."""

    name: str  # what the command line calls it: lower case, a-z 0-9 and -
    title: str  # what a figure's label or a table's row says
    optimizer: type[RuleOptimizer]
    lr: float  # the customary learning rate: the centre of a race's grid
    colour: str  # in every figure, as #rrggbb
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, params: Any, lr: float, **options: Any) -> RuleOptimizer:
        """The optimizer for these parameters, at this learning rate."""
        make: Any = self.optimizer  # every subclass has its own constructor
        built: RuleOptimizer = make(params, lr=lr, **self.options, **options)
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
        Algorithm("adabelief", "AdaBelief", AdaBelief, 0.003, "#277d7b"),
        Algorithm("madgrad", "MADGRAD", MADGRAD, 0.01, "#5f77a7"),
        Algorithm("adan", "Adan", Adan, 0.01, "#189e8c"),
        Algorithm("adopt", "ADOPT", ADOPT, 0.003, "#ad5010"),
        Algorithm("ademamix", "AdEMAMix", AdEMAMix, 0.003, "#794153"),
        Algorithm("lion", "Lion", Lion, 0.001, "#809d69"),
        Algorithm("adadelta", "Adadelta", Adadelta, 1.0, "#6c0c4a"),
        Algorithm("adamax", "Adamax", Adamax, 0.01, "#a76ef8"),
        Algorithm("asgd", "ASGD", ASGD, 0.3, "#255b7d"),
        Algorithm("nadam", "NAdam", NAdam, 0.003, "#602a28"),
        Algorithm("radam", "RAdam", RAdam, 0.01, "#892504"),
        Algorithm("rprop", "Rprop", Rprop, 0.01, "#c68206"),
        Algorithm("padam", "Padam", Padam, 0.1, "#5f77a7"),
        Algorithm("adai", "Adai", Adai, 0.3, "#277d7b"),
        Algorithm("schedule-free-sgd", "Schedule-Free SGD", ScheduleFreeSGD, 1.0, "#539fb1"),
        Algorithm("schedule-free-adamw", "Schedule-Free AdamW", ScheduleFreeAdamW, 0.01, "#4d4fd5"),
        Algorithm("schedule-free-radam", "Schedule-Free RAdam", ScheduleFreeRAdam, 0.01, "#2d19a2"),
        Algorithm("lamb", "LAMB", LAMB, 0.01, "#c68206"),
        Algorithm("muon", "Muon", Muon, 0.03, "#6c0c4a"),
        Algorithm("adafactor", "Adafactor", Adafactor, 0.03, "#809d69"),
        Algorithm("soap", "SOAP", SOAP, 0.01, "#794153"),
        Algorithm("prodigy", "Prodigy", Prodigy, 1.0, "#6c0c4a"),
        Algorithm("sam", "SAM", SAM, 0.1, "#255b7d"),
    )
}

OWN = "#1c2127"  # the colour of an algorithm from a file


def find(name: str) -> Algorithm:
    """The algorithm of this name, or, for ``FILE.py:NAME``, the rule or optimizer class in a file
    of the reader's own.

    Raises:
        KeyError: there is no algorithm of this name.
        ValueError: the file or what is in it cannot serve; the message says why.
    """
    if ".py:" not in name:
        return ALGORITHMS[name]
    place, _, attribute = name.partition("#")[0].rpartition(":")
    path = Path(place)
    try:
        source = path.read_bytes()
        own: dict[str, Any] = runpy.run_path(place)
    except OSError as e:
        raise ValueError(f"cannot read {place}: {e.strerror}") from None
    except Exception as e:
        raise ValueError(f"{place} cannot be run: {type(e).__name__}: {e}") from e
    if attribute not in own:
        raise ValueError(f"there is no {attribute!r} in {place}")
    found = own[attribute]
    try:
        cls = from_rule(found) if isinstance(found, Rule) else found
    except TypeError as e:
        raise ValueError(str(e)) from None
    if not (isinstance(cls, type) and issubclass(cls, RuleOptimizer)):
        raise ValueError(f"{attribute} in {place} is neither a rule nor a thalweg optimizer class")
    make: Any = cls
    lr = make([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"]
    # A changed file is another algorithm: what the old one scored must not count for it.
    version = hashlib.sha256(source).hexdigest()[:8]
    return Algorithm(f"{place}:{attribute}#{version}", attribute, cls, lr, OWN)
