"""A formula's text in pieces, and the error that shows a place in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

TYPED = {"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "²": "^2", "³": "^3", "π": "pi"}

_TOKEN = re.compile(
    r"[ \t\r\n]*(?:"
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+*/^(),<>])"
    r"|(?P<end>\Z)"
    r"|(?P<other>.))",
    re.DOTALL,
)


class FormulaError(ValueError):
    """A formula that cannot be read: the reason, and the place (an index into the text)."""

    def __init__(self, reason: str, text: str, place: int) -> None:
        self.reason, self.text, self.place = reason, text, place
        start = max(0, place - 40)
        shown = "".join(c if c.isprintable() else "?" for c in text[start : place + 30])
        super().__init__(f"{reason}\n  {shown}\n  {' ' * (place - start)}^")

    def __reduce__(self) -> tuple[type[FormulaError], tuple[str, str, int]]:
        return type(self), (self.reason, self.text, self.place)


@dataclass(frozen=True)
class Token:
    """A piece of the text and where it starts."""

    kind: Literal["number", "name", "sign", "end"]
    text: str
    place: int


def tokens(text: str) -> Iterator[Token]:
    """The pieces in order, the last of kind ``"end"``; a character without a meaning raises when
    its turn comes."""
    place = 0
    while True:
        found = _TOKEN.match(text, place)
        assert found is not None  # some alternative always matches
        place = found.end()
        match found.lastgroup:
            case "number" | "name" | "sign" | "end" as kind:
                yield Token(kind, found[kind], found.start(kind))
                if kind == "end":
                    return
            case _:
                bad = found["other"]
                hint = f"; write {TYPED[bad]}" if bad in TYPED else ""
                reason = f"{bad!r} has no meaning in a formula{hint}"
                raise FormulaError(reason, text, found.start("other"))
