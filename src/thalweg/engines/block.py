"""The block of arguments that kernels are called with; known to both sides of the call."""

from __future__ import annotations

from enum import IntEnum

import torch

KINDS = {torch.float64: 1, torch.float32: 2, torch.int64: 3}  # of a counter in the user's memory


class Arguments(IntEnum):
    """What every function is given: a block of 64-bit integers, most of them addresses."""

    STEPS = 0  # double per row: how many steps it has made
    TABLE = 1  # doubles, one column of `ROWS` after another: hyperparameters, totals, counts
    ACTIVE = 2  # int64: the rows that take part
    ACTIVES = 3  # how many
    ROWS = 4  # how many rows there are in all
    BASES = 5  # int64, array by array: where each row's tensor begins
    CHUNK_ROW = 6  # int64 per chunk
    CHUNK_START = 7  # int64 per chunk, in elements
    CHUNK_LENGTH = 8  # int64 per chunk, in elements, never 0
    CHUNKS = 9  # how many
    COEFFICIENTS = 10  # per row, in the width that is computed in
    SUMS = 11  # double per chunk and reduction
    NEXT = 12  # the next chunk to take; counts up
    AT_ONCE = 13  # how many chunks are taken at a time
    THREADS = 14  # for `run`
    TEAM = 15  # for `run`: the address of GOMP_parallel
    NUMBERS = 16  # int64 per row: which parameter of its optimizer it is
    OWN = 17  # int64, counter by counter: where each row's is in the user's own memory
    OWN_KIND = 18  # int64 likewise: one of KINDS, 0 if it is not there
