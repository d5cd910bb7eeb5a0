"""What constructors are given by mistake, and groups with keys that are no options."""

from __future__ import annotations

import copy
import fractions
import io

import numpy as np
import pytest
import torch
from torch import nn

from optim.table import every_row
from optim.training import tensors
from thalweg import optim
from thalweg.schedules import attach, cosine

MODEL = nn.Linear(3, 2)
USED_UP = MODEL.parameters()
list(USED_UP)

MISTAKES = {
    "a model": (MODEL, TypeError, r"not a model: write AdamW\(model\.parameters\(\)\)"),
    "uncalled": (MODEL.parameters, TypeError, r"write AdamW\(model\.parameters\(\)\), with par"),
    "uncalled names": (MODEL.named_parameters, TypeError, r"model\.named_parameters\(\)\), with"),
    "used up": (USED_UP, ValueError, "empty parameter list: an iterator, such as model.parame"),
    "a state dict": (MODEL.state_dict(), TypeError, r"looks like a state dict: write AdamW\(mode"),
    "one group": ({"params": tensors()}, TypeError, r"like one group: write AdamW\(\[group\]\)"),
    "a model in a group": ([{"params": MODEL}], TypeError, "not a model"),
    "uncalled in a group": ([{"params": MODEL.parameters}], TypeError, "is a function"),
    "used up in a group": ([{"params": USED_UP}], ValueError, "gives its parameters once"),
    "a filter used up": (filter(None, ()), ValueError, "empty parameter list: an iterator"),
    "no parameters": ([{"lr": 0.1}], ValueError, r"needs its parameters under 'params'; .*'lr'"),
}


@pytest.mark.parametrize(("params", "error", "says"), MISTAKES.values(), ids=MISTAKES)
def test_what_was_meant_is_said(params, error, says):
    with pytest.raises(error, match=says):
        optim.AdamW(params)


# Adafactor's eps is two numbers, which the others refuse.
OTHERS = [n for n in torch.optim.__all__ if n[0].isupper() and n not in ("Optimizer", "Adafactor")]


def test_what_torch_takes_is_taken():
    several = nn.ParameterList([torch.ones(2), torch.ones(3)])
    for params in (
        several,
        [{"params": several}],
        dict(MODEL.named_parameters()).values(),
        filter(lambda p: True, MODEL.parameters()),
        MODEL.named_parameters(),
        ({"params": MODEL.weight}, {"params": (MODEL.bias,)}),
    ):
        assert sum(len(g["params"]) for g in optim.AdamW(params).param_groups) == 2


@pytest.mark.parametrize("cls", [optim.SGD, torch.optim.SGD])
@pytest.mark.parametrize(("name", "meant"), [("adaptiv", "adaptive"), ("momentun", "momentum")])
def test_a_misspelt_key_in_a_group_of_sams_is_refused(cls, name, meant):
    group = {"params": MODEL.weight, name: 0.5}
    with pytest.raises(TypeError, match=f"'{name}', in a group; did you mean '{meant}'"):
        optim.SAM([dict(group)], cls)
    o = optim.SAM([{"params": MODEL.bias, "name": "mine", "rho": 0.1}], cls)
    with pytest.raises(TypeError, match=f"'{name}', in a group; did you mean '{meant}'"):
        o.add_param_group(dict(group))
    assert len(o.param_groups) == 1


@pytest.mark.parametrize("cls", [optim.SGD, torch.optim.SGD])
def test_sam_says_what_was_meant(cls):
    with pytest.raises(TypeError, match=r"write SAM\(model\.parameters\(\)\)"):
        optim.SAM(MODEL, cls)


@pytest.mark.parametrize("old", OTHERS)
def test_groups_of_another_optimizer_are_taken(old):
    made = getattr(torch.optim, old)([torch.ones(2, 2, requires_grad=True)])
    for cls in (optim.Adam, optim.Rprop, optim.SGD):
        assert cls(copy.deepcopy(made.param_groups)).param_groups[0]["lr"] == made.defaults["lr"]


def test_a_generator_may_be_empty_in_a_group():
    groups = [{"params": MODEL.parameters()}, {"params": (p for p in ())}]
    assert optim.AdamW(groups).param_groups[1]["params"] == []


MISSPELT = {
    "learning_rate": "lr", "LR": "lr", "weight_dacay": "weight_decay", "wd": "weight_decay",
    "decay": "weight_decay", "beta": "betas", "epsilon": "eps", "max_norm": "max_grad_norm",
    "cautius": "cautious", "amsgard": "amsgrad", "param_name": "param_names",
}  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_key_in_a_group_is_refused(name, meant):
    first, *_ = tensors()
    o = optim.AdamW([first])
    group = {"params": tensors(seed=1), name: 0.5}
    with pytest.raises(TypeError, match=f"no option '{name}', in a group; did you mean '{meant}'"):
        o.add_param_group(group)
    assert len(o.param_groups) == 1
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        optim.AdamW([group])


OWN = {
    "name": "head", "initial_lr": 0.1, "lr_scale": 0.5, "layer_name": "a", "lr_mult": 2.0,
    "max_lr": 0.1, "min_lr": 0.0, "base_momentum": 0.8, "max_momentum": 0.9, "swa_lr": 0.1,
    "weight_decay_scale": 0.0, "wd_mult": 0.0, "no_decay": True, "group_name": "x", "id": 3,
}  # fmt: skip


@every_row
def test_keys_of_ones_own_are_kept(row, options):
    o = row.make([{"params": tensors(), **OWN}], **options)
    assert {k: o.param_groups[0][k] for k in OWN} == OWN
    twin = row.make(tensors(), **options)
    twin.load_state_dict(o.state_dict())
    assert {k: twin.param_groups[0][k] for k in OWN} == OWN


def read(o):
    file = io.BytesIO()
    torch.save(o.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    "number", [np.float32, np.float64, np.array, np.float16, fractions.Fraction], ids=str
)
def test_numbers_that_a_checkpoint_cannot_be_read_with_become_pythons(number):
    first, second, *_ = tensors()
    group = {"params": [first], "lr": number(0.5), "eps": number(0.25), "lr_scale": number(2)}
    o = optim.AdamW([group], betas=(number(0.5), number(0.75)), max_grad_norm=number(1))
    o.add_param_group({"params": [second], "weight_decay": number(0.125)})
    saved = read(o)
    for where in (o.param_groups, saved["param_groups"]):
        assert [type(g[k]) for g in where for k in ("lr", "eps", "weight_decay")] == [float] * 6
        assert [(g["lr"], g["betas"]) for g in where] == [(0.5, (0.5, 0.75)), (1e-3, (0.5, 0.75))]
    assert type(saved["param_groups"][0]["lr_scale"]) in (float, int)


def test_flags_of_numpy_are_flags():
    o = optim.AdamW(tensors(), amsgrad=np.True_, max_grad_norm=np.int64(2))
    assert o.param_groups[0]["amsgrad"] is True
    assert type(o.param_groups[0]["max_grad_norm"]) is int


def test_what_a_scheduler_writes_is_saved_as_pythons():
    o = optim.SGD(tensors(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(o, lambda n: np.float64(0.5))
    assert type(read(o)["param_groups"][0]["lr"]) is float
    attach(o, cosine(9), lr=np.float32(0.5))
    assert type(read(o)["param_groups"][0]["initial_lr"]) is float


def test_several_numbers_are_refused_by_name():
    with pytest.raises(TypeError, match=r"lr must be a number, not array\(\[0.1, 0.2\]\)"):
        optim.SGD(tensors(), lr=np.array([0.1, 0.2]))
