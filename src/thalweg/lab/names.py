"""Names that people type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known(what: str, name: str, known: Iterable[str]) -> str:
    """The one of the known names that is meant; ValueError, with the nearest, if there is none."""
    names = list(known)
    for found in (name, str(name).lower()):
        if found in names:
            return found
    near = difflib.get_close_matches(str(name).lower(), names, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"there is no {what} {name!r}{hint} (there are: {', '.join(names)})")
