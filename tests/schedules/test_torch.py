"""Each schedule that torch has gives torch's rates, whatever the options."""

from __future__ import annotations

import itertools
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as torchs
from torch.optim import swa_utils

from thalweg.schedules import (
    Schedule,
    constant,
    cosine,
    cyclic,
    exponential,
    linear,
    multi_step,
    one_cycle,
    one_cycle_momentum,
    polynomial,
    step,
    warm_restarts,
)

STEPS = 2000
LR = 0.3


def sequence(o):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR steps its members by number
        first = torchs.LinearLR(o, 0.25, total_iters=200)
        return torchs.SequentialLR(o, [first, torchs.CosineAnnealingLR(o, 1800)], [200])


def chained(o):
    return torchs.ChainedScheduler([torchs.StepLR(o, 300, 0.5), torchs.ExponentialLR(o, 0.999)])


T = torchs
RATES = [
    (constant(), lambda o: T.ConstantLR(o, 1.0, 5)),
    (constant(0.25, 40).then(constant()), lambda o: T.ConstantLR(o, 0.25, 40)),
    (linear(1 / 3, 1, 5), lambda o: T.LinearLR(o)),
    (linear(0.25, 0.75, 1500), lambda o: T.LinearLR(o, 0.25, 0.75, 1500)),
    (linear(1, 0, 2000), lambda o: T.LinearLR(o, 1.0, 0.0, 2000)),
    (polynomial(1, 0, 5), lambda o: T.PolynomialLR(o)),
    (polynomial(1, 0, 1900, 0.9), lambda o: T.PolynomialLR(o, 1900, 0.9)),
    (polynomial(1, 0, 2000, power=3), lambda o: T.PolynomialLR(o, 2000, 3.0)),
    (step(30), lambda o: T.StepLR(o, 30)),
    (step(7, 0.97), lambda o: T.StepLR(o, 7, 0.97)),
    (multi_step([30, 80]), lambda o: T.MultiStepLR(o, [30, 80])),
    (multi_step([0, 5, 5, 1999], 0.5), lambda o: T.MultiStepLR(o, [0, 5, 5, 1999], 0.5)),
    (multi_step([]), lambda o: T.MultiStepLR(o, [])),
    (exponential(gamma=0.997), lambda o: T.ExponentialLR(o, 0.997)),
    (exponential(gamma=1.003), lambda o: T.ExponentialLR(o, 1.003)),
    (cosine(2000), lambda o: T.CosineAnnealingLR(o, 2000)),
    (cosine(2000, end=0.1), lambda o: T.CosineAnnealingLR(o, 2000, LR * 0.1)),
    (cosine(150, end=0.1, periodic=True), lambda o: T.CosineAnnealingLR(o, 150, LR * 0.1)),
    (warm_restarts(50), lambda o: T.CosineAnnealingWarmRestarts(o, 50)),
    (warm_restarts(1, 2, 0.2), lambda o: T.CosineAnnealingWarmRestarts(o, 1, 2, LR * 0.2)),
    (warm_restarts(7, 3, 0.2), lambda o: T.CosineAnnealingWarmRestarts(o, 7, 3, LR * 0.2)),
    (cosine(500, end=0.1), lambda o: swa_utils.SWALR(o, LR * 0.1, 500)),
    (linear(1, 0.1, 500), lambda o: swa_utils.SWALR(o, LR * 0.1, 500, "linear")),
    (step(300, 0.5) * exponential(gamma=0.999), chained),
    (linear(0.25, 1, 200).then(cosine(1800)), sequence),
]  # fmt: skip


def called(x):
    return repr(x) if isinstance(x, Schedule) else ""


def optimizer():
    return torch.optim.SGD([torch.zeros(1)], lr=LR, momentum=0.9)


def course(o, scheduler, read, steps=STEPS):
    """What torch sets at each step."""
    values = [read(o)]
    for _ in range(steps - 1):
        o.step()
        scheduler.step()
        values.append(read(o))
    return values


