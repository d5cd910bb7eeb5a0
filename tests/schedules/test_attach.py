"""Schedules drive every optimizer: at step n it has what they say for n."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as torchs

from optim.table import every_row
from optim.training import assert_same, contents, gradients, step, tensors
from schedules.driven import WARM, rates, two_groups, walk
from thalweg import optim
from thalweg.schedules import constant, cosine, linear, multi_step, one_cycle
from thalweg.schedules import one_cycle_momentum as cycled
from thalweg.schedules.attach import attach

COURSE = gradients(8)
TORCHS = {
    "SGD": lambda ps, **o: torch.optim.SGD(ps, momentum=0.9, **o),
    "Adam": torch.optim.Adam,
    "AdamW foreach": lambda ps, **o: torch.optim.AdamW(ps, foreach=True, **o),
    "Adagrad": torch.optim.Adagrad,
    "Rprop": torch.optim.Rprop,
    "NAdam": torch.optim.NAdam,
}


def assert_driven(make):
    """Trained by a scheduler and by assignments alike."""
    driven, by_hand = make(tensors()), make(tensors())
    (lr,) = rates(driven)
    scheduler = attach(driven, WARM)
    for n, grads in enumerate(COURSE):
        assert rates(driven) == [lr * WARM(n)], n
        by_hand.param_groups[0]["lr"] = lr * WARM(n)
        step(driven, grads)
        step(by_hand, grads)
        scheduler.step()
    assert_same(contents(by_hand), contents(driven))


@every_row
def test_drives_ours(row, options):
    assert_driven(lambda ps: row.make(ps, **options))


@pytest.mark.parametrize("make", TORCHS.values(), ids=TORCHS)
def test_drives_torchs(make):
    assert_driven(lambda ps: make(ps, lr=0.03))


def test_the_first_step_is_taken_at_step_zero():
    optimizer = two_groups()
    scheduler = attach(optimizer, WARM)
    assert rates(optimizer) == [0.1 * 0.1, 0.02 * 0.1] == scheduler.get_last_lr()
    assert (scheduler.last_epoch, scheduler.base_lrs) == (0, [0.1, 0.02])
    assert scheduler.get_lr() == scheduler.get_last_lr()


def test_each_group_has_a_schedule_and_a_base():
    optimizer = two_groups()
    scheduler = attach(optimizer, [cosine(4), None], lr=[0.5, None])
    assert walk(scheduler, 2) == [[0.5, 0.02], [0.5 * cosine(4)(1), 0.02], [0.25, 0.02]]
    assert scheduler.base_lrs == [0.5, 0.02]
    assert attach(two_groups(), [cosine(4), None], lr=0.7).base_lrs == [0.7, 0.02]


def test_the_base_is_what_an_earlier_scheduler_started_from():
    optimizer = two_groups()
    earlier = torchs.StepLR(optimizer, 1)
    optimizer.step()
    walk(earlier, 2)
    assert attach(optimizer, constant(0.5)).base_lrs == [0.1, 0.02]
    assert attach(optimizer, constant(0.5), lr=1.0).base_lrs == [1.0, 1.0]
    assert rates(optimizer, "initial_lr") == [1.0, 1.0]


def test_hyperparameters_are_the_value_itself():
    optimizer = two_groups(optim.AdamW)
    up, down = linear(0.8, 0.9, 4), linear(0.3, 0.1, 4)
    scheduler = attach(optimizer, None, betas=(up, 0.95), weight_decay=[down, None])
    for n in range(6):
        assert rates(optimizer, "betas") == [(up(n), 0.95)] * 2
        assert rates(optimizer, "weight_decay") == [down(n), 0.01]
        assert rates(optimizer) == [0.1, 0.02] == scheduler.get_last_lr()
        scheduler.step()
    attach(optimizer, None, betas=[(None, 0.5), None])
    assert rates(optimizer, "betas") == [(0.9, 0.5), (0.9, 0.95)]
    kept = optim.Adam([{"params": tensors(), "betas": [0.5, 0.6]}])
    attach(kept, None, betas=(0.7, None))
    assert rates(kept, "betas") == [[0.7, 0.6]]  # a list stays one


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, optim.SGD, optim.Adam])
def test_one_cycle_with_momentum_is_torchs(make):
    key = "betas" if "betas" in make(tensors()).defaults else "momentum"
    ours, theirs = (make(tensors(), **({} if key == "betas" else {key: 0.9})) for _ in range(2))
    momentum = (cycled(9), None) if key == "betas" else cycled(9)
    scheduler = attach(ours, one_cycle(9), lr=0.2, **{key: momentum})
    other = torchs.OneCycleLR(theirs, 0.2, total_steps=9)
    for n in range(9):
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-12)
        assert rates(ours, key)[0] == pytest.approx(rates(theirs, key)[0], rel=1e-12)
        step(ours, COURSE[n % 8])
        step(theirs, COURSE[n % 8])
        if n < 8:
            scheduler.step()
            other.step()


@pytest.mark.parametrize("make", [torch.optim.Adam, optim.Adam])
def test_tensors_are_filled_in_place(make):
    rate, beta = torch.tensor(0.1), torch.tensor(0.9)
    whole = {"foreach": False} if make is torch.optim.Adam else {}
    optimizer = make(tensors(), lr=rate, betas=(beta, torch.tensor(0.99)), **whole)
    scheduler = attach(optimizer, cosine(4), lr=0.5, betas=(linear(0.5, 0.7, 2), None))
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert optimizer.param_groups[0]["betas"][0] is beta
    assert rate == torch.tensor(0.5 * cosine(4)(1))
    assert beta == torch.tensor(0.6)
    (last,) = scheduler.get_last_lr()
    assert last is not rate
    last.fill_(7.0)
    assert rate != 7.0


@pytest.mark.parametrize("name", ["lr", "betas"])
def test_a_tensor_given_for_all_groups_becomes_one_for_each(name):
    given = {"lr": torch.tensor(0.1), "betas": (torch.tensor(0.9), torch.tensor(0.99))}
    groups = [{"params": [torch.zeros(2, requires_grad=True)]} for _ in range(3)]
    optimizer = optim.Adam(groups, **given)
    if name == "lr":
        attach(optimizer, [constant(1.0), constant(0.5), None], lr=[0.2, 0.2, None])
        found = [float(g["lr"]) for g in optimizer.param_groups]
        right = [0.2, 0.1, 0.1]
    else:
        attach(optimizer, None, betas=[(constant(0.5), None), (constant(0.6), None), None])
        found = [float(g["betas"][0]) for g in optimizer.param_groups]
        right = [0.5, 0.6, 0.9]
    assert found == pytest.approx(right)
    assert optimizer.param_groups[0][name] is given[name] or name == "betas"


def test_what_stays_the_same_is_not_written_again():
    optimizer = two_groups(optim.AdamW)
    scheduler = attach(optimizer, multi_step([3]), betas=(constant(0.8), None))
    before = [(g["lr"], g["betas"]) for g in optimizer.param_groups]
    scheduler.step()
    for g, (lr, betas) in zip(optimizer.param_groups, before, strict=True):
        assert g["lr"] is lr
        assert g["betas"] is betas
