"""The landscapes by name."""

from __future__ import annotations

from difflib import get_close_matches

from thalweg.problems.landscapes.landscape import Landscape
from thalweg.problems.landscapes.rugged import RUGGED
from thalweg.problems.landscapes.saddles import SADDLES
from thalweg.problems.landscapes.valleys import VALLEYS
from thalweg.problems.landscapes.wells import WELLS

LANDSCAPES: dict[str, Landscape] = {f.name: f for f in (*VALLEYS, *WELLS, *RUGGED, *SADDLES)}


def landscape(name: str) -> Landscape:
    """The landscape of a name, e.g. ``"rosenbrock"``.

    Raises:
        ValueError: there is none; the message has the names that are near, or all.
    """
    if name not in LANDSCAPES:
        near = get_close_matches(name, LANDSCAPES, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(LANDSCAPES)}"
        )
        raise ValueError(f"no landscape {name!r}; {hint}")
    return LANDSCAPES[name]
