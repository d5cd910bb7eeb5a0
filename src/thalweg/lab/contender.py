"""Who takes part in a race: an algorithm, and a schedule of its learning rate where one is asked
for."""

from __future__ import annotations

import hashlib
import math
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from thalweg.lab.names import known
from thalweg.optim.registry import ALGORITHMS, Algorithm
from thalweg.schedules import (
    Plateau,
    Schedule,
    constant,
    cosine,
    exponential,
    inverse_time,
    linear,
    multi_step,
    one_cycle,
    plateau,
    wsd,
)

Pace = Callable[[int], Schedule | Plateau]  # of a training's number of steps

# What a name means in a race: the customary form, over the whole training. Rates are tuned for each
# contender, so that only the shape counts: all of them reach 1, and most end at 0 or near it.
PACES: dict[str, Pace] = {
    "constant": lambda steps: constant(),
    "linear": lambda steps: linear(1, 0, steps),
    "cosine": lambda steps: cosine(steps),
    "warmup-cosine": lambda steps: cosine(steps - steps // 20).warmed_up(steps // 20, 1 / steps),
    "one-cycle": lambda steps: one_cycle(steps),
    "wsd": lambda steps: wsd(steps, steps // 20, steps // 5, start=1 / steps),
    "multi-step": lambda steps: multi_step((steps / 2, 3 * steps / 4)),
    "exponential": lambda steps: exponential(k=math.log(100) / steps),
    "inverse-time": lambda steps: inverse_time(9 / steps),
    "plateau": lambda steps: plateau(patience=2, factor=0.3),
}


@dataclass(frozen=True)
class Contender(Algorithm):
    """An algorithm under a schedule; its name and title say so."""

    schedule: str = ""  # as in PACES, or FILE.py:NAME#version; empty: none was asked for
    algorithm: str = ""  # the algorithm's own name


def contenders(algorithms: Sequence[Algorithm], schedules: Sequence[str]) -> tuple[Algorithm, ...]:
    """Each algorithm under each schedule, named as :func:`pace` takes them; without schedules the
    algorithms as they are."""
    if not schedules:
        return tuple(algorithms)
    found: list[Algorithm] = []
    taken = {a.colour for a in algorithms}
    spare = iter(
        [c for c in dict.fromkeys(a.colour for a in ALGORITHMS.values()) if c not in taken]
    )
    for a in algorithms:
        same = {f.name: getattr(a, f.name) for f in fields(Algorithm)}
        for i, schedule in enumerate(schedules):
            same["name"] = f"{a.name}+{schedule}"
            same["title"] = f"{a.title} ({_shown(schedule)})"
            if i:  # the first has the algorithm's own colour, the others one that nobody has
                same["colour"] = next(spare, a.colour)
            found.append(Contender(**same, schedule=schedule, algorithm=a.name))
    return tuple(found)


def named(schedule: str) -> str:
    """The schedule's name with the version of its file, if it is ``FILE.py:NAME``.

    Raises:
        ValueError: there is no such schedule, or the file cannot serve; the message says why.
    """
    if ".py:" not in schedule:
        return known("schedule", schedule.replace("_", "-"), PACES)
    place = schedule.partition("#")[0]
    try:
        source = Path(place.rpartition(":")[0]).read_bytes()
    except OSError as e:
        raise ValueError(f"cannot read {place.rpartition(':')[0]}: {e.strerror}") from None
    # A changed file is another schedule, as in thalweg.optim.registry.find.
    name = f"{place}#{hashlib.sha256(source).hexdigest()[:8]}"
    pace(name, 1000)
    return name


def pace(schedule: str, steps: int) -> Schedule | Plateau:
    """The schedule of this name for a training of so many steps."""
    if schedule in PACES:
        return PACES[schedule](steps)
    place, _, attribute = schedule.partition("#")[0].rpartition(":")
    try:
        found: Any = runpy.run_path(place)[attribute]
        made = found if isinstance(found, Schedule | Plateau) else found(steps)
    except KeyError:
        raise ValueError(f"there is no {attribute!r} in {place}") from None
    except Exception as e:
        raise ValueError(f"{schedule} cannot be used: {type(e).__name__}: {e}") from e
    if not isinstance(made, Schedule | Plateau):
        raise ValueError(
            f"{attribute} in {place} is neither a schedule nor a function of the number of steps "
            "that returns one"
        )
    return made


def _shown(schedule: str) -> str:
    return schedule.partition("#")[0].rpartition(":")[2]
