"""Verdicts on critical points, the bounds they rest on, and derivatives that are not there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.analysis import (
    basins,
    convexity,
    critical_point,
    mixed_derivatives,
    unimodality,
)
from thalweg.problems.landscapes import LANDSCAPES


def peano(v):
    """Peano's x y (x² - y²) / (x² + y²), 0 at the origin, where autograd gives derivatives of 0."""
    x, y = v
    square = x * x + y * y
    at = square == 0
    return torch.where(at, 0 * x, x * y * (x * x - y * y) / torch.where(at, 1 + square, square))


def peano_nan(v):
    """The same, written so that autograd gives NaN at the origin."""
    x, y = v
    square = x * x + y * y
    return torch.where(square == 0, 0 * x, x * y * (x * x - y * y) / square)


@dataclass(frozen=True)
class Row:
    f: Any
    x: tuple[float, ...]
    verdict: str
    eigenvalues: tuple[float, ...] | None = None  # by hand


ORIGIN = (0.0, 0.0)
ROOT = math.sqrt(0.5)
TABLE = {
    "bowl": Row(lambda v: v[0] ** 2 + 3 * v[1] ** 2, ORIGIN, "minimum", (2, 6)),
    "dome": Row(lambda v: -(v[0] ** 2) - 3 * v[1] ** 2, ORIGIN, "maximum", (-6, -2)),
    "saddle": Row(lambda v: v[0] ** 2 - v[1] ** 2, ORIGIN, "saddle", (-2, 2)),
    "product": Row(lambda v: v[0] * v[1], ORIGIN, "saddle", (-1, 1)),
    "monkey": Row(lambda v: v[0] ** 3 - 3 * v[0] * v[1] ** 2, ORIGIN, "degenerate", (0, 0)),
    "trough": Row(lambda v: v[0] ** 2 + v[1] ** 4, ORIGIN, "degenerate", (0, 2)),
    "flat saddle": Row(
        lambda v: v[0] ** 2 - v[1] ** 2 + v[2] ** 4, (0.0,) * 3, "saddle", (-2, 0, 2)
    ),
    "below rounding": Row(
        lambda v: v[0] ** 2 + 1e-17 * v[1] ** 2, ORIGIN, "degenerate", (2e-17, 2)
    ),
    "above rounding": Row(lambda v: v[0] ** 2 + 1e-12 * v[1] ** 2, ORIGIN, "minimum", (2e-12, 2)),
    "slope": Row(lambda v: v[0] + v[0] ** 2 + v[1] ** 2, ORIGIN, "not critical", (2, 2)),
    "plane": Row(lambda v: v[0] - v[1], ORIGIN, "not critical", (0, 0)),
    # (x + 1e8)² is rounded to 1e-8, which is all right relative to |x|.
    "far away": Row(lambda v: (v[0] - 1e8 / 3) ** 2 + v[1] ** 2, (1e8 / 3, 0.0), "minimum", (2, 2)),
    "one number": Row(lambda v: torch.cos(v[0]), (math.pi,), "minimum", (1,)),
    "peano": Row(peano, ORIGIN, "degenerate", (0, 0)),
    "peano, NaN": Row(peano_nan, ORIGIN, "degenerate", (0, 0)),
    "peano in a bowl": Row(
        lambda v: peano(v) + 5 * (v[0] ** 2 + v[1] ** 2), ORIGIN, "degenerate", (10, 10)
    ),
    "peano elsewhere": Row(peano, (1.0, 0.5), "not critical"),
    # Its derivatives along the axes are zero; seen along other directions it is not smooth.
    "folded": Row(lambda v: (v[0] * v[1]).abs(), ORIGIN, "degenerate", (0, 0)),
    "kink": Row(lambda v: v.abs().sum(), ORIGIN, "not differentiable"),
    "cone": Row(lambda v: v.norm(), ORIGIN, "not differentiable"),
    "cone, NaN": Row(lambda v: (v * v).sum().sqrt(), ORIGIN, "not differentiable"),
    "one-sided kink": Row(lambda v: v[0].relu() + v[1] ** 2, ORIGIN, "not differentiable"),
    "fold on a diagonal": Row(lambda v: torch.maximum(*v), (1.0, 1.0), "not differentiable"),
    "kink on a slope": Row(
        lambda v: v[1] + 1e-3 * (v[0] - 1).abs(), (1.0, 0.0), "not differentiable"
    ),
    "power 3/2": Row(lambda v: (v.abs() ** 1.5).sum(), ORIGIN, "not differentiable"),
    "bent": Row(lambda v: (v * v.abs()).sum(), ORIGIN, "not differentiable"),
    "power 1/2": Row(lambda v: v[0].abs() ** 0.5 + v[1] ** 2, ORIGIN, "not differentiable"),
    "root": Row(lambda v: v[0] ** 0.5, (0.0,), "not differentiable"),
    "ends here": Row(lambda v: v[0] ** 1.2, (0.0,), "not differentiable"),
    "power 1.99": Row(lambda v: (v.abs() ** 1.99).sum(), ORIGIN, "not differentiable"),
    "ends nearby": Row(lambda v: v[0] - 1e-6 * v[0].log(), (1e-6,), "minimum", (1e6,)),
    # Smooth, though autograd has NaN on the axis.
    "root of a power": Row(lambda v: (v[0] ** 4).sqrt() + v[1] ** 2, ORIGIN, "minimum", (2, 2)),
    # Smooth, in a narrow place.
    "narrow": Row(lambda v: (v[0] ** 2 + 1e-14).sqrt(), (0.0,), "minimum", (1e7,)),
    "quick": Row(lambda v: torch.cos(3e4 * v[0]), (0.0,), "maximum", (-9e8,)),
    "quick, by chance": Row(
        lambda v: torch.cos(2 * math.pi / 1.2207031e-4 * v[0]), (0.0,), "maximum"
    ),
    "a slight kink": Row(lambda v: v[0] ** 2 - 1e-12 * v[0].abs(), (0.0,), "not differentiable"),
    # Autograd's second derivatives are rounding.
    "cancellation": Row(
        lambda v: 1e10 * (torch.cos(v[0]) ** 2 + torch.sin(v[0]) ** 2 - 1) + 1e-7 * (v[0] - 1) ** 2,
        (1.0,),
        "degenerate",
        (2e-7,),
    ),
    "rounded": Row(lambda v: ((v[0] + 1e8) - 1e8) ** 2 - v[0] ** 2, (1e-9,), "degenerate"),
    "small": Row(lambda v: 1e-300 * v[0] ** 2, (0.0,), "minimum", (2e-300,)),
    "far from its minimum": Row(lambda v: 1e-12 * v[0] ** 2, (5.0,), "not critical", (2e-12,)),
    "huge": Row(lambda v: v[0] ** 2, (1e150,), "not critical", (2,)),
    "power 5/2": Row(lambda v: (v.abs() ** 2.5).sum(), ORIGIN, "degenerate", (0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_verdicts(name):
    row = TABLE[name]
    found = critical_point(row.f, row.x)
    assert found.verdict == row.verdict, found
    if row.eigenvalues is not None:
        off = (found.eigenvalues - torch.tensor(row.eigenvalues, dtype=torch.float64)).abs().max()
        assert off <= found.error_bound
    if row.verdict == "not differentiable":
        assert found.eigenvalues.isnan().all()
        assert found.error_bound == math.inf


@pytest.mark.parametrize("f", [peano, peano_nan])
def test_mixed_derivatives_of_peanos_function_depend_on_their_order(f):
    for found in (mixed_derivatives(f, ORIGIN), critical_point(f, ORIGIN).hessian):
        assert torch.allclose(found, torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double(), atol=1e-9)
    assert not critical_point(f, ORIGIN).symmetric
    # By autograd alone it would look symmetric, or like nothing.
    by_autograd = torch.autograd.functional.hessian(f, torch.zeros(2, dtype=torch.float64))
    assert by_autograd.isnan().any() or (by_autograd == 0).all()


@pytest.mark.parametrize("x", [(1.0, 0.5), (0.0, 1.0), (-2.0, 1e-3)])
def test_away_from_the_origin_their_order_does_not_matter(x):
    h = torch.autograd.functional.hessian(peano, torch.tensor(x, dtype=torch.float64))
    assert torch.allclose(mixed_derivatives(peano, x), h, atol=1e-8)
    assert critical_point(peano, x).symmetric


LARGER_THAN_A_FLOAT = {("powell-badly-scaled", "minimum", 0), ("powell-badly-scaled", "minimum", 1)}
POINTS = [
    pytest.param(name, p, id=f"{name}-{p.kind}-{i}")
    for name, f in LANDSCAPES.items()
    for i, p in enumerate(f.points)
    # Two with a condition number of 7e17: no Hessian in float64 tells their kind.
    if (name, p.kind, i) not in LARGER_THAN_A_FLOAT
]


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_every_stated_point_of_the_landscapes(name, point):
    found = critical_point(LANDSCAPES[name], point.x)
    wanted = "degenerate" if point.degenerate else point.kind
    assert found.verdict == ("not differentiable" if point.kind == "cusp" else wanted), found


@pytest.mark.parametrize("i", [0, 1])
def test_what_float64_cannot_tell_is_called_degenerate(i):
    f = LANDSCAPES["powell-badly-scaled"]
    found = critical_point(f, f.points[i].x)
    assert found.verdict == "degenerate"
    assert found.eigenvalues[1] > 1e10
    assert found.error_bound > 2.42e-8  # the other: its determinant, 400, over the first


def quartic(seed: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """A polynomial with a critical point c, c, and the Hessian there."""
    g = torch.Generator().manual_seed(seed)
    d = int(torch.randint(1, 7, (), generator=g))
    normal = [torch.randn(d, d, generator=g, dtype=torch.float64) for _ in range(3)]
    c = torch.randn(d, generator=g, dtype=torch.float64)
    a, b = normal[0] + normal[0].T, normal[1]

    def f(x):
        v = x - c
        return v @ a @ v / 2 + ((b @ v) ** 3).sum() / 3 + ((normal[2] @ v) ** 4).sum()

    return f, c, a


@pytest.mark.parametrize("away", [0.0, 1e-12, 1e-10, 3e-8])
@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_for_a_point_that_is_not_quite_critical(seed, away):
    f, c, a = quartic(seed)
    g = torch.Generator().manual_seed(100 + seed)
    u = torch.randn(len(c), generator=g, dtype=torch.float64)
    found = critical_point(f, c + away * u / u.norm(), tolerance=1e-5)
    true = torch.linalg.eigvalsh(a)
    assert (found.eigenvalues - true).abs().max() <= found.error_bound
    assert found.distance >= away / 1.001
    assert found.verdict == (
        "minimum" if true[0] > 0 else "maximum" if true[-1] < 0 else "saddle"
    )  # fmt: skip
    # The bound is worth something.
    assert found.error_bound <= 1e-10 + 1e4 * away


def test_eigenvectors():
    for seed in range(5):
        f, c, a = quartic(seed)
        found = critical_point(f, c)
        v = found.eigenvectors
        assert torch.allclose(a @ v, v * found.eigenvalues, atol=1e-11)
        assert torch.allclose(v.T @ v, torch.eye(len(c), dtype=v.dtype), atol=1e-13)
        assert (v.gather(0, v.abs().argmax(0, keepdim=True)) > 0).all()


SMOOTH = {
    name: f
    for name, f in LANDSCAPES.items()
    if not any(word in f.formula for word in ("abs", "max", "min", "where"))
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_are_smooth_everywhere(name):
    f = SMOOTH[name]
    g = torch.Generator().manual_seed(1)
    low, high = torch.tensor(f.domain, dtype=torch.float64).T
    for _ in range(8):
        x = low + (high - low) * torch.rand(f.dim, generator=g, dtype=torch.float64)
        found = critical_point(f, x)
        assert found.verdict == "not critical", found
        assert found.symmetric
        h = torch.autograd.functional.hessian(f, x)
        assert (found.hessian - h).abs().max() <= 1e-12 * h.abs().max()


def test_float32():
    f = SMOOTH["himmelblau"]
    found = critical_point(f, torch.tensor([3.0, 2.0]))
    assert found.verdict == "minimum"
    assert found.eigenvalues.dtype == torch.float32
    true = torch.tensor([54 - 20 * 2**0.5, 54 + 20 * 2**0.5])
    assert (found.eigenvalues - true).abs().max() <= found.error_bound < 1e-2
    assert critical_point(peano, torch.zeros(2)).verdict == "degenerate"
    assert critical_point(lambda v: v.abs().sum(), torch.zeros(2)).verdict == "not differentiable"
    assert critical_point(f, torch.tensor([3.1, 2.0])).verdict == "not critical"


def test_the_tolerance_decides_what_is_critical():
    def f(v):
        return v.square().sum() / 2

    x = (3e-7, 0.0)
    assert critical_point(f, x).verdict == "not critical"
    assert critical_point(f, x, tolerance=1e-6).verdict == "minimum"
    # Relative to the Hessian and the point: what counts is rounding of x.
    assert critical_point(lambda v: f(v - 1e3), (1e3 + 3e-7, 1e3)).verdict == "minimum"


def test_nothing_given_is_changed():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    state = torch.get_rng_state()
    with torch.no_grad():
        found = critical_point(lambda v: (v**2).sum(), x)
    assert found.eigenvalues.tolist() == [2, 2]
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "x", [[1, 2], (1.0, 2.0), np.float32([1, 2]), torch.tensor([1, 2]), torch.ones(2).cumsum(0)]
)
def test_any_point_will_do_and_what_f_writes_to_it_changes_nothing(x):
    def f(v):
        v -= v.new_tensor([1.0, 2.0])
        return (v * v).sum()

    before = torch.as_tensor(x).clone()
    found = critical_point(f, x)
    assert found.verdict == "minimum"
    assert found.eigenvalues.tolist() == [2, 2]
    assert torch.equal(torch.as_tensor(x), before)


def test_print():
    assert repr(critical_point(lambda v: v[0] ** 2 - v[1] ** 2, ORIGIN)) == (
        "saddle at (0, 0), where f = 0\n"
        "  gradient     norm 0 (critical up to 1e-09)\n"
        "  eigenvalues  -2, 2, each within 7.9e-14\n"
        "  directions   -2 along (0, 1); 2 along (1, 0)\n"
        "  Hessian      [2 0; 0 -2], symmetric\n"
        "  because      it curves up along some directions and down along others"
    )
    assert repr(critical_point(peano, ORIGIN)) == (
        "degenerate at (0, 0), where f = 0\n"
        "  gradient     norm 0 (critical up to 1e-09)\n"
        "  eigenvalues  0, 0\n"
        "  directions   0 along (1, 0); 0 along (0, 1)\n"
        "  Hessian      [0 -1; 1 0], not symmetric\n"
        "  because      second derivatives do not agree with gradients around and prove nothing"
    )
    many = repr(critical_point(lambda v: (v**2).sum(), torch.zeros(10, dtype=torch.float64)))
    assert "2, 2, 2, 2, 2, 2, … (10 in all), each within" in many
    assert "10 by 10, symmetric" in many


@pytest.mark.parametrize(
    ("f", "x", "options", "error", "says"),
    [
        (lambda v: v.sum(), [[1.0]], {}, ValueError, "x must be one point of shape"),
        (lambda v: v.sum(), [], {}, ValueError, "x must be one point of shape"),
        (lambda v: v.sum(), [math.nan], {}, ValueError, "x must be finite"),
        (lambda v: v.sum(), torch.ones(2) * 1j, {}, TypeError, "x must be real"),
        (lambda v: v, [1.0, 2.0], {}, ValueError, "f must give one number"),
        (lambda v: v.detach().numpy().sum(), [1.0], {}, TypeError, "f must give a tensor"),
        (lambda v: v.detach().sum(), [1.0], {}, TypeError, "f must give a tensor"),
        (lambda v: v.log().sum(), [0.0], {}, ValueError, "f must be finite at x"),
        (lambda v: v.sum() * 1j, [1.0], {}, TypeError, "not torch.complex128"),
        (lambda v: (v > 0).sum(), [1.0], {}, TypeError, "f must give a real number of a float"),
        (lambda v: v.sum(), np.array([1j]), {}, TypeError, "x must be real"),
        (lambda v: v.sum(), [1j], {}, TypeError, "complex"),
        (lambda v: v.sum(), 3.0, {}, ValueError, "x must be one point of shape"),
        (lambda v: v.sum(), torch.zeros(100_000), {}, ValueError, "x must have at most 5000"),
        (3, [1.0], {}, TypeError, "f must be a landscape, a formula or a function, not 3"),
        ("x^", [1.0], {}, ValueError, "ends too early"),
        (lambda v: v.sum(), [1.0], {"tolerance": 0.0}, ValueError, "tolerance must be"),
        (lambda v: v.sum(), [1.0], {"tolerance": "small"}, TypeError, "tolerance must be"),
    ],
)
def test_refusals(f, x, options, error, says):
    with pytest.raises(error, match=says):
        critical_point(f, x, **options)


def test_what_is_printed_is_what_the_gradient_was_compared_with():
    """By hand: 1e-9 (1 + |H| |x|) with H = 200 and x = 3."""
    found = critical_point("100*(x-3)^2", [3.0])
    assert found.verdict == "minimum"
    assert found.tolerance == pytest.approx(601e-9, rel=1e-12)
    assert "(critical up to 6.01e-07)" in repr(found)
    cusp = critical_point("abs(x)", [0.0])
    assert cusp.verdict == "not differentiable"
    assert math.isnan(cusp.tolerance)
    assert "critical up to" not in repr(cusp)


HIDING = {
    "detach": lambda x: 3 * (x.detach() ** 2).sum() - (x * x).sum(),
    "half detached": lambda x: (x.detach() * x).sum(),
    "data": lambda x: x.data.pow(2).sum() + 0 * x.sum(),
    "straight through": lambda x: ((x.round() - x).detach() + x).pow(2).sum(),
}


@pytest.mark.parametrize("name", HIDING)
def test_what_autograd_does_not_see_is_refused(name):
    for ask in (
        lambda f: critical_point(f, [0.0, 0.0]),
        lambda f: mixed_derivatives(f, [0.3, 0.1]),
        lambda f: unimodality(f, [(-2.0, 3.0)] * 2, starts=4),
        lambda f: basins(f, [(-2.0, 3.0)] * 2, 3),
    ):
        with pytest.raises(TypeError, match="as its gradients by autograd say"):
            ask(HIDING[name])
    if name != "straight through":
        assert convexity(HIDING[name], [(-2.0, 3.0)] * 2, tries=100).holds is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("f", [torch.floor, torch.sign, lambda x: (x > 0) + 0 * x])
def test_a_jump_is_not_differentiable(f, dtype):
    here = critical_point(lambda x: f(x).sum(), torch.zeros(2, dtype=dtype))
    assert here.verdict == "not differentiable"
    assert critical_point(lambda x: f(x).sum(), torch.full((2,), 0.5)).verdict == "degenerate"


def test_a_slope_without_curvature_is_not_critical_however_small():
    for text in ("1e-10*x", "1e-300*x + 1e-300*y", "1e-12*x + y^2"):
        here = critical_point(text, [0.0, 0.0][: 1 + ("y" in text)])
        assert here.verdict == "not critical", here


def test_below_the_smallest_normal_number_rounding_is_no_kink():
    assert critical_point(lambda x: 1e-315 * (x * x).sum(), [0.5, -1.0]).verdict == "not critical"
