"""Muon beside torch's own, and what it adds: AdamW for all else, kernels, the official groups."""

from __future__ import annotations

import pytest
import torch

from optim.table import every_engine
from optim.training import Close, gradients, step, tensors, train
from thalweg import optim

MATRICES = ((30, 40), (7, 3), (3, 7), (1, 5))
OPTIONS = (
    {},
    {"nesterov": False, "weight_decay": 0.0},
    {"adjust_lr_fn": "match_rms_adamw", "momentum": 0.8, "eps": 1e-3},
    {"adjust_lr_fn": "original", "ns_steps": 3, "ns_coefficients": (2.0, -1.5, 0.5)},
)


@every_engine
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_is_torchs_on_matrices(options, engine):
    ours = optim.Muon(tensors(shapes=MATRICES), engine=engine, **options)
    theirs = torch.optim.Muon(tensors(shapes=MATRICES), **options)
    close = Close(1e-13)
    for grads in gradients(60, shapes=MATRICES):
        close(step(ours, grads), step(theirs, grads))
    defaults = {k: ours.defaults[k] for k in theirs.defaults}
    assert defaults == theirs.defaults


@every_engine
def test_is_torchs_in_float32_but_for_bfloat16s_rounding(engine):
    """An element of u that rounds to the other neighbour is 1/256 off, and then all of x is, a
    little: so much of a step's size, and no more, may be between the two."""
    ours = optim.Muon(tensors(torch.float32, MATRICES), lr=0.02, engine=engine)
    theirs = torch.optim.Muon(tensors(torch.float32, MATRICES), lr=0.02)
    for grads in gradients(30, torch.float32, MATRICES):
        step(ours, grads)
        step(theirs, grads)
    for p, q in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        assert (p - q).abs().max() <= 0.02 * 2**-6


@every_engine
@pytest.mark.parametrize("ns_dtype", ["bfloat16", "float32"])
def test_a_step_is_nearly_orthogonal(ns_dtype, engine):
    (p,) = tensors(torch.float32, ((40, 24),))
    before = p.detach().clone()
    o = optim.Muon([p], lr=1.0, weight_decay=0.0, ns_dtype=ns_dtype, engine=engine)
    step(o, [torch.randn(40, 24)])
    moved = torch.linalg.svdvals(before - p.detach()) / (40 / 24) ** 0.5
    assert moved.min() > 0.4
    assert moved.max() < 1.4


@every_engine
def test_a_sum_for_momentum_moves_as_an_average_does(engine):
    one, two = (
        optim.Muon(tensors(shapes=MATRICES), convention=c, ns_dtype="float32", engine=engine)
        for c in ("average", "sum")
    )
    for grads in gradients(20, shapes=MATRICES, decades=(-1, 1)):
        step(one, grads)
        step(two, grads)
    for p, q in zip(one.param_groups[0]["params"], two.param_groups[0]["params"], strict=True):
        assert torch.allclose(p, q, atol=1e-5)
        buffers = one.state[p]["momentum_buffer"], two.state[q]["momentum_buffer"]
        assert torch.allclose(buffers[0] * 20, buffers[1])


@every_engine
def test_kernels_are_matrices_with_a_row_per_output(engine):
    shapes = ((6, 3, 2, 2), (6, 12))
    kernel, flat = tensors(shapes=shapes)
    with torch.no_grad():
        flat.copy_(kernel.view(6, 12))
    o = optim.Muon([kernel, flat], lr=0.1, engine=engine)
    for g, _ in gradients(5, shapes=shapes):
        step(o, [g, g.view(6, 12)])
    assert torch.equal(kernel.view(6, 12), flat)


@every_engine
def test_the_official_groups_are_taken_as_they_are(engine):
    shapes = ((4, 6), (6,), (5, 3))
    muon, bias, head = tensors(shapes=shapes)
    o = optim.Muon(
        [
            {"params": [muon], "lr": 0.05, "momentum": 0.9, "use_muon": True},
            {"params": [bias, head], "lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-10,
             "weight_decay": 0.2, "use_muon": False},
        ],
        weight_decay=0.0,
        engine=engine,
    )  # fmt: skip
    one, two, three = tensors(shapes=shapes)
    theirs = torch.optim.Muon([one], lr=0.05, momentum=0.9, weight_decay=0.0)
    adamw = torch.optim.AdamW([two, three], 0.03, (0.8, 0.95), 1e-10, 0.2, foreach=False)
    for grads in gradients(20, shapes=shapes):
        step(o, grads)
        step(theirs, grads[:1])
        step(adamw, grads[1:])
    for p, q in zip((muon, bias, head), (one, two, three), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)
    assert set(o.state[head]) == {"step", "exp_avg", "exp_avg_sq"}
    assert set(o.state[muon]) == {"momentum_buffer"}


def test_a_schedule_moves_both_rates():
    o = optim.Muon(tensors(shapes=((3, 3), (3,))), lr=0.1, adamw_lr_ratio=0.2, weight_decay=0.0)
    o.param_groups[0]["lr"] = 0.0
    before = [p.detach().clone() for p in o.param_groups[0]["params"]]
    train(o, gradients(2, shapes=((3, 3), (3,))))
    assert all(map(torch.equal, before, o.param_groups[0]["params"]))
