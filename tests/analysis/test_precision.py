"""Functions that compute more coarsely than float64: nothing that rounding made is told of them."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from thalweg.analysis import (
    concavity,
    convexity,
    critical_point,
    mixed_derivatives,
    stability,
    unimodality,
)
from thalweg.analysis.batched import values
from thalweg.analysis.precision import coarsest

POINTS = torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
F32, F64 = torch.float32, torch.float64
WEIGHTS = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))


def autocast(x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return (WEIGHTS @ x.float()).double().sum()


def overwritten(x):
    kept = torch.zeros(2)
    kept[:] = x
    return kept.double().square().sum()


DTYPES = {
    "float64": (lambda x: x.square().sum(), F64),
    "within": (lambda x: x.float().square().sum().double(), F32),
    "given back": (lambda x: x.square().sum().float(), F32),
    "a branch": (lambda x: x[0].float().double() if x[0] > 0 else x[0], F32),
    "float16": (lambda x: x.half().square().sum().double(), torch.float16),
    "two": (lambda x: x[0].half().double() + x[1].bfloat16().double(), torch.bfloat16),
    "constants": (lambda x: (torch.tensor([1.0, 0.1]) * x).sum() + torch.ones(3).sum(), F64),
    "weights": (lambda x: (WEIGHTS.double() @ x).sum(), F64),
    "overwritten": (overwritten, F32),
    "autocast": (autocast, torch.bfloat16),
    "numpy": (lambda x: torch.tensor(float(np.float32(x.numpy()).sum())).double(), F32),
    "numpy, in float64": (lambda x: torch.as_tensor(np.exp(x.numpy()).sum()), F64),
    "steps": (lambda x: torch.where(x[0] > 0, x.new_tensor(1.0), 0.0), F64),
}


@pytest.mark.parametrize("name", DTYPES)
def test_the_coarsest_dtype_counts(name):
    f, dtype = DTYPES[name]
    assert coarsest(values(f), POINTS) == dtype


BOX = ((-1.0, 1.0),) * 2
CASTS = {
    "float32": lambda x: x.float(),
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "float32 and back": lambda x: x.float().double(),
    "numpy's float32": lambda x: torch.tensor(x.numpy().astype(np.float32)).double() * 0.7,
}
CONVEX = {
    "squares": lambda x: ((x - 0.3) ** 2).sum(),
    "affine": lambda x: 3 * x[0] - 0.1 * x[1] + 5,
    "log-sum-exp": lambda x: torch.logsumexp(5 * x.float(), 0),
    "a norm": lambda x: torch.linalg.vector_norm(x.float() + 1e-2),
    "less than rounding": lambda x: (x * x).sum() * 1e-3 + 100,
}


@pytest.mark.parametrize(
    ("name", "cast"),
    # What cannot be vectorized is slow.
    [(name, cast) for name in CONVEX for cast in CASTS if "numpy" not in cast or name == "squares"],
)
def test_no_convex_function_has_a_witness(name, cast):
    def f(x):
        return CONVEX[name](CASTS[cast](x.detach() if "numpy" in cast else x))

    assert convexity(f, BOX, tries=400).holds is None
    if name == "affine":
        assert concavity(f, BOX, tries=400).holds is None


@pytest.mark.parametrize("cast", CASTS)
def test_what_is_far_beyond_rounding_is_told(cast):
    """The witness holds for the function meant, in 50 digits."""

    def f(x):
        return torch.cos(3 * CASTS[cast](x.detach() if "numpy" in cast else x)).sum()

    w = convexity(f, BOX, tries=400).witness
    factor = 0.7 if "numpy" in cast else 1

    def exactly(x):
        return mpmath.fsum(mpmath.cos(3 * factor * mpmath.mpf(c)) for c in x)

    with mpmath.workdps(50):
        t, pairs = mpmath.mpf(w.t), zip(w.x1, w.x2, strict=True)
        middle = [t * a + (1 - t) * b for a, b in pairs]
        excess = exactly(middle) - t * exactly(w.x1) - (1 - t) * exactly(w.x2)
    assert excess > 0
    assert abs(excess - w.excess) <= w.bound < w.excess


IN_FLOAT32 = {
    "minimum": (lambda x: ((x.float() - 0.3) ** 2).sum(), (0.3, 0.3), "minimum"),
    "and back": (lambda x: ((x.float().double() - 0.3) ** 2).sum(), (0.3, 0.3), "minimum"),
    "saddle": (lambda x: (x.float()[0] * (x.float()[1] - 0.7)), (0.0, 0.7), "saddle"),
    "maximum": (lambda x: torch.cos(x.float() - 1).sum().double(), (1.0, 1.0), "maximum"),
    "a slope": (lambda x: x.float().sum() * 0.3, (0.1, 0.2), "not critical"),
    "a kink": (lambda x: (x.float() - 0.5).abs().sum(), (0.5, 0.5), "not differentiable"),
    # 1e-8 of the quadratic is less than float32 keeps of the other one.
    "below rounding": (lambda x: (x.float() ** 2) @ torch.tensor([1, 1e-8]), (0, 0), "degenerate"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_critical_points_of_functions_in_float32(name):
    f, x, verdict = IN_FLOAT32[name]
    assert critical_point(f, x).verdict == verdict


@pytest.mark.parametrize("call", [critical_point, mixed_derivatives, stability])
@pytest.mark.parametrize("cast", ["float16", "bfloat16"])
def test_16_bits_have_no_second_derivatives(call, cast):
    with pytest.raises(TypeError, match=f"f must compute in float32 or float64, not torch.{cast}"):
        call(lambda x: CASTS[cast](x).square().sum().double(), [0.0, 0.0])
    with pytest.raises(TypeError, match=f"x must be float32 or float64, not torch.{cast}"):
        call(lambda x: x.square().sum(), CASTS[cast](torch.zeros(2)))


def test_a_module_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    with torch.no_grad():
        model[2].weight.abs_()  # a positive sum of convex functions
    assert convexity(lambda x: model(x.float()), BOX).holds is None
    assert concavity(lambda x: model(x.float()), BOX).holds is False


def test_points_that_are_few_bits_apart_do_not_make_a_function_coarse():
    def f(x):
        return ((x - 1e15) ** 2).sum()

    found = unimodality(f, [(1e15 - 2, 1e15 + 3)] * 2, starts=5)
    assert len(found.minima) <= 1


def test_what_holds_no_number_is_refused_by_name():
    for f, why in (
        (lambda x: x.sum().to("meta"), "device meta"),
        (lambda x: x.sum().to(torch.float8_e4m3fn), "floating dtype"),
        (lambda x: x.to(torch.float8_e4m3fn).double().sum(), "16 bits"),
    ):
        with pytest.raises(TypeError, match=why):
            convexity(f, [(-1.0, 1.0)])
        with pytest.raises(TypeError, match=why):
            critical_point(f, [0.0])
