"""Reduction on a plateau: a pure fold (state, metric) -> state.

Unlike a schedule it is no function of the step: what it gives depends on every metric so far. So it
has no value at step N to jump to, and cannot be composed with schedules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import inf
from typing import Any, ClassVar, Literal, NoReturn, SupportsFloat, cast

from torch import Tensor

from thalweg.schedules.entry import CONSTRUCTORS, SCHEDULES, Entry
from thalweg.validation import DECAY, NON_NEGATIVE, Interval, check, check_choice, number

COUNT = Interval(0, whole=True)
DOMAINS = {
    "factor": DECAY,
    "patience": COUNT,
    "threshold": NON_NEGATIVE,
    "cooldown": COUNT,
    "minimum": NON_NEGATIVE,
    "eps": NON_NEGATIVE,
}


@dataclass(frozen=True, slots=True)
class PlateauState:
    """What a plateau knows after the metrics so far.

    Args:
        value: what is reduced: a learning rate, or a factor if the fold was started at 1.
        best: the best metric so far; infinitely bad before the first.
        bad: metrics since then that were no better, not counting those in a cooldown.
        cooldown: metrics still to come that do not count as bad.
    """

    value: float
    best: float
    bad: int = 0
    cooldown: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class Plateau:
    """Reduction on a plateau, as :func:`plateau` makes it: call it with a state and a metric for
    the next state."""

    name: ClassVar[str] = "plateau"
    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    minimum: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("min", "max"))
        check_choice("threshold_mode", self.threshold_mode, ("rel", "abs"))
        for name, domain in DOMAINS.items():
            value = check(name, number(name, getattr(self, name)), domain)
            object.__setattr__(self, name, int(value or 0) if domain.whole else value)

    @property
    def arguments(self) -> dict[str, Any]:
        """What :func:`plateau` was called with, defaults included."""
        return asdict(self)

    def to_dict(self) -> dict[str, Any]:
        """Name and arguments, for JSON; :func:`thalweg.schedules.from_dict` reads it."""
        return {"name": self.name, "arguments": self.arguments}

    def __repr__(self) -> str:
        given = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        said = ", ".join(f"{name}={value!r}" for name, value, usual in given if value != usual)
        return f"plateau({said})"

    def start(self, value: float = 1.0) -> PlateauState:
        """The state before the first metric; ``value`` is what will be reduced."""
        return PlateauState(value, inf if self.mode == "min" else -inf)

    def __call__(self, state: PlateauState, metric: SupportsFloat) -> PlateauState:
        """The state after one more metric. NaN is never better than what was."""
        new = number("metric", metric.detach() if isinstance(metric, Tensor) else metric)
        best, bad = (new, 0) if self._better(new, state.best) else (state.best, state.bad + 1)
        cooldown = state.cooldown
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        value = state.value
        if bad > self.patience:
            reduced = max(value * self.factor, self.minimum)
            # Also where minimum is above the value, which it does not raise.
            value = reduced if value - reduced > self.eps else value
            cooldown, bad = self.cooldown, 0
        return PlateauState(value, best, bad, cooldown)

    def _better(self, new: float, best: float) -> bool:
        if self.threshold_mode == "rel":
            if self.mode == "min":
                return new < best * (1.0 - self.threshold)
            return new > best * (1.0 + self.threshold)
        return new < best - self.threshold if self.mode == "min" else new > best + self.threshold

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be composed: it follows metrics, while a schedule follows the step. "
            "After a warm-up, attach it anew: attach(optimizer, plateau(...))"
        )

    then = until = delayed = stretched_to = warmed_up = in_epochs = __mul__ = __rmul__ = _refuse


def plateau(
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    minimum: float = 0.0,
    eps: float = 1e-8,
) -> Plateau:
    """Multiply the rate by a factor once a metric has stopped improving.

    ::

        better: metric < best (1 - threshold)       (mode "min", threshold_mode "rel")
                metric < best - threshold           (mode "min", threshold_mode "abs")
                metric > best (1 + threshold)       (mode "max", threshold_mode "rel")
                metric > best + threshold           (mode "max", threshold_mode "abs")
        best, bad <- (metric, 0) if better, else (best, bad + 1)
        cooldown, bad <- (cooldown - 1, 0) if cooldown > 0
        rate <- max(factor rate, minimum) if bad > patience; then cooldown starts and bad is 0

    It is a fold over metrics, not a function of the step: steps cannot be jumped over.
    ``functools.reduce(plateau(), losses, plateau().start(0.1))`` is the state after all losses.

    Args:
        mode: whether the metric should fall (``"min"``) or rise (``"max"``).
        factor: what the rate is multiplied by, from 0 to below 1.
        patience: how many metrics in a row may be no better; the next such reduces the rate.
        threshold: how much better is better, at least 0; a fraction of the best metric, or in
            the metric's units. As torch's, a fraction means little for metrics below 0: with
            ``"min"``, slightly worse than a negative best counts as better. Take ``"abs"`` there.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: how many metrics after a reduction do not count as bad.
        minimum: never reduce below it, at least 0; a rate, not a factor: torch's ``min_lr``. For
            one per parameter group, attach a list of plateaus.
        eps: leave out reductions by no more than this, at least 0; units of the rate.

    In torch: ``ReduceLROnPlateau`` with the same arguments, the minimum being its min_lr.
    """
    return Plateau(
        mode=mode, factor=factor, patience=patience, threshold=threshold,
        threshold_mode=threshold_mode, cooldown=cooldown, minimum=minimum, eps=eps,
    )  # fmt: skip


FORMULA = (
    r"\alpha \gets \begin{cases}\max(\gamma\,\alpha,\ \alpha_{\min})"
    r" & b > p \\ \alpha & b \le p\end{cases}"
)
CONSTRUCTORS["plateau"] = SCHEDULES["plateau"] = Entry(cast(Any, plateau), FORMULA, ())
