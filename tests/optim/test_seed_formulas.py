"""Documented options reach every formula of the text that this package grew from, to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
    for step in range(STEPS):
        change(optimizer, step)
        for p, g in zip(params, np.split(gradient(_whole(params)), [4]), strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        yield _whole(params)


def _whole(params):
    return np.concatenate([p.detach().numpy() for p in params])


def same(ours, printed):
    for step, (here, there) in enumerate(zip(ours, printed, strict=True)):
        np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-12, err_msg=f"step {step}")


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
@pytest.mark.parametrize("eps", [1e-16, 1e-3])
def test_adabelief_without_rectification(engine, eps):
    same(
        trajectory(lambda p: optim.AdaBelief(p, lr=0.05, eps=eps, rectify=False, engine=engine)),
        seed.adabelief(START, gradient, STEPS, alpha=0.05, beta1=0.9, beta2=0.999, epsilon=eps),
    )


@every_engine
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_madgrad_with_a_schedule(engine, momentum):
    gamma = lambda k: 0.05 * 0.99**k  # noqa: E731
    same(
        trajectory(
            lambda p: optim.MADGRAD(
                p, lr=0.05, eps=0.01, momentum=momentum, convention="paper", engine=engine
            ),
            lambda optimizer, k: optimizer.param_groups[0].update(lr=gamma(k)),
        ),
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
