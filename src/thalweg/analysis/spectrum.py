"""The ends of a loss's Hessian spectrum, for models whose Hessian would not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.analysis.hessian_product import Hessian, Loss
from thalweg.validation import Interval, check, number

POSITIVE = Interval(0.0, open_low=True)
# What a product with the Hessian may be off by, in last places of the largest eigenvalue. Seen in
# float32: at most 3 for 30 perceptrons at random weights, 5 after training to a loss of 3e-3.
ROUNDING = 64
RISK = 1e-3  # the probability with which an eigenvalue farther out may have been missed


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues from both ends of a Hessian's spectrum.

    values: the smallest ones, then the largest, ascending, [k] in float64 on the CPU.
    bounds: the Hessian has an eigenvalue within ``bounds[i]`` of ``values[i]``, [k].
    beyond: none lies farther than this above the largest of them, with a probability of 0.999; nor
        below the smallest, likewise. Infinite after too few steps.
    vectors: an approximate eigenvector of length 1 for each, shaped like the parameters; None
        unless asked for.
    count: how many of them are the smallest.
    steps: Hessian-vector products taken to find them; checking takes one more for each.
    converged: whether all bounds are within the tolerance.
    """

    values: Tensor
    bounds: Tensor
    beyond: float
    vectors: tuple[list[Tensor], ...] | None
    count: int
    steps: int
    converged: bool

    @property
    def smallest(self) -> list[float]:
        """The smallest eigenvalues, ascending."""
        return [float(v) for v in self.values[: self.count]]

    @property
    def largest(self) -> list[float]:
        """The largest eigenvalues, descending."""
        return [float(v) for v in self.values[self.count :].flip(0)]

    def __repr__(self) -> str:
        pairs = zip(self.values.tolist(), self.bounds.tolist(), strict=True)
        shown = ", ".join(f"{v:.6g} ± {b:.1g}" for v, b in pairs)
        end = "" if self.converged else ", not converged"
        return f"<Spectrum {shown} after {self.steps} steps{end}>"


