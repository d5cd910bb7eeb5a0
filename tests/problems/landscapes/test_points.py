"""Every stated point and region is what it is said to be, and none is missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from thalweg.problems.landscapes import LANDSCAPES, Landscape, quadratic, rosenbrock
from thalweg.problems.landscapes.landscape import Box

ALL = [
    *LANDSCAPES.values(),
    quadratic(1e4, 3, 0.7),
    quadratic(7, 6, -2.0),
    quadratic(1.0, 2),
    rosenbrock(1.0),
]
POINTS = [(f, p) for f in ALL for p in f.points]


def name(value: object) -> str:
    return value.name if isinstance(value, Landscape) else f"{value.kind}{value.x[:2]}"


def uniform(box: Box, n: int, seed: int = 0) -> np.ndarray:
    low, high = np.array(box).T
    return np.random.default_rng(seed).uniform(low, high, (n, len(low)))


def descents(f: Landscape, box: Box, n: int) -> list:
    """Where bounded quasi-Newton descents from random places in a box end."""

    def both(x):
        return float(f(x)), f.gradient(x).numpy()

    options = {"ftol": 0, "gtol": 1e-10, "maxiter": 2000, "maxfun": 4000}
    with threadpool_limits(1):  # BLAS would put every core to work on vectors of two numbers
        return [
            minimize(both, x, jac=True, method="L-BFGS-B", bounds=box, options=options)
            for x in uniform(box, n)
        ]


@pytest.mark.parametrize(("f", "p"), POINTS, ids=name)
def test_value_and_place(f, p):
    assert len(p.x) == f.dim
    assert all(low <= x <= high for x, (low, high) in zip(p.x, f.domain, strict=True))
    assert abs(f(p.x) - p.value) <= 1e-13 * (1 + abs(p.value))


@pytest.mark.parametrize(("f", "p"), POINTS, ids=name)
def test_gradient_is_zero(f, p):
    slope = f.gradient(p.x).norm()
    if p.kind == "cusp":
        assert slope.isnan()
    else:
        assert slope <= 1e-9 * (
            1 + torch.linalg.matrix_norm(f.hessian(p.x), 2) * np.linalg.norm(p.x)
        )


@pytest.mark.parametrize(("f", "p"), [(f, p) for f, p in POINTS if not p.degenerate], ids=name)
def test_hessian_shows_the_kind(f, p):
    h = f.hessian(p.x)
    assert torch.equal(h, h.T) or torch.allclose(h, h.T, rtol=1e-14, atol=1e-14)
    # Sylvester: scaling both sides keeps the signs, and they survive Powell's scales in float64.
    scale = h.diagonal().abs().clamp(min=1e-300).rsqrt() if h.diagonal().all() else 1
    signs = torch.linalg.eigvalsh(h * scale * torch.as_tensor(scale)[..., None])
    assert (signs.abs() > 1e-9).all()
    kinds = {(True, False): "minimum", (False, True): "maximum", (True, True): "saddle"}
    assert kinds[bool((signs > 0).any()), bool((signs < 0).any())] == p.kind


@pytest.mark.parametrize(("f", "p"), [(f, p) for f, p in POINTS if p.degenerate], ids=name)
def test_degenerate(f, p):
    """The Hessian is singular, missing, or not symmetric, and values near by show the kind."""
    h = f.hessian(p.x)
    assert h.isnan().any() or not torch.equal(h, h.T) or torch.linalg.eigvalsh(h).abs().min() < 1e-9
    around = torch.tensor(uniform(((-1.0, 1.0),) * f.dim, 500))
    higher = f(torch.tensor(p.x) + 1e-2 * around / around.norm(dim=1, keepdim=True)) - p.value
    if p.kind == "saddle":
        assert higher.min() < 0 < higher.max()
    else:
        assert higher.min() > 0


def test_cusp():
    """Ackley's surface rises from its lowest point with a slope in every direction."""
    f = LANDSCAPES["ackley"]
    (cusp,) = (p for p in f.points if p.kind == "cusp")
    angle = torch.linspace(0, 6, 50, dtype=torch.float64)
    out = torch.stack([angle.cos(), angle.sin()], 1)
    assert torch.allclose(f(1e-6 * out) / 1e-6, torch.tensor(4 / 2**0.5).double(), rtol=1e-4)
    assert cusp.is_global


