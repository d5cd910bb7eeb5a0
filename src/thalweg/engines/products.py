"""Products of matrices, by the faster of the two libraries that torch for the CPU is built with.

torch leaves float32 products to MKL, which uses half the width of an AMD processor's registers:
220 GFLOP/s where oneDNN, which torch has for convolutions, reaches 480 (two cores of a Zen 5). The
choice depends on the processor and the shapes alone, so that a run can be repeated bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

STRIP = 128  # rows of a symmetric matrix that are computed at a time
WORTH = 2**21  # multiplications below which oneDNN's call costs more than it saves


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of two matrices, rounded in whatever order is fastest. Elements whose stride in
    memory is not 1 along either dimension are copied first: ``a`` is best row by row, ``b`` may be
    either way."""
    linear = _linear()
    if linear is None or not (torch._C._get_mkldnn_enabled() and _suits(a, b)):
        return a @ b
    if not (b.is_contiguous() or b.mT.is_contiguous()):
        b = b.contiguous()  # oneDNN has only a slow loop for others
    result: Tensor = linear(a.contiguous(), b.mT, None, "none", [], "")
    return result


def gram(x: Tensor) -> Tensor:
    """``x @ x.T``; of large ones only strips as far as the diagonal, the rest is mirrored."""
    n = x.shape[0]
    if n < 4 * STRIP:
        return product(x, x.mT)
    whole = x.new_empty(n, n)
    for start, end in strips(n):
        whole[start:end, :end] = product(x[start:end], x[:end].mT)
        whole[:start, start:end] = whole[start:end, :start].mT
    return whole


def strips(n: int) -> Iterator[tuple[int, int]]:
    """From which row to which a symmetric matrix of n rows is computed at a time."""
    return ((start, min(start + STRIP, n)) for start in range(0, n, STRIP))


def _suits(a: Tensor, b: Tensor) -> bool:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or a.numel() * b.shape[1] < WORTH:
        return False
    return all(
        x.dtype is torch.float32
        and x.device.type == "cpu"
        and x.layout is torch.strided
        and type(x) in (Tensor, torch.nn.Parameter)
        and not x.is_neg()
        and not (x.requires_grad and torch.is_grad_enabled())
        for x in (a, b)
    )


@functools.cache
def _linear() -> Callable[..., Any] | None:
    """OneDNN's ``x @ w.T``, where it is the faster one and there."""
    try:
        from thalweg.engines.kernel import machine
    except (ImportError, OSError):
        return None
    if not machine.mkl_uses_half():
        return None
    try:
        found: Callable[..., Any] = torch.ops.mkldnn._linear_pointwise.default
        x = torch.arange(-15.0, 15.0).view(5, 6)
        same = found(x, x, None, "none", [], "").equal(x @ x.mT)
    except (AttributeError, RuntimeError):  # it is not public: another torch may not have it
        return None
    return found if same else None
