"""What `memory()` tells before anything is allocated is what is allocated then."""

from __future__ import annotations

import pytest
import torch

from optim.table import every_case, every_engine, every_row
from optim.training import assert_same, gradients, params, snapshot, tensors, train
from thalweg import optim


def allocated(optimizer):
    """Bytes of the state that there is, by parameter and name."""
    return {
        p: {k: x.numel() * x.element_size() for k, x in optimizer.state[p].items()}
        for p in params(optimizer)
    }


@every_engine
@pytest.mark.parametrize("stored", [None, torch.bfloat16], ids=str)
@every_row
def test_is_what_is_allocated(row, options, stored, engine):
    o = row.make(tensors(torch.float32), engine=engine, state_dtype=stored, **options)
    told = o.memory().parameters
    train(o, gradients(2, torch.float32))
    assert told == allocated(o) == o.memory().parameters


@every_case
def test_is_right_for_every_option(row, options):
    o = row.make(tensors(), **options)
    told = o.memory()
    train(o, gradients(1))
    found = allocated(o)
    assert told.parameters == found
    assert told.total == sum(sum(x.values()) for x in found.values())
    names = {name for x in found.values() for name in x}
    assert told.states == {n: sum(x.get(n, 0) for x in found.values()) for n in names}


@every_row
def test_asking_allocates_nothing(row, options):
    o = row.make(tensors(), **options)
    before = snapshot(o)
    state = {p: dict(s) for p, s in o.state.items()}
    o.memory()
    assert_same(before, snapshot(o))
    assert {p: dict(s) for p, s in o.state.items()} == state


def test_it_speaks_of_groups_complex_numbers_and_frozen_parameters():
    real, pair = torch.ones(5, requires_grad=True), torch.ones(3, dtype=torch.complex128)
    short = {"params": [real], "state_dtype": torch.bfloat16}
    told = optim.Adam([short, {"params": [pair], "amsgrad": True}]).memory()
    assert told.parameters[real] == {"step": 8, "exp_avg": 10, "exp_avg_sq": 10}
    assert told.parameters[pair] == {
        "step": 8, "exp_avg": 48, "exp_avg_sq": 48, "max_exp_avg_sq": 48,
    }  # fmt: skip
    assert told.total == 28 + 152
    assert str(told).splitlines()[-1].split() == ["total", "180", "bytes", "22.5", "per", "weight"]
