"""Shapes, strides and dtypes of parameters and gradients that a step must take as they are."""

from __future__ import annotations

import itertools

import pytest
import torch

from optim.table import ROWS, every_engine, every_row, fullest
from optim.training import (
    Close,
    assert_same,
    bits,
    contents,
    gradients,
    params,
    step,
    tensors,
    train,
)


def leaf(x):
    return x.detach().requires_grad_()


def filled(like, seed=0):
    """Random numbers in the memory layout of a tensor."""
    g = torch.Generator().manual_seed(seed)
    return torch.empty_like(like).copy_(torch.randn(like.shape, generator=g, dtype=like.dtype))


# How a parameter lies in memory; every one of them fills its stretch without gaps.
DENSE = {
    "0-dim": lambda: torch.randn((), dtype=torch.float64),
    "one element": lambda: torch.randn(1, 1, 1, dtype=torch.float64),
    "empty": lambda: torch.randn(3, 0, 2, dtype=torch.float64),
    "channels last": lambda: torch.randn(2, 3, 4, 5, dtype=torch.float64).to(
        memory_format=torch.channels_last
    ),
    "channels last 3d": lambda: torch.randn(2, 3, 2, 4, 5, dtype=torch.float64).to(
        memory_format=torch.channels_last_3d
    ),
    "transposed": lambda: torch.randn(4, 6, dtype=torch.float64).T,
    "permuted": lambda: torch.randn(2, 3, 4, dtype=torch.float64).permute(1, 2, 0),
    "complex": lambda: torch.randn(3, 4, dtype=torch.complex128),
    "complex transposed": lambda: torch.randn(3, 4, dtype=torch.complex128).T,
    "complex 0-dim": lambda: torch.randn((), dtype=torch.complex128),
    "inside a tensor": lambda: torch.randn(40, dtype=torch.float64)[7:19].view(3, 4),
}
GRADIENTS = {
    "like the parameter": lambda g: g,
    "contiguous": lambda g: g.contiguous(),
    "transposed": lambda g: g.mT.contiguous().mT if g.dim() > 1 else g,
    "with gaps": lambda g: torch.stack([g, g], -1)[..., 1],
    "expanded": lambda g: g.sum().expand(g.shape),
    "conjugated": lambda g: g.conj().resolve_conj().conj() if g.is_complex() else g,
    "negated": lambda g: torch._neg_view(g),
}


# Rules of every kind (elementwise, with sums, with shapes of their own, with matrices) meet every
# pair; the others every parameter, and every gradient.
EVERY_PAIR = ("sgd", "adam", "lamb", "adafactor", "muon")
APART = [
    *((param, "like the parameter") for param in DENSE),
    *(("permuted", grad) for grad in GRADIENTS),
    ("complex transposed", "conjugated"),
]


def layouts():
    for row in ROWS:
        pairs = itertools.product(DENSE, GRADIENTS) if row.name in EVERY_PAIR else APART
        for param, grad in dict.fromkeys(pairs):
            yield pytest.param(row, param, grad, id=f"{row.name}-{param}-{grad}")


@every_engine
@pytest.mark.parametrize(("row", "param", "grad"), list(layouts()))
def test_layout(row, param, grad, engine):
    torch.manual_seed(5)
    options, w, grad = fullest(row), DENSE[param](), GRADIENTS[grad]
    if w.is_complex() and "complex" in row.ours.cannot:
        with pytest.raises(ValueError, match=r"cannot step parameter 'w' .*, which is complex: "):
            row.make([("w", leaf(w))], engine=engine, **options)
        return
    ours = row.make([leaf(w.clone())], engine=engine, **options)
    theirs = row.theirs([leaf(w.clone(memory_format=torch.contiguous_format))], **options)
    close = Close(row.tolerance)
    (p,) = params(ours)
    stride = p.stride()
    for seed in range(3):
        g = grad(filled(w, seed))
        before = g, g.stride(), g.clone()
        p.grad = g
        kept = p.grad
        close(step(ours, [kept]), step(theirs, [g.resolve_conj().resolve_neg().contiguous()]))
        assert p.grad is kept
        assert torch.equal(kept, before[2])
        assert kept.stride() == before[1]
    assert p.stride() == stride
    laid = [x for key, x in ours.state[p].items() if x.dim() and key not in row.shaped]
    assert all(x.stride() == p.stride() for x in laid)


