"""Clipping as torch.nn.utils.clip_grad_norm_ does, but gradients are left as they were."""

from __future__ import annotations

import pytest
import torch

from optim.table import every_engine, every_row
from optim.training import Close, bits, gradients, params, step, tensors

# The gradients' norm is about 100: clipped at each step, at some, at none.
NORMS = (0.0, 0.5, 100.0, 1e6)
COURSE = gradients(5)
SPLITS = {
    "one group, plain": lambda ps: [{"params": ps, "engine": "plain"}],
    "one group, fused": lambda ps: [{"params": ps, "engine": "fused"}],
    "groups on both engines": lambda ps: [
        {"params": ps[:2], "engine": "plain"},
        {"params": ps[2:], "engine": "fused", "weight_decay": 0.2},
    ],
    "groups with forms of their own": lambda ps: [
        {"params": ps[:1], "engine": "fused"},
        {"params": ps[1:], "engine": "fused", "weight_decay": 0.3},
    ],
}


def clipped(optimizer, grads, norm):
    for p, g in zip(params(optimizer), grads, strict=True):
        p.grad = None if g is None else g.clone()
    torch.nn.utils.clip_grad_norm_(params(optimizer), norm)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@every_row
def test_clips_as_torch_does(row, options, split, norm):
    def groups():
        return [{k: v for k, v in g.items() if k != "engine"} for g in split(tensors())]

    ours = row.make(split(tensors()), max_grad_norm=norm, **options)
    theirs, close = row.theirs(groups(), **options), Close(row.tolerance)
    for i, grads in enumerate(COURSE):
        grads = [g if (i + k) % 3 or i == 0 else None for k, g in enumerate(grads)]
        close(step(ours, grads), clipped(theirs, grads, norm))


@every_engine
@pytest.mark.parametrize("norm", [None, 0.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@every_row
def test_gradients_are_left_as_they_were(row, options, dtype, norm, engine):
    o = row.make(tensors(dtype), engine=engine, max_grad_norm=norm, **options)
    for grads in gradients(3, dtype):
        given = [g.clone() for g in grads]
        places = [g.data_ptr() for g in given]
        step(o, given)
        for p, g, mine, place in zip(params(o), grads, given, places, strict=True):
            assert p.grad is mine
            assert mine.data_ptr() == place
            assert torch.equal(bits(g), bits(mine))


@pytest.mark.parametrize("name", ["max_grad_norm", "check_finite"])
@every_row
def test_what_speaks_of_all_parameters_cannot_differ_by_group(row, options, name):
    value = {"max_grad_norm": 2.0, "check_finite": "skip"}[name]
    a, b, c, d = tensors()
    with pytest.raises(ValueError, match=f"{name} speaks of all parameters"):
        row.make([{"params": [a, b]}, {"params": [c, d], name: value}], **options)
    o = row.make([a, b], **options)
    with pytest.raises(ValueError, match=f"{name} speaks of all parameters"):
        o.add_param_group({"params": [c, d], name: value})
    assert len(o.param_groups) == 1
