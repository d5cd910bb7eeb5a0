"""NaN and infinity in gradients end up where torch puts them."""

from __future__ import annotations

import math

import pytest
import torch

from optim.table import ENGINES, every_engine, every_row, torch_case
from optim.training import assert_same, contents, params, snapshot, step, tensors

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((12,),)
PATTERN = [math.nan, math.inf, -math.inf, 1.5, -0.5, 0.25, 1.0, -1.0, math.inf, -2.0, 0.5, 1.0]


def course(dtype):
    """Finite gradients, then some that are not, then finite ones again."""
    g = torch.Generator().manual_seed(3)
    steps = [[torch.randn(s, generator=g).to(dtype) for s in SHAPES] for _ in range(4)]
    steps[2] = [torch.tensor(PATTERN, dtype=dtype)]
    return steps


def kinds(x):
    """0 where finite, ±1 where infinite, 2 where NaN."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@torch_case
def test_non_finite_gradients_propagate_as_in_torch(row, options, dtype):
    theirs = row.theirs(tensors(dtype, SHAPES), **options)
    ours = [row.make(tensors(dtype, SHAPES), engine=e, **options) for e in ENGINES]
    for grads in course(dtype):
        step(theirs, grads)
        there = contents(theirs)
        for o in ours:
            step(o, grads)
            here = contents(o)
            # An average that is infinite becomes NaN in torch, whose lerp takes a difference, and
            # so do weights that it has not made NaN at once.
            lerped = torch.zeros(SHAPES[0], dtype=torch.bool)
            for key, x in there.items():
                if key[1] != "w" and x.shape == lerped.shape:
                    lerped |= here[key].isinf() & x.isnan()
            for key in there:
                assert torch.equal(here[key].isfinite(), there[key].isfinite()), (key, here, there)
            now, wanted = (kinds(x[0, "w"])[~lerped] for x in (here, there))
            assert torch.equal(now, wanted), (here, there)


@every_engine
@pytest.mark.parametrize("word", [True, "raise"])
@every_row
def test_check_finite_raises_before_anything_is_written(row, options, word, engine):
    o = row.make(tensors(shapes=SHAPES), engine=engine, check_finite=word, **options)
    first, second, third, *_ = course(torch.float64)
    step(o, first)
    step(o, second)
    for p, g in zip(params(o), third, strict=True):
        p.grad = g
    before = snapshot(o)
    with pytest.raises(ValueError, match=r"parameter 0 of group 0 .*NaN or infinity"):
        o.step()
    assert_same(before, snapshot(o))


@every_engine
@every_row
def test_check_finite_skips_such_steps(row, options, engine):
    checked = row.make(tensors(shapes=SHAPES), engine=engine, check_finite="skip", **options)
    spared = row.make(tensors(shapes=SHAPES), engine=engine, **options)
    for i, grads in enumerate(course(torch.float64)):
        step(checked, grads)
        if i != 2:
            step(spared, grads)
    assert_same(contents(spared), contents(checked))
