"""A scheduler that waits for plateaus: it is stepped with a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn, SupportsFloat

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from thalweg.schedules.checks import FINITE
from thalweg.schedules.plateau import COUNT, Plateau, PlateauState
from thalweg.schedules.schedule import Schedule
from thalweg.schedules.scheduler import Scheduler, Track
from thalweg.validation import check, number


class MetricScheduler(Scheduler, ReduceLROnPlateau):
    """A scheduler of which a part, or all, waits for a plateau: ``step(metric)``, once per metric.
    It is torch's ``ReduceLROnPlateau`` by name only, since trainers ask for that to know whether a
    scheduler is given metrics.

    What a plateau reduces starts at the base rate, or where it is not the rate, at what the
    optimizer has. Schedules beside it count the metrics as steps.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        tracks: Sequence[Track[Schedule]],
        plateaus: Sequence[Track[Plateau]],
        base_lrs: Sequence[float],
    ) -> None:
        self._plateaus = plateaus
        groups = optimizer.param_groups
        starts = [base_lrs[t.group] if t.name == "lr" else t.read(groups) for t in plateaus]
        pairs = zip(plateaus, starts, strict=True)
        self._states = [t.schedule.start(float(start)) for t, start in pairs]
        super().__init__(optimizer, tracks, base_lrs)

    # Named as torch's ReduceLROnPlateau names it.
    def step(self, metrics: SupportsFloat | None = None) -> None:  # type: ignore[override]
        """Go on by one metric, such as the loss on held-out data: a number or a tensor of one."""
        if metrics is None:
            raise TypeError("metrics is missing: a plateau is stepped with step(metrics)")
        self._fits()
        pairs = zip(self._plateaus, self._states, strict=True)
        before, self._states = self._states, [t.schedule(state, metrics) for t, state in pairs]
        try:
            self._update_lr()
        except BaseException:  # of a schedule beside the plateau
            self._states = before
            raise

    def jump(self, step: int) -> NoReturn:
        """Refused: what a plateau does at a step depends on every metric before it."""
        raise ValueError(
            f"cannot jump to step {step!r}: what a plateau does there depends on every metric "
            "before it; load_state_dict goes on where a state was saved"
        )

    def _all(self) -> list[Track[Any]]:
        return [*super()._all(), *self._plateaus]

    def _values(self, step: int) -> list[tuple[Track[Any], float]]:
        pairs = zip(self._plateaus, self._states, strict=True)
        return [*super()._values(step), *((t, state.value) for t, state in pairs)]

    def state_dict(self) -> dict[str, Any]:
        """As a :class:`Scheduler`'s, and each plateau with the state of its fold."""
        return {**super().state_dict(), "plateaus": [asdict(state) for state in self._states]}

    @property
    def in_cooldown(self) -> bool:
        """Whether a plateau is in its cooldown, so that metrics do not count as bad."""
        return any(state.cooldown > 0 for state in self._states)

    def _restore(self, state: Mapping[str, Any]) -> None:
        given, here = len(state["plateaus"]), len(self._states)
        if given != here:
            raise ValueError(f"the state has {given} plateaus, the scheduler {here}")
        self._states = [_state(i, p) for i, p in enumerate(state["plateaus"])]


def _state(i: int, saved: Any) -> PlateauState:
    """A plateau's state, as ``asdict`` has made it; raises for what is none."""
    known = asdict(PlateauState(0.0, 0.0))
    if not isinstance(saved, Mapping) or saved.keys() != known.keys():
        raise ValueError(f"plateaus[{i}] must have the keys {[*known]}, not {saved!r}")
    for name, value in saved.items():
        number(f"{name} of plateaus[{i}]", value)
    check(f"value of plateaus[{i}]", saved["value"], FINITE)
    for name in ("bad", "cooldown"):
        check(f"{name} of plateaus[{i}]", saved[name], COUNT)
    return PlateauState(**saved)
