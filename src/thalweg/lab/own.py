"""Optimizers of the reader's own: what a race asks of a rule or class in ``FILE.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from thalweg.lab.source import Sources, apart, described, located
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.own import from_rule
from thalweg.optim.registry import OWN, Algorithm
from thalweg.rule import Rule
from thalweg.terminal import one_line


def own(name: str, sources: Sources) -> Algorithm:
    """The algorithm ``FILE.py:NAME``; its name has the file's version.

    Raises:
        ValueError: the file or what is in it cannot serve; the message says why.
    """
    source, attribute = located(name, sources)
    found = source.get(attribute)
    if not isinstance(found, Rule | type):
        raise ValueError(_neither(attribute, source.path))
    try:
        cls = from_rule(found) if isinstance(found, Rule) else found
    except TypeError as e:
        raise ValueError(str(e)) from None
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # a rule is run once, on symbols
        why = described(e, [source.path])
        raise ValueError(f"{attribute} in {source.path} cannot be used: {why}") from e
    if not issubclass(cls, RuleOptimizer):
        raise ValueError(_neither(attribute, source.path))
    lr = _customary(cls, attribute, source.path)
    return Algorithm(source.name(attribute), attribute, cls, lr, OWN)


def distinct(algorithms: Sequence[Algorithm]) -> tuple[Algorithm, ...]:
    """The same with titles that tell them apart."""
    titles = apart([a.name for a in algorithms], [a.title for a in algorithms])
    return tuple(replace(a, title=title) for a, title in zip(algorithms, titles, strict=True))


def _neither(attribute: str, path: str) -> str:
    return f"{attribute} in {path} is neither a rule nor a thalweg optimizer class"


def _customary(cls: Any, attribute: str, path: str) -> float:
    """The learning rate that a class has unless told otherwise, the middle of its grid."""

    def built(**given: float) -> Any:
        try:
            return cls([torch.zeros(1, requires_grad=True)], **given).param_groups[0].get("lr")
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            raise ValueError(
                f"{attribute} in {path} cannot be built from parameters and lr alone: "
                f"{described(e, [path])}"
            ) from e

    lr = built()
    number = lr.item() if isinstance(lr, torch.Tensor) and lr.numel() == 1 else lr
    real = isinstance(number, int | float) and not isinstance(number, bool)
    if not (real and math.isfinite(number) and number > 0):
        raise ValueError(
            f"{attribute} in {path} must have a default for lr that is finite and above 0, the "
            f"middle of the rates it races at; it has {one_line(repr(lr))}"
        )
    built(lr=float(number))
    return float(number)
