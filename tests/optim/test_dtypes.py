"""Weights, gradients and state in any combination of dtypes; models that change theirs."""

from __future__ import annotations

import itertools

import pytest
import torch

from optim.table import TABLE, every_engine, fullest
from optim.training import gradients, tensors
from thalweg import optim

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((40,),)
# Elementwise state, several passes over weights that are part of the state, state of another shape.
ALGORITHMS = ("adamw", "prodigy", "adafactor")
CHANGES = list(itertools.permutations(DTYPES, 2))


def one(dtype):
    return tensors(dtype, SHAPES)[0]


def mixed(engine, param, gradient, state):
    """Three steps of AdamW whose three dtypes are these; weights and state."""
    p = one(param)
    p.grad_dtype = gradient
    o = optim.AdamW([p], lr=0.01, engine=engine)
    for (g,) in gradients(3, gradient, SHAPES, decades=(-1, 1)):
        p.grad = g
        if not o.state[p]:  # as it is after the model's dtype has changed
            o.state[p] = {k: torch.zeros(p.shape, dtype=state) for k in ("exp_avg", "exp_avg_sq")}
        o.step()
    return {"w": p.detach(), **o.state[p]}


@pytest.mark.parametrize("state", DTYPES, ids=str)
@pytest.mark.parametrize("gradient", DTYPES, ids=str)
@pytest.mark.parametrize("param", DTYPES, ids=str)
def test_every_combination(param, gradient, state):
    plain, fused = (mixed(e, param, gradient, state) for e in ("plain", "fused"))
    assert plain.keys() == fused.keys()
    for key, x in plain.items():
        y = fused[key]
        assert x.dtype is y.dtype is {"w": param, "step": torch.float64}.get(key, state)
        # Computed in float32 unless the weights are double, then rounded once.
        wide = 1e-13 if param is torch.float64 else 1e-6
        torch.testing.assert_close(x, y, rtol=max(wide, torch.finfo(x.dtype).eps), atol=wide)


@every_engine
def test_gradients_wider_than_their_weights_are_not_rounded(engine):
    # In bfloat16 all of these are 1, and their differences nothing.
    g = torch.linspace(1, 1.003, 40)
    p = torch.zeros(40, dtype=torch.bfloat16, requires_grad=True)
    p.grad_dtype = torch.float32
    o = optim.SGD([p], momentum=0.5, state_dtype=torch.float32, engine=engine)
    p.grad = g
    o.step()
    assert torch.equal(o.state[p]["momentum_buffer"], g)


def test_gradients_whose_dtype_changes_between_steps():
    plain, fused = one(torch.bfloat16), one(torch.bfloat16)
    for p, engine in ((plain, "plain"), (fused, "fused")):
        o = optim.SGD([p], momentum=0.5, state_dtype=torch.float32, engine=engine)
        for dtype in (torch.bfloat16, torch.float32, torch.float64, torch.float16, torch.float32):
            p.grad = None
            p.grad_dtype = dtype
            p.grad = torch.linspace(-1, 1.003, 40).to(dtype)
            o.step()
    assert torch.equal(plain, fused)


def test_gradients_of_several_dtypes_in_one_group():
    found = {}
    for engine in ("plain", "fused"):
        params = [one(torch.bfloat16) for _ in DTYPES]
        o = optim.SGD(params, momentum=0.5, state_dtype=torch.float32, engine=engine)
        for k in range(3):
            for p, dtype in zip(params, DTYPES, strict=True):
                if k == 0:
                    p.grad_dtype = dtype
                p.grad = torch.linspace(-1, 1.003 + k, 40).to(dtype)
            o.step()
        found[engine] = params
    for x, y in zip(*found.values(), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=str)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_model_cast_between_steps(name, before, after):
    row = TABLE[name]
    found = {}
    for engine in ("plain", "fused"):
        model = torch.nn.Linear(6, 5).to(before)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
        o = row.make(model.parameters(), engine=engine, **fullest(row))
        for k, dtype in itertools.product(range(2), (before, after)):
            model.to(dtype)
            for i, p in enumerate(model.parameters()):
                p.grad = None
                p.grad = (torch.arange(p.numel()) * (3 + i) % 7 - 3).view_as(p).to(dtype) / (k + 1)
            o.step()
        found[engine] = [p.detach() for p in model.parameters()]
        assert all(p.dtype is after and p.isfinite().all() for p in found[engine])
    coarse = 64 * max(torch.finfo(d).eps for d in (before, after))
    for x, y in zip(*found.values(), strict=True):
        torch.testing.assert_close(x, y, rtol=coarse, atol=coarse)
