"""Polynomials of degree two at most with exact coefficients, and whether they are convex."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Monomial = tuple[int, ...]  # the variables in it, ascending: () for 1, (0, 0) for x0²
Matrix = list[list[Fraction]]


@dataclass(frozen=True)
class Quadratic:
    """Coefficients by monomial, none of them 0."""

    terms: dict[Monomial, Fraction]

    @property
    def degree(self) -> int:
        return max(map(len, self.terms), default=0)

    def __add__(self, other: Quadratic) -> Quadratic:
        total = dict(self.terms)
        for monomial, k in other.terms.items():
            total[monomial] = total.get(monomial, Fraction()) + k
        return Quadratic({m: k for m, k in total.items() if k})

    def times(self, other: Quadratic) -> Quadratic | None:
        """The product; None where its degree is above two."""
        if self.degree + other.degree > 2:
            return None
        total = Quadratic({})
        for m, k in self.terms.items():
            total += Quadratic({tuple(sorted(m + n)): k * c for n, c in other.terms.items()})
        return total

    def scaled(self, k: Fraction) -> Quadratic:
        return Quadratic({m: k * c for m, c in self.terms.items() if k})

    def hessian(self, homogeneous: bool = False) -> Matrix:
        """Second derivatives by the variables that occur; ``homogeneous``: after every monomial
        has been filled up to degree two by one more variable, which stands for 1."""
        present = sorted({v for m in self.terms for v in m})
        place = {v: i for i, v in enumerate(present)}
        size = len(present) + homogeneous
        h = [[Fraction()] * size for _ in range(size)]
        for monomial, k in self.terms.items():
            at = [place[v] for v in monomial] + [size - 1] * (2 - len(monomial))
            if homogeneous or len(monomial) == 2:
                i, j = at
                h[i][j] += k
                h[j][i] += k
        return h

    def convex(self) -> bool:
        """Whether the Hessian has no negative eigenvalue; exact."""
        return semidefinite(self.hessian())

    def concave(self) -> bool:
        return self.scaled(Fraction(-1)).convex()

    def sum_of_squares(self) -> bool:
        """Whether it is a sum of squares of affine functions, so that its root is a norm."""
        return semidefinite(self.hessian(homogeneous=True))

    def eigenvalues(self) -> list[float]:
        """Of the Hessian, by the variables that occur, ascending; to rounding."""
        h = self.hessian()
        return list(map(float, np.linalg.eigvalsh(np.array(h, dtype=float)))) if h else []


def semidefinite(matrix: Matrix) -> bool:
    """Whether a symmetric matrix has no negative eigenvalue: by elimination, which is exact."""
    rest = [list(row) for row in matrix]
    while rest:
        pivot, *row = rest.pop(0)
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        rest = [r[1:] for r in rest]
        for i, a in enumerate(row):
            if a:
                rest[i] = [x - a * b / pivot for x, b in zip(rest[i], row, strict=True)]
    return True
