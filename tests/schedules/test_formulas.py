"""The formulas of the text that this package grew from, and those of papers that torch lacks, with
fifty digits."""

from __future__ import annotations

import sys

import pytest
from mpmath import cos, exp, log, mpf, pi, sqrt, workdps

from thalweg.schedules import (
    cosine,
    exponential,
    exponential_steps,
    inverse_sqrt,
    inverse_time,
    multi_step,
    wsd,
)

EPS = sys.float_info.epsilon
STEPS = 2000
K, START, END = 0.003, 0.3, 0.02  # k, alpha_0 and alpha_min


def transformer(t):
    """Attention is all you need, equation 3, in shares of its largest value."""
    d_model, warmup = mpf(512), mpf(400)
    rate = d_model**-0.5 * min(mpf(t) ** -0.5, t * warmup**-1.5) if t else mpf(0)
    return rate / (d_model * warmup) ** -0.5


def warmup_stable_decay(shape):
    def value(t):
        t = mpf(t)
        if t < 100:
            return t / 100
        return 1 if t < 1500 else shape((t - 1500) / 500)

    return value


FORMULAS = {
    "exponential": (exponential(k=K), lambda t: exp(-mpf(K) * t)),
    "1/t": (inverse_time(K), lambda t: 1 / (1 + mpf(K) * t)),
    "cosine": (
        cosine(STEPS, end=END, start=START),
        lambda t: END + (mpf(START) - END) / 2 * (1 + cos(mpf(t) / STEPS * pi)),
    ),
    "cosine to 0": (cosine(STEPS), lambda t: (1 + cos(mpf(t) / STEPS * pi)) / 2),
    "exponential steps": (
        exponential_steps(STEPS, 7),
        lambda t: (mpf(7) / STEPS) ** (mpf(t) / STEPS),
    ),
    "inverse root": (inverse_sqrt(400), transformer),
    "wsd linear": (wsd(STEPS, 100, 500), warmup_stable_decay(lambda x: 1 - x)),
    "wsd cosine": (
        wsd(STEPS, 100, 500, shape="cosine"),
        warmup_stable_decay(lambda x: (1 + cos(pi * x)) / 2),
    ),
    "wsd root": (wsd(STEPS, 100, 500, shape="sqrt"), warmup_stable_decay(lambda x: 1 - sqrt(x))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    schedule, formula = FORMULAS[name]
    with workdps(50):
        for t in range(STEPS + 1):
            wanted = formula(t)
            # A sum of shares of 1 is as exact as 1 is; of a power, the exponent is.
            assert abs(schedule(t) - wanted) <= EPS * (1 + abs(log(wanted or 1)) * wanted), t


def test_gamma_is_the_exponential_of_minus_k():
    with workdps(50):
        gamma = float(exp(-mpf(K)))
    for t in range(STEPS):
        assert exponential(gamma=gamma)(t) == pytest.approx(exponential(k=K)(t), rel=2 * EPS * t)


def test_exponential_steps_end_at_beta_over_the_total():
    for total, beta in ((1, 1), (300, 1), (777, 3), (10_000, 0.1)):
        schedule = exponential_steps(total, beta)
        assert (schedule(0), schedule(total)) == (1, beta / total)


def test_a_stage_starts_at_its_milestone():
    schedule = multi_step([30, 60], 0.5)
    assert [schedule(t) for t in (0, 29, 29.99, 30, 59, 60, 1000)] == [
        1,
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
    ]
