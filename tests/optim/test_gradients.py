"""Gradients of other kinds: climbed instead of descended, or sparse."""

from __future__ import annotations

import pytest
import torch

from optim.table import ROWS, cases, every_engine, every_row, rows
from optim.training import (
    Close,
    assert_same,
    contents,
    gradients,
    params,
    step,
    tensors,
)

# Every set of options in double precision; a row's fullest one in the others.
DESCENDING = [
    pytest.param(*case.values, dtype, id=f"{case.id}-{dtype}")
    for dtype, found in (
        (torch.float64, cases()),
        (torch.float32, rows()),
        (torch.bfloat16, rows()),
    )
    for case in found
    if not case.values[1].get("maximize")
]
SPARSE = [
    pytest.param(row, options, id=f"{row.name}-{i}")
    for row in ROWS
    for i, options in enumerate(row.sparse)
]


@every_engine
@pytest.mark.parametrize(("row", "options", "dtype"), DESCENDING)
def test_maximize_is_minimise_on_the_negative(row, options, dtype, engine):
    up = row.make(tensors(dtype), engine=engine, **{**options, "maximize": True})
    down = row.make(tensors(dtype), engine=engine, **options)
    for grads in gradients(6, dtype):
        step(up, grads)
        step(down, [-g for g in grads])
    if row.words is None:
        assert_same(contents(down), contents(up))
    else:  # two kernels, which may add up in an order of their own before a word sees the sum
        Close(max(row.tolerance, 8 * torch.finfo(dtype).eps))(up, down)


def sparse(seed, dtype=torch.float64):
    """Some rows of a (6, 3) gradient, one of them twice: it comes uncoalesced."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randperm(6, generator=g)[:3]
    values = torch.randn(4, 3, generator=g, dtype=torch.float64).to(dtype)
    return torch.sparse_coo_tensor(rows[[0, 1, 2, 0]][None], values, (6, 3), check_invariants=True)


@pytest.mark.parametrize(("row", "options"), SPARSE)
# torch's own Adagrad makes sparse tensors without saying whether to check them.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_sparse_gradients_are_taken_as_by_torch(row, options):
    ours = row.make(tensors(shapes=((6, 3), (4,))), **options)
    theirs = row.theirs(tensors(shapes=((6, 3), (4,))), **options)
    close = Close()
    for i, (_, dense) in enumerate(gradients(12, shapes=((6, 3), (4,)))):
        g = sparse(i)
        before = g.clone()
        close(step(ours, [g, dense]), step(theirs, [g, dense]))
        assert params(ours)[0].grad is g
        assert torch.equal(before.to_dense(), g.to_dense())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("row", "options"), SPARSE)
def test_sparse_gradients_do_what_dense_ones_do(row, options, dtype):
    held, filled = (
        row.make(tensors(dtype, ((6, 3),)), engine="plain", **options) for _ in range(2)
    )
    for i in range(8):
        step(held, [sparse(i, dtype)])
        step(filled, [sparse(i, dtype).coalesce().to_dense()])
    assert_same(contents(filled), contents(held))


@pytest.mark.parametrize("common", [{"max_grad_norm": 0.5}, {"check_finite": True}], ids=str)
@pytest.mark.parametrize(("row", "options"), SPARSE)
def test_sparse_gradients_are_clipped_and_checked(row, options, common):
    shapes = ((6, 3), (4,))
    held, filled = (row.make(tensors(shapes=shapes), **common, **options) for _ in range(2))
    close = Close()
    for i, (_, beside) in enumerate(gradients(5, shapes=shapes)):
        dense = sparse(i).to_dense()
        close(step(held, [sparse(i), beside]), step(filled, [dense, beside]))


@every_engine
@every_row
def test_sparse_gradients_are_refused_by_name_where_rules_cannot_take_them(row, options, engine):
    # The fullest options hold decay, which goes with no sparse gradient whatever the rule.
    o = row.make([("emb", tensors(shapes=((6, 3),))[0])], engine=engine, **options)
    step(o, [torch.ones(6, 3, dtype=torch.float64)])
    params(o)[0].grad = sparse(0)
    before = contents(o)
    before = {k: x.clone() for k, x in before.items()}
    with pytest.raises(RuntimeError, match=r"does not take the .*sparse.* gradient of .*'emb'"):
        o.step()
    assert_same(before, contents(o))


@pytest.mark.parametrize(("row", "options"), SPARSE[:1])
def test_the_fused_engine_refuses_sparse_gradients(row, options):
    o = row.make([("emb", tensors(shapes=((6, 3),))[0])], engine="fused", **options)
    params(o)[0].grad = sparse(0)
    with pytest.raises(ValueError, match=r"'emb'.* its gradient is sparse"):
        o.step()
