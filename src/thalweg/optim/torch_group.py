"""Parameter groups that show torch's code what torch's optimizer of the same name would.

Distributed checkpoints (``torch.distributed.checkpoint``) and others compare and copy a group key
by key. A group of ``thalweg.optim.AdamW`` therefore lists only the options of
``torch.optim.AdamW``; the options beyond are read and set like the others, but not listed, and
saved beside the groups.
"""

from __future__ import annotations

import sys
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from inspect import signature
from typing import Any

import torch

from thalweg.optim.options import DEFAULTS


class TorchGroup(dict[str, Any]):
    """A parameter group of which some options are not listed."""

    def __init__(self, group: Mapping[str, Any], beyond: frozenset[str]) -> None:
        super().__init__(group)
        self.beyond = beyond

    def __iter__(self) -> Iterator[str]:
        return (name for name in super().__iter__() if name not in self.beyond)

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

    def unlisted(self) -> dict[str, Any]:
        """The options that torch's class does not have."""
        return {name: self[name] for name in sorted(self.beyond) if name in self}

    def copy(self) -> TorchGroup:
        return self | {}

    def __or__(self, other: Mapping[str, Any]) -> TorchGroup:  # type: ignore[override]
        return TorchGroup({**everything(self), **other}, self.beyond)

    def __repr__(self) -> str:
        return repr(everything(self))

    def __reduce__(self) -> Any:
        return TorchGroup, (everything(self), self.beyond)


def everything(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's options, those that are not listed too."""
    return {**group, **(group.unlisted() if isinstance(group, TorchGroup) else {})}


def beyond_torch(cls: type, group: Mapping[str, Any]) -> frozenset[str]:
    """The options of ours that torch's class of the same name does not have; none where torch has
    no such class. What decides how a state is to be read must show."""
    for c in cls.__mro__:
        theirs = getattr(torch.optim, c.__name__, None)
        # A class of the reader's own may be called anything.
        ours = c.__module__.startswith("thalweg.optim.")
        if theirs is not None and ours and getattr(sys.modules[c.__module__], c.__name__, 0) is c:
            mine = signature(c.__init__).parameters
            names = {*mine, *DEFAULTS} - {"self", "params", "common"}
            names -= {*signature(theirs.__init__).parameters}
            if "convention" in mine and group["convention"] != mine["convention"].default:
                names.discard("convention")
            return frozenset(names)
    return frozenset()
