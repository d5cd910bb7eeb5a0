"""Options that every optimizer takes, and what values are accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch

from thalweg.optim.declared import Declared, common
from thalweg.validation import NON_NEGATIVE, check, check_choice, number


class Common(Declared):
    """Options of every optimizer in ``thalweg.optim``."""

    params: Any
    maximize: bool = common(
        default=False, choices=(False, True), doc="Climb instead of descend.", kw_only=True
    )
    cautious: bool = common(
        default=False,
        choices=(False, True),
        doc=(
            "Move only the weights whose step and present gradient have the same sign, those "
            "the further the fewer they are (Liang et al. 2024, arXiv:2411.16085). One more "
            "pass over memory. Refused where all steps have it anyway."
        ),
        kw_only=True,
    )
    engine: Literal["auto", "plain", "fused", "compiled"] = common(
        default="auto",
        choices=("auto", "plain", "fused", "compiled"),
        doc=(
            '``"fused"``: one compiled sweep over memory, on the CPU; ``"compiled"``: the '
            "same passes through torch.compile, on any device, which takes its time at the "
            'first step; ``"plain"``: torch operations; ``"auto"`` (default), parameter by '
            "parameter: fused where it can serve, compiled on CUDA devices, plain elsewhere."
        ),
        kw_only=True,
    )
    state_dtype: torch.dtype | None = common(
        default=None,
        doc=(
            "What the state is stored in, e.g. ``torch.bfloat16``. Default: the parameter's "
            "dtype. Averages and sums in bfloat16, also those of bfloat16 parameters, are "
            "rounded up or down at random, for rounded to nearest they would stand still (as "
            "torch's do); weights are rounded to nearest. The random bits depend on the step "
            "and the parameter's place in the optimizer alone: a run repeats bit by bit, also "
            "from a checkpoint, on any number of threads. With ``differentiable`` all is "
            "rounded to nearest. float16 always is, and holds the squares only of gradients "
            "between about 3e-4 and 255."
        ),
        kw_only=True,
    )
    max_grad_norm: float | None = common(
        default=None,
        doc=(
            "Clip the gradient's norm over all parameters, as "
            "``torch.nn.utils.clip_grad_norm_`` does but without writing to it. One value for "
            "all groups."
        ),
        kw_only=True,
    )
    bounds: tuple[float | None, float | None] | None = common(
        default=None,
        doc=(
            "The lowest and the highest value that a weight may have, None for none: after "
            "each step, weights that are out of bounds are put on the bound. This is "
            "projected descent onto a box, also in the norms that Adam's and AdaBelief's "
            "papers project in. Complex weights: both parts. Refused where cutting off is no "
            "projection."
        ),
        kw_only=True,
    )
    check_finite: Literal[False, True, "raise", "skip"] = common(
        default=False,
        choices=(False, True, "raise", "skip"),
        doc=(
            "Look for NaN and infinity in the gradients before anything is written, and raise "
            '(True or ``"raise"``) or leave this step out (``"skip"``). Default: False, they '
            "propagate as in torch."
        ),
        kw_only=True,
    )
    foreach: bool | None = common(
        default=None,
        choices=(None, False, True),
        doc=(
            "torch's flag. False: tensor by tensor, which is the plain engine. True: all "
            'tensors at once, which is what ``engine="auto"`` does where it can.'
        ),
        kw_only=True,
    )
    fused: bool | None = common(
        default=None,
        choices=(None, False, True),
        doc=("torch's flag. True: the fused engine where it can serve, else plain. False: plain."),
        kw_only=True,
    )
    capturable: bool = common(
        default=False,
        doc="torch's flag for CUDA graphs; refused, since step counts live on the host.",
        kw_only=True,
    )
    differentiable: bool = common(
        default=False,
        choices=(False, True),
        doc="torch's flag: gradients flow through the step (plain engine).",
        kw_only=True,
    )


# How a step is executed, not what it computes: kept as constructed when a checkpoint is loaded.
EXECUTION = ("engine", "state_dtype", "check_finite", "foreach", "fused", "capturable",
             "differentiable")  # fmt: skip
DEFAULTS = {name: x.default for name, x in Common.options.items()}
CHOICES = {name: x.choices for name, x in Common.options.items() if x.choices}
STATE_DTYPES = (None, torch.float32, torch.float64, torch.bfloat16, torch.float16)


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
