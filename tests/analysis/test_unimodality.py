"""Minima against the landscapes' tables, basins against a general integrator of scipy's."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from thalweg.analysis import basins, unimodality
from thalweg.analysis.batched import uniform, values
from thalweg.analysis.flow import Rest, flow
from thalweg.problems.landscapes import LANDSCAPES, landscape

EPS = 2.0**-52
# All of whose minima in the domain are stated, and that are neither flat nor badly scaled.
COUNTS = {
    "rosenbrock": 1, "booth": 1, "matyas": 1, "beale": 1, "two-wells": 2, "branin": 3,
    "himmelblau": 4, "styblinski-tang": 4, "six-hump-camel": 6,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_all_minima_of_a_landscape(name, seed):
    f = landscape(name)
    found = unimodality(f, seed=seed)
    assert len(found.minima) == COUNTS[name] == len(f.minima)
    for m in found.minima:
        near = min(f.minima, key=lambda p, m=m: math.dist(p.x, m.x))
        assert m.x == pytest.approx(near.x, abs=1e-7)
        assert m.value == pytest.approx(near.value, abs=1e-9)
        assert m.kind == "minimum"
    assert [m.value for m in found.minima] == sorted(m.value for m in found.minima)
    assert sum(m.share for m in found.minima) + found.left + found.unsettled == pytest.approx(1)
    assert found.unsettled == 0
    if COUNTS[name] > 1:
        assert found.unimodal is False
        assert found.verdict.startswith(f"{COUNTS[name]} minima found from 200 starts")


@pytest.mark.parametrize("name", [n for n, f in LANDSCAPES.items() if f.unimodal])
def test_no_unimodal_landscape_has_two_minima(name):
    found = unimodality(LANDSCAPES[name], starts=60)
    assert len(found.minima) == 1
    assert found.unimodal is not False


def test_one_minimum_is_a_proof_only_with_convexity():
    assert unimodality("x^2 + (x-y)^2").verdict.startswith("unimodal (proved: it is convex)")
    assert unimodality("x^2 + (x-y)^2").unimodal is True
    rosenbrock = unimodality(landscape("rosenbrock"), starts=20)
    assert rosenbrock.unimodal is None
    assert rosenbrock.verdict == "one minimum found from 20 starts"


FLAT = {  # formula: (sets of minima, length of each across the box -5 ... 5)
    "(x-y)^2": (1, 10 * math.sqrt(2)),
    "(x^2+y^2-1)^2": (1, 2 * math.sqrt(2)),  # a circle, by its box
    "(x^2-4)^2 + 0*y": (2, 10),
    "x^2*y^2": (1, 10 * math.sqrt(2)),
    "x^4 + y^2": (1, 0),  # one point, if a flat one
}


@pytest.mark.parametrize("text", FLAT)
def test_a_flat_set_is_one_minimum_and_called_flat(text):
    sets, length = FLAT[text]
    found = unimodality(text)
    assert len(found.minima) == sets
    for m in found.minima:
        assert m.kind == "flat"
        assert m.extent == pytest.approx(length, rel=0.1, abs=1e-3)
        assert m.value == pytest.approx(0, abs=1e-15)
    assert sum(m.share for m in found.minima) == 1


def test_a_cusp_is_a_minimum():
    best = unimodality(landscape("ackley")).minima[0]
    assert best.kind == "cusp"
    assert best.x == pytest.approx((0, 0), abs=1e-8)


@pytest.mark.parametrize("text", ["x + y", "x^2 - y^2", "x^3 - 3*x*y^2", "log(x)"])
def test_where_there_is_no_minimum_all_leave(text):
    found = unimodality(text, starts=50)
    assert found.minima == ()
    assert found.left == 1
    assert found.verdict == "no minimum found from 50 starts; 100 % left the box"


def test_saddles_and_maxima_are_not_taken_for_minima():
    # Starts on lines that lead straight into a saddle, one in it, and one on a maximum.
    f = values(landscape("six-hump-camel"))
    box = ((-3.0, 3.0), (-2.0, 2.0))
    saddles = torch.tensor([p.x for p in landscape("six-hump-camel").points if p.kind == "saddle"])
    ends = flow(f, torch.cat([saddles.double(), torch.zeros(1, 2).double()]), box, EPS)
    assert (ends.rest == Rest.MINIMUM).all()
    monkey = flow(
        values(landscape("monkey-saddle")), torch.zeros(1, 2).double(), ((-2, 2),) * 2, EPS
    )
    assert monkey.rest.tolist() == [Rest.LEFT]
    wells = values(lambda x: x[0] ** 2 + (x[1] ** 2 - 1) ** 2)
    ridge = flow(wells, torch.tensor([[1.0, 0.0]]).double(), ((-2.0, 2.0),) * 2, EPS)
    assert ridge.rest.tolist() == [Rest.MINIMUM]


@pytest.mark.parametrize("name", ["himmelblau", "six-hump-camel", "two-wells", "styblinski-tang"])
def test_basins_are_those_of_the_gradient_flow(name):
    """By scipy's stiff integrator, within 1e-9, for as long as it takes."""
    f = landscape(name)
    starts = uniform(f.domain, 12, torch.Generator().manual_seed(1))
    ends = flow(values(f), starts, f.domain, EPS)
    for start, end in zip(starts, ends.x, strict=True):
        run = solve_ivp(
            lambda t, x: -f.gradient(x).numpy(), (0, 1e8), start.numpy(), "LSODA", rtol=1e-9,
            atol=1e-9, jac=lambda t, x: -f.hessian(x).numpy(),
        )  # fmt: skip
        assert run.y[:, -1] == pytest.approx(end.numpy(), abs=1e-4)


