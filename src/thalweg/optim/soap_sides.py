"""A tensor side by side: the Gram matrix of each of its dimensions, and what their eigenbases make
of it. The bases of all sides lie in one flat tensor, one square matrix after another, and so do the
factors, packed.

A product with one basis per side is done as in a rotating press: the last side is multiplied and
comes to the front, so that each product is one of matrices and no tensor has to be laid out anew.
Small neighbouring sides (a kernel's height and width) go through together, as one Kronecker
product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from thalweg.engines.observed import symbolic
from thalweg.engines.products import product
from thalweg.optim import packed

SMALL = 64  # neighbours whose lengths multiply to at most this go through as one


@dataclass(frozen=True)
class Sides:
    """The lengths of a tensor's sides as they are seen, and which of them have a basis."""

    lengths: tuple[int, ...]
    turned: tuple[bool, ...]
    back_last: bool = False  # the last dimension is seen as the second: kernels of channels_last

    @cached_property
    def size(self) -> int:
        """How many numbers all bases have together."""
        return sum(n * n for n, turned in zip(self.lengths, self.turned, strict=True) if turned)

    @cached_property
    def packed_size(self) -> int:
        """How many numbers are stored of all factors together."""
        pairs = zip(self.lengths, self.turned, strict=True)
        return sum(packed.size(n) for n, turned in pairs if turned)

    @cached_property
    def _runs(self) -> tuple[tuple[int, ...], ...]:
        """Sides that go through together, by number."""
        runs: list[list[int]] = []
        for k, turned in enumerate(self.turned):
            last = runs[-1] if runs else []
            small = turned and all(self.turned[j] for j in last)
            if last and small and math.prod(max(1, self.lengths[j]) for j in (*last, k)) <= SMALL:
                last.append(k)
            else:
                runs.append([k])
        return tuple(map(tuple, runs))

    def split(self, flat: Tensor) -> list[Tensor | None]:
        """The square matrices in a flat tensor, side by side; None where a side has none."""
        sizes = [n * n if t else 0 for n, t in zip(self.lengths, self.turned, strict=True)]
        parts = torch.split(flat, sizes) if sizes else ()
        return [
            part.view(n, n) if turned else None
            for part, n, turned in zip(parts, self.lengths, self.turned, strict=True)
        ]

    def join(self, matrices: Sequence[Tensor | None], like: Tensor) -> Tensor:
        """Square matrices as one flat tensor."""
        flat = [f.reshape(-1) for f in matrices if f is not None]
        return torch.cat(flat) if flat else torch.zeros_like(like)

    def each(self, f: Callable[..., Tensor], *matrices: Sequence[Tensor | None]) -> list[Any]:
        """A function of one side's matrices, for every side that has some."""
        return [None if x[0] is None else f(*x) for x in zip(*matrices, strict=True)]

    def _seen(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2) if self.back_last else x
        return x.reshape(self.lengths)

    def _as_given(self, x: Tensor, shape: torch.Size) -> Tensor:
        if not self.back_last:
            return x.reshape(shape)
        n, h, w, c = shape
        return x.reshape(n, c, h, w).permute(0, 2, 3, 1)

    def averaged(self, factors: Tensor, x: Tensor, weight: float) -> Tensor:
        """Packed factors, moved by ``weight`` of the way towards the products of each side's slices
        with each other."""
        if not self.size:
            return factors
        x, stored, new = self._seen(x), self._packed(factors), list[Tensor]()
        for run in self._runs:
            if not self.turned[run[0]]:
                continue
            lengths = [self.lengths[k] for k in run]
            n, before = math.prod(lengths), math.prod(self.lengths[: run[0]])
            slices = x.reshape(before, n, -1) if x.numel() else x.new_zeros(1, n, 1)
            rows = slices.transpose(0, 1).flatten(1)
            if len(run) == 1:
                new.append(packed.averaged(stored[run[0]], rows, weight))
                continue
            together = rows @ rows.T
            for i, k in enumerate(run):  # what is summed over is the diagonal of the other sides
                shape = math.prod(lengths[:i]), lengths[i], math.prod(lengths[i + 1 :])
                one = together.view(2 * shape)
                gram = torch.einsum("anbamb->nm", one).flatten()
                new.append(torch.lerp(stored[k], gram, weight))
        return torch.cat(new)

    def whole(self, factors: Tensor) -> list[Tensor | None]:
        """Packed factors side by side, each as the square matrix that it is."""
        pairs = zip(self._packed(factors), self.lengths, self.turned, strict=True)
        return [packed.unpacked(f, n) if turned else None for f, n, turned in pairs]

    def _packed(self, factors: Tensor) -> list[Tensor]:
        pairs = zip(self.lengths, self.turned, strict=True)
        return list(torch.split(factors, [packed.size(n) if t else 0 for n, t in pairs]))

    def turn(self, bases: Tensor, x: Tensor, *, back: bool = False) -> Tensor:
        """The tensor's coordinates in the bases, or ``back`` from them."""
        if not self.size:
            return x
        found, y = self.split(bases), self._seen(x)
        for run in reversed(self._runs):
            n = math.prod(self.lengths[k] for k in run)
            y = y.reshape(y.numel() // n if n else 0, n)
            together = [q for k in run if (q := found[k]) is not None]
            q = reduce(torch.kron, together) if together else None
            if q is None or (
                n == 1 and not symbolic(q) and q.item() == 1
            ):  # as for every 1 x 1 kernel
                y = y.mT
                continue
            q = q if back else q.mT
            # What has to be laid out anew is the smaller one: the basis now, or the result next.
            y = product(q, y.mT) if back or q.numel() <= y.numel() else product(y, q.mT).mT
        return self._as_given(y, x.shape)

    def select(self, orders: Sequence[Tensor | None], x: Tensor) -> Tensor:
        """The tensor with each side's slices in another order."""
        y = self._seen(x)
        for k, order in enumerate(orders):
            y = y if order is None else y.index_select(k, order)
        return self._as_given(y, x.shape)


def sides(shape: tuple[int, ...], *seen: Any, **named: Any) -> Sides:
    """How a parameter of this shape is seen; lengths that make_fx traces as symbols are numbers."""
    return _sides(tuple(map(int, shape)), *seen, **named)


@lru_cache(maxsize=4096)
def _sides(
    shape: tuple[int, ...],
    longest: float,
    merge_dims: bool,
    precondition_1d: bool,
    data_format: str,
) -> Sides:
    """How the official SOAP sees a parameter: neighbours merged, if that is asked for, while they
    have at most ``longest`` together; longer sides have no basis, nor have vectors unless they are
    asked to."""
    back_last = merge_dims and data_format == "channels_last" and len(shape) == 4
    if back_last:
        shape = (shape[0], shape[3], shape[1], shape[2])
    lengths = _merge(shape, longest) if merge_dims else shape
    short = tuple(n <= longest and (len(shape) != 1 or precondition_1d) for n in lengths)
    return Sides(lengths, short, back_last)


def _merge(shape: tuple[int, ...], longest: float) -> tuple[int, ...]:
    lengths, pending = list[int](), 1
    for n in shape:
        if pending * n <= longest:
            pending *= n
        elif pending > 1:
            lengths.append(pending)
            pending = n
        else:
            lengths.append(n)
            pending = 1
    if pending != 1 or not lengths:
        lengths.append(pending)
    return tuple(lengths)


def eigenbasis(factor: Tensor) -> Tensor:
    """Eigenvectors of a symmetric matrix as columns, those of large eigenvalues first."""
    if not symbolic(factor) and not factor.isfinite().all():
        return torch.full_like(factor, torch.nan)  # LAPACK would raise
    shifted = factor + 1e-30 * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    try:
        vectors: Tensor = torch.linalg.eigh(shifted)[1]
    except RuntimeError:  # float32 that did not converge
        vectors = torch.linalg.eigh(shifted.double())[1].to(factor.dtype)
    return vectors.flip(1)