def extreme_eigenvalues(
    loss: Loss,
    parameters: Iterable[Tensor],
    largest: int = 1,
    smallest: int = 1,
    tolerance: float = 1e-3,
    steps: int = 100,
    seed: int = 0,
    *,
    vectors: bool = False,
) -> Spectrum:
    """The largest and smallest eigenvalues of a loss's Hessian, each with a bound on its error.

    Lanczos' method: the Hessian H is applied again and again, starting from random vectors, and
    restricted to the space that arises, whose basis Q is kept orthogonal by comparing each new
    vector with all before it, twice. The restriction's eigenvalues approach H's from inside, those
    at the ends first. For each one asked for, its vector y (of length 1) is at last multiplied by H
    once more, and

    ::

        value = y'Hy        bound = |H y - value y| + 64 eps max |value|

    In exact arithmetic some eigenvalue of a symmetric H lies within the first term, whatever y is;
    the second allows for the rounding of the product, eps being that of the coarsest dtype among
    parameters and what is computed from them, autocast's too. It was generous wherever it was
    measured but for saturated cross-entropies, whose probabilities of almost 1 cancel: 240 eps at a
    loss of 3e-5 in float32, where a copy in float64 is in place.
    That the eigenvalue is the outermost, or the second or third from outside, no such bound can
    say: of a cluster narrower than the tolerance any one may have been found. A random start makes
    it improbable that the outermost is missed by much. After k steps from each vector it is by
    more than ``e (largest - smallest)``, e below 1, with a probability of at most ``1.648 sqrt(n)
    exp(-(2k - 1) sqrt(e))`` (Kuczynski & Wozniakowski 1992), which ``beyond`` is made from.
    Starting from as many vectors as eigenvalues are wanted at an end finds equal ones as often as
    they occur, up to that number.

    Args:
        loss: a function of nothing to a tensor with one number, on a fixed batch; called once. A
            model in training mode updates its batch statistics then, as in any evaluation.
        parameters: tensors in float32 or float64 that require gradients, on one device; they stay
            as they are, and ``grad`` too.
        largest: how many from the upper end.
        smallest: how many from the lower end; at least one in all, at most the number of weights.
        tolerance: of the bounds, relative to the largest absolute value found, above 0. Below
            1e-5 float32 parameters cannot converge.
        steps: at most so many products; Q takes ``steps`` times the memory of the parameters.
        seed: of the starting vectors; no global generator is touched.
        vectors: return eigenvectors too.

    Raises:
        ValueError: an argument is out of bounds, or the loss or a product is not finite.

    Reference: Lanczos 1950, J. Res. Nat. Bur. Standards 45(4); Ruhe 1979, Math. Comp. 33 (several
    starting vectors, one product at a time); Parlett 1998, The Symmetric Eigenvalue Problem, 4.5;
    Kuczynski & Wozniakowski 1992, SIAM J. Matrix Anal. Appl. 13(4), Theorem 4.2.
    """
    tolerance = number("tolerance", tolerance)
    check("tolerance", tolerance, POSITIVE)
    for name, count in (("largest", largest), ("smallest", smallest), ("steps", steps)):
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"{name} must be a whole number, not {count!r}")
        if count < 0:
            raise ValueError(f"{name} must be at least 0, not {count}")
    wanted = largest + smallest
    if not 1 <= wanted <= steps:
        raise ValueError(f"largest + smallest must be from 1 to steps, {steps}, not {wanted}")
    h = Hessian(loss, parameters)
    if wanted > h.size:
        raise ValueError(f"largest + smallest must be at most {h.size} weights, not {wanted}")
    krylov = _Krylov(h, max(largest, smallest), min(steps, h.size), seed)
    while krylov.count < krylov.most:
        krylov.step()
        # Looking costs count³: every twentieth of the way is often enough.
        if krylov.count >= wanted and krylov.count % (1 + krylov.count // 20) == 0:
            _, tails, size = krylov.ends(smallest, largest)
            if tails.max() <= tolerance * size / 2:
                break
    coordinates, _, size = krylov.ends(smallest, largest)
    rounding = ROUNDING * (h.eps * size + (h.least if size else 0.0))
    found: list[tuple[float, float, list[Tensor]]] = []
    for c in coordinates.T:
        y = krylov.vector(c)
        value, residual = _checked(h, y)
        found.append((value, residual + rounding, h.split(y) if vectors else []))
    found.sort(key=lambda pair: pair[0])
    bounds = torch.tensor([bound for _, bound, _ in found], dtype=torch.float64)
    return Spectrum(
        torch.tensor([value for value, _, _ in found], dtype=torch.float64),
        bounds,
        krylov.beyond() + rounding,
        tuple(v for _, _, v in found) if vectors else None,
        smallest,
        krylov.count,
        bool(bounds.max() <= tolerance * size),
    )


class _Krylov:
    """An orthonormal basis in rows, and H in it: column j of ``t`` is H times basis vector j."""

    def __init__(self, h: Hessian, width: int, most: int, seed: int) -> None:
        self.h, self.width, self.most = h, width, most
        rows = min(most + width, h.size)
        self.basis = torch.empty(rows, h.size, dtype=h.dtype, device=h.device)
        self.t = torch.zeros(rows, most, dtype=torch.float64)
        self.filled = 0  # basis vectors
        self.count = 0  # those among them that have been multiplied by H
        self.generator = torch.Generator().manual_seed(seed)
        for _ in range(min(width, rows)):
            self._begin()

    def step(self) -> None:
        """Multiply the next basis vector by H; what leads out of the space becomes a new one."""
        if self.count == self.filled:  # H leads no further: an invariant subspace
            self._begin()
        w = self.h(self.basis[self.count])
        if not w.isfinite().all():
            raise ValueError("loss must have finite second derivatives at the parameters")
        self._append(w, self.t[:, self.count], self.h.eps)
        self.count += 1

    def ends(self, smallest: int, largest: int) -> tuple[Tensor, Tensor, float]:
        """For the eigenvalues of H's restriction at both ends: coordinates of their vectors in the
        basis, [count, k], and how far H leads out of the space from there, [k]; and the largest
        absolute value of all."""
        k = self.count
        t = self.t[:k, :k]
        values, s = torch.linalg.eigh((t + t.T) / 2)
        s = s[:, [*range(smallest), *range(k - largest, k)]]
        outside = torch.linalg.vector_norm(self.t[k : self.filled, :k] @ s, dim=0)
        return s, outside, float(values.abs().max())

    def beyond(self) -> float:
        """How far outside the restriction's eigenvalues H's may lie, but for a risk of RISK."""
        if self.count == self.filled:  # an invariant subspace, with a part of every eigenvector
            return 0.0
        t = self.t[: self.count, : self.count]
        values = torch.linalg.eigvalsh((t + t.T) / 2)
        k = self.count // self.width
        e = (math.log(1.648 * math.sqrt(self.h.size) / RISK) / (2 * k - 1)) ** 2
        # Both ends may lie outside by e times H's spread, which is by so much the larger.
        return float(values[-1] - values[0]) * e / (1 - 2 * e) if e < 0.5 else math.inf

    def vector(self, coordinates: Tensor) -> Tensor:
        """The vector [n] with these coordinates."""
        c = coordinates.to(self.basis)
        return c @ self.basis[: self.count]

    def _begin(self) -> None:
        """A new basis vector in a random direction, which is exact, whatever H is."""
        before = self.filled
        while self.filled == before:
            w = torch.randn(self.h.size, generator=self.generator, dtype=torch.float32)
            column = torch.zeros(len(self.t), dtype=torch.float64)
            self._append(w.to(self.basis), column, torch.finfo(self.basis.dtype).eps)

    def _append(self, w: Tensor, column: Tensor, eps: float) -> None:
        """Take the basis out of w, note by how much, and append what is left, if it is not just
        rounding."""
        before = _length(w)
        old = self.basis[: self.filled]
        for _ in range(2):  # once leaves eps |w| / |what is left| (Parlett 1998, 6.9)
            c = old @ w
            w = w - c @ old
            column[: self.filled] += c.double().cpu()
        left = _length(w)
        if self.filled < len(self.basis) and left > 10 * eps * before:
            column[self.filled] = left
            w = w / w.abs().max()  # its length need not be a number of its dtype
            torch.div(w, _length(w), out=self.basis[self.filled])
            self.filled += 1


def _checked(h: Hessian, y: Tensor) -> tuple[float, float]:
    """The Rayleigh quotient of y and its residual, in double precision but for the product."""
    hy, y = h(y).double(), y.double()
    value = float(y @ hy / (y @ y))
    return value, _length(hy - value * y) / _length(y)


def _length(v: Tensor) -> float:
    most = float(v.abs().max())  # the square of an entry need not be a number
    if not 0 < most < math.inf:
        return most
    return most * float(torch.linalg.vector_norm(v / most, dtype=torch.float64))
