"""One step from identical state, at every step: each stored element is what double precision gives,
rounded once to its storage format, give or take float32's error in the terms it is made of. State
that is rounded to bfloat16 at random may be either neighbour (tests/engines/test_rounding.py)."""

from __future__ import annotations

import math

import pytest
import torch

from optim.magnitude import exactly
from optim.table import ROWS, TABLE, every_case, every_engine, every_row
from optim.training import gradients, params, step, tensors

# About thirty roundings of float32, of the sum of the terms' absolute values.
BOUND = 2e-6
SHAPES = ((40,),)
STEPS = 20


def small(dtype=torch.float32):
    """Weights small beside their steps: otherwise a wrong step would hide in their rounding."""
    (w,) = tensors(dtype, SHAPES)
    return [(w.detach() * 1e-3).requires_grad_()]


def beside(rounded, x, way):
    """``x`` rounded up or down, of what it is rounded to nearest."""
    end = torch.full_like(rounded, way * math.inf)
    return torch.where((x - rounded.double()) * way > 0, torch.nextafter(rounded, end), rounded)


def check_every_step(optimizer, steps):
    rule = optimizer.rule
    nearest = {"w"} | {rule.state[s] for s in rule.nearest}
    nearest |= {rule.state[s] for s in rule.compared if optimizer.param_groups[0].get("centered")}
    for t, grads in enumerate(steps, 1):
        (p,), (g,) = params(optimizer), grads
        p.grad = g
        expected = exactly(optimizer, p)
        step(optimizer, grads)
        for key, x in expected.items():
            stored = p.detach() if key == "w" else optimizer.state[p][key]
            slack = BOUND * x.size
            # Rounding is monotone: what lies between two numbers is rounded to between theirs.
            low, high = ((x.value + s).to(stored.dtype) for s in (-slack, slack))
            if stored.dtype is torch.bfloat16 and key not in nearest:
                low, high = beside(low, x.value - slack, -1), beside(high, x.value + slack, 1)
            within = (low <= stored) & (stored <= high) | (x.value.isnan() & stored.isnan())
            assert within.all(), f"{key} at step {t}: {stored[~within]}, not {x.value[~within]}"


@every_engine
@every_case
def test_float32(row, options, engine):
    steps = gradients(STEPS, torch.float32, SHAPES)
    check_every_step(row.make(small(), engine=engine, **options), steps)


@every_engine
@pytest.mark.parametrize("state", [None, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@every_row
def test_storage_formats(row, options, dtype, state, engine):
    # In float16 the squares of gradients must neither overflow nor vanish.
    steps = gradients(STEPS, dtype, SHAPES, decades=(-2, 1))
    o = row.make(small(dtype), engine=engine, state_dtype=state, **options)
    check_every_step(o, steps)
    (p,) = params(o)
    assert p.dtype is dtype
    states = {k: x.dtype for k, x in o.state[p].items() if x.shape == p.shape}
    assert set(states.values()) == {state or dtype}


@every_engine
@every_row
def test_clipping(row, options, engine):
    # Large enough for several chunks and threads, each with a partial sum of its own.
    shapes = ((70_000,),)
    o = row.make(tensors(torch.float32, shapes), engine=engine, max_grad_norm=1.0, **options)
    check_every_step(o, gradients(3, torch.float32, shapes))


@every_engine
def test_double_weights_with_short_state(engine):
    o = TABLE["adamw"].make(small(torch.float64), engine=engine, state_dtype=torch.bfloat16)
    check_every_step(o, gradients(STEPS, torch.float64, SHAPES))


@every_engine
@every_row
def test_an_error_of_a_hundred_thousandth_is_noticed(row, options, engine):
    o = row.make(small(), engine=engine, **{"lr": 0.01, **options})
    lr = o.param_groups[0]["lr"]
    o.register_step_pre_hook(lambda o, *_: o.param_groups[0].update(lr=lr * (1 + 1e-5)))
    o.register_step_post_hook(lambda o, *_: o.param_groups[0].update(lr=lr))
    with pytest.raises(AssertionError, match=f"at step {row.moves}:"):
        check_every_step(o, gradients(STEPS, torch.float32, SHAPES))


# Matrices: an element of a product is made of a row and a column, so it is measured against the
# largest element of its tensor; a word may magnify what its operands are off by (`Row.words`).
WORDS = [pytest.param(row, *row.words, id=row.name) for row in ROWS if row.words is not None]


@every_engine
@pytest.mark.parametrize(("row", "options", "magnified"), WORDS)
def test_matrix_words_in_float32(row, options, magnified, engine):
    shapes = ((6, 6), (4, 3, 5), (9, 2))
    o = row.make(tensors(torch.float32, shapes), engine=engine, **{"lr": 0.01, **options})
    for t, grads in enumerate(gradients(STEPS, torch.float32, shapes, decades=(-1, 1)), 1):
        doubles = [p.detach().double().requires_grad_() for p in params(o)]
        exact = row.make(doubles, engine="plain", **{"lr": 0.01, **options})
        exact.load_state_dict(o.state_dict())
        before = [p.detach().clone() for p in params(o)]
        step(o, grads)
        if t < row.moves:
            continue
        step(exact, [g.double() for g in grads])
        for p, q, w in zip(params(o), doubles, before, strict=True):
            moved = (q.detach() - w).abs().max()
            allowed = BOUND * (q.abs().max() + magnified * moved)
            assert (p - q).abs().max() <= allowed, f"w at step {t}"
            for key, x in exact.state[q].items():
                off = (o.state[p][key] - x).abs()
                assert (off <= magnified * BOUND * x.abs().max()).all(), f"{key} at step {t}"
