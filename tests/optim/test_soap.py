"""SOAP where factors have full rank from the first gradient on, which the common runners' shapes do
not see to: all sides with bases, merged dimensions, vectors."""

from __future__ import annotations

import pytest
import torch

from optim.table import TABLE, every_engine
from optim.training import Close, gradients, params, step, tensors, train
from thalweg.optim import packed
from thalweg.optim.soap_sides import Sides, sides

ROW = TABLE["soap"]
COURSES = {
    "square": ((6, 6), {"precondition_frequency": 4}),
    "three dimensions": ((4, 3, 5), {}),
    "kernels": ((4, 3, 2, 2), {"precondition_frequency": 1, "normalize_grads": True}),
    "merged": ((2, 2, 4), {"merge_dims": True, "max_precond_dim": 4}),
    "merged kernels": ((2, 2, 2, 2), {"merge_dims": True, "max_precond_dim": 4}),
    "channels last": (
        (2, 2, 2, 2),
        {"merge_dims": True, "max_precond_dim": 4, "data_format": "channels_last"},
    ),
    "one side": ((9, 4), {"max_precond_dim": 4, "correct_bias": False}),
    "small sides": ((40, 3, 2, 5, 1), {"max_precond_dim": 5, "precondition_frequency": 3}),
    # Of rank one at first, but made of the same products, bit by bit.
    "vector": ((7,), {"precondition_1d": True}),
    "vector without": ((7,), {"merge_dims": True}),
    "single": ((1, 1), {}),
    "no dimension": ((), {"merge_dims": True}),
}


@every_engine
@pytest.mark.parametrize(("shape", "options"), COURSES.values(), ids=COURSES)
def test_equals_its_reference(shape, options, engine):
    ours, theirs = (
        make(tensors(shapes=(shape,)), lr=0.02, weight_decay=0.1, **options, **more)
        for make, more in ((ROW.make, {"engine": engine}), (ROW.theirs, {}))
    )
    close = Close(1e-10)
    for grads in gradients(60, shapes=(shape,), decades=(-0.5, 0.5)):
        close(step(ours, grads), step(theirs, grads))


@pytest.mark.parametrize("shape", [(0, 200), (200, 0), (3, 0, 150)])
def test_long_sides_beside_an_empty_one(shape):
    o = ROW.make(tensors(torch.float32, (shape,)), precondition_frequency=2)
    for _ in range(4):
        step(o, [torch.zeros(shape)])
    assert o.state[params(o)[0]]["step"] == 4


@pytest.mark.parametrize("listed", [False, True])
def test_checkpoints_of_others_are_refused_and_nothing_changes(listed):
    o, other = (make(tensors(shapes=((4, 3),))) for make in (ROW.make, torch.optim.AdamW))
    grads = [torch.ones(4, 3, dtype=torch.float64)]
    step(o, grads), step(other, grads)
    saved = other.state_dict()
    if listed:  # as the official code keeps them
        saved = o.state_dict()
        saved["state"][0] = {**saved["state"][0], "GG": [torch.eye(4), torch.eye(3)]}
    before = {k: x.clone() for k, x in o.state[params(o)[0]].items()}
    with pytest.raises(ValueError, match="the checkpoint has no tensor 'GG' for"):
        o.load_state_dict(saved)
    assert all(torch.equal(x, before[k]) for k, x in o.state[params(o)[0]].items())


@every_engine
def test_bases_stay_orthonormal_and_factors_symmetric(engine):
    shapes = ((12, 9), (5, 4, 3))
    o = ROW.make(tensors(torch.float32, shapes), engine=engine)
    train(o, gradients(40, torch.float32, shapes))
    for p in params(o):
        seen = sides(tuple(p.shape), 10_000.0, False, False, "channels_first")
        factors = seen.whole(o.state[p]["GG"])
        for q, f in zip(seen.split(o.state[p]["Q"]), factors, strict=True):
            assert (q.T @ q - torch.eye(len(q))).abs().max() < 1e-5
            assert torch.allclose(f, f.T, rtol=1e-5, atol=1e-6 * f.abs().max())


def test_a_gradient_that_is_not_finite_does_not_stop_the_run():
    o = ROW.make(tensors(shapes=((3, 3),)))
    for value in (torch.nan, 1.0, 1.0):
        step(o, [torch.full((3, 3), value, dtype=torch.float64)])
    assert params(o)[0].isnan().all()


@pytest.mark.parametrize("n", [0, 3, 128, 131, 400])
def test_packed_averages(n):
    x, y = torch.randn(2, n, 7, dtype=torch.float64)
    stored = packed.averaged(torch.zeros(packed.size(n), dtype=torch.float64), x, 1.0)
    stored = packed.averaged(stored, y, 0.25)
    expected = 0.75 * (x @ x.T) + 0.25 * (y @ y.T)
    assert torch.allclose(packed.unpacked(stored, n), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 2, 5), (1, 7), (8, 2, 2, 2, 3), (0, 4)])
def test_turning_there_and_back(shape):
    for turned in (True, False):
        seen = Sides(shape, (turned, *(True for _ in shape[1:])))
        bases = [torch.linalg.qr(torch.randn(n, n).double())[0] if t else None
                 for n, t in zip(shape, seen.turned, strict=True)]  # fmt: skip
        flat, x = seen.join(bases, torch.zeros(0).double()), torch.randn(shape).double()
        y = seen.turn(flat, x)
        assert torch.allclose(seen.turn(flat, y, back=True), x, atol=1e-12)
        expected = x
        for k, q in enumerate(bases):
            if q is not None:
                expected = torch.tensordot(expected, q, ([k], [0])).movedim(-1, k)
        assert torch.allclose(y, expected, atol=1e-12)
