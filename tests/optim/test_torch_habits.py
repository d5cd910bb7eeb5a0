"""What a torch.optim.Optimizer does beside its arithmetic: groups, closures, hooks, scaling."""

from __future__ import annotations

from collections import ChainMap
from types import SimpleNamespace

import pytest
import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from optim.table import every_engine, every_row, torch_row
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train
from thalweg import optim

COURSE = gradients(8)


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_what_is_torchs_own_is_handed_on(name):
    assert getattr(optim, name) is getattr(torch.optim, name)
    assert name in optim.__all__


@every_engine
@torch_row
def test_groups_have_their_own_options(row, options, engine):
    def groups():
        # Group by group another set of options of the table's, so that forms of the rule mix too.
        sets = [o for o in row.options if o][:: max(1, len(row.options) // 4)]
        return [{"params": [p], **o} for p, o in zip(tensors(), sets, strict=False)]

    ours = row.make(groups(), engine=engine)
    # An optimizer per group, for torch's Adagrad ignores a group's initial_accumulator_value.
    theirs = [row.theirs(**group) for group in groups()]
    close = Close()
    for grads in COURSE:
        for o, g in zip(theirs, grads, strict=True):
            step(o, [g])
        state = ChainMap(*(o.state for o in theirs))
        close(
            step(ours, grads),
            SimpleNamespace(param_groups=[o.param_groups[0] for o in theirs], state=state),
        )


@every_engine
@torch_row
def test_groups_may_be_added_in_the_middle(row, options, engine):
    late = ((2, 2),)
    ours, theirs = row.make(tensors(), engine=engine, **options), row.theirs(tensors(), **options)
    close = Close()
    for i, (grads, more) in enumerate(zip(COURSE, gradients(8, shapes=late), strict=True)):
        if i == 3:
            for o in (ours, theirs):
                o.add_param_group({"params": tensors(shapes=late, seed=9), "lr": 0.2})
        grads = (*grads, *more) if i >= 3 else grads
        close(step(ours, grads), step(theirs, grads))


@every_engine
@torch_row
def test_options_may_be_changed_between_steps(row, options, engine):
    ours, theirs = row.make(tensors(), engine=engine, **options), row.theirs(tensors(), **options)
    close = Close()
    for grads, lr, decay in zip(COURSE, (1, 2, 0, 3, 3, 1, 2, 1), (0, 0, 1, 1, 0, 0, 1, 0),
                                strict=True):  # fmt: skip
        for o in (ours, theirs):
            o.param_groups[0].update(lr=0.01 * lr, weight_decay=0.1 * decay)
        close(step(ours, grads), step(theirs, grads))


@every_engine
@every_row
def test_a_closure_is_called_once_with_gradients_on_and_its_loss_returned(row, options, engine):
    (p,) = tensors(shapes=((5,),))
    o = row.make([p], engine=engine, **options)
    calls = []

    def closure():
        assert torch.is_grad_enabled()
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        calls.append(loss)
        return loss

    with torch.no_grad():
        assert o.step(closure) is calls[0]
    assert len(calls) == 1
    assert o.step() is None


@every_engine
@every_row
def test_hooks_are_called_in_torchs_order(row, options, engine):
    o = row.make(tensors(), engine=engine, **options)
    seen = []
    note = lambda name: lambda *a: seen.append((name, a[0] is o))  # noqa: E731
    handles = [
        o.register_step_post_hook(note("post")),
        o.register_step_pre_hook(note("pre")),
        register_optimizer_step_pre_hook(note("global pre")),
        register_optimizer_step_post_hook(note("global post")),
        o.register_state_dict_pre_hook(note("save")),
        o.register_state_dict_post_hook(note("saved")),
        o.register_load_state_dict_pre_hook(note("load")),
        o.register_load_state_dict_post_hook(note("loaded")),
    ]
    step(o, COURSE[0])
    o.load_state_dict(o.state_dict())
    for h in handles:
        h.remove()
    step(o, COURSE[1])
    o.load_state_dict(o.state_dict())
    names = ["global pre", "pre", "post", "global post", "save", "saved", "load", "loaded"]
    assert seen == [(n, True) for n in names]


@every_engine
@every_row
def test_a_step_pre_hook_may_change_the_gradients(row, options, engine):
    hooked, plain = (row.make(tensors(), engine=engine, **options) for _ in range(2))

    def double(o, args, kwargs):
        for p in params(o):
            p.grad = 2 * p.grad

    hooked.register_step_pre_hook(double)
    train(hooked, COURSE)
    train(plain, [[2 * g for g in grads] for grads in COURSE])
    assert_same(contents(plain), contents(hooked))


@every_engine
@torch_row
def test_load_hooks_see_and_change_what_is_loaded(row, options, engine):
    theirs = train(row.theirs(tensors(), **options), COURSE[:2])
    # A dtype that torch would not restore: the last hook must see what is restored beside torch.
    ours = row.make(tensors(), engine=engine, state_dtype=torch.float32, **options)

    def before(o, given):
        given = {**given, "param_groups": [{**g, "lr": 0.5} for g in given["param_groups"]]}
        given["state"] = {i: {k: 2 * x for k, x in s.items()} for i, s in given["state"].items()}
        return given

    seen = {}
    ours.register_load_state_dict_pre_hook(before)
    ours.register_load_state_dict_post_hook(lambda o: seen.update(contents(o)))
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["lr"] == 0.5
    assert_same(contents(ours), seen)
    for key, x in contents(theirs).items():
        if key[1] != "w":
            assert torch.equal(seen[key], (2 * x).to(seen[key].dtype))


@every_engine
@every_row
@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(row, options, to_none, engine):
    o = row.make(tensors(), engine=engine, **options)
    step(o, [g.clone() for g in COURSE[0]])
    o.zero_grad(set_to_none=to_none)
    assert all(p.grad is None if to_none else not p.grad.any() for p in params(o))


@every_engine
@torch_row
def test_named_parameters_keep_their_names_in_checkpoints(row, options, engine):
    names = ["a", "b.weight", "c", "d"]
    o = row.make(zip(names, tensors(), strict=True), engine=engine, **options)
    train(o, COURSE[:2])
    assert o.state_dict()["param_groups"][0]["param_names"] == names
    theirs = row.theirs(zip(names, tensors(), strict=True), **options)
    theirs.load_state_dict(o.state_dict())
    assert theirs.param_groups[0]["param_names"] == names


@every_engine
@torch_row
def test_gradient_scaling_unscales_and_skips_as_with_torch(row, options, engine):
    def scaled(optimizer):
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        scales = []
        for i, grads in enumerate(COURSE):
            optimizer.zero_grad()
            for p, g in zip(params(optimizer), grads, strict=True):
                scaler.scale((p * g).sum()).backward()
            if i == 4:
                params(optimizer)[1].grad[0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        return scales

    shapes = ((), (7,), (3, 5), (0, 4))
    ours = row.make(tensors(shapes=shapes), engine=engine, **options)
    theirs = row.theirs(tensors(shapes=shapes), **options)
    assert scaled(ours) == scaled(theirs)
    Close()(ours, theirs)


@every_engine
@every_row
def test_a_profiler_sees_the_step(row, options, engine):
    o = row.make(tensors(), engine=engine, **options)
    step(o, COURSE[0])
    with torch.profiler.profile() as seen:
        o.step()
    assert any(e.key == f"Optimizer.step#{type(o).__name__}.step" for e in seen.key_averages())


@every_engine
@torch_row
def test_weights_are_averaged(row, options, engine):
    def averaged(make, **more):
        model = torch.nn.Linear(3, 2, dtype=torch.float64)
        with torch.no_grad():
            model.weight.fill_(0.5)
            model.bias.fill_(0.1)
        mean = torch.optim.swa_utils.AveragedModel(model)
        o = make(model.parameters(), **options, **more)
        for grads in gradients(5, shapes=((2, 3), (2,))):
            step(o, grads)
            mean.update_parameters(model)
        return list(mean.parameters())

    for p, q in zip(averaged(row.make, engine=engine), averaged(row.theirs), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
