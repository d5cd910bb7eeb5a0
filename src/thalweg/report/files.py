"""Writing files that people may be looking at: each is replaced whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path that nobody else has, beside this one; what was written there takes its place at the
    end, unless something is raised."""
    with TemporaryDirectory(prefix=".thalweg-", dir=path.parent) as folder:
        new = Path(folder) / path.name
        yield new
        new.replace(path)