def test_a_basin_map():
    f = landscape("himmelblau")
    found = basins(f, resolution=150)
    assert found.labels.shape == (150, 150)
    assert found.labels.unique().tolist() == [0, 1, 2, 3]
    assert (found.x[0], found.x[-1]) == f.domain[0]
    assert [m.share for m in found.minima] == [
        pytest.approx(float((found.labels == i).double().mean())) for i in range(4)
    ]
    for i, m in enumerate(found.minima):
        column = int((found.x - m.x[0]).abs().argmin())
        row = int((found.y - m.x[1]).abs().argmin())
        assert found.labels[row, column] == i


def test_a_map_has_rows_of_y():
    found = basins("(x^2-1)^2 + y^2", ((-2, 2), (-1, 3)), 21)
    left, right = found.labels[:, 0], found.labels[:, -1]
    assert left.unique().numel() == right.unique().numel() == 1
    assert found.minima[left[0]].x == pytest.approx((-1, 0))
    assert found.minima[right[0]].x == pytest.approx((1, 0))
    assert (found.y[0], found.y[-1]) == (-1, 3)
    none = basins("x^2 - y^2", resolution=5)
    assert none.minima == ()
    assert (none.labels == -1).all()


def test_minima_not_seen_are_reckoned_with():
    few = unimodality(landscape("rastrigin"), starts=40)
    many = unimodality(landscape("rastrigin"), starts=4000)
    assert len(few.minima) < len(many.minima) == 121
    # What share of the box leads to minima that the 40 starts have not met, by the many.
    met = [m.x for m in few.minima]
    missed = sum(m.share for m in many.minima if all(math.dist(m.x, x) > 1e-3 for x in met))
    assert few.unseen == pytest.approx(missed, abs=0.2)
    assert many.unseen == 0
    assert len(repr(many).splitlines()) < 20


@pytest.mark.parametrize("back", [False, True])
def test_functions_in_float32(back):
    """As in float64: neither rounding's own minima nor cusps."""

    def narrow(f):
        return lambda x: f(x.float()).double() if back else f(x.float())

    for name in ("himmelblau", "rosenbrock"):
        f = landscape(name)
        found = unimodality(narrow(f), f.domain, starts=40).minima
        assert len(found) == COUNTS[name]
        for m, p in zip(sorted(m.x for m in found), sorted(p.x for p in f.minima), strict=True):
            assert m == pytest.approx(p, abs=1e-4)
        # A condition number of 2500 is too much for float32.
        assert {m.kind for m in found} == {"flat" if name == "rosenbrock" else "minimum"}
    (cusp,) = unimodality(narrow(lambda x: x.abs().sum()), ((-1.0, 2.0),) * 2, starts=40).minima
    assert cusp.kind == "cusp"
    assert cusp.x == pytest.approx((0, 0), abs=1e-4)
    (far,) = unimodality(narrow(lambda x: x.square().sum() + 1e3), ((-1.0, 2.0),) * 2).minima
    assert far.x == pytest.approx((0, 0), abs=1e-6)
    valley = narrow(lambda x: (x[0] - x[1]) ** 2)
    assert unimodality(valley, ((-1.0, 2.0),) * 2).unimodal is None