def test_schwarz():
    """Peano's mixed derivatives at the origin, from slopes on the axes alone."""
    f = LANDSCAPES["peano"]
    h = 1e-5
    steps = torch.tensor([[h, 0], [-h, 0], [0, h], [0, -h]], dtype=torch.float64)
    right, left, up, down = f.gradient(steps)
    columns = torch.stack([right - left, up - down], 1) / (2 * h)
    assert torch.allclose(columns, f.hessian([0.0, 0.0]), rtol=0, atol=1e-12)
    assert f.hessian([0.0, 0.0]).tolist() == [[0, -1], [1, 0]]


@pytest.mark.parametrize("f", [f for f in ALL if any(p.is_global for p in f.points)], ids=name)
def test_nothing_is_lower(f):
    best = min(p.value for p in f.points)
    assert all((p.value == best) == p.is_global for p in f.points)
    dense = f(uniform(f.domain, 40_000))
    assert dense.min() >= best - 1e-12 * (1 + abs(best))
    found = min(r.fun for r in descents(f, f.domain, 10))
    assert found >= best - 1e-12 * (1 + abs(best))


@pytest.mark.parametrize("f", [f for f in ALL if f.complete and f.dim < 4], ids=name)
def test_no_point_is_missing(f):
    """Newton's method from 2000 places converges to stated points only."""
    x = torch.tensor(uniform(f.domain, 2000))
    for _ in range(80):
        slope, h = f.gradient(x).nan_to_num(), f.hessian(x).nan_to_num(posinf=0, neginf=0)
        step = torch.linalg.lstsq(h, slope[..., None]).solution[..., 0]
        x = (x - step).nan_to_num(1e3).clamp(-1e3, 1e3)
    low, high = torch.tensor(f.domain).T
    scale = torch.linalg.matrix_norm(h, 2) * (1 + x.norm(dim=1))
    converged = (step.norm(dim=1) < 1e-8) & (slope.norm(dim=1) <= 1e-7 * scale)
    x = x[converged & (x >= low).all(1) & (x <= high).all(1)]
    stated = torch.tensor([p.x for p in f.points])
    gap = (x[:, None] - stated).norm(dim=2)
    assert (gap.min(1).values < 1e-6).all()
    if f.name not in ("helical-valley", "powell-badly-scaled"):  # where Newton's method goes astray
        assert (gap.min(0).values < 1e-6).all()


def test_powell_badly_scaled():
    """Along the floor of its valley, where the first square is zero, the second is so twice."""
    f = LANDSCAPES["powell-badly-scaled"]
    y = np.geomspace(1e-5, 10, 100_000)
    second = np.exp(-y) + np.exp(-1e-4 / y) - 1.0001
    crossings = y[:-1][np.diff(np.sign(second)) != 0]
    lowest = sorted(p.x[1] for p in f.points if p.is_global)
    assert np.allclose(crossings, lowest, rtol=1e-3)


@pytest.mark.parametrize("f", [f for f in ALL if f.convex_on], ids=name)
def test_convex_where_stated(f):
    side = {2: 81, 3: 21, 4: 9, 6: 4}[f.dim]
    axes = [np.linspace(low, high, side) for low, high in f.convex_on]
    h = f.hessian(np.array(list(itertools.product(*axes))))
    h = h[~h.isnan().flatten(1).any(1)]  # Ackley's cusp
    values = torch.linalg.eigvalsh(h)
    assert (values[:, 0] >= -1e-12 * values.abs().max(1).values).all()


@pytest.mark.parametrize("f", [f for f in ALL if f.unimodal_on], ids=name)
def test_unimodal_where_stated(f):
    inner = [p for p in f.minima if within(p.x, f.unimodal_on)]
    assert len(inner) == 1
    near = 1e-2 if inner[0].degenerate else 1e-5
    for r in descents(f, f.unimodal_on, 12):
        assert np.abs(r.x - inner[0].x).max() < near


@pytest.mark.parametrize("f", [f for f in ALL if len(f.minima) != 1], ids=name)
def test_not_unimodal(f):
    assert not f.unimodal


@pytest.mark.parametrize("f", ALL, ids=name)
def test_boxes_lie_inside(f):
    for box in (f.convex_on, f.unimodal_on):
        for (low, high), (least, most) in zip(box or (), f.domain, strict=bool(box)):
            assert least <= low < high <= most


@pytest.mark.parametrize("f", ALL, ids=name)
def test_starts(f):
    assert f.starts
    for start in f.starts:
        assert within(start, f.domain)
        assert f.gradient(start).isfinite().all()
        assert f.gradient(start).norm() > 0


def within(x: tuple[float, ...], box: Box) -> bool:
    return all(low <= t <= high for t, (low, high) in zip(x, box, strict=True))
