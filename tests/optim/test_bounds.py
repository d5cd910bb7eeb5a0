"""The bounds modifier on every algorithm that takes it, against each one's reference cut off from
outside; where cutting off would be no projection, it is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optim.table import ROWS, every_engine, fullest
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train
from thalweg import optim
from thalweg.rule import rule

SHAPES = ((), (3, 7))
COURSE = gradients(20, shapes=SHAPES)
BOX = (-0.3, 0.5)


def honours(row, options):
    try:
        row.make(tensors(), bounds=BOX, **options)
    except ValueError as refusal:
        if "bounds" not in str(refusal):
            raise
        return False
    return True


FULL = [pytest.param(row, fullest(row), id=row.name) for row in ROWS if honours(row, fullest(row))]
REFUSED = [row for row in ROWS if not honours(row, {})]


class CutOff:
    """Projected descent around the steps of any optimizer."""

    def __init__(self, optimizer, low, high):
        self.optimizer, self.box = optimizer, (low, high)
        self.param_groups, self.state = optimizer.param_groups, optimizer.state

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        for p in params(self.optimizer):
            p.clamp_(*self.box)


@every_engine
@pytest.mark.parametrize(("row", "options"), FULL)
def test_equals_its_reference_cut_off(row, options, engine):
    ours = row.make(tensors(shapes=SHAPES), engine=engine, bounds=BOX, **options)
    theirs = CutOff(row.theirs(tensors(shapes=SHAPES), **options), *BOX)
    close = Close(row.tolerance)
    for grads in COURSE:
        close(step(ours, grads), step(theirs, grads))


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_where_it_is_no_projection_it_is_refused_with_the_reason(row):
    with pytest.raises(ValueError, match=r"bounds cannot be honoured by .*: .{20}"):
        row.make(tensors(), bounds=BOX)


def test_most_take_it_and_adan_not_together_with_its_restart():
    assert {row.ours.__name__ for row in REFUSED} == {
        "ASGD", "MADGRAD", "Muon", "Prodigy", "SOAP", "ScheduleFreeAdamW", "ScheduleFreeRAdam",
        "ScheduleFreeSGD",
    }  # fmt: skip
    with pytest.raises(ValueError, match="bounds need restart_radius=None"):
        optim.Adan(tensors(), bounds=BOX, restart_radius=1.0)


@every_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [
        ((-0.1, 0.3), -0.1, 0.3),
        ([None, 0.3], -np.inf, 0.3),
        ((0, None), 0.0, np.inf),
        ((-np.inf, torch.tensor(0.5)), -np.inf, 0.5),
        ((0.25, 0.25), 0.25, 0.25),
        ((None, None), -np.inf, np.inf),
    ],
    ids=str,
)
def test_one_side_or_both(bounds, low, high, dtype, engine):
    o = optim.AdamW(tensors(dtype), lr=0.1, bounds=bounds, engine=engine)
    train(o, gradients(3, dtype))
    for p in params(o):
        box = torch.tensor([low, high], dtype=dtype)  # to the rounding of what stores the weights
        assert ((p >= box[0]) & (p <= box[1])).all()


@pytest.mark.parametrize(
    ("bounds", "error", "says"),
    [
        (0.5, ValueError, "bounds must be two numbers, not 0.5"),
        ((0.0,), ValueError, r"bounds must be two numbers, not \(0.0,\)"),
        ((1.0, 0.0), ValueError, r"bounds must be in order, not \(1.0, 0.0\)"),
        ((np.nan, 1.0), ValueError, r"bounds\[0\] must be a number or None, not nan"),
        ((0.0, -np.inf), ValueError, r"bounds\[1\] must be a number or None, not -inf"),
        (("0", 1.0), TypeError, r"bounds\[0\] must be a number, not '0'"),
        ((False, 1.0), TypeError, r"bounds\[0\] must be a number, not False"),
    ],
    ids=str,
)
def test_bad_bounds_are_refused_by_name(bounds, error, says):
    with pytest.raises(error, match=says):
        optim.SGD(tensors(), bounds=bounds)
    o = optim.SGD(tensors())
    o.param_groups[0]["bounds"] = bounds
    before = {k: x.clone() for k, x in contents(o).items()}
    with pytest.raises(error, match=says):
        step(o, gradients(1)[0])
    assert_same(before, contents(o))


@every_engine
def test_each_group_has_its_own_and_they_may_change(engine):
    a, b, c, _ = tensors()
    groups = [{"params": [a, b], "bounds": (-0.2, 0.2)}, {"params": [c]}]
    o = optim.SGD(groups, lr=0.0, engine=engine)
    before = c.detach().clone()
    for box in ((-0.2, 0.2), (-0.1, 0.2), (None, 0.05)):
        o.param_groups[0]["bounds"] = box
        step(o, [torch.zeros_like(p) for p in (a, b, c)])
        low = -np.inf if box[0] is None else box[0]
        assert all(((p >= low) & (p <= box[1])).all() for p in (a, b))
    assert torch.equal(c, before)


def test_rows_without_a_gradient_come_back_within_bounds_too():
    w = torch.tensor([[2.0, 0.1], [3.0, -1.0], [0.2, 0.3]], requires_grad=True)
    o = optim.SGD([w], lr=0.1, bounds=(0.0, 1.0))
    w.grad = torch.sparse_coo_tensor([[0]], [[5.0, 0.0]], (3, 2), check_invariants=True)
    o.step()
    expected = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.2, 0.3]])
    assert torch.equal(w.detach(), expected)


@every_engine
@pytest.mark.parametrize(("row", "options"), FULL)
def test_it_is_an_option_of_the_checkpoint_and_needs_no_state(row, options, engine):
    o = train(row.make(tensors(), engine=engine, bounds=BOX, **options), gradients(3))
    usual = train(row.make(tensors(), engine=engine, **options), gradients(3))
    assert contents(o).keys() == contents(usual).keys()
    other = row.make([p.detach().clone().requires_grad_() for p in params(o)], engine=engine)
    other.load_state_dict(copy.deepcopy(o.state_dict()))
    assert_same(contents(train(o, gradients(6)[3:])), contents(train(other, gradients(6)[3:])))


@every_engine
def test_rules_of_ones_own_take_it(engine):
    @rule(state={"z": "momentum_buffer"})
    def heavy(g, z, *, momentum=0.9):
        z = momentum * z + g
        return z, {"z": z}

    ours = optim.from_rule(heavy)(tensors(), lr=0.03, bounds=BOX, engine=engine)
    theirs = CutOff(torch.optim.SGD(tensors(), lr=0.03, momentum=0.9), *BOX)
    close = Close()
    for grads in gradients(5):
        close(step(ours, grads), step(theirs, grads))


@every_engine
def test_nothing_is_evaluated_out_of_bounds(engine):
    """Neither SAM's climb nor the point ahead leaves them."""
    for make in (
        lambda p: optim.SAM(p, rho=5.0, lr=0.1, bounds=(0.0, 1.0), engine=engine),
        lambda p: optim.SGD(
            p, lr=0.1, momentum=0.9, nesterov="lookahead", bounds=(0.0, 1.0), engine=engine
        ),
    ):
        p = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
        o, seen = make([p]), []

        def closure(p=p, seen=seen):
            seen.append(p.detach().clone())
            p.grad = torch.tensor([-3.0, 0.5, 3.0], dtype=torch.float64)
            return 0.0

        for _ in range(4):
            o.step(closure)
        seen = torch.stack(seen)
        assert ((seen >= 0) & (seen <= 1)).all()
        assert (seen[1:] == 1).any()
        assert (seen[1:] == 0).any()
