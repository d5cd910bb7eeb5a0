"""Averaged weights where a trainer sets a mode by the flag alone, or wraps the optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from optim.table import every_engine
from optim.training import assert_same, contents, gradients, step, tensors
from optim.wrapped import wrapped
from thalweg import optim

COURSE = gradients(6)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def loss(self, x):  # as Lightning's training_step: the outermost forward is not called
        return self.inside(x).square().mean()


def trained(follows=True):
    torch.manual_seed(0)
    net = Net()
    given = {"model": net} if follows else {}
    o = optim.ScheduleFreeAdamW(net.parameters(), lr=0.1, **given)
    for _ in range(3):
        train(net, o)
    return net, o


def train(net, o):
    o.zero_grad()
    net.loss(torch.randn(8, 3, generator=torch.Generator().manual_seed(1))).backward()
    o.step()


def flags(net, mode):
    for module in net.modules():
        module.training = mode


def test_a_mode_that_is_set_by_the_flag_is_followed_before_the_weights_are_used():
    net, o = trained()
    other, same = trained(follows=False)
    x = torch.randn(5, 3)
    net.eval()
    same.eval()
    assert torch.equal(net.loss(x), other.loss(x))
    flags(net, True)  # what Lightning does after validation
    same.train()
    train(net, o)
    train(other, same)
    assert_same(contents(same), contents(o))
    flags(net, False)
    same.eval()
    assert torch.equal(net.loss(x), other.loss(x))
    assert not o.training


@pytest.mark.parametrize("watched", [False, True])
def test_a_mode_that_is_set_by_the_flag_is_followed_before_a_closure_is_called(watched):
    net, o = trained()
    other, same = trained(follows=False)
    if watched:
        o.register_step_pre_hook(lambda *_: None)

    def closure(net, o):
        o.zero_grad()
        loss = net.loss(torch.ones(2, 3))
        loss.backward()
        return loss

    net.eval()
    flags(net, True)
    with pytest.raises(RuntimeError, match="hold the averaged weights"):
        o.step()  # on gradients that were taken there
    o.step(lambda: closure(net, o))
    same.step(lambda: closure(other, same))
    assert_same(contents(same), contents(o))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_a_checkpoint_of_the_other_mode_follows_the_model_when_it_is_run(mode, first):
    """As Lightning saves after a validation, and loads into a model that is training already."""
    net, o = trained()
    twin, follower = trained()
    twin.train(mode)
    net.train(not mode)
    parts = [lambda: twin.load_state_dict(saved[0]), lambda: follower.load_state_dict(saved[1])]
    saved = copy.deepcopy((net.state_dict(), o.state_dict()))
    for load in parts if first == "model" else parts[::-1]:
        load()
    assert follower.training is not mode  # until then the weights are those that were saved
    twin.loss(torch.ones(2, 3))
    net.train(mode)
    assert_same(contents(o), contents(follower))
    net.train()
    twin.train()
    train(net, o)
    train(twin, follower)
    assert_same(contents(o), contents(follower))
    follower.load_state_dict(o.state_dict())
    follower.eval()  # what it is told itself counts
    twin.loss(torch.ones(2, 3))
    assert not follower.training


def test_what_the_optimizer_is_told_itself_counts():
    net, o = trained()
    x = torch.randn(5, 3)
    o.eval()  # while the model goes on in training mode
    net.loss(x)
    assert not o.training
    o.train()
    net.loss(x)
    assert o.training
    with o.averaged():
        flags(net, False)
        net.loss(x)
        flags(net, True)
    net.loss(x)
    assert o.training


def test_a_part_is_copied_alone():
    net, o = trained()
    part = copy.deepcopy(net.inside[0])
    flags(part, False)
    part(torch.randn(2, 3))
    assert o.training
    both = copy.deepcopy((net, o))
    both[0].eval()
    flags(both[0], True)
    both[0].loss(torch.randn(2, 3))
    assert both[1].training
    assert o.training


def test_a_model_that_is_compiled_is_left_alone():
    net, o = trained()
    compiled = torch.compile(net.inside, backend="eager", fullgraph=True)
    x = torch.randn(5, 3)
    assert torch.allclose(compiled(x), net.inside(x))
    assert o.training


@every_engine
def test_through_a_wrapper_all_is_as_it_is_without(engine):
    def made():
        return optim.ScheduleFreeAdamW(tensors(), lr=0.1, weight_decay=0.1, engine=engine)

    one, two = made(), made()
    outside = wrapped(two)
    for grads in COURSE:
        step(one, grads)
        step(two, grads)
        for o, via in ((one, one), (two, outside)):
            o.param_groups[0]["weight_decay"] = 0.0 if o.param_groups[0]["weight_decay"] else 0.1
            via.eval()
            assert not via.training
            via.train()
            with via.averaged():
                assert not o.training
    assert_same(contents(one), contents(two))


@every_engine
@pytest.mark.parametrize("given", [False, True])
def test_a_wrapper_looks_ahead(given, engine):
    def made():
        w = torch.ones(3, dtype=torch.float64, requires_grad=True)
        return w, optim.SGD([w], lr=0.1, momentum=0.9, nesterov="lookahead", engine=engine)

    (v, one), (w, two) = made(), made()
    outside = wrapped(two)
    for _ in range(4):
        for p, o, via in ((v, one, one), (w, two, outside)):
            o.zero_grad()
            with via.ahead():
                p.pow(4).sum().backward()
            via.step()
    assert torch.equal(v, w)
