"""Nesterov's gradient where the papers take it: ahead of the weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optim.table import every, every_engine
from optim.training import assert_same, bits, contents, params
from reference.lookahead import lookahead
from thalweg import optim

SHAPES = ((), (7,), (3, 5), (0, 4))
STEPS = 60


def start(dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    made = [torch.randn(s, generator=g, dtype=torch.float64) for s in SHAPES]
    return [p.to(dtype).requires_grad_() for p in made]


def make(tensors, **options):
    options = {"lr": 0.02, "momentum": 0.9, "nesterov": "lookahead", **options}
    return optim.SGD(tensors, **options)


def slope(w):
    return w**3 / 5 + np.cos(3 * w)


def closure(optimizer):
    def evaluate():
        for p in params(optimizer):
            p.grad = (p.detach() ** 3 / 5 + (3 * p.detach()).cos()).to(p.dtype)
        return 0.0

    return evaluate


WAYS = every(
    weight_decay=(0.0, 0.1), maximize=(False, True), convention=("torch", "classical")
)  # fmt: skip


@every_engine
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_equals_its_reference(options, engine):
    rates = [0.02 * 0.97**k for k in range(10 if options["maximize"] else STEPS)]
    ours = make(start(), engine=engine, **options)
    theirs = [
        lookahead(
            p.detach().numpy(), slope, rates, momentum=0.9, weight_decay=options["weight_decay"],
            maximize=options["maximize"], classical=options["convention"] == "classical",
        )
        for p in start()
    ]  # fmt: skip
    for lr, *now in zip(rates, *theirs, strict=True):
        ours.param_groups[0]["lr"] = lr
        ours.step(closure(ours))
        for p, (w, z) in zip(params(ours), now, strict=True):
            np.testing.assert_allclose(p.detach(), w, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(ours.state[p]["momentum_buffer"], z, rtol=1e-11, atol=1e-13)


@every_engine
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_torchs_parameters_are_the_points_ahead(weight_decay, engine):
    ours = make(start(), weight_decay=weight_decay, engine=engine)
    theirs = torch.optim.SGD(
        start(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    for _ in range(STEPS):
        ours.step(closure(ours))
        closure(theirs)()
        theirs.step()
        with ours.ahead():
            for p, y in zip(params(ours), params(theirs), strict=True):
                torch.testing.assert_close(p, y, rtol=1e-11, atol=1e-13)


@every_engine
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_behind_it_the_weights_are_what_they_were(dtype, engine):
    o = make(start(dtype), lr=0.5, engine=engine)
    o.step(closure(o))
    before = [p.detach().clone() for p in params(o)]

    def fails():
        moved = [(p != w).any() for p, w in zip(params(o), before, strict=True) if p.numel()]
        assert all(moved)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        o.step(fails)
    for p, w in zip(params(o), before, strict=True):
        assert torch.equal(bits(p.detach()), bits(w))
    o.step(closure(o))


@every_engine
def test_without_a_closure_the_context_does_the_same(engine):
    one, two = make(start(), engine=engine), make(start(), engine=engine)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(4):
        one.step(closure(one))
        with two.ahead():
            closure(two)()
        for p in params(two):
            p.grad *= 1024
        scaler.scale(torch.zeros(()))  # the loss, whose gradients these would be
        scaler.step(two)
        scaler.update()
    assert_same(contents(one), contents(two))


@every_engine
def test_gradients_taken_elsewhere_are_refused_and_nothing_changes(engine):
    o = make(start(), engine=engine)
    o.step(closure(o))
    before = {k: x.clone() for k, x in contents(o).items()}
    closure(o)()
    with pytest.raises(RuntimeError, match="taken ahead of the weights: call step"):
        o.step()
    with pytest.raises(RuntimeError, match="cannot be nested"), o.ahead(), o.ahead():
        pass
    with pytest.raises(RuntimeError, match="no step can be made while"), o.ahead():
        o.step()
    assert_same(before, contents(o))
    assert torch.optim.SGD(start(), lr=0.1).step() is None
    optim.SGD(start(), momentum=0.9, nesterov=True).step()  # whose gradient is where it is


@every_engine
def test_only_groups_that_ask_for_it_are_moved(engine):
    a, b, c, _ = start()
    o = make([{"params": [a]}, {"params": [b], "nesterov": True}, {"params": [c]}], engine=engine)
    o.step(closure(o))
    before = [p.detach().clone() for p in (a, b, c)]
    with o.ahead():
        moved = [not torch.equal(p, w) for p, w in zip((a, b, c), before, strict=True)]
    assert moved == [True, False, True]
    # One without a gradient comes back, and keeps its velocity.
    velocity = o.state[c]["momentum_buffer"].clone()

    def evaluate():
        closure(o)()
        c.grad = None

    o.step(evaluate)
    assert torch.equal(c, before[2])
    assert torch.equal(o.state[c]["momentum_buffer"], velocity)


@every_engine
@pytest.mark.parametrize("copied", [False, True])
def test_resuming_changes_no_bit(copied, engine):
    whole = make(start(torch.float32), weight_decay=0.1, engine=engine)
    for _ in range(3):
        whole.step(closure(whole))
    if copied:
        resumed = copy.deepcopy(whole)
    else:
        weights = [p.detach().clone().requires_grad_() for p in params(whole)]
        resumed = optim.SGD(weights, momentum=0.9, engine=engine)
        resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for _ in range(3):
        for o in (whole, resumed):
            o.step(closure(o))
    assert_same(contents(whole), contents(resumed))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"momentum": 0.0}, "nesterov='lookahead' needs momentum above 0"),
        ({"dampening": 0.1}, "nesterov='lookahead' needs .* dampening 0"),
        ({"differentiable": True}, "differentiable=True needs nesterov=True or False"),
        ({"nesterov": "ahead"}, "nesterov must be one of .*'ahead'"),
        ({"nesterov": 1}, "nesterov must be one of .*1"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        make(start(), **options)


def test_sam_cannot_be_had_around_it():
    options = {"lr": 0.1, "momentum": 0.9}
    with pytest.raises(ValueError, match='nesterov="lookahead" cannot be had in SAM'):
        optim.SAM(start(), **options, nesterov="lookahead")
    o = optim.SAM(start()[:1], **options)
    with pytest.raises(ValueError, match='nesterov="lookahead" cannot be had in SAM'):
        o.add_param_group({"params": start()[1:], "nesterov": "lookahead"})
    assert len(o.param_groups) == 1


@every_engine
def test_further_options_go_with_it(engine):
    """Against torch's form at the point ahead."""
    for options in ({"max_grad_norm": 0.5}, {"check_finite": True}):
        ours, theirs = make(start(), engine=engine, **options), start()
        theirs = optim.SGD(theirs, lr=0.02, momentum=0.9, nesterov=True, engine="plain", **options)
        for _ in range(5):
            ours.step(closure(ours))
            closure(theirs)()
            theirs.step()
        with ours.ahead():
            for p, y in zip(params(ours), params(theirs), strict=True):
                torch.testing.assert_close(p, y, rtol=1e-11, atol=1e-13)


def test_rows_without_a_gradient_look_ahead_and_come_back():
    w = torch.ones(3, 2, requires_grad=True)
    o, seen = make([w], lr=1.0, momentum=0.5), []

    def evaluate():
        seen.append(w.detach().clone())
        w.grad = torch.sparse_coo_tensor([[0]], [[1.0, 2.0]], (3, 2), check_invariants=True)
        return 0.0

    for _ in range(2):
        o.step(evaluate)
    assert torch.equal(seen[1][0], torch.tensor([0.0 - 0.5, -1.0 - 1.0]))
    assert torch.equal(w[0].detach(), torch.tensor([1 - 1 - 1.5, 1 - 2 - 3.0]))
    assert (w[1:] == 1).all()
