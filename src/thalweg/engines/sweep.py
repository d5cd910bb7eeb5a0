"""Which chunks of memory a fused step sweeps, and the blocks of arguments of its passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thalweg.engines.block import Arguments

if TYPE_CHECKING:
    from thalweg.engines.fused import FusedBatch

CHUNK = 16_384  # elements; never depends on the number of threads, nor do the results
RUN = 16  # chunks that a thread takes at a time, at most: what lies in one stretch streams faster
SHARES = 8  # but so few that each thread comes back this often: a busy core must not be waited for

Longs = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def address(array: Array) -> int:
    return int(array.ctypes.data)


class Sweep:
    """The chunks for one choice of parameters that have a gradient, and the block of arguments that
    each pass is called with."""

    def __init__(self, batch: FusedBatch, active: Sequence[int]) -> None:
        pieces = [
            (i, start, min(CHUNK, batch.sizes[i] - start))
            for i in active
            for start in range(0, batch.sizes[i], CHUNK)
        ]
        self.row, self.start, self.length = (
            np.array([p[k] for p in pieces], dtype=np.int64) for k in range(3)
        )
        self.rows = np.array(active, dtype=np.int64)
        self.params = [batch.params[i] for i in active]
        self.chunks = len(pieces)
        self.elements = sum(batch.sizes[i] for i in active)
        self.sums = [
            np.zeros((self.chunks, max(1, len(p.reductions)))) for p in batch.kernel.passes
        ]
        self.blocks = [
            self._block(batch, coefficients, sums)
            for coefficients, sums in zip(batch.coefficients, self.sums, strict=True)
        ]
        self.team = (0, 0)  # as last written into the blocks
        self.addresses = [address(block) for block in self.blocks]

    def work_on(self, threads: int, openmp: int) -> None:
        """Tell every pass how many threads there are and who starts them."""
        if self.team != (threads, openmp):
            self.team = threads, openmp
            for block in self.blocks:
                block[Arguments.THREADS], block[Arguments.TEAM] = threads, openmp
                block[Arguments.AT_ONCE] = min(RUN, max(1, self.chunks // (threads * SHARES)))

    def _block(self, batch: FusedBatch, coefficients: Array, sums: Array) -> Longs:
        block = np.zeros(len(Arguments), dtype=np.int64)
        block[Arguments.STEPS] = address(batch.steps)
        block[Arguments.TABLE] = address(batch.table)
        block[Arguments.ACTIVE] = address(self.rows)
        block[Arguments.ACTIVES] = len(self.rows)
        block[Arguments.ROWS] = len(batch.slots)
        block[Arguments.BASES] = address(batch.bases)
        block[Arguments.CHUNK_ROW] = address(self.row)
        block[Arguments.CHUNK_START] = address(self.start)
        block[Arguments.CHUNK_LENGTH] = address(self.length)
        block[Arguments.CHUNKS] = self.chunks
        block[Arguments.COEFFICIENTS] = address(coefficients)
        block[Arguments.SUMS] = address(sums)
        block[Arguments.NUMBERS] = address(batch.numbers)
        block[Arguments.OWN] = address(batch.counters.places)
        block[Arguments.OWN_KIND] = address(batch.counters.kinds)
        return block
