"""Whether tensors are still where and what they were when a plan was made of their addresses.

Everything may change between two steps: ``p.data = …``, ``set_``, ``share_memory_``, a storage that
is resized, a memory format. Kernels know nothing but addresses, so that whatever they will touch is
looked at before every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thalweg.engines.base import Slot
from thalweg.engines.installed import installed

Longs = npt.NDArray[np.int64]


def ordinary(x: Tensor) -> bool:
    """Whether a tensor has memory of its own that can be asked for its address: no subclass, no
    sparse or fake one, nothing on ``meta``."""
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and x.layout is torch.strided
        and not x.is_meta
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
    )


def missing(x: Tensor) -> str | None:
    """What of a tensor's memory is not there, or None."""
    if not ordinary(x) or x.numel() == 0:
        return None
    last = sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))
    needed = (x.storage_offset() + last + 1) * x.itemsize
    there = x.untyped_storage().nbytes()
    if there < needed:
        return f"its storage has {there} bytes, of which it needs {needed}"
    # Zeros that torch keeps as a shape alone, and what records for somebody else, say that they
    # have a storage. The former can be read, by torch.
    return None if x.data_ptr() or x._is_zerotensor() else "its storage has no address"


INFERENCE = "is an inference tensor, to be written to in torch.inference_mode() alone: clone() it"


def frozen(x: Tensor) -> bool:
    """Whether torch forbids writing to a tensor here: an inference tensor, outside the mode."""
    return x.is_inference() and not torch.is_inference_mode_enabled()


@contextmanager
def lasting() -> Generator[None]:
    """A context in which tensors are made that may be written to in steps outside inference mode,
    too."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


def layout(x: Tensor) -> tuple[int, ...]:
    """The strides that say where elements are: those of sides of length 1 do not."""
    return tuple(s for n, s in zip(x.shape, x.stride(), strict=True) if n != 1)


def facts(x: Tensor) -> tuple[Any, ...]:
    """Where and what a tensor is."""
    what = x.shape, x.dtype, x.device, x.layout
    if not ordinary(x):
        return what
    room = x.storage_offset(), x.untyped_storage().nbytes()
    return (*what, x.data_ptr(), x.stride(), *room, x.is_conj(), x.is_neg())


class Watch:
    """Tensors, and where and what they are at this moment."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        look = native("look")
        quick = [x for x in self.tensors if ordinary(x)] if look else []
        known = set(map(id, quick))
        self.slow = [x for x in self.tensors if id(x) not in known]
        self.facts = list(map(facts, self.slow))
        self.quick = _Quick(quick, look) if look and quick else None

    def same(self) -> bool:
        """Whether all of them are where and what they were."""
        return (self.quick is None or self.quick.same()) and (
            not self.slow or list(map(facts, self.slow)) == self.facts
        )


class _Quick:
    """The same for tensors that machine code can ask about."""

    def __init__(self, tensors: Sequence[Tensor], look: Callable[[int], int]) -> None:
        from thalweg.engines.kernel.memory import FACTS, Look

        self.tensors, self.look = tensors, look
        # A real tensor gets its negative bit as the imaginary part of a conjugate: never the first
        # number in its storage, so that there is more in it.
        self.complex = [
            x for x in tensors if x.is_complex() or x.nbytes < x.untyped_storage().nbytes()
        ]
        self.flags = self._flags()
        self.objects: Longs = np.array(list(map(id, tensors)), dtype=np.int64)
        size = sum(len(FACTS) + 2 * x.dim() for x in tensors)
        self.found: Longs = np.zeros(size, dtype=np.int64)
        self.block: Longs = np.zeros(len(Look), dtype=np.int64)
        self.block[Look.COUNT] = len(tensors)
        self.block[Look.OBJECTS] = self.objects.ctypes.data
        self.block[Look.FACTS] = self.found.ctypes.data
        self.block[Look.RECORD] = 1
        self.address = int(self.block.ctypes.data)
        if not look(self.address):
            raise AssertionError("torch does not answer about a tensor's memory")
        self.block[Look.RECORD] = 0

    def same(self) -> bool:
        return self.look(self.address) == 1 and (not self.complex or self._flags() == self.flags)

    def _flags(self) -> list[tuple[bool, bool]]:
        return [(x.is_conj(), x.is_neg()) for x in self.complex]


@functools.cache
def native(name: str) -> Callable[[int], int] | None:
    """One of ``kernel.memory``'s functions; None where kernels cannot be compiled or torch cannot
    be asked in C."""
    if installed():
        return None
    from thalweg.engines.kernel import memory

    return memory.functions().get(name)


class Held:
    """The parameters and state of some slots, as a plan was made for them."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.dicts = [s.state for s in slots]
        self.contents = self._now()
        tensors = [x for x in self.contents if isinstance(x, Tensor)]
        self.watch = Watch([*(s.param for s in slots), *tensors])

    def same(self) -> bool:
        """Whether all of it is what it was, and where it was."""
        now = self._now()
        return (
            len(now) == len(self.contents)
            and all(map(is_, self.contents, now))
            and self.watch.same()
        )

    def _now(self) -> list[Any]:
        """All values and keys of the state."""
        # This runs at every step and costs a small model as much as its arithmetic: hence maps.
        return [*_joined(map(_values, self.dicts)), *_joined(self.dicts)]


_joined, _values = chain.from_iterable, dict.values
