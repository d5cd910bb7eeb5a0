"""Parameter groups that show torch's code what torch's optimizer of the same name would.

Distributed checkpoints (``torch.distributed.checkpoint``) and others compare and copy a group key
by key. A group of ``thalweg.optim.AdamW`` therefore lists only the options of
``torch.optim.AdamW``; the options beyond are read and set like the others, but not listed, and
saved beside the groups.
"""

from __future__ import annotations

import sys
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from inspect import signature
from typing import Any

import torch

from thalweg.optim.declared import Option


class TorchGroup(dict[str, Any]):
    """A parameter group of which some options are not listed: those ``beyond`` torch's, but for a
    ``convention`` other than the ``usual`` one, whoever has set it. What decides how a state is to
    be read must show."""

    # Trainers rebuild what they walk through, a dictionary as type(x)(items).
    def __init__(
        self,
        group: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        beyond: frozenset[str] = frozenset(),
        usual: str | None = None,
    ) -> None:
        super().__init__(group)
        self.beyond = beyond
        self.usual = usual

    def _listed(self, name: str) -> bool:
        shown = name == "convention" and self[name] != self.usual
        return shown or name not in self.beyond

    def __iter__(self) -> Iterator[str]:
        return filter(self._listed, super().__iter__())

    def __reversed__(self) -> Iterator[str]:
        return filter(self._listed, super().__reversed__())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # `dict`'s own would list everything.
    def keys(self) -> Any:
        return KeysView(self)

    def items(self) -> Any:
        return ItemsView(self)

    def values(self) -> Any:
        return ValuesView(self)

    def clear(self) -> None:
        """Remove what is listed: who removes it all to write it anew does not know of the rest."""
        for name in [*self]:
            del self[name]

    # Another of these is read as a whole: put back from a copy, a group is what it was.
    def update(self, *other: Any, **options: Any) -> None:
        super().update(*map(_whole, other), **options)

    def unlisted(self) -> dict[str, Any]:
        """The options that torch's class does not have."""
        hidden = sorted(self.beyond & super().keys())
        return {name: self[name] for name in hidden if not self._listed(name)}

    def copy(self) -> TorchGroup:
        return self | {}

    def __or__(self, other: Mapping[str, Any]) -> TorchGroup:  # type: ignore[override]
        return TorchGroup({**everything(self), **_whole(other)}, self.beyond, self.usual)

    def __ior__(self, other: Any) -> TorchGroup:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(everything(self))

    def __reduce__(self) -> Any:
        return TorchGroup, (everything(self), self.beyond, self.usual)


def everything(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's options, those that are not listed too."""
    return {**group, **(group.unlisted() if isinstance(group, TorchGroup) else {})}


def unlisted_before(
    group: Mapping[str, Any], before: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """What is not listed by the group of which this one is a copy: with all that it lists, and with
    parameters of it."""
    params = set(map(id, group["params"]))
    for old in before:
        if not isinstance(old, TorchGroup) or params.isdisjoint(map(id, old["params"])):
            continue
        if all(name in group for name in old):
            return old.unlisted()
    return {}


def _whole(options: Any) -> Any:
    return everything(options) if isinstance(options, TorchGroup) else options


def as_torchs(cls: type, group: dict[str, Any]) -> dict[str, Any]:
    """The group as it lists the options of torch's class of the same name; the group itself where
    torch has no such class."""
    if isinstance(group, TorchGroup):
        return group
    for c in cls.__mro__:
        theirs = getattr(torch.optim, c.__name__, None)
        # A class of the reader's own may be called anything.
        ours = c.__module__.startswith("thalweg.optim.")
        if theirs is not None and ours and getattr(sys.modules[c.__module__], c.__name__, 0) is c:
            mine: dict[str, Option] = c.options
            names = {n for n, x in mine.items() if x.init}
            names -= {*signature(theirs.__init__).parameters}
            usual = mine["convention"].default if "convention" in mine else None
            return TorchGroup(group, frozenset(names), usual)
    return group
