"""Words for a terminal: streams that never stop the work (whoever reads may leave, a disk may be
full, an encoding may lack a letter), and texts that cannot spoil a line."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO


class Tolerant:
    """A stream that keeps its first failure in ``failure`` and says nothing from then on. Letters
    that its encoding lacks become question marks.

    Args:
        stream: where the text goes; None, which Python has for one that is closed, is nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        said = text.encode(encoding, "replace").decode(encoding)
        self._tried(lambda: self.stream.write(said))
        return len(text)

    def flush(self) -> None:
        self._tried(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _tried(self, what: Any) -> None:
        if self.failure is None:
            try:
                what()
            except OSError as e:
                self.failure = e
                # What is left in the stream's buffer would fail again when Python ends.
                with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), self.stream.fileno())


def one_line(text: str) -> str:
    """A text that cannot end its line nor command a terminal: escapes for what does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
