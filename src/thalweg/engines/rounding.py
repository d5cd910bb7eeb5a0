"""How state is rounded to bfloat16: up or down at random, so that it is right on average.

An average that forgets a thousandth at each step changes by less than half of bfloat16's spacing:
rounded to nearest it would stand still. The random bits are a function of the parameter's number
in its optimizer, its step, the state and the element's place in memory, and nothing else: a run
repeats bit by bit, also from a checkpoint, on any engine and any number of threads.

A rule's states take their bits from one hash in pairs: 16 bits each is what is cut off.
"""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD, FACTOR, WORD = 0x9E3779B9, 0x846CA68B, 0xFFFFFFFF
MIXES = ((16, 0x7FEB352D), (15, FACTOR), (16, 1))  # C. Wellons' lowbias32
# What is larger is rounded towards zero: up would be infinity.
LARGEST = float(torch.finfo(torch.bfloat16).max)


def mixed(x: int) -> int:
    """A hash of 32 bits."""
    for shift, factor in MIXES:
        x ^= x >> shift
        x = x * factor & WORD
    return x


def key(number: int, step: int, pair: int) -> int:
    """What is added to an element's place before it is mixed."""
    return mixed((mixed((number + SPREAD * (pair + 1)) & WORD) + step) & WORD)


def places(x: Tensor) -> Tensor:
    """The place of each element in memory, counted in elements; of a tensor with gaps or overlaps,
    in its own order."""
    count = torch.arange(x.numel(), device=x.device)
    if x.is_contiguous() or torch.empty_like(x).stride() != x.stride():
        return count.view(x.shape)
    return count.as_strided(x.shape, x.stride())


def noise(places: Tensor, key: int | Tensor, state: int) -> Tensor:
    """The 16 random bits that a pair's state, 0 or 1, has for each element. With a good key for
    each step, one round of mixing is enough: elements are correlated by less than 0.002."""
    # In 64 bits: torch.compile takes what is computed of a place for an index, which may not wrap.
    x = (places * SPREAD + key) & WORD
    x = (x ^ (x >> 15)) * FACTOR
    return (x >> 16 if state else x) & 0xFFFF


def at_random(x: Tensor, noise: Tensor) -> Tensor:
    """``x`` in bfloat16, rounded away from zero with the probability of what would be cut off."""
    x = x.float()
    bits = x.view(torch.int32) + torch.where(x.abs() <= LARGEST, noise.int(), 0)
    return (bits & -65536).view(torch.float32).to(torch.bfloat16)
