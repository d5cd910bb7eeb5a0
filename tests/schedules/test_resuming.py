"""A step is the same however it was reached: by steps, by a jump, from a checkpoint."""

from __future__ import annotations

import copy
import io
import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from optim.training import assert_same, contents, gradients, params, step, tensors
from schedules.driven import WARM, rates, two_groups, walk
from thalweg import optim
from thalweg.schedules import cosine, cyclic, linear, one_cycle
from thalweg.schedules.attach import attach
from thalweg.schedules.plateau import plateau

COURSE = gradients(8)
PIECES = st.one_of(
    st.builds(cosine, st.integers(1, 30), st.floats(0, 1)),
    st.builds(linear, st.floats(0, 2), st.floats(0, 2), st.integers(1, 30)),
    st.builds(one_cycle, st.integers(2, 30)),
)
SCHEDULES = st.one_of(
    PIECES,
    st.builds(lambda a, b: a.then(b), PIECES, PIECES),
    st.builds(lambda a, x: a * x, PIECES, st.floats(0, 3)),
    st.builds(lambda up: cyclic(0.1, 1, up), st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None)
@given(schedule=SCHEDULES, lr=st.floats(1e-6, 10), n=st.integers(0, 80), start=st.integers(0, 9))
def test_a_jump_equals_steps(schedule, lr, n, start):
    make = lambda: two_groups(torch.optim.SGD, momentum=0.5)  # noqa: E731
    there = [attach(make(), schedule, lr, momentum=schedule) for _ in range(3)]
    stepped, jumped, called = there
    walk(stepped, n)
    walk(jumped, start)
    jumped.jump(n)
    called.step(n)
    want = [lr * schedule(n)] * 2
    for s in there:
        assert rates(s.optimizer) == want == s.get_last_lr()
        assert rates(s.optimizer, "momentum") == [schedule(n)] * 2
        assert s.last_epoch == n
        assert s._step_count == n + 1


def reload(state, how):
    if how == "json":
        return json.loads(json.dumps(state, allow_nan=False))
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("order", ["optimizer first", "optimizer last", "made last"])
@pytest.mark.parametrize("how", ["json", "torch"])
@pytest.mark.parametrize("at", range(len(COURSE)))
def test_resumes_bit_for_bit(at, how, order):
    def start():
        return two_groups(optim.AdamW)

    def drive(o):
        return attach(o, [WARM, WARM * 0.5], betas=(linear(0.5, 0.9, 6), None))

    whole = start()
    scheduler = drive(whole)
    for i, grads in enumerate(COURSE):
        if i == at:
            saved, schedule = copy.deepcopy(whole.state_dict()), scheduler.state_dict()
            resumed = start()
            for p, q in zip(params(resumed), params(whole), strict=True):
                p.data.copy_(q.data)
            if order == "made last":
                resumed.load_state_dict(saved)
            again = drive(resumed)
            if order == "optimizer first":
                resumed.load_state_dict(saved)
            again.load_state_dict(reload(schedule, how))
            if order == "optimizer last":
                resumed.load_state_dict(saved)
            assert rates(resumed) == rates(whole)
            assert again.get_last_lr() == scheduler.get_last_lr()
        step(whole, grads)
        scheduler.step()
        if i >= at:
            step(resumed, grads)
            again.step()
            assert rates(resumed) == rates(whole)
            assert rates(resumed, "betas") == rates(whole, "betas")
    assert_same(contents(whole), contents(resumed))
    assert again.state_dict() == scheduler.state_dict()


def test_base_rates_come_with_the_state():
    saved = attach(two_groups(), cosine(9), lr=0.7)
    walk(saved, 3)
    other = attach(two_groups(), cosine(9))
    other.load_state_dict(saved.state_dict())
    assert rates(other.optimizer) == [0.7 * cosine(9)(3)] * 2
    other.step()
    assert rates(other.optimizer) == [0.7 * cosine(9)(4)] * 2


def test_copies_drive_their_own_optimizer():
    scheduler = attach(two_groups(), WARM, momentum=linear(0.2, 0.9, 5))
    walk(scheduler, 2)
    for twin in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert twin.optimizer is not scheduler.optimizer
        assert walk(twin, 4) == walk(copy.deepcopy(scheduler), 4)
    assert rates(scheduler.optimizer)[0] == 0.1 * WARM(2)
    both = copy.deepcopy({"optimizer": scheduler.optimizer, "scheduler": scheduler})
    assert both["scheduler"].optimizer is both["optimizer"]


ODD = {
    "another schedule": (
        lambda: attach(two_groups(), cosine(10)).state_dict(),
        r"There: cosine\(10\) for lr of group 0; .* Here: cosine\(9\) for lr",
    ),
    "another hyperparameter": (
        lambda: attach(two_groups(), cosine(9), momentum=0.5).state_dict(),
        r"There: constant.*0.5\) for momentum of group 0; .* Here: nothing else",
    ),
    "torch's": (lambda: torchs.StepLR(two_groups(), 3).state_dict(), "has the keys"),
    "a plateau's": (lambda: attach(two_groups(), plateau()).state_dict(), "has the keys"),
    "one group": (
        lambda: attach(optim.SGD(tensors(), lr=0.1), cosine(9)).state_dict(),
        "the state has 1 parameter groups, the optimizer 2",
    ),
    "no step": (
        lambda: attach(two_groups(), cosine(9)).state_dict() | {"last_epoch": -1},
        "last_epoch must be at least 0",
    ),
    "no schedule": (
        lambda: json.loads(
            json.dumps(attach(two_groups(), cosine(9)).state_dict()).replace("cosine", "sine")
        ),
        "name must be one of",
    ),
}


@pytest.mark.parametrize(("make", "message"), ODD.values(), ids=ODD)
def test_a_state_of_something_else_is_refused(make, message):
    scheduler = attach(two_groups(), cosine(9))
    walk(scheduler, 2)
    before = scheduler.state_dict(), rates(scheduler.optimizer)
    with pytest.raises(ValueError, match=message):
        scheduler.load_state_dict(make())
    assert (scheduler.state_dict(), rates(scheduler.optimizer)) == before


BAD = {
    "a rate below 0": ({"base_lrs": [0.1, -0.5]}, r"base_lrs\[1\] must be .*-0.5"),
    "no number": ({"base_lrs": ["fast", 0.5]}, r"base_lrs\[0\] must be a number, not 'fast'"),
    "infinite": ({"base_lrs": [0.1, float("inf")]}, r"base_lrs\[1\] must be .*inf"),
    "a step below 0": ({"last_epoch": -1}, "last_epoch must be at least 0, not -1"),
    "no step": ({"last_epoch": 1.5}, "last_epoch must be a whole number"),
}
STUCK = {"value": 0.1, "best": 1.0, "bad": 1, "cooldown": 0}
BAD_PLATEAUS = {
    "a rate below 0": ([{**STUCK, "value": -1.0}, STUCK], "lr must be finite and at least 0"),
    "no number": ([{**STUCK, "value": "x"}, STUCK], r"value of plateaus\[0\] must be a number"),
    "NaN": ([STUCK, {**STUCK, "value": float("nan")}], r"value of plateaus\[1\] must be finite"),
    "a count below 0": ([{**STUCK, "bad": -1}, STUCK], r"bad of plateaus\[0\] must be a whole"),
    "other keys": ([{"value": 0.1}, STUCK], r"plateaus\[0\] must have the keys"),
    "too few": ([STUCK], "the state has 1 plateaus, the scheduler 2"),
}


def refused(scheduler, change, says):
    state = {**scheduler.state_dict(), **change}
    before = copy.deepcopy(scheduler.state_dict()), rates(scheduler.optimizer)
    with pytest.raises((ValueError, TypeError), match=says):
        scheduler.load_state_dict(state)
    assert (scheduler.state_dict(), rates(scheduler.optimizer)) == before
    assert scheduler.get_last_lr() == before[1]


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD)
def test_a_bad_state_changes_nothing(change, says):
    scheduler = attach(two_groups(torch.optim.SGD), cosine(9))
    walk(scheduler, 3)
    refused(scheduler, change, says)
    walk(scheduler, 2)
    assert rates(scheduler.optimizer)[0] == 0.1 * cosine(9)(5)


@pytest.mark.parametrize(("plateaus", "says"), BAD_PLATEAUS.values(), ids=BAD_PLATEAUS)
def test_a_bad_state_of_a_plateau_changes_nothing(plateaus, says):
    scheduler = attach(two_groups(torch.optim.SGD), plateau(patience=0))
    for metric in (1.0, 2.0, 0.5):
        scheduler.step(metric)
    refused(scheduler, {"plateaus": plateaus}, says)


def test_what_a_schedule_would_make_of_a_state_is_looked_at_before():
    # The other's 2 is fine as a base rate, but the number at its step is not one.
    scheduler = attach(two_groups(torch.optim.SGD), linear(1, -1, 10))
    walk(scheduler, 2)
    refused(scheduler, {"last_epoch": 9, "base_lrs": [2.0, 2.0]}, "lr must be finite and at least")
