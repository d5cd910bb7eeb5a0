"""Checkpoints: torch's here, ours there, and each optimizer's own, in the middle of a run."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import thalweg.optim
from optim.table import every_engine, every_row, torch_case, torch_row
from optim.training import (
    Close,
    assert_same,
    contents,
    gradients,
    params,
    snapshot,
    step,
    tensors,
    train,
)

BEFORE, AFTER = 6, 6
COURSE = gradients(BEFORE + AFTER)


def saved(state_dict):
    """A state dict by way of a file, read as safely as torch can."""
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def twins(optimizer):
    """Fresh leaf tensors with the weights of an optimizer's."""
    return [p.detach().clone().requires_grad_() for p in params(optimizer)]


@every_engine
@torch_case
def test_torch_reads_ours(row, options, engine):
    ours = train(row.make(tensors(), engine=engine, **options), COURSE[:BEFORE])
    theirs = row.theirs(twins(ours), **{**options, "lr": 123.0})
    theirs.load_state_dict(saved(ours.state_dict()))
    close = Close()
    for grads in COURSE[BEFORE:]:
        close(step(ours, grads), step(theirs, grads))


@every_engine
@torch_case
def test_torchs_are_read(row, options, engine):
    theirs = train(row.theirs(tensors(), **options), COURSE[:BEFORE])
    ours = row.make(twins(theirs), engine=engine, **{**options, "lr": 123.0})
    ours.load_state_dict(saved(theirs.state_dict()))
    close = Close()
    for grads in COURSE[BEFORE:]:
        close(step(ours, grads), step(theirs, grads))


@every_engine
@torch_case
def test_state_has_torchs_keys_and_shapes(row, options, engine):
    ours = train(row.make(tensors(), engine=engine, **options), COURSE[:2])
    theirs = train(row.theirs(tensors(), **options), COURSE[:2])
    for p, q in zip(params(ours), params(theirs), strict=True):
        there = {k: x for k, x in theirs.state[q].items() if x is not None}
        assert ours.state[p].keys() == there.keys()
        assert all(ours.state[p][k].shape == x.shape for k, x in there.items())
    group, other = ours.param_groups[0], theirs.param_groups[0]
    assert {k: group[k] for k in other if k != "foreach"} == {
        k: v for k, v in other.items() if k not in ("foreach", "params")
    } | {"params": group["params"]}


