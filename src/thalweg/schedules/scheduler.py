"""What drives an optimizer with schedules: torch's ``LRScheduler``, but a value is looked up, not
derived from the one before it, so that it is right however the step was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import index
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from thalweg.schedules.plateau import Plateau
from thalweg.schedules.schedule import Schedule, from_dict
from thalweg.validation import NON_NEGATIVE, check, number

S = TypeVar("S", Schedule, Plateau)
Groups = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Track(Generic[S]):
    """One number of one parameter group, and what it follows."""

    group: int
    name: str
    part: int | None  # which of an option's numbers: 0 or 1 of betas
    schedule: S

    def __str__(self) -> str:
        part = "" if self.part is None else f"[{self.part}]"
        return f"{self.schedule!r} for {self.name}{part} of group {self.group}"

    def read(self, groups: Groups) -> Any:
        value = groups[self.group][self.name]
        return value if self.part is None else value[self.part]

    def write(self, groups: Groups, value: float) -> None:
        """Set the number; where it is a tensor, in place."""
        group, old = groups[self.group], self.read(groups)
        if isinstance(old, Tensor):
            old.fill_(value)
        elif old == value:
            return  # the same object: our optimizers look at their options again only for another
        elif self.part is None:
            group[self.name] = value
        else:
            several = list(group[self.name])
            several[self.part] = value
            group[self.name] = type(group[self.name])(several)

    def check(self, step: int, value: float) -> None:
        """Raise for what the number must not be at a step. What else an option must keep to, the
        optimizer knows."""
        if not isfinite(value) or (self.name == "lr" and value < 0):
            least = " and at least 0" if self.name == "lr" else ""
            raise ValueError(
                f"{self.name} must be finite{least}, not {value!r}, which it would be at step "
                f"{step} under {self}"
            )

    def to_dict(self) -> dict[str, Any]:
        place = {"group": self.group, "name": self.name, "part": self.part}
        return {**place, "schedule": self.schedule.to_dict()}


class Scheduler(LRScheduler):
    """Drives an optimizer with schedules; :func:`~thalweg.schedules.attach` makes it.

    After n calls of :meth:`step`, and after ``jump(n)``, the rate is ``base_lrs * schedule(n)``,
    and any other scheduled hyperparameter is ``schedule(n)``, with the same bits; what else was
    written there is overwritten. A rate below 0, and any value that is not finite, raises
    ValueError before anything is written. It counts its own calls only: the optimizer's step is not
    wrapped, and nothing warns when a ``GradScaler`` leaves out a step or a checkpoint has just been
    loaded.

    Attributes:
        last_epoch: the number of steps taken.
        base_lrs: for each parameter group, the rate that a schedule is a factor of.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        tracks: Sequence[Track[Schedule]],
        base_lrs: Sequence[float],
    ) -> None:
        # Not torch's, which wraps the optimizer's step in order to warn.
        self.optimizer, self._tracks = optimizer, tracks
        self.base_lrs: list[float | Tensor] = [*base_lrs]
        self._update_lr(0)

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step; call it after the optimizer's. ``step(n)`` is ``jump(n)``."""
        self._update_lr(epoch)

    def jump(self, step: int) -> None:
        """Be where ``step`` calls of :meth:`step` lead to, whether ahead or behind."""
        self._update_lr(_step("step", step))

    def get_lr(self) -> list[float | Tensor]:
        """The present rate of each parameter group, as :meth:`get_last_lr`."""
        return self._last_lr

    # Torch's SequentialLR calls it by this name.
    def _update_lr(self, epoch: int | None = None) -> None:
        self._fits()
        step = self.last_epoch + 1 if epoch is None else _step("epoch", epoch)
        values = self._values(step)
        for t, value in values:
            t.check(step, value)
        self._write(step, values)

    def _fits(self) -> None:
        now, then = len(self.optimizer.param_groups), len(self.base_lrs)
        if now != then:
            raise ValueError(
                f"the optimizer has {now} parameter groups, but had {then} when the schedule was "
                "attached: attach it again and jump(last_epoch), or give a plateau the present "
                "rates as lr"
            )

    def _all(self) -> list[Track[Any]]:
        return [*self._tracks]

    def _values(self, step: int) -> list[tuple[Track[Any], float]]:
        """What every track is at a step."""
        at: dict[int, float] = {}  # groups mostly share a schedule
        values: list[tuple[Track[Any], float]] = []
        for t in self._tracks:
            if id(t.schedule) not in at:
                at[id(t.schedule)] = t.schedule(step)
            base = float(self.base_lrs[t.group]) if t.name == "lr" else 1.0
            values.append((t, base * at[id(t.schedule)]))
        return values

    def _write(self, step: int, values: list[tuple[Track[Any], float]]) -> None:
        groups = self.optimizer.param_groups
        if len(groups) > 1:
            for name in {t.name for t, _ in values}:
                _part(groups, name)
        for t, value in values:
            t.write(groups, value)
        self.last_epoch, self._step_count = step, step + 1
        rates = [g["lr"] for g in groups]
        self._last_lr = [x.clone() if isinstance(x, Tensor) else x for x in rates]

    def state_dict(self) -> dict[str, Any]:
        """The step, the base rates, and the schedules by name and arguments: numbers, strings,
        lists and dictionaries only, as JSON and ``torch.load(weights_only=True)`` can read."""
        return {
            "last_epoch": self.last_epoch,
            "base_lrs": [float(x) for x in self.base_lrs],
            "schedules": [t.to_dict() for t in self._all()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state was saved, with its base rates, and set the optimizer's values to
        it, whether the optimizer loads its own state before or after.

        Raises:
            ValueError: if it was saved with other schedules, or is no such state; nothing is
                changed. To go on with new ones, ``jump(state["last_epoch"])`` instead.
        """
        self._fits()
        self._accept(state_dict)
        before = dict(vars(self))
        try:
            self._restore(state_dict)
            self.base_lrs = [*state_dict["base_lrs"]]
            self._update_lr(state_dict["last_epoch"])
        except BaseException:  # of a value that must not be: nothing has been written yet
            vars(self).update(before)
            raise

    def _accept(self, state: Mapping[str, Any]) -> None:
        """Raise for the state of a scheduler that is not like this one."""
        mine = self.state_dict()
        if state.keys() != mine.keys():
            raise ValueError(
                f"a state of {type(self).__name__} has the keys {[*mine]}, not {[*state]}"
            )
        given, here = len(state["base_lrs"]), len(self.base_lrs)
        if given != here:
            raise ValueError(f"the state has {given} parameter groups, the optimizer {here}")
        for i, rate in enumerate(state["base_lrs"]):
            check(f"base_lrs[{i}]", number(f"base_lrs[{i}]", rate), NON_NEGATIVE)
        tracks = self._all()
        saved: list[Track[Any]] = [
            Track(**{**t, "schedule": from_dict(t["schedule"])}) for t in state["schedules"]
        ]
        if saved != tracks:
            there = "; ".join(str(t) for t in saved if t not in tracks) or "nothing else"
            now = "; ".join(str(t) for t in tracks if t not in saved) or "nothing else"
            raise ValueError(
                f"the state was saved with other schedules. There: {there}. Here: {now}. To go on "
                'with new ones, jump(state["last_epoch"])'
            )
        _step("last_epoch", state["last_epoch"])

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take over what else a state holds."""


def _part(groups: Groups, name: str) -> None:
    """Give each group a tensor of its own where several hold the same one (a rate that was given
    for all): what is written for one would hold for the others."""
    seen: set[int] = set()

    def own(x: Any) -> Any:
        if isinstance(x, Tensor) and id(x) in seen:
            x = x.clone()
        seen.add(id(x))
        return x

    for group in groups:
        given = group.get(name)
        if isinstance(given, Tensor):
            group[name] = own(given)
        elif isinstance(given, tuple | list) and any(isinstance(x, Tensor) for x in given):
            group[name] = type(given)(map(own, given))


def _step(name: str, step: Any) -> int:
    """A number of steps. No float, even a whole one: it may be a metric gone astray."""
    try:
        n = index(step)
    except TypeError:
        raise TypeError(f"{name} must be a whole number of steps, not {step!r}") from None
    if n < 0:
        raise ValueError(f"{name} must be at least 0, not {step!r}")
    return n
