"""Generators are found wherever they are held, set from a seed, and put back."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.analysis.untouched import LARGE, generators_kept, never_run

GLOBAL = torch.Generator().manual_seed(1)


def uses_a_global():
    return [torch.rand((), generator=GLOBAL) for _ in range(2)]


class Holder:
    def __init__(self, held):
        self.held = held

    def method(self):
        return self.held


def closure(held):
    def function():
        return held, later

    if held is None:
        later = 0  # it never gets a value: the function's cell for it is empty
    return function


def default(held):
    return lambda x=held, *, y=held: (x, y)


HOLDERS = {
    "itself": lambda g: g,
    "attribute": Holder,
    "deep": lambda g: Holder({"a": [(Holder(g),)]}),
    "method": lambda g: Holder(g).method,
    "closure": closure,
    "default": default,
    "partial": lambda g: functools.partial(print, 1, key=g),
    "cycle": lambda g: (lambda h: (setattr(h.held[0], "back", h), h)[1])(Holder([Holder(g)])),
}
DRAWS = {
    torch.Generator: lambda g: torch.rand(3, generator=g).tolist(),
    np.random.Generator: lambda g: g.normal(size=3).tolist(),
    np.random.RandomState: lambda g: g.normal(size=3).tolist(),
    random.Random: lambda g: [g.gauss(0, 1) for _ in range(3)],
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("how", HOLDERS)
def test_a_held_generator_is_seeded_and_put_back(how, kind):
    make = np.random.default_rng if kind is np.random.Generator else kind
    one, two, draw = make(), make(), DRAWS[kind]
    if kind is torch.Generator:
        one.manual_seed(5), two.manual_seed(6)
    holder = HOLDERS[how](one)
    with generators_kept(holder):
        expected = draw(one)
    draws = []
    for seed in (3, 3, 4):
        with generators_kept(holder) as reseed:
            reseed(seed)
            draws.append(draw(one))
    with pytest.raises(ZeroDivisionError), generators_kept(holder):
        _ = draw(one)[0] / 0
    assert draws[0] == draws[1] != draws[2]
    assert draw(one) == expected != draw(two)


def test_globals_that_a_function_names_are_found():
    before = GLOBAL.get_state()
    with generators_kept(uses_a_global):
        uses_a_global()
    assert torch.equal(before, GLOBAL.get_state())


def test_large_data_are_not_searched():
    g = torch.Generator()
    before = g.get_state()
    with generators_kept([g] * (LARGE + 1)):
        torch.rand(1, generator=g)
    assert not torch.equal(before, g.get_state())


def test_generators_of_cuda_devices_are_put_back(monkeypatch):
    """As torch holds them once a device has been used; before, there are none and none is made."""
    device = torch.Generator().manual_seed(2)
    monkeypatch.setattr(torch.cuda, "default_generators", (device,))
    before = device.get_state()
    with generators_kept() as reseed:
        reseed(0)
        torch.rand(3, generator=device)
    assert torch.equal(before, device.get_state())


def test_a_system_generator_has_no_state():
    with generators_kept(random.SystemRandom()) as reseed:
        reseed(0)


def test_a_model_is_not_run_meanwhile_but_others_are():
    model, other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    x = torch.ones(3, 2)
    with never_run(model):
        other(x)
        for module in (model, *model):
            with pytest.raises(ValueError, match="must not run the original model"):
                module(x)
    assert model[1].num_batches_tracked == 0
    model(x)
    assert model[1].num_batches_tracked == 1
