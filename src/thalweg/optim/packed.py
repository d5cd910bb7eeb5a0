"""Symmetric matrices in little more than half the room: strips of rows, each as far as it reaches
beyond the diagonal, one after another in a flat tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from thalweg.engines.products import product, strips


def size(n: int) -> int:
    """How many numbers are stored of a matrix with n rows."""
    return sum((end - start) * end for start, end in strips(n))


def averaged(old: Tensor, x: Tensor, weight: float) -> Tensor:
    """A stored matrix, moved by ``weight`` of the way towards ``x @ x.T``."""
    new = torch.empty_like(old)
    x = x.contiguous()
    for (start, end), a, b in zip(strips(len(x)), _views(old, len(x)), _views(new, len(x)),
                                  strict=True):  # fmt: skip
        torch.lerp(a, product(x[start:end], x[:end].mT), weight, out=b)
    return new


def unpacked(stored: Tensor, n: int) -> Tensor:
    """The whole matrix."""
    whole = stored.new_empty(n, n)
    for (start, end), strip in zip(strips(n), _views(stored, n), strict=True):
        whole[start:end, :end] = strip
        whole[:start, start:end] = strip[:, :start].mT
    return whole


def _views(stored: Tensor, n: int) -> Iterator[Tensor]:
    at = 0
    for start, end in strips(n):
        count = (end - start) * end
        yield stored[at : at + count].view(end - start, end)
        at += count
