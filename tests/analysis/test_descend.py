"""A recorded descent: against closed forms and hand-written loops; noise, schedules, divergence."""

from __future__ import annotations

import math

import pytest
import torch

from thalweg import optim
from thalweg.analysis import descend
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems.landscapes import GradientNoise, landscape, parse, quadratic

BOWL = quadratic(condition=25.0, angle=0.4)
ROSENBROCK = landscape("rosenbrock")
SADDLE = landscape("saddle")
START = (-1.2, 1.0)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def by_hand(make, steps, f=rosenbrock, start=START):
    """Weights before every step, the last ones, and the optimizer."""
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    o, seen = make([w]), [w.detach().clone()]

    def closure():
        o.zero_grad()
        loss = f(w)
        loss.backward()
        return loss.detach()

    for _ in range(steps):
        o.step(closure)
        seen.append(w.detach().clone())
    return torch.stack(seen), o.state[w]


def test_gradient_descent_on_a_quadratic_is_its_closed_form():
    lr, steps = 0.07, 60
    x0 = torch.tensor([3.0, -2.0], dtype=torch.float64)
    h = BOWL.hessian(x0)
    shrink = torch.eye(2, dtype=torch.float64) - lr * h
    d = descend(BOWL, x0, "sgd", lr, steps)
    expected = torch.stack([torch.linalg.matrix_power(shrink, k) @ x0 for k in range(steps + 1)])
    assert torch.allclose(d.points, expected, rtol=1e-12, atol=1e-14)
    losses = ((expected @ h) * expected).sum(1) / 2
    assert torch.allclose(d.losses, losses, rtol=1e-10, atol=0)
    assert torch.allclose(d.gradient_norms, (expected @ h).norm(dim=1), rtol=1e-10, atol=0)
    assert d.rates == (lr,) * steps
    assert (d.steps, d.diverged_at, len(d.states)) == (steps, None, steps + 1)


TORCH = (
    (torch.optim.SGD, 1e-3, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.Adam, 0.02, {"betas": (0.8, 0.99)}),
    (torch.optim.RMSprop, 1e-3, {"centered": True}),
    (torch.optim.Adagrad, 0.1, {}),
    (torch.optim.Rprop, 0.01, {}),
    (torch.optim.LBFGS, 0.5, {"max_iter": 3}),
)


@pytest.mark.parametrize(("cls", "lr", "options"), TORCH, ids=lambda x: getattr(x, "__name__", ""))
def test_a_torch_class_as_in_a_loop_by_hand(cls, lr, options):
    expected, state = by_hand(lambda ps: cls(ps, lr=lr, **options), 40)
    d = descend(rosenbrock, START, cls, lr, 40, **options)
    assert torch.equal(d.points, expected)
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    assert tensors.keys() == d.states[-1].keys()
    assert all(torch.equal(v, d.states[-1][k]) for k, v in tensors.items())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_as_in_a_loop_by_hand(name):
    a = ALGORITHMS[name]
    expected, state = by_hand(lambda ps: a.build(ps, 1e-3), 30)
    for optimizer, lr in ((name, 1e-3), (a, 1e-3), (lambda ps: a.build(ps, 7.0), 1e-3)):
        d = descend(rosenbrock, START, optimizer, lr, 30, averaged=False)
        assert torch.equal(d.points, expected)
        assert (d.states[0] == {}) is not a.optimizer.eager
        assert d.states[-1].keys() == state.keys()
        for key, last in state.items():
            assert torch.equal(d.states[-1][key], last)
            if "step" in state:
                assert [int(s["step"]) for s in d.states[1:]] == list(range(1, 31))
    x = d.points.unbind(1)
    assert torch.allclose(d.losses, rosenbrock(x), rtol=1e-14)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adan", "madgrad", "lion", "rprop"])
def test_engines_give_the_same_points(name):
    plain, fused = (
        descend(ROSENBROCK, START, name, 1e-3, 60, engine=engine) for engine in ("plain", "fused")
    )
    assert torch.allclose(plain.points, fused.points, rtol=1e-9, atol=1e-12)


def test_a_landscape_is_a_function():
    one, other = (descend(f, START, "adam", 0.01, 50).points for f in (ROSENBROCK, rosenbrock))
    assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_schedule_free_records_averages_of_what_it_steps():
    lr, steps = 0.02, 40
    # Its z descends; with lr as it is all weights are alike, and x is the mean of z.
    options = {"momentum": 0.9, "weight_decay": 0.0, "warmup_steps": 0}
    d = descend(BOWL, (2.0, 1.0), optim.ScheduleFreeSGD, lr, steps, **options)
    z = torch.stack([s["z"] for s in d.states[1:]])
    mean = z.cumsum(0) / torch.arange(1, steps + 1)[:, None]
    assert torch.allclose(d.points[1:], mean, rtol=1e-12, atol=1e-13)
    trained = descend(BOWL, (2.0, 1.0), optim.ScheduleFreeSGD, lr, steps, averaged=False, **options)
    assert torch.allclose(trained.points[1:], 0.1 * z + 0.9 * mean, rtol=1e-12, atol=1e-13)
    assert all("y" not in s for s in d.states)


