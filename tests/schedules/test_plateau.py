"""Reduction on a plateau is torch's, option by option, and a pure fold."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import json
import math
import pickle

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from optim.training import assert_same, snapshot
from schedules.driven import rates
from thalweg import optim
from thalweg.schedules import constant, cosine, from_dict, linear
from thalweg.schedules.attach import attach
from thalweg.schedules.plateau import Plateau, PlateauState, plateau

OPTIONS = {
    "mode": st.sampled_from(["min", "max"]),
    "factor": st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    "patience": st.integers(0, 3),
    "threshold": st.sampled_from([0.0, 1e-4, 0.1, 1.0, 1.5]),
    "threshold_mode": st.sampled_from(["rel", "abs"]),
    "cooldown": st.integers(0, 3),
    "minimum": st.sampled_from([0.0, 1e-3, 0.02, 1.0]),
    "eps": st.sampled_from([0.0, 1e-8, 0.01]),
}
ODD = [math.nan, math.inf, -math.inf, 0.0, -0.0]
METRICS = st.lists(
    st.one_of(st.integers(-4, 4).map(float), st.floats(-2, 2), st.sampled_from(ODD)), max_size=40
)
FALLING = [5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]


def two_groups(make=torch.optim.SGD, **options):
    ps = [torch.ones(2, requires_grad=True) for _ in range(2)]
    return make([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.02}], lr=0.1, **options)


def theirs(options):
    return {"min_lr" if k == "minimum" else k: v for k, v in options.items()}


@settings(max_examples=400, deadline=None)
@example(options={"factor": 0.5, "patience": 0, "eps": 0.05}, metrics=[1.0, 1.0])  # just eps
@given(options=st.fixed_dictionaries({}, optional=OPTIONS), metrics=METRICS)
def test_is_torchs(options, metrics):
    ours, other = two_groups(), two_groups()
    scheduler = attach(ours, plateau(**options))
    reference = ReduceLROnPlateau(other, **theirs(options))
    folds = [plateau(**options).start(rate) for rate in rates(ours)]
    for metric in metrics:
        scheduler.step(metric)
        reference.step(metric)
        folds = [plateau(**options)(f, metric) for f in folds]
        assert rates(ours) == rates(other) == scheduler.get_last_lr() == [f.value for f in folds]
        assert scheduler.last_epoch == reference.last_epoch
        state = reference.best, reference.num_bad_epochs, reference.cooldown_counter
        assert (folds[0].best, folds[0].bad, folds[0].cooldown) == state


def test_a_minimum_for_each_group_is_torchs():
    ours, other = two_groups(), two_groups()
    pieces = [plateau(patience=0, minimum=m) for m in (0.03, 0.001)]
    scheduler = attach(ours, pieces)
    reference = ReduceLROnPlateau(other, patience=0, min_lr=[0.03, 0.001])
    for metric in FALLING:
        scheduler.step(metric)
        reference.step(metric)
        assert rates(ours) == rates(other)
    assert rates(ours) == [0.03, 0.001]


def test_is_a_pure_fold():
    piece = plateau(patience=1, cooldown=1, factor=0.5)
    start = piece.start(0.4)
    states = [*itertools.accumulate(FALLING, piece, initial=start)]
    assert start == PlateauState(0.4, math.inf, 0, 0) == states[0]
    assert [s.value for s in states] == [0.4] * 4 + [0.2] * 4 + [0.1] * 3 + [0.05]
    assert functools.reduce(piece, FALLING, start) == states[-1]
    assert functools.reduce(piece, FALLING[5:], states[5]) == states[-1]
    assert hash(states[0]) == hash(piece.start(0.4))
    with pytest.raises(AttributeError):
        start.value = 1.0


@pytest.mark.parametrize("at", range(len(FALLING)))
@pytest.mark.parametrize("order", ["optimizer first", "optimizer last"])
def test_resumes_bit_for_bit(at, order):
    def start():
        optimizer = two_groups(optim.AdamW)
        piece = plateau(patience=1, cooldown=1, factor=0.3)
        return optimizer, attach(optimizer, piece, betas=(linear(0.5, 0.9, 6), None))

    whole, scheduler = start()
    for i, metric in enumerate(FALLING):
        if i == at:
            resumed, again = start()
            saved, file = copy.deepcopy(whole.state_dict()), io.BytesIO()
            torch.save(scheduler.state_dict(), file)
            file.seek(0)
            if order == "optimizer first":
                resumed.load_state_dict(saved)
            again.load_state_dict(torch.load(file, weights_only=True))
            if order == "optimizer last":
                resumed.load_state_dict(saved)
            assert rates(resumed) == rates(whole)
            assert again.state_dict() == json.loads(json.dumps(scheduler.state_dict()))
        scheduler.step(metric)
        if i >= at:
            again.step(metric)
            assert rates(resumed) == rates(whole)
            assert rates(resumed, "betas") == rates(whole, "betas")


def test_copies_fold_on_their_own():
    scheduler = attach(two_groups(), plateau(patience=0))
    scheduler.step(1.0)
    for twin in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert twin.state_dict() == scheduler.state_dict()
        twin.step(2.0)
        assert rates(twin.optimizer) == [0.1 * 0.1, 0.02 * 0.1]
    assert rates(scheduler.optimizer) == [0.1, 0.02]


def test_reduces_what_the_optimizer_has_and_schedules_count_beside_it():
    optimizer = two_groups(optim.SGD, momentum=0.9, weight_decay=0.5)
    scheduler = attach(
        optimizer,
        [linear(1, 0, 4), None],
        weight_decay=[plateau(patience=0, factor=0.5), None],
        momentum=[None, plateau(mode="max", patience=1)],
    )
    assert isinstance(scheduler, LRScheduler)
    for metric in (1.0, 1.0, 2.0):
        scheduler.step(metric)
    assert rates(optimizer) == [0.025, 0.02]
    assert rates(optimizer, "weight_decay") == [0.125, 0.5]
    assert rates(optimizer, "momentum") == [0.9, 0.9]
    assert scheduler.last_epoch == 3


def test_the_base_is_lr():
    optimizer = two_groups()
    scheduler = attach(optimizer, plateau(patience=0), lr=1.0)
    scheduler.step(1.0)
    assert rates(optimizer) == [1.0, 1.0]
    scheduler.step(1.0)
    assert rates(optimizer) == [0.1, 0.1]


@pytest.mark.parametrize(
    "loss",
    [torch.tensor(3.0), torch.tensor([3.0], requires_grad=True), torch.tensor(3.0).numpy(), 3],
)
def test_takes_a_loss_as_it_comes(loss):
    scheduler = attach(two_groups(), plateau(patience=0))
    for _ in range(2):
        scheduler.step(loss)
    assert rates(scheduler.optimizer)[0] == pytest.approx(0.01)
    assert json.dumps(scheduler.state_dict())


NO_METRIC = {
    "none": (lambda s: s.step(), TypeError, r"metrics is missing: .* step\(metrics\)"),
    "text": (lambda s: s.step("0.5"), TypeError, "metric must be a number, not '0.5'"),
    "several": (lambda s: s.step(torch.ones(2)), ValueError, "metric must be one real number"),
    "a jump": (lambda s: s.jump(3), ValueError, "cannot jump to step 3: .* every metric before"),
    "another": (
        lambda s: s.load_state_dict(attach(two_groups(), plateau(patience=2)).state_dict()),
        ValueError,
        r"There: plateau\(patience=2\) for lr of group 0; .* Here: plateau\(patience=0\)",
    ),
    "a pure one's": (
        lambda s: s.load_state_dict(attach(two_groups(), cosine(9)).state_dict()),
        ValueError,
        "has the keys",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), NO_METRIC.values(), ids=NO_METRIC)
def test_what_it_cannot_follow_changes_nothing(call, kind, message):
    scheduler = attach(two_groups(), plateau(patience=0))
    scheduler.step(1.0)
    before = scheduler.state_dict(), snapshot(scheduler.optimizer)
    with pytest.raises(kind, match=message):
        call(scheduler)
    assert scheduler.state_dict() == before[0]
    assert_same(before[1], snapshot(scheduler.optimizer))


def test_groups_that_come_late_are_refused_before_the_metric_counts():
    optimizer = two_groups()
    scheduler = attach(optimizer, plateau(patience=0))
    optimizer.add_param_group({"params": [torch.ones(1, requires_grad=True)]})
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="has 3 parameter groups, but had 2"):
        scheduler.step(1.0)
    assert scheduler.state_dict() == before


SPELT = {
    "plateau()": {},
    "plateau(mode='max', patience=3)": {"mode": "max", "patience": 3},
    "plateau(factor=0.5, threshold=0.0, threshold_mode='abs', cooldown=2, minimum=0.01, eps=0.0)": {
        "factor": 0.5, "threshold": 0, "threshold_mode": "abs", "cooldown": 2.0, "minimum": 0.01,
        "eps": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize(("code", "options"), SPELT.items())
def test_is_told_and_made_again(code, options):
    made = plateau(**options)
    assert repr(made) == code
    assert eval(code) == made == from_dict(json.loads(json.dumps(made.to_dict())))
    assert hash(eval(code)) == hash(made)
    assert made.name == "plateau"
    assert made.arguments.items() >= options.items()
    assert made != plateau(patience=7)
    assert pickle.loads(pickle.dumps(made)) == made
    assert isinstance(made, Plateau)


BAD = {
    "mode": ("least", ValueError),
    "factor": (1.0, ValueError),
    "patience": (1.5, ValueError),
    "threshold": (-1e-4, ValueError),
    "threshold_mode": ("relative", ValueError),
    "cooldown": (-1, ValueError),
    "minimum": (math.nan, ValueError),
    "eps": ("1e-8", TypeError),
}


@pytest.mark.parametrize(("name", "value", "kind"), [(k, *v) for k, v in BAD.items()], ids=BAD)
def test_bad_arguments_are_named(name, value, kind):
    with pytest.raises(kind, match=rf"{name} must be .* not {value!r}"):
        plateau(**{name: value})


COMPOSED = {
    "after": lambda p: linear(0, 1, 5).then(p),
    "before": lambda p: p.then(cosine(9)),
    "times": lambda p: p * 0.5,
    "half": lambda p: 0.5 * p,
    "schedule times": lambda p: constant(0.5) * p,
    "delayed": lambda p: p.delayed(3),
    "stretched": lambda p: p.stretched_to(3),
}


@pytest.mark.parametrize("compose", COMPOSED.values(), ids=COMPOSED)
def test_is_not_composed(compose):
    with pytest.raises(TypeError, match=r"plateau\(\)"):
        compose(plateau())


def test_after_a_warm_up_it_is_attached_anew():
    optimizer = two_groups()
    warm = attach(optimizer, linear(0.1, 1, 3))
    optimizer.step()
    for _ in range(3):
        warm.step()
    scheduler = attach(optimizer, plateau(patience=0))
    assert rates(optimizer) == [0.1, 0.02]
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert rates(optimizer) == pytest.approx([0.01, 0.002])


def test_trainers_take_it_for_torchs():
    scheduler = attach(two_groups(), plateau(patience=0, cooldown=3))
    assert isinstance(scheduler, ReduceLROnPlateau)
    assert not isinstance(attach(two_groups(), cosine(9)), ReduceLROnPlateau)
    cooling = []
    for metric in (1.0, 2.0, 2.0, 2.0, 2.0):
        scheduler.step(metrics=metric)  # by torch's name
        cooling.append(scheduler.in_cooldown)
    assert cooling == [False, True, True, True, False]
