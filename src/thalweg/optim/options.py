"""Options that every optimizer takes, and what values are accepted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

import torch


class Common(TypedDict, total=False):
    """Keyword arguments of every optimizer in ``thalweg.optim``."""

    maximize: bool
    """Climb instead of descend. Default: False."""
    cautious: bool
    """Move only the weights whose step and present gradient have the same sign, those the further
    the fewer they are (Liang et al. 2024, arXiv:2411.16085). One more pass over memory. Refused
    where all steps have it anyway. Default: False."""
    engine: Literal["auto", "plain", "fused", "compiled"]
    """``"fused"``: one compiled sweep over memory, on the CPU; ``"compiled"``: the same passes
    through torch.compile, on any device, which takes its time at the first step; ``"plain"``: torch
    operations; ``"auto"`` (default), parameter by parameter: fused where it can serve, compiled on
    CUDA devices, plain elsewhere."""
    state_dtype: torch.dtype | None
    """What the state is stored in, e.g. ``torch.bfloat16``. Default: the parameter's dtype.
    Averages and sums in bfloat16, also those of bfloat16 parameters, are rounded up or down at
    random, for rounded to nearest they would stand still (as torch's do); weights are rounded to
    nearest. The random bits depend on the step and the parameter's place in the optimizer alone: a
    run repeats bit by bit, also from a checkpoint, on any number of threads. With
    ``differentiable`` all is rounded to nearest. float16 always is, and holds the squares only of
    gradients between about 3e-4 and 255."""
    max_grad_norm: float | None
    """Clip the gradient's norm over all parameters, as ``torch.nn.utils.clip_grad_norm_`` does but
    without writing to it. One value for all groups. Default: no clipping."""
    bounds: tuple[float | None, float | None] | None
    """The lowest and the highest value that a weight may have, None for none: after each step,
    weights that are out of bounds are put on the bound. This is projected descent onto a box, also
    in the norms that Adam's and AdaBelief's papers project in. Complex weights: both parts. Refused
    where cutting off is no projection. Default: no bounds."""
    check_finite: Literal[False, True, "raise", "skip"]
    """Look for NaN and infinity in the gradients before anything is written, and raise (True or
    ``"raise"``) or leave this step out (``"skip"``). Default: False, they propagate as in torch."""
    foreach: bool | None
    """torch's flag. False: tensor by tensor, which is the plain engine. True: all tensors at once,
    which is what ``engine="auto"`` does where it can."""
    fused: bool | None
    """torch's flag. True: the fused engine where it can serve, else plain. False: plain."""
    capturable: bool
    """torch's flag for CUDA graphs; refused, since step counts live on the host."""
    differentiable: bool
    """torch's flag: gradients flow through the step (plain engine)."""


# How a step is executed, not what it computes: kept as constructed when a checkpoint is loaded.
EXECUTION = ("engine", "state_dtype", "check_finite", "foreach", "fused", "capturable",
             "differentiable")  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "maximize": False,
    "cautious": False,
    "engine": "auto",
    "state_dtype": None,
    "max_grad_norm": None,
    "bounds": None,
    "check_finite": False,
    "foreach": None,
    "fused": None,
    "capturable": False,
    "differentiable": False,
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "engine": ("auto", "plain", "fused", "compiled"),
    "check_finite": (False, True, "raise", "skip"),
    "foreach": (None, False, True),
    "fused": (None, False, True),
    "maximize": (False, True),
    "cautious": (False, True),
    "differentiable": (False, True),
}
STATE_DTYPES = (None, torch.float32, torch.float64, torch.bfloat16, torch.float16)


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


def limits(bounds: Any) -> tuple[float | None, float | None]:
    """``bounds`` as two doubles, None where there is no bound; raises for what is not a pair of
    numbers in order."""
    if bounds is None:
        return None, None
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"bounds must be two numbers, not {bounds!r}")
    low, high = (None if x is None else number(f"bounds[{i}]", x) for i, x in enumerate(bounds))
    low, high = (None if low == -math.inf else low), (None if high == math.inf else high)
    for i, x in enumerate((low, high)):
        if x is not None and not math.isfinite(x):
            raise ValueError(f"bounds[{i}] must be a number or None, not {x!r}")
    if low is not None and high is not None and low > high:
        raise ValueError(f"bounds must be in order, not {bounds!r}")
    return low, high


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``; 1 is not True here."""
    if not any(type(value) is type(c) and value == c for c in choices):
        near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
        hint = f"; did you mean {near[0]!r}?" if near and isinstance(value, str) else ""
        shown = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {shown}, not {value!r}{hint}")


def check_common(group: Mapping[str, Any]) -> None:
    """Raise for values and combinations of :class:`Common` that cannot be honoured."""
    for name, choices in CHOICES.items():
        check_choice(name, group[name], choices)
    if group["state_dtype"] not in STATE_DTYPES:
        raise ValueError(f"state_dtype must be a floating dtype, not {group['state_dtype']!r}")
    if group["max_grad_norm"] is not None:
        check("max_grad_norm", number("max_grad_norm", group["max_grad_norm"]), NON_NEGATIVE)
    limits(group["bounds"])
    if group["capturable"]:
        raise ValueError(
            "capturable=True cannot be honoured: step counts and coefficients live on the host, "
            "which a captured CUDA graph does not revisit; use torch.optim for graph capture"
        )
    if group["fused"] and group["foreach"]:
        raise RuntimeError("fused=True and foreach=True cannot both be set: choose one")
    plain = {
        "fused=False": group["fused"] is False,
        "foreach=False": group["foreach"] is False,
        "differentiable=True": group["differentiable"],
    }
    fused = {
        'engine="fused"': group["engine"] == "fused",
        'engine="compiled"': group["engine"] == "compiled",
        "fused=True": group["fused"],
    }
    for no, is_no in plain.items():
        for yes, is_yes in fused.items():
            if is_no and is_yes and (no, yes) != ("foreach=False", "fused=True"):
                raise ValueError(f"{yes} and {no} contradict each other: choose one")


def engine_of(group: Mapping[str, Any]) -> str:
    """The engine that torch's flags and ``engine`` ask for together."""
    if group["fused"] is False or group["differentiable"]:
        return "plain"
    if group["foreach"] is False and not group["fused"]:
        return "plain"
    return str(group["engine"])


def unknown(name: str, known: Iterable[str], cls: str) -> TypeError:
    """The error for an option that the optimizer does not have."""
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return TypeError(f"{cls} has no option {name!r}{hint}")
