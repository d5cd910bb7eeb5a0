"""Which learning rates and momenta are stable near a point, and how fast a descent is there.

Near a minimum f is a quadratic, and along each eigen-direction of its Hessian gradient descent with
or without momentum is a linear recurrence with the eigenvalue as its only datum. All that is here
follows from that recurrence's roots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from thalweg.analysis.critical_point import critical_point
from thalweg.analysis.derivatives import Function
from thalweg.validation import DECAY, NON_NEGATIVE, Interval, check, number

FINITE = Interval(-math.inf)
POSITIVE = Interval(0.0, open_low=True)


@dataclass(frozen=True)
class Setting:
    """Arguments for ``optim.SGD``, and the factor per step by which the error shrinks with them.

    What is to be compared of two rates is ``-ln rate``, the speed: twice that is half the steps.
    """

    lr: float
    momentum: float
    nesterov: bool
    rate: float


@dataclass(frozen=True)
class Stability:
    """What the extreme eigenvalues of a Hessian say about gradient descent.

    smallest: μ, the smallest eigenvalue, in units of the loss per squared unit of x.
    largest: λ, the largest eigenvalue.
    slope: the gradient's norm at the point, if that is not a critical one; else 0.

    For a network they come from :func:`thalweg.analysis.extreme_eigenvalues`. Where μ is negative
    no rate is stable along its eigen-direction, which leads away; the limits here are those of the
    directions that curve up. Rates are those of a quadratic; of other functions near a minimum.
    """

    smallest: float
    largest: float
    slope: float = 0.0

    def __post_init__(self) -> None:
        for name in ("smallest", "largest"):
            check(name, number(name, getattr(self, name)), FINITE)
        check("slope", number("slope", self.slope), NON_NEGATIVE)
        if self.smallest > self.largest:
            raise ValueError(
                f"smallest must be at most largest, {self.largest}, not {self.smallest}"
            )

    @property
    def condition(self) -> float:
        """κ = λ / μ, at least 1; infinite where μ is not positive."""
        return self.largest / self.smallest if self.smallest > 0 else math.inf

    def largest_rate(self, momentum: float = 0.0, nesterov: bool = False) -> float:
        """The learning rate below which nothing that curves up diverges; infinite if nothing does.

        ``2 / λ`` for gradient descent, ``2 (1 + β) / λ`` with momentum β (at least 0, below 1), and
        ``2 (1 + β) / ((1 + 2 β) λ)`` with Nesterov's: at it a root of the recurrence is -1.
        """
        momentum = number("momentum", momentum)
        check("momentum", momentum, DECAY)
        if self.largest <= 0:
            return math.inf
        limit = 2 * (1 + momentum) / self.largest
        return limit / (1 + 2 * momentum) if nesterov else limit

    def momentum_range(self, lr: float, nesterov: bool = False) -> tuple[float, float] | None:
        """The momenta from 0 to 1 between which ``lr`` (above 0) is stable, both ends excluded but
        for 0 itself; None if there are none.

        Momentum lets rates up to ``4 / λ`` be stable where there is enough of it, ``β > lr λ / 2 -
        1``; Nesterov's allows no larger rates than gradient descent, and above ``1 / λ`` needs
        ``β < (2 - lr λ) / (2 (lr λ - 1))``.
        """
        lr = number("lr", lr)
        check("lr", lr, POSITIVE)
        a = lr * self.largest
        if nesterov:
            low, high = 0.0, 1.0 if a <= 1 else min(1.0, (2 - a) / (2 * (a - 1)))
        else:
            low, high = max(0.0, a / 2 - 1), 1.0
        return (low, high) if low < high else None

    def rate(self, lr: float, momentum: float = 0.0, nesterov: bool = False) -> float:
        """The factor per step by which the error shrinks in the long run, above 1 if it grows; the
        slowest direction decides, which is one of the two extreme ones."""
        ends = contraction(lr, momentum, [self.smallest, self.largest], nesterov=nesterov)
        return float(ends.max())

    @property
    def gradient_descent(self) -> Setting:
        """The fastest without momentum: ``2 / (λ + μ)``, with the rate (κ - 1) / (κ + 1).

        ValueError if μ is not positive, here and for the next two.
        """
        self._need_minimum()
        inverse = self.smallest / self.largest  # unlike κ, always a number
        lr = 1 / (self.largest / 2 + self.smallest / 2)
        return Setting(lr, 0.0, False, (1 - inverse) / (1 + inverse))

    @property
    def heavy_ball(self) -> Setting:
        """The fastest with momentum (Polyak 1964): ``lr = 4 / (√λ + √μ)²``, ``β = rate²`` with the
        rate (√κ - 1) / (√κ + 1).

        Both roots coincide there, so that the error goes like k rateᵏ: it may grow at first.
        """
        self._need_minimum()
        inverse = math.sqrt(self.smallest / self.largest)
        rate = (1 - inverse) / (1 + inverse)
        lr = 4 / (math.sqrt(self.largest) + math.sqrt(self.smallest)) ** 2
        return Setting(lr, rate**2, False, rate)

    @property
    def nesterov(self) -> Setting:
        """Nesterov's customary choice, which serves every convex function with these curvatures:
        ``lr = 1 / λ``, ``β = (√κ - 1) / (√κ + 1)``; on a quadratic its rate is 1 - 1/√κ.

        Faster ones exist for a quadratic. With κ = 1 there is no momentum, and nesterov is False,
        for ``optim.SGD`` takes it with momentum only.
        """
        self._need_minimum()
        inverse = math.sqrt(self.smallest / self.largest)
        beta = (1 - inverse) / (1 + inverse)
        return Setting(1 / self.largest, beta, beta > 0, 1 - inverse)

    def _need_minimum(self) -> None:
        if self.smallest <= 0:
            raise ValueError(f"smallest must be above 0 for a best rate, not {self.smallest}")

    def __str__(self) -> str:
        no_point = (
            f"not a critical point: the gradient's norm is {self.slope:.3g}, "
            "and what follows is of the quadratic with this Hessian"
        )
        lines = [
            *([no_point] if self.slope else []),
            f"eigenvalues from {self.smallest:.6g} to {self.largest:.6g}, "
            f"condition number {self.condition:.6g}",
            f"largest stable rate {self.largest_rate():.6g}; with momentum 0.9 "
            f"{self.largest_rate(0.9):.6g}, Nesterov's {self.largest_rate(0.9, True):.6g}",
        ]
        if self.smallest <= 0:
            return "\n".join([*lines, "no best rate: not every direction is known to curve up"])
        for title, s in (
            ("gradient descent", self.gradient_descent),
            ("heavy ball", self.heavy_ball),
            ("Nesterov", self.nesterov),
        ):
            lines.append(
                f"{title:<17} lr {s.lr:<10.6g} momentum {s.momentum:<9.6g} "
                f"error times {s.rate:.6g} a step"
            )
        return "\n".join(lines)


def stability(f: Function | str, x: Any) -> Stability:
    """What the Hessian of f at x says about learning rate and momentum there.

    Args:
        f: a landscape, a formula's text, or any function of a tensor [d], written in torch
            operations, to one number.
        x: the point, d numbers; a minimum, for the rates to be those of a descent towards it. In
            print it is said if x is not even critical.

    An eigenvalue that cannot be told from zero, by ``CriticalPoint.error_bound``, is taken as 0.

    Raises:
        ValueError: x is no finite point [d], or f has no finite value or no Hessian there.
        TypeError: f is no function, or not made of torch operations in at least 32 bits.
    """
    here = critical_point(f, x)
    if here.verdict == "not differentiable":
        raise ValueError(f"f must have a Hessian at x: {here.reason}")
    slope = here.gradient_norm if here.verdict == "not critical" else 0.0
    told = here.eigenvalues.abs() > (here.error_bound if math.isfinite(here.error_bound) else 0.0)
    ends = torch.where(told, here.eigenvalues, 0.0)
    return Stability(float(ends[0]), float(ends[-1]), slope)


def contraction(
    lr: ArrayLike, momentum: ArrayLike, eigenvalue: ArrayLike, *, nesterov: bool = False
) -> NDArray[np.float64]:
    """The factor per step by which the error along an eigen-direction shrinks in the long run.

    It is the largest modulus of a root z of the recurrence of ``optim.SGD`` on ``λ w² / 2``,

    ::

        z² - (1 + β - lr λ) z + β = 0                       (momentum β; 0 is gradient descent)
        z² - (1 + β) (1 - lr λ) z + β (1 - lr λ) = 0        (Nesterov's)

    stable if below 1. Where both roots coincide the error goes like k zᵏ.

    Args:
        lr: learning rates, at least 0: a number or an array, as the next two; NumPy broadcasts.
        momentum: β, at least 0.
        eigenvalue: λ, of the Hessian.
        nesterov: whether momentum is Nesterov's.

    Returns:
        float64, of the common shape.
    """
    a, beta, curvature = (np.asarray(v, dtype=np.float64) for v in (lr, momentum, eigenvalue))
    for name, value, low in (
        ("lr", a, 0.0),
        ("momentum", beta, 0.0),
        ("eigenvalue", curvature, -math.inf),
    ):
        if not (np.isfinite(value).all() and (value >= low).all()):
            raise ValueError(f"{name} must be finite{' and at least 0' if low == 0 else ''}")
    with np.errstate(all="ignore"):  # a rate may be too large for a float
        a = a * curvature
        gap = (1 - beta) ** 2
        if nesterov:
            q = 1 - a
            trace, product = (1 + beta) * q, beta * q
            factors = q, gap - (1 + beta) ** 2 * a
        else:
            trace, product = 1 + beta - a, beta
            root = np.sqrt(beta)
            factors = gap / (1 + root) ** 2 - a, (1 + root) ** 2 - a
        # trace² - 4 product, in factors: it neither overflows nor cancels where roots coincide.
        apart = np.sqrt(np.abs(factors[0])) * np.sqrt(np.abs(factors[1]))
        real = (np.abs(trace) + apart) / 2
        # Near 1 from there, which is exact for a = 0.
        near = 1 - 2 * a / (2 - trace + apart)
        real = np.where((trace > 0) & (trace < 2), near, real)
        oscillates = np.sign(factors[0]) * np.sign(factors[1]) < 0
        return np.where(oscillates, np.sqrt(np.maximum(product, 0)), real)
