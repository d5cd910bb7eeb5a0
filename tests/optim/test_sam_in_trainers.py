"""SAM where somebody else calls it: trainers that accumulate gradients, and wrap optimizers."""

from __future__ import annotations

import copy

import pytest
import torch

from optim.table import every_engine
from optim.test_sam import closure, loss, start
from optim.training import assert_same, contents, params
from optim.wrapped import wrapped
from thalweg import optim
from thalweg.optim import SAM


@every_engine
@pytest.mark.parametrize("zeroed", [True, False])
def test_a_closure_that_adds_to_other_micro_batches_is_refused(zeroed, engine):
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    o = SAM([w], lr=1.0, rho=0.0, engine=engine)
    w[0].backward()  # the first micro-batch; its gradient would be missing in the second evaluation

    def last():
        if zeroed:
            o.zero_grad(set_to_none=False)
        w[1].backward()
        return 0.0

    if not zeroed:
        with pytest.raises(RuntimeError, match=r"has added to gradients .* all micro-batches"):
            o.step(last)
        assert w.tolist() == [0.0, 0.0]
        o.zero_grad()
        for call in (o.first_step, o.second_step):
            w[0].backward()
            w[1].backward()
            call(zero_grad=True)
        assert w.tolist() == [-1.0, -1.0]
        return
    for _ in range(2):  # what the step before has left is no micro-batch
        o.step(last)
    assert w.tolist() == [0.0, -2.0]


@every_engine
def test_a_closure_that_adds_to_what_the_last_step_left_is_torchs_habit(engine):
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    o = SAM([w], lr=1.0, rho=0.0, engine=engine)

    def forgetful():
        w.sum().backward()
        return 0.0

    for _ in range(3):
        o.step(forgetful)
    assert w.tolist() == [-3.0, -3.0]


@every_engine
def test_where_all_gradients_are_zero_a_step_needs_no_second_evaluation(engine):
    o = SAM(start(), lr=0.5, momentum=0.9, weight_decay=0.1, engine=engine)
    base = optim.SGD(start(), lr=0.5, momentum=0.9, weight_decay=0.1, engine=engine)
    for x in (o, base):
        for p in params(x):
            p.grad = torch.zeros_like(p)
        x.step()
    assert_same(contents(base), contents(o))


@every_engine
def test_a_closure_after_first_step_is_the_second_evaluation(engine):
    one, two = (SAM(start(), lr=0.01, engine=engine) for _ in range(2))
    one.step(closure(one, 0))
    closure(two, 0)()
    two.first_step(zero_grad=True)
    assert two.step(closure(two, 0)) is not None
    assert_same(contents(one), contents(two))


@every_engine
def test_two_calls_through_a_wrapper_are_one_step(engine):
    one, two = (SAM(start(), lr=0.01, momentum=0.9, engine=engine) for _ in range(2))
    outside = wrapped(two)
    for t in range(3):
        one.step(closure(one, t))
        closure(two, t)()
        outside.first_step(zero_grad=True)
        loss(params(two), t).backward()
        outside.second_step(zero_grad=True)
        assert all(p.grad is None for p in params(two))
    assert_same(contents(one), contents(two))
    # Its step without a closure stands for one that does nothing.
    closure(two, 3)()
    with pytest.raises(RuntimeError, match=r"left no gradients.* call first_step\(\) and second"):
        outside.step()
    assert_same(contents(one), contents(two))


@every_engine
@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_closure_that_skips_its_batch_makes_no_step(evaluation, engine):
    """As with torch's: trainers zero the gradients and do not go backward where a training step
    gives None, or where they only compute statistics."""
    o = SAM(start(), lr=0.01, momentum=0.9, engine=engine)
    o.step(closure(o, 0))
    before, calls = contents(o), []

    def skips():
        calls.append(1)
        o.zero_grad()
        return loss(params(o)).detach() if len(calls) == evaluation else closure(o, 1)()

    assert o.step(skips) is not None
    assert len(calls) == evaluation
    assert_same(before, contents(o))
    o.step(closure(o, 1))
    o.first_step()  # the step has been completed


@pytest.mark.parametrize("inner", [optim.AdamW, torch.optim.AdamW])
def test_groups_that_a_trainer_has_replaced_are_loaded_into_and_added_to(inner):
    """Lightning's finetuning callback builds the groups anew before it loads the checkpoint."""
    full, again = (SAM(start(), inner, lr=0.01) for _ in range(2))
    more = [torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    full.add_param_group({"params": more[:1], "lr": 0.5})
    again.param_groups = [*again.param_groups]
    again.add_param_group({"params": more[1:], "rho": 0.5})
    assert again.param_groups is again.base_optimizer.param_groups
    assert again.param_groups[1]["betas"] == (0.9, 0.999)
    again.param_groups = [
        {k: x for k, x in g.items() if k != "params"} | {"params": g["params"]}
        for g in again.param_groups
    ]
    full.step(closure(full, 0))
    again.load_state_dict(copy.deepcopy(full.state_dict()))  # torch's keeps what it is given
    assert [g["lr"] for g in again.base_optimizer.param_groups] == [0.01, 0.5]
    assert again.param_groups[1]["rho"] == 0.05
    for p, q in zip(params(full), params(again), strict=True):
        q.data.copy_(p)
    for o in (full, again):
        o.step(closure(o, 1))
    assert_same(contents(full), contents(again))