def test_a_large_constant_hides_no_minimum():
    (found,) = unimodality(lambda x: 1e6 + x.square().sum(), ((-1.0, 2.0),) * 2).minima
    assert found.kind == "minimum"
    assert found.x == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("call", [basins, unimodality])
def test_16_bits_have_no_minima_that_are_not_rounding(call):
    with pytest.raises(TypeError, match="f must compute in float32 or float64"):
        call(lambda x: x.half().square().sum().double(), ((-1.0, 2.0),) * 2)


@pytest.mark.parametrize("call", [basins, unimodality])
@pytest.mark.parametrize(
    ("f", "error", "says"),
    [
        # Their gradient would be taken for zero, and every start for a minimum.
        (lambda x: x.detach().square().sum(), TypeError, "computed from its argument by torch"),
        (lambda x: torch.as_tensor(x.detach().numpy().sum()), TypeError, "computed from its arg"),
        (lambda x: x.sum() * math.nan, ValueError, "f is nan at"),
        (lambda x: x, ValueError, "f must give one number at a point"),
        (lambda x: (x > 0).sum(), TypeError, "a floating dtype, not torch.int64"),
    ],
)
def test_what_has_no_gradient_flow(call, f, error, says):
    with pytest.raises(error, match=says):
        call(f, ((-1.0, 2.0),) * 2)


def test_what_does_not_fit_into_memory():
    with pytest.raises(ValueError, match="starts must be smaller than 200"):
        unimodality(lambda x: x.sum(), ((-1.0, 2.0),) * 3000)
    with pytest.raises(ValueError, match="resolution must be smaller than 20000"):
        basins("x^2 + y^2", resolution=20_000)


def test_functions_of_ones_own_and_more_dimensions():
    found = unimodality(lambda x: (x**4 - x**2 + 0.1 * x).sum(), ((-2, 2),) * 3, 300)
    assert len(found.minima) == 8
    # sorted roots of 4 x^3 - 2 x + 0.1
    assert found.minima[0].x == pytest.approx((-0.7306, -0.7306, -0.7306), abs=1e-3)


def test_a_seed_decides_everything():
    before = torch.get_rng_state()
    f = landscape("himmelblau")
    assert unimodality(f, starts=30, seed=1) == unimodality(f, starts=30, seed=1)
    assert unimodality(f, starts=30, seed=1) != unimodality(f, starts=30, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="starts must be at least 1"):
        unimodality("x^2", starts=0)
    with pytest.raises(ValueError, match="resolution must be at least 1"):
        basins("x^2 + y^2", resolution=0)
    with pytest.raises(ValueError, match="domain must have two variables for a map, not 1"):
        basins("x^2")
    with pytest.raises(TypeError, match="domain must be given"):
        unimodality(lambda x: x.sum())
    for search in (unimodality, basins):
        with pytest.raises(TypeError, match="f must be a landscape, a formula or a function"):
            search(3, ((0, 1), (0, 1)))


KINKED = {
    "a steep kink": lambda x: 10 * x[0].abs() + x[1].abs(),
    "a steep kink, turned": lambda x: 1e3 * (x[0] + 0.7 * x[1]).abs() + (x[1] - 0.3 * x[0]).abs(),
    "a kink and a bowl": lambda x: 1e3 * x[0].abs() + x[1] ** 2,
    "the largest of three": lambda x: torch.stack(
        [x[0] + 2 * x[1], -x[0], x[0] / 2 - 3 * x[1]]
    ).max(),
    "roots": lambda x: x.abs().sqrt().sum(),
}


@pytest.mark.parametrize("name", KINKED)
def test_a_point_on_a_kink_that_leads_down_is_no_minimum(name):
    found = unimodality(KINKED[name], ((-2.0, 3.0),) * 2, starts=12)
    assert found.unimodal is None
    assert all(max(map(abs, m.x)) < 1e-3 for m in found.minima), found


@pytest.mark.parametrize("scale", [1e-315, 1e-200, 1e155, 1e300])
def test_a_minimum_does_not_depend_on_the_scale(scale):
    (m,) = unimodality(lambda x: scale * (x * x).sum(), ((-2.0, 3.0),) * 2, starts=8).minima
    assert m.kind == "minimum"
    assert max(map(abs, m.x)) < 1e-8


def test_flat_ends_that_cannot_be_linked_are_not_several_minima():
    found = unimodality(lambda x: x[0] ** 2, ((-2.0, 3.0),) * 5, starts=50)
    assert len(found.minima) > 1
    assert found.unimodal is None
    assert "1 to " in found.verdict