def test_noise_is_that_of_its_seed_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    runs = [descend(BOWL, (1.0, 1.0), "sgd", 0.01, 20, 0.5, seed).points for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    noise = GradientNoise(2.0, batch=16)
    assert torch.equal(runs[0], descend(BOWL, (1.0, 1.0), "sgd", 0.01, 20, noise, 3).points)


def test_noise_has_the_deviation_asked_for_and_is_not_recorded():
    d = descend(lambda x: 0 * x.sum(), (0.0,) * 50, "sgd", 1.0, 400, noise=3.0)
    steps = -d.points.diff(dim=0)
    assert steps.mean().abs() < 4 * 3 / math.sqrt(steps.numel())
    assert steps.std() == pytest.approx(3, rel=4 / math.sqrt(2 * steps.numel()))
    assert d.gradient_norms.eq(0).all()
    assert d.losses.eq(0).all()


def test_a_function_as_noise_sees_every_step():
    seen = []

    def noise(gradient, step, seed):
        seen.append((step, seed))
        return gradient.zero_()

    d = descend(BOWL, (1.0, 1.0), "sgd", 0.1, 5, noise, 9)
    assert seen == [(k, 9) for k in range(5)]
    assert torch.equal(d.points, torch.ones(6, 2, dtype=torch.float64))
    assert d.gradient_norms.gt(1).all()


def test_a_schedule_multiplies_the_rate():
    d = descend(BOWL, (1.0, 1.0), "sgd", 0.04, 4, schedule=lambda step: 2.0**-step)
    assert d.rates == (0.04, 0.02, 0.01, 0.005)
    gradients = [BOWL.gradient(x) for x in d.points[:-1]]
    for k, (rate, g) in enumerate(zip(d.rates, gradients, strict=True)):
        assert torch.allclose(d.points[k + 1], d.points[k] - rate * g, rtol=1e-14, atol=1e-15)


def test_no_rate_means_the_customary_one():
    assert descend(BOWL, (1.0, 1.0), "adam", steps=1).rates == (ALGORITHMS["adam"].lr,)
    assert descend(BOWL, (1.0, 1.0), torch.optim.Adam, steps=1).rates == (1e-3,)
    assert descend(BOWL, (1.0, 1.0), lambda p: optim.SGD(p, lr=0.03), steps=1).rates == (0.03,)


def test_a_divergence_ends_the_record_and_says_where():
    d = descend(rosenbrock, START, "sgd", 1.0, 50)
    assert d.diverged_at == d.steps + 1 == len(d.points)
    assert d.losses.isfinite().all()
    assert d.points.isfinite().all()
    assert len(d.points) == len(d.losses) == len(d.gradient_norms) == len(d.states)
    last = d.points[-1]
    beyond = last - ROSENBROCK.gradient(last)
    assert not rosenbrock(beyond).isfinite()
    assert f"diverged at step {d.diverged_at}" in repr(d)
    assert d.steps_to_escape((0.0, 0.0), 1e300) == d.diverged_at


def climbs():
    """How y grows away from the saddle of x² - y², written down straight: its gradient is -2y."""

    def sgd(y, g, t, state, lr):
        return y - lr * g

    def momentum(y, g, t, state, lr):
        state["b"] = 0.9 * state.get("b", 0) + g
        return y - lr * state["b"]

    def adam(y, g, t, state, lr):
        state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
        state["v"] = 0.999 * state.get("v", 0) + 0.001 * g * g
        m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
        return y - lr * m / (v**0.5 + 1e-8)

    return {"sgd": sgd, "momentum": momentum, "adam": adam}


@pytest.mark.parametrize("lr", [0.01, 0.1])
def test_escape_from_a_saddle(lr):
    e, measured = 1e-6, {}
    for name, move in climbs().items():
        y, t, state = e, 0, {}
        while abs(y) <= 1:
            t += 1
            y = move(y, -2 * y, t, state, lr)
        d = descend(SADDLE, (0.0, e), name, lr, 1000)
        measured[name] = d.steps_to_escape((0.0, 0.0), 1.0)
        assert measured[name] == t
    assert measured["sgd"] == math.ceil(math.log(1 / e) / math.log1p(2 * lr))
    assert measured["adam"] < measured["momentum"] < measured["sgd"]


def test_from_the_ridge_gradient_descent_never_escapes_and_noise_helps():
    still = descend(SADDLE, (1.0, 0.0), "sgd", 0.1, 200)
    assert still.steps_to_escape((0.0, 0.0), 1.0) is None
    assert still.steps_to(gradient_norm=1e-9) is not None
    noisy = descend(SADDLE, (1.0, 0.0), "sgd", 0.1, 200, noise=0.01)
    assert noisy.steps_to_escape((0.0, 0.0), 1.0) < 100


def test_steps_to_a_loss():
    d = descend(BOWL, (3.0, 0.0), "sgd", 0.05, 100)
    k = d.steps_to(loss=1e-3)
    assert d.losses[k] <= 1e-3 < d.losses[k - 1]
    k = d.steps_to(gradient_norm=0.1)
    assert d.gradient_norms[k] <= 0.1 < d.gradient_norms[k - 1]
    assert d.steps_to(loss=-1.0) is None
    assert d.steps_to(loss=1e9) == 0
    for both in ({}, {"loss": 1.0, "gradient_norm": 1.0}):
        with pytest.raises(TypeError, match="either loss= or gradient_norm="):
            d.steps_to(**both)


def test_the_start_is_left_alone_and_the_dtype_chosen():
    x0 = torch.tensor([1.0, 1.0])
    d = descend(BOWL, x0, "sgd", 0.01, 3)
    assert torch.equal(x0, torch.ones(2))
    assert not x0.requires_grad
    assert d.points.dtype == torch.float64
    assert descend(BOWL, [0.1, 0.2], "sgd", steps=1).points[0].tolist() == [0.1, 0.2]
    assert descend(BOWL, x0, "sgd", steps=1, dtype=torch.float32).losses.dtype == torch.float32


GOOD = {"f": BOWL, "x0": (1.0, 1.0), "optimizer": "sgd", "lr": 0.1, "steps": 2}
BAD = (
    ({"x0": (1.0,)}, ValueError, "x0 must have the function's 2 coordinates, not 1"),
    ({"x0": [[1.0, 1.0]]}, ValueError, r"x0 must be one point of shape \[d\]"),
    ({"x0": (1.0, math.nan)}, ValueError, "x0 must be finite"),
    ({"x0": (1e200, 1.0)}, ValueError, "f must be finite at x0"),
    ({"f": 3}, TypeError, "f must be a landscape, a formula or a function, not 3"),
    ({"f": "x^"}, ValueError, "ends too early"),
    ({"f": lambda x: 3.0}, TypeError, "f must give a tensor computed from its argument"),
    ({"f": lambda x: x * x}, ValueError, "f must give one number"),
    ({"steps": 0}, ValueError, "steps must be at least 1, not 0"),
    ({"steps": 1.5}, TypeError, "steps must be a whole number"),
    ({"lr": 0.0}, ValueError, "lr must be finite and above 0, not 0.0"),
    ({"lr": -1}, ValueError, "lr must be finite and above 0"),
    ({"lr": "big"}, TypeError, "lr must be a number"),
    ({"optimizer": "nestrov"}, ValueError, "did you mean 'nesterov'"),
    ({"optimizer": 5}, TypeError, "optimizer must be a name, a class or a function"),
    ({"optimizer": dict}, TypeError, "optimizer must be an optimizer's class"),
    ({"optimizer": lambda p: p}, TypeError, "optimizer must build"),
    ({"optimizer": optim.SGD, "bta": 1}, TypeError, "bta"),
    ({"optimizer": lambda p: optim.SGD(p), "momentum": 0.9}, TypeError, "momentum"),
    ({"noise": -1.0}, ValueError, "scale must be finite and at least 0"),
    ({"noise": "much"}, TypeError, "noise must be a number"),
    ({"noise": 1.0, "seed": -1}, ValueError, "seed must be from 0"),
    ({"schedule": lambda step: -1.0}, ValueError, r"schedule\(0\) must be finite and at least 0"),
    ({"dtype": torch.int64}, ValueError, "dtype must be a floating one"),
)


@pytest.mark.parametrize(("change", "error", "says"), BAD)
def test_bad_arguments_are_named(change, error, says):
    with pytest.raises(error, match=says):
        descend(**{**GOOD, **change})


def test_a_formula_is_descended_as_its_landscape_is():
    text = "x^2 + 3*y^2"
    found, same = (descend(f, (1.0, 1.0), "sgd", 0.1, 5) for f in (text, parse(text)))
    assert torch.equal(found.points, same.points)
    assert torch.equal(found.losses, same.losses)
