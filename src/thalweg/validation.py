"""Arguments: what values they may have, and errors that name them."""

from __future__ import annotations

import difflib
import math
from typing import Any

import torch


class Interval:
    """The values a hyperparameter may take: finite numbers from ``low`` to ``high``; None, which
    turns it off, where it is ``optional``; infinity where it may be ``infinite``."""

    def __init__(
        self,
        low: float,
        high: float = math.inf,
        *,
        open_low: bool = False,
        open_high: bool = False,
        optional: bool = False,
        infinite: bool = False,
        whole: bool = False,
    ) -> None:
        self.low, self.high, self.optional, self.infinite = low, high, optional, infinite
        self.open_low, self.open_high, self.whole = open_low, open_high, whole

    def __contains__(self, x: float | None) -> bool:
        if x is None:
            return self.optional
        above = x > self.low if self.open_low else x >= self.low
        below = x < self.high if self.open_high else x <= self.high
        kind = float(x).is_integer() if self.whole else math.isfinite(x) or self.infinite
        return kind and above and below

    def __str__(self) -> str:
        start = "above" if self.open_low else "at least"
        if self.low == -math.inf:
            end = f" and {'below' if self.open_high else 'at most'} {self.high:g}"
            return f"finite{'' if math.isinf(self.high) else end}"
        if self.whole:
            end = "" if math.isinf(self.high) else f" and at most {self.high:g}"
            return f"a whole number, {start} {self.low:g}{end}"
        if math.isinf(self.high):
            return f"{'' if self.infinite else 'finite and '}{start} {self.low:g}"
        end = "below" if self.open_high else "at most"
        return f"{start} {self.low:g} and {end} {self.high:g}"


NON_NEGATIVE = Interval(0.0)
DECAY = Interval(0.0, 1.0, open_high=True)  # of a moving average


def number(name: str, value: Any) -> float:
    """``value`` as a double; raises TypeError, naming the argument, for what is not one number."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex():
            raise ValueError(f"{name} must be one real number, not a tensor of {value.shape}")
        return float(value)
    try:
        if not isinstance(value, bool | str) and hasattr(value, "__float__"):
            return float(value)
    except TypeError:  # several of NumPy's
        pass
    raise TypeError(f"{name} must be a number, not {value!r}")


def check(name: str, value: float | None, domain: Interval) -> float | None:
    """``value`` if the domain holds it; else a ValueError that names the argument."""
    if value not in domain:
        raise ValueError(f"{name} must be {domain}, not {value!r}")
    return value


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``; 1 is not True here."""
    if not any(type(value) is type(c) and value == c for c in choices):
        near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
        hint = f"; did you mean {near[0]!r}?" if near and isinstance(value, str) else ""
        shown = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {shown}, not {value!r}{hint}")
