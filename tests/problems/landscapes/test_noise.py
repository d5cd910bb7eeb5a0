"""Seeded gradient noise."""

from __future__ import annotations

import pytest
import torch

from thalweg.problems.landscapes import GradientNoise

ZERO = torch.zeros(50, 2, dtype=torch.float64)


def test_depends_on_step_and_seed_alone():
    noise = GradientNoise(0.3)
    seen = {
        (step, seed): noise(ZERO, step, seed) for step in (0, 1, 2, 2**62) for seed in (0, 1, 2**62)
    }
    for (step, seed), values in reversed(seen.items()):
        assert torch.equal(GradientNoise(0.3)(ZERO, step, seed), values)
    rows = torch.stack([v.flatten() for v in seen.values()])
    assert rows.unique().numel() == rows.numel()  # no two streams overlap, shifted or not
    assert torch.corrcoef(rows).fill_diagonal_(0).abs().max() < 0.45  # 100 numbers a row


def test_is_added():
    noise, g = GradientNoise(2.0), torch.randn(7, 3, dtype=torch.float64)
    added = noise(torch.zeros_like(g), 4, 9)
    assert torch.equal(noise(g, 4, 9), g + added)


@pytest.mark.parametrize(("scale", "batch"), [(1.0, 1), (0.5, 1), (3.0, 100), (0.0, 1)])
def test_moments(scale, batch):
    n = 100_000
    values = GradientNoise(scale, batch)(torch.zeros(n, dtype=torch.float64), 0, 1)
    deviation = scale / batch**0.5
    assert abs(values.mean()) <= 4 * deviation / n**0.5
    assert abs(values.std() - deviation) <= 4 * deviation / (2 * n) ** 0.5
    inside = (values.abs() <= deviation).double().mean()
    assert scale == 0 or abs(inside - 0.6827) < 0.006  # normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape(dtype):
    g = torch.zeros(3, 4, 2, dtype=dtype)
    noisy = GradientNoise(1.0)(g, 0, 0)
    assert noisy.dtype == dtype
    assert noisy.shape == g.shape
    assert torch.equal(g, torch.zeros_like(g))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": -1.0}, "scale must be finite and at least 0, got -1.0"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": 1.0, "batch": 0}, "batch must be .* at least 1, got 0"),
        ({"scale": 1.0, "batch": 2.5}, "batch must be a whole number .*, got 2.5"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        GradientNoise(**options)


@pytest.mark.parametrize(("step", "seed", "says"), [(-1, 0, "step"), (0, 2**63, "seed")])
def test_bad_place(step, seed, says):
    with pytest.raises(ValueError, match=says):
        GradientNoise(1.0)(ZERO, step, seed)
