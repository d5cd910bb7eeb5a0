"""Schedules with what people train with: scalers, loaders, wrappers, torch's own compositions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torchs
from torch.utils.data import DataLoader, TensorDataset

from optim.training import gradients, step, tensors
from schedules.driven import rates, two_groups, walk
from thalweg import optim
from thalweg.schedules import constant, cosine, linear
from thalweg.schedules.attach import attach

COURSE = gradients(8)


def test_is_what_trainers_take():
    optimizer = two_groups()
    scheduler = attach(optimizer, cosine(9))
    assert isinstance(scheduler, torchs.LRScheduler)
    assert "step" not in vars(optimizer)  # not wrapped
    assert all(type(x) is float for x in (*scheduler.base_lrs, *scheduler.get_last_lr()))
    assert optim.lr_scheduler.LRScheduler in type(scheduler).__mro__


def test_base_rates_that_a_trainer_changes_count():
    scheduler = attach(two_groups(), cosine(9))
    scheduler.base_lrs[0] *= 2
    scheduler.step()
    assert rates(scheduler.optimizer) == [0.2 * cosine(9)(1), 0.02 * cosine(9)(1)]


@pytest.mark.parametrize("make", [torch.optim.SGD, optim.SGD])
def test_no_warning_when_a_scaler_leaves_out_the_first_step(make):
    p = torch.ones(3, requires_grad=True)
    optimizer = make([p], lr=0.1)
    scheduler = attach(optimizer, linear(1, 0, 4))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for n in range(3):
        optimizer.zero_grad()
        scaler.scale(p.sum() * (float("inf") if n == 0 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    moved = 0.1 * linear(1, 0, 4)(1) + 0.1 * linear(1, 0, 4)(2)
    assert torch.allclose(p, torch.ones(3) - moved, rtol=0, atol=1e-7)


def test_no_warning_after_a_checkpoint_or_before_the_optimizer():
    scheduler = attach(two_groups(torch.optim.SGD), cosine(9))
    scheduler.load_state_dict(scheduler.state_dict())
    walk(scheduler, 3)  # warnings are errors here


@pytest.mark.parametrize("make", [torch.optim.AdamW, optim.AdamW, optim.Lion])
def test_trains_from_a_loader_as_torchs_lambda_does(make):
    factor = linear(0, 1, 5).then(cosine(20))

    def train(drive):
        torch.manual_seed(0)
        x = torch.randn(96, 4)
        loader = DataLoader(
            TensorDataset(x, x.sin().sum(1, keepdim=True)), batch_size=16, shuffle=True
        )
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = make(model.parameters(), lr=0.03)
        scheduler, losses = drive(optimizer), []
        for _ in range(4):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(inputs), targets)
                loss.backward()
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
        return losses, scheduler.last_epoch

    ours = train(lambda o: attach(o, factor))
    assert ours == train(lambda o: torchs.LambdaLR(o, factor))
    losses, steps = ours
    assert steps == 24
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("averaging", ["lr_max", "lr"])
def test_schedule_free_weighs_by_the_scheduled_rate(averaging):
    optimizer = optim.ScheduleFreeSGD(tensors(), lr=0.1, averaging=averaging)
    scheduler, most = attach(optimizer, linear(0.2, 1, 4).then(constant(0.5))), 0.0
    for n, grads in enumerate(COURSE):
        step(optimizer, grads)
        most = max(most, rates(optimizer)[0])
        if averaging == "lr_max":
            assert {float(s["lr_max"]) for s in optimizer.state.values()} == {most}, n
        scheduler.step()
    assert rates(optimizer) == [0.05]


@pytest.mark.parametrize("inner", [optim.SGD, torch.optim.SGD])
@pytest.mark.parametrize("at_base", [False, True])
def test_sam_and_its_base_optimizer_share_what_is_scheduled(inner, at_base):
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    sam = optim.SAM([p], inner, lr=0.1)
    if at_base:
        scheduler = attach(sam.base_optimizer, linear(1, 0, 4))
    else:
        scheduler = attach(sam, linear(1, 0, 4), rho=linear(0.1, 0, 4))
    state = copy.deepcopy(sam.state_dict())

    def closure():
        sam.zero_grad()
        loss = p.sum()
        loss.backward()
        return loss

    for _ in range(2):
        sam.step(closure)
        scheduler.step()
    assert torch.allclose(p, torch.ones(3, dtype=p.dtype) - 0.1 - 0.075, rtol=0, atol=1e-12)
    assert rates(sam) == rates(sam.base_optimizer) == [0.05]
    assert rates(sam, "rho") == [0.05]
    sam.load_state_dict(state)  # which puts new groups in place of the old
    assert rates(sam) == [0.1]
    scheduler.step()
    assert rates(sam) == rates(sam.base_optimizer) == [pytest.approx(0.025)]


def test_works_inside_torchs_compositions():
    optimizer = two_groups(torch.optim.SGD)
    pieces = [attach(optimizer, linear(0.1, 1, 3)), attach(optimizer, cosine(5))]
    scheduler = torchs.SequentialLR(optimizer, pieces, [3])
    optimizer.step()
    whole = linear(0.1, 1, 3).then(cosine(5))
    assert walk(scheduler, 9) == [[0.1 * whole(n), 0.02 * whole(n)] for n in range(10)]
