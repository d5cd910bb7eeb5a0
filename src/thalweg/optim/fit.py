"""Whether a tensor can stand beside a parameter: what is looked at before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.engines.watch import INFERENCE, frozen, missing, ordinary


def check_fit(
    x: Any,
    p: Tensor,
    called: Callable[[], str],
    shape: tuple[int, ...] | None = None,
    *,
    written: bool = True,
) -> None:
    """Raise where ``x``, a parameter ``p`` itself, its gradient or a state of it, cannot be stepped
    with: another shape than ``p``'s (or ``shape``), another device, memory that is not there, or,
    where it is ``written`` to, that several elements share."""
    if x is None:
        return
    if not isinstance(x, Tensor):
        raise TypeError(f"{called()} must be a tensor, not {x!r}")
    shape = tuple(p.shape) if shape is None else shape
    if x.shape != shape:
        raise ValueError(f"{called()} has another shape, {tuple(x.shape)}, than {shape}")
    if x.device != p.device:
        raise ValueError(f"{called()} is on {x.device}, the parameter on {p.device}")
    if not (x.is_floating_point() or x.is_complex()) or (x.is_complex() and not p.is_complex()):
        raise ValueError(f"{called()} has dtype {x.dtype}, the parameter {p.dtype}")
    if reason := missing(x):
        raise ValueError(f"{called()} has lost its memory: {reason}")
    if written and frozen(x):
        raise RuntimeError(f"{called()} {INFERENCE}")
    if written and ordinary(x) and x._is_zerotensor():
        raise ValueError(f"{called()} is a zero without memory to write to: clone() it")
    if written and ordinary(x) and torch._debug_has_internal_overlap(x) == 1:
        raise ValueError(f"{called()} has elements that share their memory: clone() it")
