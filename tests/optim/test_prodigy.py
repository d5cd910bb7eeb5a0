"""What the table cannot say of Prodigy: d left to grow, groups at rest, late parameters."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optim.table import every_engine
from optim.training import Close, params, step, tensors, train
from reference.prodigy import Prodigy as Reference
from thalweg.optim import Prodigy

SHAPES = ((5,), (3, 4))


def targets():
    return [p.detach() * 3 + 1 for p in tensors(shapes=SHAPES, seed=7)]


def pull(optimizer, t, noise=0.1):
    """Gradients of a distance to a target, with noise that two runs have alike."""
    g = torch.Generator().manual_seed(t)
    return [
        p.detach() - x + noise * torch.randn(p.shape, generator=g, dtype=p.dtype)
        for p, x in zip(params(optimizer), targets(), strict=True)
    ]


def distances(optimizer):
    return {float(s["d"]) for s in optimizer.state.values()}


@every_engine
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.01, "decouple": False},
        {"d_coef": 0.5, "use_bias_correction": True},
        {"safeguard_warmup": True, "lr": 0.5, "d0": 1e-3},
        {"betas": (0.0, 0.99), "weight_decay": 0.01},
        {"growth_rate": 1.05, "beta3": 0.9},
    ],
    ids=str,
)
def test_d_is_found_as_by_the_reference(options, engine):
    ours = Prodigy(tensors(shapes=SHAPES), engine=engine, **options)
    theirs = Reference(tensors(shapes=SHAPES), **options)
    close = Close(1e-10)
    for t in range(200):
        close(step(ours, pull(ours, t)), step(theirs, pull(theirs, t)))
    (d,) = distances(ours)
    assert 1e-4 < d < 100


@every_engine
def test_it_needs_no_learning_rate(engine):
    """Scaled by 1000, the same problem is solved in as many steps."""
    for scale in (1.0, 1000.0):
        p = torch.zeros(20, dtype=torch.float64, requires_grad=True)
        target = scale * torch.linspace(-1, 1, 20, dtype=torch.float64)
        o = Prodigy([p], engine=engine, d0=1e-6 * scale)
        for _ in range(300):
            step(o, [p.detach() - target])
        assert (p - target).norm() < 0.05 * target.norm()


@every_engine
def test_late_and_absent_parameters_agree_with_the_others(engine):
    ours, theirs = Prodigy(tensors(shapes=SHAPES), engine=engine), Reference(tensors(shapes=SHAPES))
    close = Close(1e-10)
    for t in range(60):
        for o in (ours, theirs):
            grads = pull(o, t)
            if t < 25 or t in (40, 41):
                grads[1] = None
            if t == 43:
                grads[0] = None
            step(o, grads)
        close(ours, theirs)
        assert len(distances(ours)) == 1
    start = theirs.state[params(theirs)[1]]["p0"]
    np.testing.assert_array_equal(start, tensors(shapes=SHAPES)[1].detach().numpy())


@every_engine
def test_they_agree_across_engines_and_after_loading(engine):
    other = {"plain": "fused", "fused": "plain"}[engine]

    def make(ps):
        return Prodigy([{"params": ps[:1], "engine": engine}, {"params": ps[1:], "engine": other}])

    o, alone = make(tensors(shapes=SHAPES)), Prodigy(tensors(shapes=SHAPES), engine=engine)
    close = Close(1e-10)
    for t in range(40):
        close(step(o, pull(o, t)), step(alone, pull(alone, t)))
        if t == 20:
            state = copy.deepcopy(o.state_dict())
            o = make([p.detach().clone().requires_grad_() for p in params(o)])
            o.load_state_dict(state)
    assert max(distances(o)) == pytest.approx(min(distances(o)), rel=1e-12)


@every_engine
def test_a_group_at_rest_does_not_move_nor_count(engine):
    def make(cls, **more):
        a, b = tensors(shapes=SHAPES)
        return cls([{"params": [a]}, {"params": [b], "lr": 0.0}], **more)

    ours, theirs = make(Prodigy, engine=engine, weight_decay=0.1), make(Reference, weight_decay=0.1)
    alone = Prodigy(tensors(shapes=SHAPES)[:1], engine=engine, weight_decay=0.1)
    before, close = params(ours)[1].detach().clone(), Close(1e-10)
    for t in range(30):
        step(alone, pull(ours, t)[:1])
        close(step(ours, pull(ours, t)), step(theirs, pull(theirs, t)))
    assert torch.equal(before, params(ours)[1])
    torch.testing.assert_close(params(alone)[0], params(ours)[0], rtol=1e-12, atol=0)
    # A schedule's end: all rest, and d and all averages stay what they are.
    ours.param_groups[0]["lr"] = 0.0
    state = {k: x.clone() for k, x in ours.state[params(ours)[0]].items() if k != "step"}
    train(ours, [pull(ours, 30)])
    assert all(torch.equal(x, ours.state[params(ours)[0]][k]) for k, x in state.items())


def test_what_speaks_of_all_parameters_must_agree():
    a, b = tensors(shapes=SHAPES)
    for name, value in (("lr", 0.5), ("d0", 1e-3), ("d_coef", 2.0), ("growth_rate", 2.0),
                        ("betas", (0.5, 0.9)), ("beta3", 0.5)):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            Prodigy([{"params": [a]}, {"params": [b], name: value}])
    o = Prodigy([{"params": [a]}, {"params": [b]}])
    o.param_groups[1]["lr"] = 0.3
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    with pytest.raises(ValueError, match=r"lr must be the same .*0\.3, 1\.0"):
        o.step()


def test_a_slice_is_refused_with_what_to_do_instead():
    with pytest.raises(ValueError, match=r"slice_p=11 cannot be honoured: .*state_dtype"):
        Prodigy(tensors(), slice_p=11)
