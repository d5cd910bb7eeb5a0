"""Value, gradient and Hessian of every landscape against formulas written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from problems.landscapes.straight import STRAIGHT, gradient, hessian
from thalweg.problems.landscapes import LANDSCAPES, landscape


def inside(name: str, n: int = 200) -> np.ndarray:
    low, high = np.array(LANDSCAPES[name].domain).T
    return np.random.default_rng(0).uniform(low, high, (n, len(low)))


def test_all_are_here():
    assert set(STRAIGHT) == set(LANDSCAPES)


@pytest.mark.parametrize("name", STRAIGHT)
def test_value(name):
    x = inside(name)
    expected = STRAIGHT[name](*x.T)
    scale = 1e-13 * (1 + np.abs(expected))
    assert (np.abs(landscape(name)(x).numpy() - expected) <= scale).all()


@pytest.mark.parametrize("name", STRAIGHT)
def test_gradient(name):
    x = inside(name)
    expected = gradient(STRAIGHT[name], x)
    scale = 1e-12 * (1 + np.abs(expected).max(-1, keepdims=True))
    assert (np.abs(landscape(name).gradient(x).numpy() - expected) <= scale).all()


@pytest.mark.parametrize("name", STRAIGHT)
def test_hessian(name):
    x = inside(name)
    if name == "peano":  # its fifth derivatives grow as 1/r^3
        x = x[np.linalg.norm(x, axis=1) > 0.5]
    if name == "ackley":
        x = x[np.linalg.norm(x, axis=1) > 0.5]
    if name == "helical-valley":
        x = x[np.linalg.norm(x[:, :2], axis=1) > 0.5]
    f = landscape(name)
    expected = hessian(STRAIGHT[name], x)
    scale = 1e-7 * (1 + np.abs(expected).max((1, 2), keepdims=True))
    assert (np.abs(f.hessian(x).numpy() - expected) <= scale).all()


@pytest.mark.parametrize("name", STRAIGHT)
def test_torch_agrees(name):
    f = landscape(name)
    x = torch.tensor(inside(name, 10), requires_grad=True)
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    assert torch.equal(slope, f.gradient(x))
    curvature = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(f)))(x.detach())
    assert torch.allclose(curvature, f.hessian(x), rtol=1e-12, atol=1e-12)
