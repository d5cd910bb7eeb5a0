"""What is known of a schedule's constructor, and the lists of all of them by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from thalweg.schedules.schedule import Schedule


class Course(NamedTuple):
    """What a constructor gives back: how the value runs from step 0 on."""

    value: Callable[[float], float]  # of a step from 0 to the length
    length: float | None  # the value stays as it is from this step on; None: it never ends
    span: float  # steps that show its shape: the length, where there is one
    last: float | None = None  # what it is from the length on; None: value(length)


@dataclass(frozen=True)
class Entry:
    """A constructor by name, and what ``thalweg explain`` needs beside its docstring."""

    make: Callable[..., Schedule]
    latex: str  # the value at step t; empty for compositions, which are methods of a schedule
    example: tuple[Any, ...]  # arguments of the one in the picture

    @property
    def summary(self) -> str:
        """The docstring's first sentence, for lists."""
        words = " ".join((inspect.getdoc(self.make) or "").partition("\n\n")[0].split())
        return words.partition(". ")[0].rstrip(".").replace("``", "")


CONSTRUCTORS: dict[str, Entry] = {}
SCHEDULES: dict[str, Entry] = {}  # without compositions, which are methods
