"""What kind of point one stands on: minimum, maximum, saddle, or none that the Hessian can name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from thalweg.analysis import hidden
from thalweg.analysis.batched import resolution
from thalweg.analysis.derivatives import (
    Function,
    function,
    gradient,
    hessian,
    point,
)
from thalweg.analysis.surroundings import Surroundings, norm
from thalweg.validation import Interval, check, number

Verdict = Literal[
    "minimum", "maximum", "saddle", "degenerate", "not critical", "not differentiable"
]

POSITIVE = Interval(0.0, open_low=True)
SHOWN = 6  # eigenvalues and coordinates in print


@dataclass(frozen=True, eq=False, repr=False)
class CriticalPoint:
    """What f does near x, to second order. Tensors have x's dtype and device.

    x: the point, [d].
    value: f(x).
    gradient: [d].
    hessian: [d, d], ``[i, j]`` being d/dx_j (df/dx_i); not symmetrised.
    eigenvalues: of the Hessian's symmetric part, ascending, [d].
    eigenvectors: its eigen-directions in columns, in that order, each with its largest coordinate
        positive, [d, d].
    verdict: ``"minimum"``, ``"maximum"`` or ``"saddle"`` where the eigenvalues prove it;
        ``"degenerate"`` where the point is critical and they prove nothing; ``"not critical"``;
        ``"not differentiable"`` where the gradient or the Hessian does not exist.
    reason: why, in a sentence.
    error_bound: how far each eigenvalue may be from the true critical point's.
    distance: how far the true critical point may be from x.
    symmetric: whether the Hessian is symmetric up to rounding, as Schwarz's theorem promises where
        the second derivatives are continuous.
    tolerance: what the gradient's norm was compared with; NaN where it does not exist.
    """

    x: Tensor
    value: float
    gradient: Tensor
    hessian: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    verdict: Verdict
    reason: str
    error_bound: float
    distance: float
    symmetric: bool
    tolerance: float

    @property
    def gradient_norm(self) -> float:
        """Euclidean norm of the gradient."""
        return norm(self.gradient)

    def __repr__(self) -> str:
        rows = {"gradient": f"norm {self.gradient_norm:.3g}"}
        if self.verdict != "not differentiable":
            rows["gradient"] += f" (critical up to {self.tolerance:.3g})"
        if self.eigenvalues.isfinite().all():
            within = f"each within {self.error_bound:.2g}" if self.error_bound < math.inf else ""
            values = _list(self.eigenvalues)
            rows["eigenvalues"] = f"{values}, {within}" if within else values
            rows["directions"] = "; ".join(
                f"{_number(v)} along {_vector(u)}"
                for v, u in list(zip(self.eigenvalues, self.eigenvectors.T, strict=True))[:SHOWN]
            )
            shape = "symmetric" if self.symmetric else "not symmetric"
            d = len(self.x)
            whole = "; ".join(_list(row, " ") for row in self.hessian)
            rows["Hessian"] = f"[{whole}], {shape}" if d <= 3 else f"{d} by {d}, {shape}"
        rows["because"] = self.reason
        lines = [f"  {name:<12} {text}" for name, text in rows.items()]
        return "\n".join(
            [f"{self.verdict} at {_vector(self.x)}, where f = {self.value:.6g}", *lines]
        )


def critical_point(f: Function | str, x: Any, tolerance: float | None = None) -> CriticalPoint:
    """Tell minimum, maximum and saddle apart by the Hessian's eigenvalues, and when they cannot.

    A point is critical if ``|g| <= tolerance (1 + |H| |x|)``: rounding x alone moves the gradient
    by ``eps |H| |x|``; or if g is no more than rounding may have made of it. Unless you set the
    tolerance, it is not where a Newton step leads farther than has been looked around. An
    eigenvalue is positive or negative if it is so by more than

    ::

        error_bound = 4 d eps |H| + |H - H'| + L (eps |x| + distance)

    By Weyl's inequality no eigenvalue of a symmetric matrix moves by more than the norm of what is
    added to the matrix, and that is, in this order: the eigenvalue solver's rounding; the
    asymmetry; and the change of H from x to the true critical point, twice a Newton step away
    (Kantorovich) in the directions that H's eigenvalues reach. L, how fast H changes, is twice the
    largest change of gradient differences seen around x, an estimate and no bound. ``|H|`` is the
    spectral norm. To it comes the rounding in H, which is measured
    (:mod:`thalweg.analysis.rounding`, with a margin of 64), or the error of differences, if the
    Hessian is taken from these. What counts as eps is the precision that f computes with, also
    within: float32's for ``x.float().sum().double()`` (:mod:`thalweg.analysis.precision`).

    Whether there is a Hessian is looked at too: gradients at two distances on either side of x,
    along the axes and along four seeded random directions, must approach the gradient at x, and
    their differences the Hessian. If they do not, two smaller distances decide. Where autograd
    gives NaN, or the derivatives of a formula's piece that are not those of the function (Peano's
    function at the origin), the limits of what is seen around take their place. What is seen there
    ends at a distance of 1e-12, and where f ends within 1e-8 it passes for not differentiable (both
    in units of x's largest coordinate, at least 1, in float64; 5e-4 and 2e-2 in float32).

    Args:
        f: a landscape, a formula's text, or any function of a tensor [d], written in torch
            operations in at least 32 bits, to one number.
        x: the point, d numbers; a float32 tensor's dtype is kept, all else is taken as float64.
        tolerance: above 0, in units of the gradient; None: 1e-9 in float64, 3.5e-4 in float32.

    Raises:
        ValueError: x is no finite point [d], or of more than 5000 dimensions; f is not finite
            there.
        TypeError: f is no function, or not made of torch operations, hides its argument from
            autograd, or computes in 16 bits.

    It takes ``8 d + 150`` gradients and a Hessian: for up to some hundred dimensions. For more, see
    :func:`thalweg.analysis.extreme_eigenvalues`.
    """
    f = function(f)
    x = point(x)
    if tolerance is not None:
        tolerance = number("tolerance", tolerance)
        check("tolerance", tolerance, POSITIVE)
    value, g = gradient(f, x)
    if not value.isfinite():
        raise ValueError(f"f must be finite at x, where it is {float(value)}")
    eps = resolution(f, x)
    hidden.refuse(hidden.around(f, x, eps))
    seen = Surroundings(f, x, g, eps)
    h = hessian(f, x)
    missing = seen.missing(h)
    if missing:
        nan = torch.full_like(h, math.nan)
        return CriticalPoint(
            x, float(value), g, nan, nan[0], nan, "not differentiable", missing,
            math.inf, math.nan, False, math.nan,
        )  # fmt: skip
    g = seen.gradient
    drift = seen.drift / seen.large
    if h.isfinite().all() and seen.confirmed:
        drift = max(drift, norm(h - seen.hessian) / seen.small)
        off = seen.hessian_rounding()
    elif h.isfinite().all() and norm(h - seen.hessian) <= seen.hessian_error:
        off = seen.hessian_rounding()
    else:
        h, off = seen.hessian, seen.hessian_error
    values, vectors = torch.linalg.eigh((h + h.T) / 2)
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    size, asymmetry = norm(h), norm(h - h.T)
    symmetric = asymmetry <= eps**0.5 * size + off
    rounding = 4 * len(x) * eps * size + asymmetry + off + seen.change * eps * norm(x)
    slopes = vectors.T @ g
    # Along what is flat, too, if there is a slope beyond rounding: zero is far away, if anywhere.
    reached = (values.abs() > rounding) | (slopes.abs() > seen.noise)
    distance = 2 * norm(slopes[reached] / values[reached]) if reached.any() else 0.0
    verdict: Verdict
    default = 1e-9 if eps < 1e-10 else eps**0.5
    allowed = max((tolerance or default) * (1 + size * norm(x)), seen.noise)
    if norm(g) > allowed:
        verdict, bound = "not critical", rounding
        reason = "the gradient is not zero"
    elif tolerance is None and distance > seen.large:
        verdict, bound = "not critical", rounding
        reason = f"the gradient is small, but zero only about {distance / 2:.2g} away, if at all"
    elif not seen.linear(h):
        verdict, bound = "degenerate", math.inf
        reason = "second derivatives do not agree with gradients around and prove nothing"
    else:
        bound = rounding + (seen.change + 6 * drift) * distance
        verdict, reason = _judge(values, bound)
    return CriticalPoint(
        x, float(value), g, h, values, vectors, verdict, reason, bound, distance,
        symmetric, allowed,
    )  # fmt: skip


def _judge(values: Tensor, bound: float) -> tuple[Verdict, str]:
    up, down = bool((values > bound).any()), bool((values < -bound).any())
    if up and down:
        return "saddle", "it curves up along some directions and down along others"
    if (values > bound).all():
        return "minimum", "it curves up along every direction"
    if (values < -bound).all():
        return "maximum", "it curves down along every direction"
    flat = int((values.abs() <= bound).sum())
    return "degenerate", f"{flat} of {len(values)} eigenvalues cannot be told from zero"


def _number(x: Any) -> str:
    return f"{float(x) + 0.0:.6g}"  # no minus sign before a zero


def _list(x: Tensor, between: str = ", ") -> str:
    rest = [] if len(x) <= SHOWN else [f"… ({len(x)} in all)"]
    return between.join([*map(_number, x[:SHOWN].tolist()), *rest])


def _vector(x: Tensor) -> str:
    return f"({_list(x)})"