@every_engine
@every_row
@pytest.mark.parametrize("stored", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("at", [0, 1, 7])
def test_resuming_changes_no_bit(row, options, at, stored, engine):
    options = {**options, "engine": engine, "state_dtype": stored}
    whole = train(row.make(tensors(), **options), COURSE[:at])
    resumed = row.make(twins(whole), **options)
    resumed.load_state_dict(saved(whole.state_dict()))
    train(whole, COURSE[at:])
    assert_same(contents(whole), contents(train(resumed, COURSE[at:])))


@every_engine
@every_row
def test_going_back_to_a_checkpoint_changes_no_bit(row, options, engine):
    o = train(row.make(tensors(), engine=engine, **options), COURSE[:3])
    weights, checkpoint = twins(o), copy.deepcopy(o.state_dict())
    before = copy.deepcopy(checkpoint)
    once = snapshot(train(o, COURSE[3:]))
    with torch.no_grad():
        for p, w in zip(params(o), weights, strict=True):
            p.copy_(w)
    o.load_state_dict(checkpoint)
    assert_same(once, snapshot(train(o, COURSE[3:])))
    # What was loaded is a copy: training on does not write into the checkpoint.
    for i, state in checkpoint["state"].items():
        assert all(torch.equal(x, before["state"][i][k]) for k, x in state.items())


@every_engine
@every_row
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_of_an_optimizer_goes_on_alone(row, options, copied, engine):
    o = train(row.make(tensors(), engine=engine, **options), COURSE[:3])
    other = copied(o)
    assert not {id(p) for p in params(o)} & {id(p) for p in params(other)}
    assert_same(contents(o), contents(other))
    before = snapshot(other)
    train(o, COURSE[3:])
    assert_same(before, snapshot(other))
    assert_same(contents(o), contents(train(other, COURSE[3:])))


@every_engine
@torch_row
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_loading_keeps_the_declared_state_dtype(row, options, stored, engine):
    shapes = ((4,), (2, 3))
    steps = gradients(4, torch.float32, shapes, (-1, 1))
    theirs = train(row.theirs(tensors(torch.float32, shapes), **options), steps[:3])
    narrow = [p.bfloat16().detach().requires_grad_() for p in params(theirs)]
    ours = row.make(narrow, engine=engine, state_dtype=stored, **options)
    ours.load_state_dict(theirs.state_dict())
    for p, q in zip(narrow, params(theirs), strict=True):
        for key, x in theirs.state[q].items():
            if x.dim() == 0:  # the step, and what else there is one of: in double precision
                assert ours.state[p][key] == x.double()
            else:
                # Straight from the checkpoint, not by way of the parameter's dtype.
                dtype = torch.float32 if key in row.shaped else stored
                assert torch.equal(ours.state[p][key], x.to(dtype))
                assert ours.state[p][key].dtype is dtype
    step(ours, [g.bfloat16() for g in steps[3]])
    states = [x for p in narrow for key, x in ours.state[p].items() if key not in row.shaped]
    assert all(x.dtype is stored for x in states if x.dim())


@every_engine
@every_row
def test_how_a_step_is_executed_is_not_loaded(row, options, engine):
    other = {"plain": "fused", "fused": "plain"}[engine]
    saved_by = row.make(tensors(), engine=other, check_finite="skip", **options)
    o = row.make(tensors(), engine=engine, state_dtype=torch.float32, **options)
    o.load_state_dict(train(saved_by, COURSE[:1]).state_dict())
    (group,) = o.param_groups
    assert (group["engine"], group["check_finite"]) == (engine, False)
    assert group["state_dtype"] is torch.float32


@every_row
def test_options_of_ours_are_loaded(row, options):
    saved_by = row.make(tensors(), max_grad_norm=0.5, **options)
    # Only the rate is given: everything else must come from the checkpoint.
    o = row.make(tensors(), **{k: v for k, v in options.items() if k == "lr"})
    o.load_state_dict(saved_by.state_dict())
    assert o.param_groups[0]["max_grad_norm"] == 0.5
    assert {k: o.param_groups[0][k] for k in options} == options


def test_a_checkpoint_of_another_algorithm_is_refused_and_nothing_changes():
    (p,) = tensors(shapes=((3,),))
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones_like(p)
    sgd.step()
    o = thalweg.optim.AdamW(tensors(shapes=((3,),)))
    before = snapshot(o)
    with pytest.raises(ValueError, match=r"'momentum_buffer', which AdamW does not keep .*exp_avg"):
        o.load_state_dict(sgd.state_dict())
    assert_same(before, snapshot(o))


@pytest.mark.parametrize("saved_by", ["Adam", "AdamW"])
@pytest.mark.parametrize("loaded_by", ["Adam", "AdamW"])
def test_adam_and_adamw_decay_as_torchs_after_each_others_checkpoints(saved_by, loaded_by):
    def run(module):
        first = getattr(module, saved_by)(tensors(), lr=0.01, weight_decay=0.3)
        train(first, COURSE[:2])
        second = getattr(module, loaded_by)(twins(first), lr=0.5, weight_decay=0.1)
        second.load_state_dict(saved(first.state_dict()))
        return train(second, COURSE[2:6])

    ours, theirs = run(thalweg.optim), run(torch.optim)
    Close()(ours, theirs)
    (group,), (other,) = ours.param_groups, theirs.param_groups
    assert group["decoupled_weight_decay"] is other["decoupled_weight_decay"]


def test_adamw_has_no_other_decay():
    with pytest.raises(ValueError, match="decoupled_weight_decay must be one of True, not False"):
        thalweg.optim.AdamW([{"params": tensors(), "decoupled_weight_decay": False}])


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@every_engine
def test_a_parameter_without_state_is_not_in_the_checkpoint(options, engine):
    ours = train(thalweg.optim.SGD(tensors(), lr=0.1, engine=engine, **options), COURSE[:2])
    theirs = train(torch.optim.SGD(tensors(), lr=0.1, **options), COURSE[:2])
    assert ours.state_dict()["state"].keys() == theirs.state_dict()["state"].keys()
    assert len(ours.state) == len(theirs.state)
