"""Every scheduler of torch drives our optimizers as it drives torch's."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as torchs

from optim.table import TORCH, every_engine
from optim.training import Close, gradients, step, tensors
from thalweg.optim import lr_scheduler, swa_utils

COURSE = gradients(16)
S = lr_scheduler

# Phases are short, so that 16 steps pass through all of them.
SCHEDULES = {
    "LambdaLR": lambda o: S.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": lambda o: S.MultiplicativeLR(o, lambda t: 0.5 if t % 3 else 1.5),
    "StepLR": lambda o: S.StepLR(o, 4, 0.3),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [2, 9], 0.1),
    "ConstantLR": lambda o: S.ConstantLR(o, 0.25, 5),
    "LinearLR": lambda o: S.LinearLR(o, 0.1, 0.8, 7),
    "ExponentialLR": lambda o: S.ExponentialLR(o, 0.8),
    "SequentialLR": lambda o: S.SequentialLR(
        o, [S.LinearLR(o, 0.1, total_iters=4), S.CosineAnnealingLR(o, 10)], [4]
    ),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 7, 1e-4),
    "ChainedScheduler": lambda o: S.ChainedScheduler(
        [S.ExponentialLR(o, 0.9), S.ConstantLR(o, 0.5, 3)], optimizer=o
    ),
    "ReduceLROnPlateau": lambda o: S.ReduceLROnPlateau(o, patience=2, factor=0.3),
    "CyclicLR": lambda o: S.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2),
    "OneCycleLR": lambda o: S.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    "PolynomialLR": lambda o: S.PolynomialLR(o, 12, 2.0),
    "SWALR": lambda o: swa_utils.SWALR(o, 0.002, 5),
    "CyclicLR with momentum": lambda o: S.CyclicLR(o, 0.01, 0.1, 3, base_momentum=0.6),
    "OneCycleLR with momentum": lambda o: S.OneCycleLR(o, 0.1, total_steps=20),
}
BASES = {"LRScheduler"}  # made to be subclassed
# Momentum is cycled where there is some: as `momentum`, or as the first of `betas`.
MOVES = ("momentum", "betas")


def advance(scheduler, i):
    # Better until the fifth step, then flat: a plateau has something to find.
    plateau = isinstance(scheduler, S.ReduceLROnPlateau)
    scheduler.step(*([max(5.0 - i, 1.0)] if plateau else []))


def cases():
    for row in TORCH:
        options = next(o for o in row.options if o.get("momentum", 0.9) and o.get("lr", 1.0))
        moving = any(m in row.make(tensors()).defaults for m in MOVES)
        for name in SCHEDULES:
            if moving or "with momentum" not in name:
                yield pytest.param(row, options, SCHEDULES[name], id=f"{row.name}-{name}")


def groups():
    params = tensors()
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}]


@every_engine
@pytest.mark.parametrize(("row", "options", "schedule"), list(cases()))
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step:UserWarning")
def test_trains_as_torch_does_under(row, options, schedule, engine):
    ours = row.make(groups(), engine=engine, **options)
    theirs = row.theirs(groups(), **options)
    here, there = schedule(ours), schedule(theirs)
    rates, close = [], Close()
    for i, grads in enumerate(COURSE):
        close(step(ours, grads), step(theirs, grads))
        advance(here, i)
        advance(there, i)
        now = [[g.get(k) for k in ("lr", *MOVES)] for g in ours.param_groups]
        assert now == [[g.get(k) for k in ("lr", *MOVES)] for g in theirs.param_groups]
        rates.append(str(now))
    assert len(set(rates)) > 1, "nothing was scheduled"


def test_no_scheduler_is_left_out():
    assert {n for n in torchs.__all__ if n not in BASES} <= set(SCHEDULES)


def test_schedulers_and_averaging_are_handed_on():
    assert lr_scheduler.CosineAnnealingLR is torch.optim.lr_scheduler.CosineAnnealingLR
    assert swa_utils.AveragedModel is torch.optim.swa_utils.AveragedModel


@every_engine
def test_a_schedule_resumes_with_its_optimizer(engine):
    (row, *_) = TORCH

    def start(params):
        o = row.make(params, lr=0.1, momentum=0.9, engine=engine)
        return o, S.CosineAnnealingLR(o, 9)

    whole, schedule = start(tensors())
    for i, grads in enumerate(COURSE):
        if i == 7:
            params = [p.detach().clone().requires_grad_() for p in whole.param_groups[0]["params"]]
            resumed, again = start(params)
            again.load_state_dict(schedule.state_dict())
            resumed.load_state_dict(whole.state_dict())
        step(whole, grads)
        schedule.step()
        if i >= 7:
            step(resumed, grads)
            again.step()
    for p, q in zip(whole.param_groups[0]["params"], params, strict=True):
        assert torch.equal(p, q)
