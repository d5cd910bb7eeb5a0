"""Stable rates and momenta, and the speeds that are promised, measured on runs of optim.SGD."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thalweg import optim
from thalweg.analysis import Stability, contraction, stability
from thalweg.analysis.derivatives import gradient
from thalweg.problems.landscapes import LANDSCAPES

KINDS = ("gradient_descent", "heavy_ball", "nesterov")
every_momentum = pytest.mark.parametrize(
    ("momentum", "nesterov"),
    [
        (0.0, False),
        (0.5, False),
        (0.9, False),
        (0.98, False),
        (0.5, True),
        (0.9, True),
        (0.98, True),
    ],
)


def hessian(mu, largest, seed=0):
    """A matrix with these extreme eigenvalues and two between, in no special directions."""
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))
    values = torch.tensor([mu, 0.8 * mu + 0.2 * largest, (mu + largest) / 2, largest])
    return q * values.double() @ q.T


def distances(h, lr, momentum, nesterov, steps):
    """Distance from the minimum, 0, before each step of a run of optim.SGD and after the last."""
    g = torch.Generator().manual_seed(1)
    w = torch.randn(len(h), generator=g, dtype=torch.float64).requires_grad_()
    o = optim.SGD([w], lr=lr, momentum=momentum, nesterov=nesterov)
    found = []
    for _ in range(steps):
        found.append(float(w.detach().norm()))
        w.grad = h @ w.detach()
        o.step()
    return np.array([*found, float(w.detach().norm())])


def one_step(h, lr, momentum, nesterov):
    """The linear map that one step of optim.SGD is, of weights and velocity, as a matrix."""
    d = len(h)
    columns = []
    for e in torch.eye(2 * d, dtype=torch.float64):
        w = e[:d].clone().requires_grad_()
        o = optim.SGD([w], lr=lr, momentum=momentum, nesterov=nesterov)
        if momentum:
            given = o.state_dict()
            given["state"] = {0: {"momentum_buffer": e[d:].clone()}}
            o.load_state_dict(given)
        w.grad = h @ w.detach()
        o.step()
        z = o.state[w]["momentum_buffer"] if momentum else torch.zeros(d)
        columns.append(torch.cat([w.detach(), z]))
    return torch.stack(columns, 1).numpy()


def slope(x):
    """Speed -ln ρ, from the fall over the second half of a run."""
    half = len(x) // 2
    return math.log(x[half] / x[-1]) / (len(x) - 1 - half)


def fitted(x):
    """Speed s of ``c k^p exp(-s k)``, by least squares over the last three quarters of a run."""
    k = np.arange(len(x))[len(x) // 4 :]
    columns = np.stack([np.ones(len(k)), np.log(k), -k], 1)
    return float(np.linalg.lstsq(columns, np.log(x[k]))[0][2])


@pytest.mark.parametrize("kappa", [3, 30, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_speeds_on_real_runs(kind, kappa):
    mu = 0.7
    s = getattr(Stability(mu, kappa * mu), kind)
    root = math.sqrt(kappa)
    promised = {
        "gradient_descent": (kappa - 1) / (kappa + 1),
        "heavy_ball": (root - 1) / (root + 1),
        "nesterov": 1 - 1 / root,
    }[kind]
    assert s.rate == pytest.approx(promised, rel=1e-12)
    speed = -math.log(promised)
    h = hessian(mu, kappa * mu)
    # Down to e^-250 for what has two equal roots, and hence a factor k in its error, which the
    # slope of a run takes for speed: ln 2 / 125 of it.
    steps = math.ceil((20 if kind == "gradient_descent" else 250) / speed)
    run = distances(h, s.lr, s.momentum, s.nesterov, steps)
    assert slope(run) == pytest.approx(speed, rel=0.02)
    assert fitted(run) == pytest.approx(speed, rel=0.005)
    radius = abs(np.linalg.eigvals(one_step(h, s.lr, s.momentum, s.nesterov))).max()
    assert -math.log(radius) == pytest.approx(speed, rel=0.001)
    # A test that can fail: the slope tells a speed from one that is 5 % off.
    if kind == "gradient_descent":
        run = distances(h, 0.95 * s.lr, s.momentum, s.nesterov, steps)
        assert slope(run) != pytest.approx(speed, rel=0.03)


@every_momentum
def test_any_speed_is_predicted(momentum, nesterov):
    mu, largest = 1.0, 40.0
    s, h = Stability(mu, largest), hessian(mu, largest, 3)
    for share in (0.1, 0.5, 0.9):
        lr = share * s.largest_rate(momentum, nesterov)
        rate = s.rate(lr, momentum, nesterov)
        run = distances(h, lr, momentum, nesterov, math.ceil(200 / -math.log(rate)))
        # Where roots are complex the distance swings on its way: a line through all of the second
        # half averages that, two points would not.
        k = np.arange(len(run))[len(run) // 2 :]
        assert -np.polyfit(k, np.log(run[k]), 1)[0] == pytest.approx(-math.log(rate), rel=0.02)
        radius = abs(np.linalg.eigvals(one_step(h, lr, momentum, nesterov))).max()
        assert rate == pytest.approx(radius, rel=1e-6)


@every_momentum
def test_just_below_the_limit_converges_and_just_above_diverges(momentum, nesterov):
    h = hessian(2.0, 50.0)
    limit = Stability(2.0, 50.0).largest_rate(momentum, nesterov)
    below, above = (
        distances(h, limit * x, momentum, nesterov, 4000) for x in (0.995, 1.005)
    )  # fmt: skip
    assert below[-1] < 1e-6 * below[0]
    assert above[-1] > 1e6 * above[0]


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_range_of_momenta(nesterov):
    s = Stability(0.5, 8.0)
    grid = (np.arange(4000) + 0.5) / 4000
    for lr in np.linspace(0.01, 0.6, 60):
        stable = grid[contraction(lr, grid, [[0.5], [8.0]], nesterov=nesterov).max(0) < 1]
        found = s.momentum_range(float(lr), nesterov)
        if found is None:
            assert len(stable) == 0
        else:
            low, high = found
            assert len(stable) == ((grid > low) & (grid < high)).sum()
            assert low < stable.min() <= stable.max() < high


def companion(lr, beta, value, nesterov):
    """One step on (w, z), written out."""
    z = np.array([value, beta])
    w = np.array([1.0, 0.0]) - lr * (np.array([value, 0.0]) + beta * z if nesterov else z)
    return np.stack([w, z])


@pytest.mark.parametrize("nesterov", [False, True])
def test_contraction_is_the_spectral_radius_of_a_step(nesterov):
    r = np.random.default_rng(0)
    lr, beta, value = r.uniform(0, 3, 2000), r.uniform(0, 1.2, 2000), r.normal(0, 2, 2000)
    beta[:200] = 0
    value[100:300] = 0
    found = contraction(lr, beta, value, nesterov=nesterov)
    wanted = [
        abs(np.linalg.eigvals(companion(*v, nesterov))).max()
        for v in zip(lr, beta, value, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-7)
    assert contraction(lr[:5, None], beta[:7], 1.0).shape == (5, 7)
    assert contraction(0.1, 0.0, 3.0) == pytest.approx(0.7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_extreme_eigenvalues_decide(nesterov):
    r = np.random.default_rng(1)
    for _ in range(300):
        low, high = sorted(r.normal(1, 2, 2))
        lr, beta = r.uniform(0, 1.5), r.uniform(0, 1)
        between = contraction(lr, beta, np.linspace(low, high, 200), nesterov=nesterov)
        rate = Stability(low, high).rate(lr, beta, nesterov)
        assert between.max() <= rate * (1 + 1e-7)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 50.0, 1e4])
def test_nothing_is_faster_than_the_best(kappa):
    s = Stability(3.0, 3.0 * kappa)
    lr = np.linspace(0, 4 / s.largest, 500)[:, None]
    beta = np.linspace(0, 1, 500, endpoint=False)
    ends = np.array([s.smallest, s.largest])[:, None, None]
    rates = contraction(lr, beta, ends).max(0)
    assert rates.min() >= s.heavy_ball.rate - 1e-7
    assert rates[:, 0].min() >= s.gradient_descent.rate - 1e-12
    for kind in KINDS:
        best = getattr(s, kind)
        # Two equal roots: a rounding of eps moves them by its square root.
        rate = s.rate(best.lr, best.momentum, best.nesterov)
        assert rate == pytest.approx(best.rate, rel=1e-6, abs=1e-7)
    assert s.heavy_ball.rate <= s.nesterov.rate <= s.gradient_descent.rate


def test_kappa_1_takes_one_step():
    s = Stability(5.0, 5.0)
    for kind in KINDS:
        best = getattr(s, kind)
        assert (best.momentum, best.nesterov, best.rate) == (0, False, 0)
        assert distances(5 * torch.eye(2).double(), best.lr, 0.0, False, 1)[1] <= 1e-15


@pytest.mark.parametrize("name", ["himmelblau", "two-wells", "beale", "branin"])
def test_landscapes_near_their_minima(name):
    """What a quadratic promises holds for a function near its minimum."""
    f = LANDSCAPES[name]
    at = torch.tensor(f.minima[0].x, dtype=torch.float64)
    s = stability(f, at)
    true = torch.linalg.eigvalsh(torch.autograd.functional.hessian(f, at))
    assert (s.smallest, s.largest) == pytest.approx(tuple(true.tolist()), rel=1e-12)

    def run(lr, steps):
        w = (at + 1e-4 * torch.tensor([0.6, 0.8]).double()).requires_grad_()
        o = optim.SGD([w], lr=lr)
        away = []
        for _ in range(steps):
            away.append(float((w.detach() - at).norm()))
            _, w.grad = gradient(f, w)
            o.step()
        return np.array(away)

    limit = s.largest_rate()
    assert run(0.98 * limit, 400)[-1] < 1e-5
    assert not run(1.02 * limit, 400).max() < 1e-3
    # The steps from 1e-4 down to where rounding of the stated minimum begins.
    best = s.gradient_descent
    speed = -math.log(best.rate)
    away = run(best.lr, math.ceil(math.log(1e8) / speed))
    assert slope(away) == pytest.approx(speed, rel=0.02)


def test_points_that_are_no_minimum():
    saddle = stability(lambda v: v[0] ** 2 - v[1] ** 2, [0.0, 0.0])
    assert (saddle.smallest, saddle.largest) == (-2, 2)
    assert saddle.condition == math.inf
    assert saddle.largest_rate() == 1
    assert saddle.rate(0.5) == 2  # away along y
    for kind in KINDS:
        with pytest.raises(ValueError, match="smallest must be above 0 for a best rate, not -2"):
            getattr(saddle, kind)
    top = stability(lambda v: -(v**2).sum(), [0.0])
    assert top.largest_rate(0.9) == math.inf
    assert top.momentum_range(1.0) == (0, 1)
    assert "no best rate" in str(saddle)


def test_print():
    assert str(Stability(1.0, 100.0)) == (
        "eigenvalues from 1 to 100, condition number 100\n"
        "largest stable rate 0.02; with momentum 0.9 0.038, Nesterov's 0.0135714\n"
        "gradient descent  lr 0.019802   momentum 0         error times 0.980198 a step\n"
        "heavy ball        lr 0.0330579  momentum 0.669421  error times 0.818182 a step\n"
        "Nesterov          lr 0.01       momentum 0.818182  error times 0.9 a step"
    )


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Stability(2.0, 1.0), ValueError, "smallest must be at most largest, 1.0"),
        (lambda: Stability(math.nan, 1.0), ValueError, "smallest must be finite"),
        (lambda: Stability(0.0, math.inf), ValueError, "largest must be finite"),
        (lambda: Stability(1.0, 2.0).largest_rate(1.0), ValueError, "momentum must be"),
        (lambda: Stability(1.0, 2.0).momentum_range(0.0), ValueError, "lr must be"),
        (lambda: contraction(-0.1, 0.0, 1.0), ValueError, "lr must be finite and at least 0"),
        (lambda: contraction(0.1, [0.0, -1], 1.0), ValueError, "momentum must be finite and at"),
        (lambda: contraction(0.1, 0.0, math.inf), ValueError, "eigenvalue must be finite"),
        (lambda: stability(3, [1.0]), TypeError, "f must be a landscape, a formula or a function"),
        (lambda: stability(torch.sum, [[1.0]]), ValueError, "x must be one point"),
        (
            lambda: stability(lambda v: v.norm(), [0.0]),
            ValueError,
            "Hessian at x: the gradient jumps",
        ),
        (lambda: stability("abs(x)^0.5", [0.0]), ValueError, "Hessian at x: the gradient grows"),
        (lambda: stability(lambda v: (v * math.nan).sum(), [0.0]), ValueError, "it is nan"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_that_a_point_is_not_critical_is_said():
    bowl = "x^2 + 10*y^2"
    assert stability(bowl, [0.0, 0.0]) == Stability(2.0, 20.0)
    away = stability(bowl, [1.0, 0.0])
    assert away == Stability(2.0, 20.0, 2.0)
    assert str(away).startswith("not a critical point: the gradient's norm is 2, and what follows")
    assert "critical" not in str(stability(bowl, [0.0, 0.0]))


def test_a_formula_will_do():
    assert stability("x^2 + 50*y^2", [0.0, 0.0]) == Stability(2.0, 100.0)


def test_an_eigenvalue_that_is_rounding_is_zero():
    for text in ("(x+y+z)^2/3", "(x-3*y+0.1*z)^2+(0.3*x+0.7*y)^2", "x^2+y^4"):
        s = stability(text, [0.0, 1e-6, 0.0][: 2 + ("z" in text)])
        assert s.smallest == 0, text
        assert s.condition == math.inf
        assert "no best rate" in str(s)


def test_the_best_rates_of_any_condition_are_numbers():
    s = Stability(1e-320, 1.0)
    assert (s.gradient_descent.rate, s.heavy_ball.momentum, s.nesterov.momentum) == (1, 1, 1)
    assert Stability(1.7e308, 1.7e308).gradient_descent.lr == pytest.approx(1 / 1.7e308)


def test_contraction_is_exact_where_nothing_moves_and_where_it_is_huge():
    for momentum in (0.0, 0.3, 0.9998933037315495, 1.0):
        for nesterov in (False, True):
            assert contraction(1e6, momentum, 0.0, nesterov=nesterov) == 1, (momentum, nesterov)
    assert contraction(1.0, 0.5, 1e300) == pytest.approx(1e300)
    best = Stability(0.3, 70.0).heavy_ball
    assert contraction(best.lr, best.momentum, 0.3) == pytest.approx(best.rate, rel=1e-7)
