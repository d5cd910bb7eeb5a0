"""The gradients of a batch as its kernel reads them: where they are, or copies."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.engines.formats import gradient_dtype
from thalweg.engines.sweep import Longs, address
from thalweg.engines.watch import Watch, missing, native, ordinary


class Gradients:
    """Looks at the gradients of some parameters and leaves their addresses in ``bases``.

    ``dtype`` is what the kernel reads. ``written`` are the tensors that it stores into, the
    parameters among them, which do not overlap: a gradient that overlaps one is copied.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        dtype: torch.dtype,
        written: Sequence[Tensor],
        bases: Longs,
    ) -> None:
        self.params, self.dtype, self.bases = params, dtype, bases
        self.everyone = tuple(range(len(params)))
        # What the step under way reads: another thread may put others in their place meanwhile.
        self.taken: Sequence[Tensor | None] = ()
        self.copies: list[Tensor] = []
        stretches = sorted((x.data_ptr(), x.data_ptr() + x.nbytes) for x in written if x.nbytes)
        self.starts, self.ends = [s for s, _ in stretches], [e for _, e in stretches]
        self.wanted = [(dtype, p.shape, p.stride(), p.is_contiguous()) for p in params]
        fit = native("fit")
        self.quick = None if fit is None else _Quick(self, fit)

    def collect(self) -> tuple[int, ...] | None:
        """Which parameters have a gradient; None if there is one that no copy makes fit."""
        self.taken = gradients = tuple([p.grad for p in self.params])
        if self.quick is not None and self.quick.fit(gradients):
            return self.everyone
        self.copies.clear()
        for i, (p, g) in enumerate(zip(self.params, gradients, strict=True)):
            if g is None:
                continue
            if not ordinary(g) or g.device != p.device or g.shape != p.shape or missing(g):
                return None
            if gradient_dtype(p) is not self.dtype:
                return None
            self.bases[i] = self._fitted(i, p, g).data_ptr()
        return tuple(i for i in self.everyone if gradients[i] is not None)

    def release(self) -> None:
        """Forget what a step has read: it would keep its memory until the next."""
        self.taken = ()
        self.copies.clear()

    def _fitted(self, i: int, p: Tensor, g: Tensor) -> Tensor:
        """A gradient in its parameter's layout and the kernel's format: a copy where needed."""
        dtype, _, stride, contiguous = self.wanted[i]
        as_is = g.stride() == stride or (contiguous and g.is_contiguous())
        plain = not (g.is_neg() or g.is_conj() or g._is_zerotensor())
        if as_is and plain and g.dtype is dtype and not self._overlaps(g):
            return g
        with torch.no_grad():
            copy = torch.empty_like(p, dtype=self.dtype, requires_grad=False).copy_(g)
        self.copies.append(copy)
        return copy

    def _overlaps(self, g: Tensor) -> bool:
        start = g.data_ptr()
        k = bisect_right(self.ends, start)
        return k < len(self.starts) and self.starts[k] < start + g.nbytes


class _Quick:
    """The same in machine code, for gradients that all fit as they are."""

    def __init__(self, gradients: Gradients, fit: Callable[[int], int]) -> None:
        from thalweg.engines.kernel.memory import Fit, Want

        wanted: list[int] = []
        for dtype, shape, stride, contiguous in gradients.wanted:
            size = dtype.itemsize
            more = {Want.ITEM: size, Want.BYTES: size * shape.numel(), Want.CONTIGUOUS: contiguous}
            wanted += [*_what(dtype, len(shape)), *(more[k] for k in Want if k > Want.DIM)]
            wanted += [*shape, *stride]
        self.fitting = fit
        self.wanted: Longs = np.array(wanted, dtype=np.int64)
        self.starts: Longs = np.array(gradients.starts, dtype=np.int64)
        self.ends: Longs = np.array(gradients.ends, dtype=np.int64)
        self.complex = any(dtype.is_complex for dtype, *_ in gradients.wanted)
        self.block: Longs = np.zeros(len(Fit), dtype=np.int64)
        self.block[Fit.COUNT] = len(gradients.wanted)
        self.objects = Fit.OBJECTS
        self.block[Fit.WANTED] = address(self.wanted)
        self.block[Fit.BASES] = address(gradients.bases)
        self.block[Fit.WRITTEN] = len(gradients.starts)
        self.block[Fit.STARTS], self.block[Fit.ENDS] = address(self.starts), address(self.ends)
        self.address = address(self.block)

    def fit(self, gradients: tuple[Any, ...]) -> bool:
        """Whether each is there and can be read as it is; if so, their addresses are known."""
        if set(map(type, gradients)) != _PLAIN:  # some are missing, or a subclass
            return False
        self.block[self.objects] = id(gradients) + _ITEMS
        return bool(
            self.fitting(self.address)
            and not any(map(_is_neg, gradients))
            and not (self.complex and any(map(_is_conj, gradients)))
        )


@functools.cache
def _what(dtype: torch.dtype, dim: int) -> tuple[int, ...]:
    """What torch says of a tensor on the CPU, in its own numbers, down to how many sides it has."""
    from thalweg.engines.kernel.memory import Want

    x = Watch([torch.empty((0,) * dim, dtype=dtype, device="cpu")]).quick
    assert x is not None
    return tuple(x.found[: Want.DIM + 1].tolist())


_PLAIN = {Tensor}
_ITEMS = tuple.__basicsize__  # how many bytes into a tuple the addresses of its items begin
_is_neg, _is_conj = Tensor.is_neg, Tensor.is_conj
