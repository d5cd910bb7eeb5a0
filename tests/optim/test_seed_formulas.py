"""Documented options reach every formula of the text that this package grew from, to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from optim.table import every_engine
from reference import seed
from thalweg import optim

STEPS = 200
START = np.array([1.5, -2.0, 0.7, 3.0, -0.4, 1.0])
CURVATURE = np.array([30.0, 10.0, 3.0, 1.0, 0.3, 0.1])


def gradient(w):
    """Of a bowl that is not convex and whose coordinates are coupled."""
    return CURVATURE * (w - 0.3 * np.roll(w, 1)) + 2 * np.sin(3 * w)


def trajectory(make, change=lambda optimizer, step: None):
    """The weights after each step, held in two tensors."""
    params = [torch.tensor(part, requires_grad=True) for part in np.split(START, [4])]
    optimizer = make(params)

    def evaluate():
        for p, g in zip(params, np.split(gradient(_whole(params)), [4]), strict=True):
            p.grad = torch.tensor(g)

    for step in range(STEPS):
        change(optimizer, step)
        optimizer.step(evaluate)
        yield _whole(params)


def scheduled(rate):
    """A change that sets the learning rate of each step."""
    return lambda optimizer, step: optimizer.param_groups[0].update(lr=rate(step))


def _whole(params):
    return np.concatenate([p.detach().numpy() for p in params])


def same(ours, printed):
    for step, (here, there) in enumerate(zip(ours, printed, strict=True)):
        np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-12, err_msg=f"step {step}")


@every_engine
def test_gradient_descent_with_a_rate_for_each_step(engine):
    alpha = lambda k: 0.05 / (1 + 0.1 * k)  # noqa: E731
    same(
        trajectory(lambda p: optim.SGD(p, lr=0.05, engine=engine), scheduled(alpha)),
        seed.gradient_descent(START, gradient, STEPS, alpha=alpha),
    )


@every_engine
@pytest.mark.parametrize("convention", ["torch", "classical"])
def test_momentum(engine, convention):
    options = {"lr": 0.003, "momentum": 0.9, "convention": convention, "engine": engine}
    same(
        trajectory(lambda p: optim.SGD(p, **options)),
        seed.momentum(START, gradient, STEPS, alpha=0.003, beta=0.9),
    )


@every_engine
def test_nesterov_at_the_point_ahead(engine):
    # The velocity is a sum of steps, so that the rate may change from one to the next.
    alpha = lambda k: 0.003 * 0.99**k  # noqa: E731
    options = {"momentum": 0.9, "nesterov": "lookahead", "convention": "classical"}
    same(
        trajectory(lambda p: optim.SGD(p, **options, engine=engine), scheduled(alpha)),
        seed.nesterov(START, gradient, STEPS, alpha=alpha, beta=0.9),
    )


@every_engine
def test_adagrad_with_epsilon_inside_the_root(engine):
    same(
        trajectory(
            lambda p: optim.Adagrad(p, lr=0.5, eps=1e-8, convention="inside", engine=engine)
        ),
        seed.adagrad(START, gradient, STEPS, alpha=0.5),
    )


@every_engine
def test_rmsprop_without_epsilon(engine):
    same(
        trajectory(lambda p: optim.RMSprop(p, lr=0.002, alpha=0.9, eps=0.0, engine=engine)),
        seed.rmsprop(START, gradient, STEPS, alpha=0.002),
    )


@every_engine
def test_adam(engine):
    same(
        trajectory(lambda p: optim.Adam(p, lr=0.05, engine=engine)),
        seed.adam(START, gradient, STEPS, alpha=0.05),
    )


@every_engine
@pytest.mark.parametrize("eps", [1e-16, 1e-3])
def test_adabelief_without_rectification(engine, eps):
    same(
        trajectory(lambda p: optim.AdaBelief(p, lr=0.05, eps=eps, rectify=False, engine=engine)),
        seed.adabelief(START, gradient, STEPS, alpha=0.05, beta1=0.9, beta2=0.999, epsilon=eps),
    )


def onto(low, high):
    """The projection onto a box in a weighted norm, as the least-squares problem that it is."""

    def project(point, weighting):
        root = np.sqrt(weighting)
        return lsq_linear(np.diag(root), root * point, (low, high), method="bvls", tol=1e-14).x

    return project


BOXES = [(-0.5, 1.2), (0.1, np.inf)]


@every_engine
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_adabeliefs_projection_onto_a_box(engine, box):
    betas = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-16}
    options = {"lr": 0.05, "rectify": False, "bounds": box}
    same(
        trajectory(lambda p: optim.AdaBelief(p, **options, engine=engine)),
        seed.adabelief(START, gradient, STEPS, alpha=0.05, **betas, project=onto(*box)),
    )


@every_engine
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_adams_projection_onto_a_box(engine, box):
    same(
        trajectory(lambda p: optim.Adam(p, lr=0.05, bounds=box, engine=engine)),
        seed.adam(START, gradient, STEPS, alpha=0.05, project=onto(*box)),
    )


@every_engine
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_madgrad_with_a_schedule(engine, momentum):
    gamma = lambda k: 0.05 * 0.99**k  # noqa: E731
    options = {"lr": 0.05, "eps": 0.01, "momentum": momentum, "convention": "paper"}
    same(
        trajectory(lambda p: optim.MADGRAD(p, **options, engine=engine), scheduled(gamma)),
        seed.madgrad(START, gradient, STEPS, gamma=gamma, c=1 - momentum, epsilon=0.01),
    )


ADAN = {"eta": 0.02, "betas": (0.02, 0.08, 0.01), "epsilon": 1e-8, "decay": 0.05}


def adan(params, **options):
    betas = tuple(1 - b for b in ADAN["betas"])
    return optim.Adan(
        params, lr=ADAN["eta"], betas=betas, eps=ADAN["epsilon"], weight_decay=ADAN["decay"],
        convention="paper", **options,
    )  # fmt: skip


@every_engine
@pytest.mark.parametrize("radius", [None, 2.0])
def test_adan_and_its_restart_condition(engine, radius):
    restarts = []
    same(
        trajectory(lambda p: adan(p, restart_radius=radius, engine=engine)),
        seed.adan(START, gradient, STEPS, **ADAN, radius=radius, restarts=restarts),
    )
    assert (2 < len(restarts) < STEPS / 3) if radius else not restarts


@every_engine
def test_adan_restarted_by_hand(engine):
    points = list(
        trajectory(
            lambda p: adan(p, engine=engine),
            lambda optimizer, step: optimizer.restart() if step == 40 else None,
        )
    )
    same(points[40:], seed.adan(points[39], gradient, STEPS - 40, **ADAN))


@every_engine
@pytest.mark.parametrize("fall", [1.0, 0.95])
def test_schedule_free_adamw_by_the_squares_of_the_rates(engine, fall):
    """With line 12's x_t put back."""
    gamma = lambda t: 0.05 * fall**t  # noqa: E731
    made = []

    def make(params):
        options = {"betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.02, "warmup_steps": 10}
        made.append(optim.ScheduleFreeAdamW(params, averaging="lr", engine=engine, **options))
        return made[0]

    course = trajectory(make, scheduled(lambda k: gamma(k + 1)))
    printed = seed.schedule_free_adamw(
        START, gradient, STEPS, gamma=gamma, warmup=10, decay=0.02, beta1=0.9, beta2=0.95,
        epsilon=1e-6,
    )  # fmt: skip
    for here, (y, x) in zip(course, printed, strict=True):
        (optimizer,) = made
        np.testing.assert_allclose(here, y, rtol=1e-10, atol=1e-12)
        with optimizer.averaged():
            average = _whole(optimizer.param_groups[0]["params"])
        np.testing.assert_allclose(average, x, rtol=1e-10, atol=1e-12)
    assert all("lr_max" not in s for s in optimizer.state.values())