@pytest.mark.parametrize("kind", ["slice", "column", "every second", "with gaps"])
@every_engine
@every_row
def test_memory_beside_a_view_is_untouched(row, options, kind, engine):
    views = {
        "slice": lambda x: x[3:5],
        "column": lambda x: x[:, 2:3],
        "every second": lambda x: x[1::2],
        "with gaps": lambda x: x[1:4, 2:5],
    }
    whole = torch.randn(8, 6, dtype=torch.float64)
    before, part = whole.clone(), torch.zeros(8, 6, dtype=torch.bool)
    views[kind](part).fill_(True)
    p = leaf(views[kind](whole))
    q = leaf(p.clone(memory_format=torch.contiguous_format))
    # Kernels refuse gaps (tested beside them); "auto" gives such a parameter to the plain engine.
    gaps = kind != "slice" and engine == "fused"
    ours = row.make([p], engine="auto" if gaps else engine, **options)
    theirs = row.theirs([q], **options)
    close = Close(row.tolerance)
    for grads in gradients(4, shapes=(tuple(p.shape),)):
        close(step(ours, grads), step(theirs, grads))
    assert torch.equal(whole[~part], before[~part])
    assert not torch.equal(whole[part], before[part])


@every_engine
@every_row
def test_a_tensor_shared_by_two_views_is_stepped_in_both(row, options, engine):
    whole = torch.randn(10, dtype=torch.float64)
    apart = [leaf(whole[:4].clone()), leaf(whole[4:].clone())]
    ours = row.make([leaf(whole[:4]), leaf(whole[4:])], engine=engine, **options)
    other = row.make(apart, engine=engine, **options)
    steps = gradients(3, shapes=((4,), (6,)))
    train(ours, steps)
    train(other, steps)
    assert torch.equal(whole, torch.cat(apart))


@every_engine
@every_row
def test_a_parameter_without_gradient_is_left_alone(row, options, engine):
    ours = row.make(tensors(), engine=engine, **options)
    before = contents(ours)
    before = {k: x.clone() for k, x in before.items()}
    for grads in gradients(3):
        step(ours, [None, *grads[1:3], None])
    now = contents(ours)
    alone = [k for k in now if k[0] in (0, 3)]
    assert_same({k: before[k] for k in alone}, {k: now[k] for k in alone})


@every_engine
@every_row
def test_nothing_happens_without_any_gradient(row, options, engine):
    ours = row.make(tensors(), engine=engine, **options)
    before = {k: x.clone() for k, x in contents(ours).items()}
    ours.step()
    assert_same(before, contents(ours))


@every_engine
@every_row
def test_a_late_first_gradient_is_a_first_step(row, options, engine):
    order = (0, 2, 3, 1)
    course = [[grads[k] for k in order] for grads in gradients(9)]
    (*rest, late), (*others, alone) = ([tensors(seed=1)[k] for k in order] for _ in range(2))
    ours = row.make([*rest, late], engine=engine, **options)
    step(ours, [*course[0][:3], None])
    # Where a rule looks at all parameters together, the others must be there too.
    coupled = any(r.scope == "all" for r in ours.batches[0].work.graph.reductions)
    other = row.make(others if coupled else [alone], engine=engine, **options)
    if coupled:
        step(other, course[0][:3])
    for i, (*early, grad) in enumerate(course[1:], 1):
        # It comes at the fourth step, and stays away once more.
        here = i >= 4 and i != 6
        step(ours, [*early, grad if here else None])
        if coupled and i == 4:
            other.add_param_group({"params": [alone]})
        if coupled and i < 4:
            step(other, early)
        elif coupled or here:
            step(other, [*(early if coupled else []), grad if here else None])
    assert torch.equal(bits(late.detach()), bits(alone.detach()))
    for key, x in other.state[alone].items():
        assert torch.equal(bits(x), bits(ours.state[late][key])), key