def rate(o):
    return o.param_groups[0]["lr"]


def momentum(o):
    return o.param_groups[0]["momentum"]


def agrees(found, wanted, lost=0.0):
    assert len(found) == len(wanted)
    for t, (x, y) in enumerate(zip(found, wanted, strict=True)):
        assert x == pytest.approx(y, rel=1e-12, abs=lost), t


@pytest.mark.parametrize(("ours", "theirs"), RATES, ids=called)
def test_rates(ours, theirs):
    o = optimizer()
    agrees([LR * ours(t) for t in range(STEPS)], course(o, theirs(o), rate))


ONE_CYCLES = [
    {"pct_start": pct, "anneal_strategy": anneal, "three_phase": three, **factors}
    for pct, anneal, three in itertools.product(
        (0.0, 0.3, 0.4321, 0.5), ("cos", "linear"), (False, True)
    )
    for factors in ({}, {"div_factor": 10.0, "final_div_factor": 2.0})
] + [{"pct_start": p, "anneal_strategy": "cos"} for p in (0.9, 1.0)]


@pytest.mark.parametrize("options", ONE_CYCLES, ids=str)
def test_one_cycle_and_its_momentum(options):
    o = optimizer()
    theirs = torchs.OneCycleLR(o, LR, STEPS, base_momentum=0.8, max_momentum=0.99, **options)
    found = course(o, theirs, lambda o: (rate(o), momentum(o)))
    # Torch's line is start + (end - start) x, which rounds a small end to the start's last digit.
    lost = LR * sys.float_info.epsilon if options["anneal_strategy"] == "linear" else 0.0
    ours = [LR * one_cycle(STEPS, **options)(t) for t in range(STEPS)]
    agrees(ours, [r for r, _ in found], lost)
    shape = {k: v for k, v in options.items() if "div" not in k}
    ours = one_cycle_momentum(STEPS, 0.8, 0.99, **shape)
    agrees([ours(t) for t in range(STEPS)], [m for _, m in found])


CYCLES = [
    {"step_size_up": up, "step_size_down": down, **mode}
    for up, down in ((100, None), (300, 200), (1, 9), (2500, 400))
    for mode in (
        {},
        {"mode": "triangular2"},
        {"mode": "exp_range", "gamma": 0.999},
        {"mode": "exp_range", "gamma": 0.5},
    )
]


@pytest.mark.parametrize("options", CYCLES, ids=str)
def test_cycles_and_their_momentum(options):
    o = optimizer()
    theirs = torchs.CyclicLR(o, LR * 0.2, LR, base_momentum=0.7, max_momentum=0.95, **options)
    found = course(o, theirs, lambda o: (rate(o), momentum(o)))
    agrees([LR * cyclic(0.2, 1, **options)(t) for t in range(STEPS)], [r for r, _ in found])
    ours = cyclic(0.95, 0.7, **options)
    agrees([ours(t) for t in range(STEPS)], [m for _, m in found])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cosine(40), lambda o: T.CosineAnnealingLR(o, 40)),
        (step(7, 0.5), lambda o: T.StepLR(o, 7, 0.5)),
        (linear(0.5, 1, 25), lambda o: T.LinearLR(o, 0.5, 1.0, 25)),
    ],
    ids=called,
)
def test_a_scheduler_that_is_stepped_each_epoch(ours, theirs):
    o = optimizer()
    epochs = course(o, theirs(o), rate, 40)
    schedule = ours.in_epochs(50, whole=True)
    agrees([LR * schedule(t) for t in range(STEPS)], [r for r in epochs for _ in range(50)])


def test_every_scheduler_has_a_counterpart():
    # What these do is a function of the reader's own, or of a metric (test_plateau).
    others = {"LRScheduler", "LambdaLR", "MultiplicativeLR", "ReduceLROnPlateau"}
    text = Path(__file__).read_text()
    for name in (*torchs.__all__, "SWALR"):
        assert (name in others) != (f".{name}(" in text), name
