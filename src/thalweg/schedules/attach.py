"""From schedules to a scheduler: what may follow what, parameter group by parameter group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg.schedules.lines import constant
from thalweg.schedules.metric_scheduler import MetricScheduler
from thalweg.schedules.plateau import Plateau
from thalweg.schedules.schedule import Schedule
from thalweg.schedules.scheduler import Groups, Scheduler, Track
from thalweg.validation import NON_NEGATIVE, check, number

Either = Schedule | Plateau
Rate = float | Tensor
FIXED = ("params", "param_names", "initial_lr")  # of a group, but no hyperparameters


def attach(
    optimizer: torch.optim.Optimizer,
    schedule: Either | list[Either | None] | None,
    lr: Rate | list[Rate | None] | None = None,
    **others: Any,
) -> Scheduler:
    """Drive an optimizer, of ``thalweg.optim``, ``torch.optim`` or elsewhere, with schedules.

    ::

        scheduler = attach(optimizer, linear(0, 1, 500).then(cosine(10_000)))
        for batch in batches:
            ...
            optimizer.step()
            scheduler.step()

    The first step is taken at ``schedule(0)``, which is set at once. Several groups, and other
    hyperparameters, each with a schedule of its own::

        attach(optimizer, [cosine(900), None], lr=[0.1, None], weight_decay=linear(0, 0.1, 900))
        attach(optimizer, cosine(900), betas=(linear(0.85, 0.95, 900), None))

    Args:
        optimizer: it is not wrapped; its groups' ``initial_lr`` is set, as by torch's schedulers.
        schedule: of the learning rate, as a factor of ``lr``: one for all parameter groups, or a
            list with one for each; None leaves the rate alone.
        lr: what the schedule is a factor of, at least 0; one, or a list with one for each group.
            None: the group's ``initial_lr``, which an earlier scheduler or a checkpoint left, or
            else its ``lr``.
        others: further hyperparameters by name, such as ``momentum``. The schedule is the value
            itself; a number stays. An option of several numbers is given a tuple, with None for
            what is left alone. Here, too, a list means one for each group.

    Returns:
        A ``torch.optim.lr_scheduler.LRScheduler``, so that trainers take it. With a
        :func:`~thalweg.schedules.plateau` somewhere, one whose ``step`` takes a metric, which
        trainers know for a ``ReduceLROnPlateau``.

    Raises:
        TypeError: for what is no schedule or optimizer, and for a hyperparameter that a group does
            not have.
        ValueError: for a list, a tuple or a base rate that does not fit, and for a rate below 0 or
            a value that is not finite at step 0. Nothing is changed then. Later steps raise, too,
            before they would set such a value.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, not {optimizer!r}")
    groups = optimizer.param_groups
    if any("lr" not in group for group in groups):
        raise TypeError(f"optimizer has no learning rate: {type(optimizer).__name__} has no 'lr'")
    wanted = {"lr": schedule, **others}
    tracks = [t for name, given in wanted.items() for t in _tracks(groups, name, given)]
    if not tracks:
        raise ValueError("schedule is None, and no other hyperparameter has a schedule")
    scheduled = {t.group for t in tracks if t.name == "lr"}
    bases = _bases(groups, lr, scheduled)
    pure = [t for t in tracks if isinstance(t.schedule, Schedule)]
    plateaus = [t for t in tracks if isinstance(t.schedule, Plateau)]
    scheduler = (
        MetricScheduler(optimizer, pure, plateaus, bases)
        if plateaus
        else Scheduler(optimizer, pure, bases)
    )
    for i in scheduled:
        groups[i]["initial_lr"] = bases[i]
    return scheduler


def _each(name: str, given: Any, groups: Groups) -> list[Any]:
    """What was given, group by group."""
    if not isinstance(given, list):
        return [given] * len(groups)
    if len(given) != len(groups):
        raise ValueError(
            f"{name} is a list of {len(given)}, but the optimizer has {len(groups)} parameter "
            "groups: one is needed for each"
        )
    return given


def _bases(groups: Groups, lr: Any, scheduled: set[int]) -> list[float]:
    """The rate of each group that its schedule is a factor of."""
    each, bases = _each("lr", lr, groups), []
    if lr is not None and not scheduled:
        raise ValueError(f"lr is {lr!r}, but the learning rate has no schedule")
    for i, (group, base) in enumerate(zip(groups, each, strict=True)):
        if isinstance(lr, list) and base is not None and i not in scheduled:
            raise ValueError(f"lr[{i}] is {base!r}, but group {i} has no schedule")
        if base is None or i not in scheduled:
            base = group.get("initial_lr", group["lr"])
        bases.append(float(check("lr", number("lr", base), NON_NEGATIVE) or 0.0))
    return bases


def _tracks(groups: Groups, name: str, given: Any) -> Iterator[Track[Any]]:
    """What the numbers of one hyperparameter follow."""
    called = "schedule" if name == "lr" else name
    for i, (group, wanted) in enumerate(zip(groups, _each(called, given, groups), strict=True)):
        if wanted is None:
            continue
        known = [k for k, v in group.items() if k not in FIXED and _numbers(v)]
        if name not in group or name in FIXED:
            raise TypeError(
                f"group {i} has no hyperparameter {name!r} that a schedule could set; it has: "
                f"{', '.join(known)}"
            )
        value = group[name]
        if not isinstance(value, tuple | list):
            yield Track(i, name, None, _schedule(called, wanted, value))
            continue
        if not isinstance(wanted, tuple) or len(wanted) != len(value):
            raise ValueError(
                f"{name} is {len(value)} numbers: it needs a tuple of {len(value)} schedules, "
                f"numbers or None, not {wanted!r}"
            )
        for part, one in enumerate(wanted):
            if one is not None:
                yield Track(i, name, part, _schedule(f"{name}[{part}]", one, value[part]))


def _schedule(name: str, given: Any, value: Any) -> Any:
    """A schedule that is fit to set a value."""
    if not _numbers(value):
        raise TypeError(f"{name} cannot have a schedule: it is {value!r} and no number")
    if isinstance(given, Schedule | Plateau):
        return given
    if name == "schedule":
        raise TypeError(f"schedule must be a schedule, such as cosine(1000), not {given!r}")
    if isinstance(given, tuple):
        raise ValueError(f"{name} is one number, not {len(given)}")
    return constant(number(name, given))


def _numbers(value: Any) -> bool:
    """Whether an option's value is a number, or several."""
    if isinstance(value, tuple | list):
        return any(map(_numbers, value))
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float) and not isinstance(value, bool)
