"""Who takes part in a race: an algorithm, and a schedule of its learning rate where one is asked
for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

from thalweg.lab.names import known
from thalweg.lab.source import Sources, apart, described, is_own, located, parts
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
    shown = apart(schedules, [_shown(s) for s in schedules])
    for a in algorithms:
        same = {f.name: getattr(a, f.name) for f in fields(Algorithm)}
        for i, schedule in enumerate(schedules):
            same["name"] = f"{a.name}+{schedule}"
            same["title"] = f"{a.title} ({shown[i]})"
            if i:  # the first has the algorithm's own colour, the others one that nobody has
                same["colour"] = next(spare, a.colour)
            found.append(Contender(**same, schedule=schedule, algorithm=a.name))
    return tuple(found)


def named(schedule: str, sources: Sources) -> str:
    """The schedule's name with the version of its file, if it is ``FILE.py:NAME``.

    Raises:
        ValueError: there is no such schedule, or the file is another; the message says why.
    """
    if not is_own(schedule):
        return known("schedule", schedule.replace("_", "-"), PACES)
    source, attribute = located(schedule, sources)
    return source.name(attribute)


def pace(schedule: str, steps: int, sources: Sources = MappingProxyType({})) -> Schedule | Plateau:
    """The schedule of this name for a training of so many steps.

    Raises:
        ValueError: the file of ``FILE.py:NAME``, or what is in it, cannot serve.
    """
    if schedule in PACES:
        return PACES[schedule](steps)
    source, attribute = located(schedule, sources)
    found = source.get(attribute)
    try:
        made = found if isinstance(found, Schedule | Plateau) else found(steps)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        why = described(e, [source.path])
        raise ValueError(f"{attribute} in {source.path} cannot be used: {why}") from e
    if not isinstance(made, Schedule | Plateau):
        raise ValueError(
            f"{attribute} in {source.path} is neither a schedule nor a function of the number of "
            "steps that returns one"
        )
    return made


def _shown(schedule: str) -> str:
    return parts(schedule)[1] if is_own(schedule) else schedule
