"""State that has one value per parameter (``step``, NAdam's product): between two steps it is in
the user's own tensors, which may be shared with another process; during one, in the kernel's table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.engines.block import KINDS
from thalweg.engines.observed import symbolic, unobserved
from thalweg.engines.sweep import Array, Longs
from thalweg.engines.watch import INFERENCE, frozen, lasting, missing, ordinary

# What can count far enough; of these, the last hold whole numbers only.
COUNTING = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32)


def own_counter(x: Any, called: Callable[[], str], *, whole: bool = True) -> Tensor:
    """A count as it is kept, or another number if it need not be a ``whole`` one: the user's own
    tensor, or a new one for a number."""
    if isinstance(x, Tensor):
        if x.numel() != 1 or x.is_complex():
            raise ValueError(f"{called()} must be one real number, not a tensor of {x.shape}")
        if x.dtype not in COUNTING or not (whole or x.is_floating_point()):
            raise ValueError(f"{called()} has dtype {x.dtype}, which cannot hold it")
        if x.layout is not torch.strided:
            raise ValueError(f"{called()} has the layout {x.layout}, which cannot be written to")
        if symbolic(x):
            return x
        if frozen(x):
            raise RuntimeError(f"{called()} {INFERENCE}")
        if ordinary(x) and x._is_zerotensor():
            raise ValueError(f"{called()} is a zero without memory to write to: clone() it")
        if x.is_meta or (reason := missing(x)):
            why = "it is on meta" if x.is_meta else reason
            raise ValueError(f"{called()} has lost its memory: {why}")
        return x
    try:
        value = None if isinstance(x, bool | str) else float(x)
    except (TypeError, ValueError):
        value = None
    if value is None:
        raise TypeError(f"{called()} must be a number, not {x!r}")
    with unobserved(), lasting():
        return torch.tensor(value, dtype=torch.float64, device="cpu")


class Counters:
    """Columns of a table with one row per parameter; a cell is a tensor of the user's, or none.
    Kernels read and write ``places``; what they cannot, is read and written here."""

    def __init__(self, columns: Sequence[Array], cells: Sequence[Sequence[Tensor | None]]) -> None:
        shape = len(cells), len(cells[0])
        self.places: Longs = np.zeros(shape, dtype=np.int64)
        self.kinds: Longs = np.zeros(shape, dtype=np.int64)
        self.rare: list[tuple[Array, int, Tensor]] = []
        self.cells = [x for column in cells for x in column if x is not None]
        for c, column in enumerate(cells):
            for row, x in enumerate(column):
                if x is None:
                    continue
                if x.dtype in KINDS and x.device.type == "cpu" and ordinary(x) and not x.is_neg():
                    self.places[c, row], self.kinds[c, row] = x.data_ptr(), KINDS[x.dtype]
                else:
                    self.rare.append((columns[c], row, x.detach()))

    def read(self) -> None:
        for column, row, x in self.rare:
            column[row] = float(x)

    def write(self) -> None:
        for column, row, x in self.rare:
            x.fill_(column[row])
