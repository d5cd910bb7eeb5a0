"""torch's flags of how a step is executed: honoured, or refused with the reason."""

from __future__ import annotations

import pytest
import torch

from optim.table import ROWS, TORCH, every_engine, every_row, rows
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train

COURSE = gradients(4)


def engines(optimizer):
    """What steps the parameters, by the class that does it."""
    return {type(b).__name__ for b in optimizer.batches}


@pytest.mark.parametrize(
    ("flags", "used"),
    [
        ({}, "FusedBatch"),
        ({"engine": "plain"}, "PlainBatch"),
        ({"engine": "fused"}, "FusedBatch"),
        ({"foreach": True}, "FusedBatch"),
        ({"foreach": False}, "PlainBatch"),
        ({"fused": True}, "FusedBatch"),
        ({"fused": False}, "PlainBatch"),
        ({"differentiable": True}, "PlainBatch"),
        ({"foreach": False, "fused": True}, "FusedBatch"),
        ({"engine": "plain", "foreach": True}, "PlainBatch"),
    ],
    ids=str,
)
@every_row
def test_chooses_the_engine(row, options, flags, used):
    if set(flags) & set(row.ours.cannot):
        with pytest.raises(ValueError, match="differentiable=True cannot be honoured by"):
            row.make(tensors(), **flags, **options)
        return
    shapes = ((4,), (2, 3))
    copies = [p.detach().clone() for p in tensors(shapes=shapes)]
    # A differentiable step changes weights in place, which autograd forbids for leaves.
    p = copies if flags.get("differentiable") else [c.requires_grad_() for c in copies]
    o = train(row.make(p, **flags, **options), gradients(2, shapes=shapes))
    assert engines(o) == {used}


@pytest.mark.parametrize(
    ("flags", "error", "says"),
    [
        ({"fused": True, "foreach": True}, RuntimeError, "fused=True and foreach=True"),
        ({"capturable": True}, ValueError, "capturable=True cannot be honoured: step counts"),
        ({"fused": True, "differentiable": True}, ValueError, "fused=True and differentiable"),
        ({"engine": "fused", "fused": False}, ValueError, 'engine="fused" and fused=False'),
        ({"engine": "fused", "foreach": False}, ValueError, 'engine="fused" and foreach=False'),
        ({"engine": "fused", "differentiable": True}, ValueError, "and differentiable=True"),
        ({"engine": "fuzed"}, ValueError, "engine must be one of .*'fuzed'; did you mean 'fused'"),
        ({"engine": None}, ValueError, "engine must be one of .*None"),
        ({"foreach": 1}, ValueError, "foreach must be one of .*1"),
        ({"fused": "yes"}, ValueError, "fused must be one of .*'yes'"),
        ({"differentiable": None}, ValueError, "differentiable must be one of .*None"),
        ({"maximize": 1}, ValueError, "maximize must be one of .*1"),
        ({"check_finite": "rise"}, ValueError, "check_finite .*'rise'; did you mean 'raise'"),
        ({"check_finite": None}, ValueError, "check_finite must be one of .*None"),
        ({"state_dtype": torch.int32}, ValueError, "state_dtype must be .*torch.int32"),
        ({"state_dtype": "bfloat16"}, ValueError, "state_dtype must be .*'bfloat16'"),
        ({"max_grad_norm": -1.0}, ValueError, r"max_grad_norm must be .*-1\.0"),
        ({"max_grad_norm": "1"}, TypeError, "max_grad_norm must be a number, not '1'"),
    ],
    ids=str,
)
@every_row
def test_refused_with_the_reason(row, options, flags, error, says):
    with pytest.raises(error, match=says):
        row.make(tensors(), **{**options, **flags})


@every_engine
@every_row
def test_a_state_dtype_wider_than_the_arithmetic_is_refused(row, options, engine):
    with pytest.raises(ValueError, match=r"state_dtype=torch.float64 does not fit parameter 0"):
        row.make(tensors(torch.float32), engine=engine, state_dtype=torch.float64, **options)


@pytest.mark.parametrize(
    ("row", "options"), rows([r for r in ROWS if "differentiable" not in r.ours.cannot])
)
def test_gradients_flow_through_differentiable_steps(row, options):
    # Against finite differences: torch is no witness, for it detaches its first momentum buffer and
    # cannot go backwards through a second step.
    (known,) = {"eps"} & row.ours.domains.keys() or {None}
    smooth = {known: 0.1} if known else {}

    def after(w, g):
        p = w.clone()
        o = row.make([p], differentiable=True, **{**options, **smooth})
        for grad in (g, g * g - 1):  # the second goes through the first one's state
            p.grad = grad
            o.step()
        return p

    torch.manual_seed(2)
    w, g = (torch.randn(5, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(after, (w, g))


@pytest.mark.parametrize("row", TORCH, ids=lambda row: row.name)
@pytest.mark.parametrize("inplace", [False, True])
@every_engine
def test_a_rate_in_a_tensor(row, inplace, engine):
    """Read anew at every step; a schedule writes into it."""
    rate = torch.tensor(0.1, dtype=torch.float64)
    ours = row.make(tensors(), lr=rate, engine=engine)
    same = row.make(tensors(), lr=0.1, engine=engine)
    for i, grads in enumerate(COURSE):
        if inplace:
            rate.mul_(0.5)
        else:
            ours.param_groups[0]["lr"] = torch.tensor([0.1 * 0.5 ** (i + 1)], dtype=torch.float64)
        same.param_groups[0]["lr"] = 0.1 * 0.5 ** (i + 1)
        step(ours, grads)
        step(same, grads)
        assert_same(contents(same), contents(ours))


@pytest.mark.parametrize("row", TORCH, ids=lambda row: row.name)
@every_engine
def test_a_schedule_writes_into_a_rate_in_a_tensor(row, engine):
    def scheduled(make, **more):
        rate = torch.tensor(0.1, dtype=torch.float64)
        o = make(tensors(), lr=rate, **more)
        schedule = torch.optim.lr_scheduler.ExponentialLR(o, 0.5)
        for grads in COURSE:
            step(o, grads)
            schedule.step()
        assert o.param_groups[0]["lr"] is rate
        assert float(rate) == pytest.approx(0.1 / 16)
        return o

    Close()(scheduled(row.make, engine=engine), scheduled(row.theirs))


@every_engine
@every_row
def test_a_bad_rate_written_into_a_tensor_is_noticed_before_the_step(row, options, engine):
    rate = torch.tensor(0.1, dtype=torch.float64)
    o = train(row.make(tensors(), engine=engine, **{**options, "lr": rate}), COURSE[:1])
    before = {k: x.clone() for k, x in contents(o).items()}
    rate.fill_(torch.nan)
    with pytest.raises(ValueError, match="lr must be finite and at least 0, not nan"):
        o.step()
    assert_same(before, contents(o))
    assert all(p.grad is not None for p in params(o))
