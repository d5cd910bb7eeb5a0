"""Smoothing, and what is read from a curve: against closed forms, other units, and pure chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg.analysis.rate_curve import Curve, read

RATES = [float(x) for x in np.geomspace(1e-6, 100, 200)]


def curve(losses, smoothing=0.9):
    found = Curve(smoothing)
    for loss in losses:
        found.add(float(loss))
        if found.diverged:
            break
    return found


def valley(seed=0, noise=0.05):
    """Losses that are flat, fall from 2 to 0 around 1e-3, and grow from 0.1 on."""
    u = np.linspace(-6, 2, 201)
    fall = 2 / (1 + np.exp(4 * (u + 3)))
    return fall + 10 ** np.minimum(3 * (u + 1) - 3, 4) + noise * normal(seed, 201)


def normal(seed, n):
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9, 0.98])
def test_the_mean_is_that_of_all_losses_with_exponential_weights(smoothing):
    losses = normal(0, 60)
    found = Curve(smoothing)
    for loss in losses:
        found.add(float(loss))
    for k, mean in enumerate(found.smoothed):
        weights = smoothing ** np.arange(k, -1, -1.0)
        assert mean == pytest.approx(np.average(losses[: k + 1], weights=weights), rel=1e-12)


def test_a_valley_is_read_as_it_is_drawn():
    found = read(0, RATES, curve(valley()))
    assert (found.why, found.diverged, found.start) == ("", True, pytest.approx(2, abs=0.05))
    assert found.rate == found.rates[int(np.argmin(found.smoothed))] / 10
    least, last = min(found.smoothed), found.smoothed[-1]
    assert last - least > (found.start - least) / 2 >= found.smoothed[-2] - least
    assert found.largest == found.rates[-2]


@pytest.mark.parametrize("origin", [0.0, -40.0])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_neither_unit_nor_origin_of_the_loss_matters(unit, origin):
    one = read(0, RATES, curve(valley()))
    two = read(0, RATES, curve(unit * (valley() + origin)))
    assert (one.rate, one.largest, len(one.losses)) == (two.rate, two.largest, len(two.losses))


@pytest.mark.parametrize("overflow", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_sweep(overflow):
    losses = valley()
    losses[120] = overflow
    found = read(0, RATES, curve(losses))
    assert found.diverged
    assert len(found.losses) == 119
    assert found.largest == RATES[118]  # after which the loss was still finite


CHANCE = {
    "normal": lambda seed: 2.3 + 0.1 * normal(seed, 201),
    "skewed": lambda seed: np.exp(normal(seed, 201)),
    "epochs": lambda seed: np.tile(normal(seed, 34), 6)[:201],
    "rounding": lambda seed: 0.5 + 1e-8 * normal(seed, 201),
    "constant": lambda seed: np.full(201, 0.5),
}


@pytest.mark.parametrize("name", CHANCE)
def test_no_rate_is_read_from_chance(name):
    told = [read(s, RATES, curve(CHANCE[name](s))).rate is not None for s in range(200)]
    assert sum(told) <= 4  # 0.4 % are: more than 4 come with a probability of 0.1 %


@pytest.mark.parametrize(
    ("losses", "stop", "why"),
    [
        (valley()[:100], 1e-2, "the loss still falls at the largest rate, 0.01"),
        (-valley(), 1e-2, "the loss does not fall by more than chance"),
        (valley(), 1e-5, "the loss is least within a decade of the smallest rate, 1e-06"),
    ],
)
def test_it_says_why_it_cannot_tell(losses, stop, why):
    rates = [float(x) for x in np.geomspace(1e-6, stop, len(losses) - 1)]
    found = read(0, rates, curve(losses))
    assert found.why == why
    assert found.rate is None
