"""A tensor side by side: the Gram matrix of each of its dimensions, and what their eigenbases make
of it. Factors and bases of all sides lie in one flat tensor, one square matrix after another.

A product with one basis per side is done as in a rotating press: the leading side is multiplied and
goes to the back, so that each product is one matrix product and nothing has to be copied. Small
neighbouring sides (a kernel's height and width) go through together, as one Kronecker product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import torch
from torch import Tensor

SMALL = 64  # neighbours whose lengths multiply to at most this go through as one
STRIP = 128  # rows at a time of a Gram matrix, of which only the lower left is computed


@dataclass(frozen=True)
class Sides:
    """The lengths of a tensor's sides as they are seen, and which of them have a basis."""

    lengths: tuple[int, ...]
    turned: tuple[bool, ...]
    back_last: bool = False  # the last dimension is seen as the second: kernels of channels_last

    @property
    def size(self) -> int:
        """How many numbers all factors have together."""
        return sum(n * n for n, turned in zip(self.lengths, self.turned, strict=True) if turned)

    @cached_property
    def _runs(self) -> tuple[tuple[int, ...], ...]:
        """Sides that go through together, by number."""
        runs: list[list[int]] = []
        for k, (n, turned) in enumerate(zip(self.lengths, self.turned, strict=True)):
            last = runs[-1] if runs else []
            small = turned and all(self.turned[j] for j in last)
            if last and small and n * math.prod(self.lengths[j] for j in last) <= SMALL:
                last.append(k)
            else:
                runs.append([k])
        return tuple(map(tuple, runs))

    def split(self, flat: Tensor) -> list[Tensor | None]:
        """The factors in a flat tensor, side by side; None where a side has none."""
        sizes = [n * n if t else 0 for n, t in zip(self.lengths, self.turned, strict=True)]
        parts = torch.split(flat, sizes) if sizes else ()
        return [
            part.view(n, n) if turned else None
            for part, n, turned in zip(parts, self.lengths, self.turned, strict=True)
        ]

    def join(self, factors: Sequence[Tensor | None], like: Tensor) -> Tensor:
        """The factors as one flat tensor."""
        flat = [f.reshape(-1) for f in factors if f is not None]
        return torch.cat(flat) if flat else torch.zeros_like(like)

    def each(self, f: Callable[..., Tensor], *flats: Tensor) -> Tensor:
        """A function of one side's factors, for every side."""
        split = zip(*map(self.split, flats), strict=True)
        return self.join([None if x[0] is None else f(*x) for x in split], flats[0])

    def _seen(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2) if self.back_last else x
        return x.reshape(self.lengths)

    def _as_given(self, x: Tensor, shape: torch.Size) -> Tensor:
        if not self.back_last:
            return x.reshape(shape)
        n, h, w, c = shape
        return x.reshape(n, c, h, w).permute(0, 2, 3, 1)

    def grams(self, x: Tensor) -> list[Tensor | None]:
        """For each side that has a basis the products of its slices with each other."""
        if not self.size:
            return [None] * len(self.lengths)
        x, factors = self._seen(x), list[Tensor | None]()
        for run in self._runs:
            lengths = [self.lengths[k] for k in run]
            if not self.turned[run[0]]:
                factors.append(None)
                continue
            n, before = math.prod(lengths), math.prod(self.lengths[: run[0]])
            slices = x.reshape(before, n, -1) if x.numel() else x.new_zeros(1, n, 1)
            whole = gram(slices.transpose(0, 1).flatten(1))
            for k in range(len(run)):  # what is summed over is the diagonal of the other sides
                a, b = math.prod(lengths[:k]), math.prod(lengths[k + 1 :])
                one = whole.view(a, lengths[k], b, a, lengths[k], b)
                factors.append(torch.einsum("anbamb->nm", one) if len(run) > 1 else whole)
        return factors

    def turn(self, flat: Tensor, x: Tensor, *, back: bool = False) -> Tensor:
        """The tensor's coordinates in the bases, or ``back`` from them."""
        if not self.size:
            return x
        bases, y = self.split(flat), self._seen(x)
        for run in self._runs:
            n = math.prod(self.lengths[k] for k in run)
            y = y.reshape(n, y.numel() // n if n else 0).mT
            together = [q for k in run if (q := bases[k]) is not None]
            if together:
                q = reduce(torch.kron, together)
                y = y @ (q.mT if back else q)
        return self._as_given(y, x.shape)

    def select(self, orders: Sequence[Tensor | None], x: Tensor) -> Tensor:
        """The tensor with each side's slices in another order."""
        y = self._seen(x)
        for k, order in enumerate(orders):
            y = y if order is None else y.index_select(k, order)
        return self._as_given(y, x.shape)


@lru_cache(maxsize=4096)
def sides(
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


def gram(x: Tensor) -> Tensor:
    """``x @ x.T``, each product of two rows once."""
    n = x.shape[0]
    if n <= STRIP:
        return x @ x.T
    whole = x.new_empty(n, n)
    for start in range(0, n, STRIP):
        end = min(start + STRIP, n)
        torch.mm(x[start:end], x[:end].T, out=whole[start:end, :end])
        whole[:start, start:end] = whole[start:end, :start].T
    return whole


def eigenbasis(factor: Tensor) -> Tensor:
    """Eigenvectors of a symmetric matrix as columns, those of large eigenvalues first."""
    if not factor.isfinite().all():
        return torch.full_like(factor, torch.nan)  # LAPACK would raise
    shifted = factor + 1e-30 * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    try:
        vectors: Tensor = torch.linalg.eigh(shifted)[1]
    except RuntimeError:  # float32 that did not converge
        vectors = torch.linalg.eigh(shifted.double())[1].to(factor.dtype)
    return vectors.flip(1)
