"""A landscape: a formula, and what is known of the surface that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg.problems.landscapes.expression import Expression, evaluate
from thalweg.problems.landscapes.grammar import read
from thalweg.problems.landscapes.latex import latex

Box = tuple[tuple[float, float], ...]
Kind = Literal["minimum", "maximum", "saddle", "cusp"]


@dataclass(frozen=True)
class Point:
    """A point where descent may end or linger.

    kind: ``"minimum"``, ``"maximum"`` and ``"saddle"`` have gradient zero; a ``"cusp"`` is a
        minimum at which there is no gradient.
    x: coordinates, as near to the true ones as float64 comes.
    value: the function there.
    is_global: nothing in the whole space is lower (higher, for a maximum).
    degenerate: the Hessian there is singular or missing, so that its eigenvalues do not show the
        kind.
    hessian: second derivatives that exist but do not follow from differentiating the formula,
        ``hessian[i][j] = d/dx_j (df/dx_i)``.
    """

    kind: Kind
    x: tuple[float, ...]
    value: float
    is_global: bool = False
    degenerate: bool = False
    hessian: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Landscape:
    """A function of a few variables, its derivatives, and its known points.

    ``f(x)``, ``f.gradient(x)`` and ``f.hessian(x)`` take x of shape (..., d) and give shapes
    (...), (..., d) and (..., d, d). A tensor's dtype is kept; lists and arrays become float64.
    ``f(x)`` may be differentiated by autograd and ``torch.func``; at a kink of abs, max or min it
    gives torch's subgradient, where there is no derivative NaN.

    name, title, about: how it is called in code, over a figure and in a sentence.
    formula: the text it is made from, in the language of `grammar`.
    variables: their names, in the order of x.
    domain: lower and upper end for each variable: what to draw and to search.
    points: minima, maxima, saddles, cusps that are known.
    starts: customary starting points.
    complete: whether `points` has every point of the domain with gradient zero, and every cusp.
    convex_on: a box on which it is convex; None: none is known.
    unimodal_on: a box on which it has one local minimum, the boundary included; None: none known.
    source: the paper it comes from, or the reason why it is here.
    """

    name: str
    title: str
    about: str
    formula: str
    variables: tuple[str, ...]
    domain: Box
    points: tuple[Point, ...] = ()
    starts: tuple[tuple[float, ...], ...] = ()
    complete: bool = False
    convex_on: Box | None = None
    unimodal_on: Box | None = None
    source: str = ""

    def __post_init__(self) -> None:
        _ = self.expression  # a formula that cannot be read raises now
        for low, high in self.domain:
            if not -float("inf") < low < high < float("inf"):
                raise ValueError(f"domain: ({low}, {high}) is no interval")
        coordinates = {
            "domain": [self.domain],
            "starts": self.starts,
            "points": [p.x for p in self.points],
            "convex_on": [self.convex_on or self.domain],
            "unimodal_on": [self.unimodal_on or self.domain],
        }
        for what, rows in coordinates.items():
            for row in rows:
                if len(row) != self.dim:
                    raise ValueError(f"{what}: {self.dim} coordinates are wanted, got {row}")

    @cached_property
    def expression(self) -> Expression:
        """The formula as a tree."""
        return read(self.formula, self.variables)[0]

    @property
    def dim(self) -> int:
        """The number of variables."""
        return len(self.variables)

    @property
    def convex(self) -> bool:
        """Whether it is known to be convex on the whole domain."""
        return self.convex_on == self.domain

    @property
    def unimodal(self) -> bool:
        """Whether it is known to have one local minimum on the whole domain."""
        return self.unimodal_on == self.domain

    @property
    def minima(self) -> tuple[Point, ...]:
        """The known minima, cusps among them, the lowest first."""
        found = (p for p in self.points if p.kind in ("minimum", "cusp"))
        return tuple(sorted(found, key=lambda p: p.value))

    def latex(self) -> str:
        """The formula as LaTeX."""
        return latex(self.expression)

    def __call__(self, x: Any) -> Tensor:
        x = self._accept(x)
        value = evaluate(self.expression, dict(zip(self.variables, x.unbind(-1), strict=True)))
        if isinstance(value, Tensor):
            return value
        return torch.full_like(x[..., 0], value)

    def gradient(self, x: Any) -> Tensor:
        """First derivatives, (..., d)."""
        with torch.inference_mode(False), torch.enable_grad():
            x = self._accept(x).detach().clone().requires_grad_()
            return _derivative(self(x), x).detach()

    def hessian(self, x: Any) -> Tensor:
        """Second derivatives, (..., d, d); ``[..., i, j]`` is ``d/dx_j (df/dx_i)``. Not
        symmetrised: what asymmetry there is beyond rounding is the function's own."""
        with torch.inference_mode(False), torch.enable_grad():
            x = self._accept(x).detach().clone().requires_grad_()
            rows = _derivative(self(x), x, again=True).unbind(-1)
            h = torch.stack([_derivative(row, x, again=True) for row in rows], -2).detach()
        for point in self.points:
            if point.hessian is not None:
                here = (x.detach() == x.new_tensor(point.x)).all(-1)[..., None, None]
                h = torch.where(here, x.new_tensor(point.hessian), h)
        return h

    def _accept(self, x: Any) -> Tensor:
        tensor = x if isinstance(x, Tensor) else torch.tensor(np.asarray(x, dtype=np.float64))
        if not tensor.is_floating_point():
            raise TypeError(f"x must have a floating dtype, got {tensor.dtype}")
        if tensor.ndim == 0 or tensor.shape[-1] != self.dim:
            raise ValueError(f"x must have shape (..., {self.dim}), got {tuple(tensor.shape)}")
        return tensor


def _derivative(y: Tensor, x: Tensor, again: bool = False) -> Tensor:
    """Of each y by its own row of x."""
    if not y.requires_grad:  # a constant
        return torch.zeros_like(x)
    d: Tensor
    (d,) = torch.autograd.grad(y.sum(), x, create_graph=again, materialize_grads=True)
    return d


def parse(
    text: str,
    variables: Sequence[str] | None = None,
    domain: Sequence[tuple[float, float]] | None = None,
    starts: Sequence[Sequence[float]] = (),
) -> Landscape:
    """A landscape from a formula's text, read without running anything.

    Args:
        text: e.g. ``"(1-x)^2 + 100*(y-x^2)^2"``: numbers, ``pi``, ``e``, variables,
            ``+ - * / ^``, brackets, and the functions abs, atan, atan2, cos, exp, log, max, min,
            sin, sqrt, tan, tanh and ``where(x > 0, …, …)``.
        variables: their names in order. None: the letters that occur, in the order x, y, z or
            x1, x2, ….
        domain: lower and upper end for each variable; None: -5 to 5.
        starts: starting points.

    Raises:
        FormulaError: a ValueError whose message shows the place.
    """
    _, names = read(text, variables)
    return Landscape(
        name="formula",
        title=text,
        about="a formula of your own",
        formula=text,
        variables=names,
        domain=tuple((low, high) for low, high in domain or ((-5.0, 5.0),) * len(names)),
        starts=tuple(tuple(start) for start in starts),
    )
