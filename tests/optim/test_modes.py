"""Autograd's modes, threads, and parameters listed twice: as with torch."""

from __future__ import annotations

import pytest
import torch

from optim.table import TABLE, every_engine, every_row, torch_row
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train
from thalweg.engines import sweep

COURSE = gradients(4)


@every_engine
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@every_row
def test_steps_in_any_mode(row, options, mode, engine):
    inside, outside = (row.make(tensors(), engine=engine, **options) for _ in range(2))
    for grads in COURSE:
        with mode():
            step(inside, grads)
        step(outside, grads)
        assert all(p.requires_grad and p.is_leaf for p in params(inside))
    assert_same(contents(outside), contents(inside))


@every_engine
@every_row
def test_autocast_is_for_models(row, options, engine):
    dtype = torch.float32  # of others autocast takes no notice
    inside, outside = (row.make(tensors(dtype), engine=engine, **options) for _ in range(2))
    for grads in gradients(4, dtype):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            step(inside, grads)
        step(outside, grads)
    assert_same(contents(outside), contents(inside))


@every_engine
@every_row
def test_no_step_is_recorded_by_autograd(row, options, engine):
    o = train(row.make(tensors(), engine=engine, **options), COURSE)
    assert all(x.grad_fn is None for p in params(o) for x in (p, *o.state[p].values()))
    assert not any(x.requires_grad for p in params(o) for x in o.state[p].values())


@every_engine
@torch_row
def test_inference_parameters_do_as_in_torch(row, options, engine):
    def outcome(make, **more):
        with torch.inference_mode():
            p = torch.ones(3, dtype=torch.float64)
            p.grad = torch.full((3,), 0.5, dtype=torch.float64)
            o = make([p], **options, **more)
            o.step()
        return o

    Close()(outcome(row.make, engine=engine), outcome(row.theirs))


@every_engine
@every_row
def test_backward_after_a_step_notices_that_weights_were_changed(row, options, engine):
    """In-place writes count in a tensor's version, or autograd would use new weights silently."""
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    o = row.make([p], engine=engine, **options)
    loss = (p * p).sum()
    step(o, [torch.ones(3, dtype=torch.float64)])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@every_row
def test_a_parameter_twice_in_a_group_warns_as_torch_does(row, options):
    p, q = tensors(shapes=((3,), (2,)))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        row.make([p, q, p], **options)


@every_row
def test_a_parameter_in_two_groups_is_refused_as_by_torch(row, options):
    p, q = tensors(shapes=((3,), (2,)))
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        row.make([{"params": [p, q]}, {"params": [p]}], **options)
    with pytest.raises(ValueError, match="non-leaf"):
        row.make([p * 2], **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_torchs_number_of_threads_is_respected(threads, monkeypatch):
    o = TABLE["adamw"].make(tensors(torch.float32, ((100_000,),)), engine="fused")
    told = []
    tell = sweep.Sweep.work_on
    monkeypatch.setattr(
        sweep.Sweep, "work_on", lambda plan, n, team: (told.append(n), tell(plan, n, team))
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        train(o, gradients(1, torch.float32, ((100_000,),)))
    finally:
        torch.set_num_threads(before)
    assert told == [threads]
