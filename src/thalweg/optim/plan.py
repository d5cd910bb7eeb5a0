"""What a step is made of, as it follows from the groups when they were last looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import is_
from typing import Any

from torch import Tensor

from thalweg.engines.base import Batch
from thalweg.optim.groups import Group
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Values


class Plan:
    """Everything that is derived from ``param_groups`` and state. The groups themselves are the
    truth: where one of them, a parameter in one or its state is another than it was, the plan is
    made anew.

    A *place* stands for those parameters of a group for which all values are the same.
    """

    def __init__(self, groups: Sequence[Group], state: Mapping[Any, Any]) -> None:
        self.groups = list(groups)
        self.params = [list(group["params"]) for group in groups]
        self.members = _members(groups, state)
        self.options: list[Group] = [{} for _ in groups]  # what stood in each when last looked at
        self.changeable: set[int] = set()  # groups with options that may be written to in place
        self.places: list[list[int]] = [[] for _ in groups]  # of each parameter
        self.known: dict[tuple[Any, ...], int] = {}  # places by group and particulars
        self.values: dict[int, Values] = {}  # by place
        self.graphs: dict[int, Graph] = {}  # likewise

        self.built = False  # whether the rounds fit the options as they were last looked at
        # Batches that step together. Only a parameter that stands in several places needs a second
        # round: it makes several steps.
        self.rounds: list[list[Batch]] = []
        self.waiting: list[Tensor] = []  # parameters that had no gradient then

    def fits(self, groups: Sequence[Group], state: Mapping[Any, Any]) -> bool:
        """Whether groups, their parameters and who has which state are as they were."""
        return same(self.members, _members(groups, state))

    def build(self, groups: Sequence[Group], state: Mapping[Any, Any], lasting: bool) -> None:
        """Take the rounds as they are now for made; to be looked at again unless ``lasting``."""
        self.members, self.built = _members(groups, state), lasting

    def collect(self) -> bool:
        """Look at all gradients and memory; False if the rounds must be made anew."""
        for p in self.waiting:
            if p.grad is not None:
                return False
        for together in self.rounds:
            for batch in together:
                if not batch.collect():
                    return False
        return True

    def entries(self) -> Iterator[tuple[Tensor, Group, int]]:
        """Every parameter with its group and its place, in order."""
        for group, params, places in zip(self.groups, self.params, self.places, strict=True):
            for p, place in zip(params, places, strict=True):
                yield p, group, place


def _members(groups: Sequence[Group], state: Mapping[Any, Any]) -> list[Any]:
    """Each group before its parameters; who has state; the states."""
    found: list[Any] = []
    for group in groups:
        found.append(group)
        found += group["params"]
    found += state
    found += state.values()
    return found


def same(before: Collection[Any], now: Collection[Any]) -> bool:
    """Whether two collections hold the same objects in the same order."""
    return len(before) == len(now) and all(map(is_, before, now))
