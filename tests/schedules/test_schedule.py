"""A schedule is a value: asked in any way it says the same, and it can be told and made again."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schedules.made import CONSTRUCTORS, every
from thalweg import schedules
from thalweg.schedules import SCHEDULES, Course, constructor, cosine, from_dict, linear
from thalweg.schedules.entry import CONSTRUCTORS as NAMED


def test_no_constructor_is_left_out():
    assert {*CONSTRUCTORS, "plateau"} == set(SCHEDULES)
    assert set(SCHEDULES) <= set(schedules.__all__)
    assert {n for n in NAMED if n not in SCHEDULES} <= {*vars(schedules.Schedule), "times"}


@given(every, st.integers(1, 40), st.integers(1, 90))
def test_jumping_is_stepping(schedule, n, stride):
    stepped = [schedule(t) for t in range(0, n * stride, stride)]
    assert all(type(x) is float for x in stepped)
    jumps = np.arange(n) * stride
    for kind in (jumps, jumps.astype(np.float32), jumps[::-1]):
        found = schedule(kind)
        assert found.dtype == np.float64
        assert found.tolist() == (stepped[::-1] if kind[0] > kind[-1] else stepped)
    for dtype in (torch.int64, torch.float32, torch.bfloat16)[: 2 + (n * stride < 256)]:
        found = schedule(torch.tensor(jumps, dtype=dtype))
        assert found.dtype == torch.float64
        assert found.tolist() == stepped


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,), (2, 0, 4)], ids=str)
def test_shapes_are_kept(shape):
    trials = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    assert cosine(9)(trials).shape == shape
    assert cosine(9)(torch.tensor(trials)).shape == shape


@pytest.mark.parametrize("step", [np.int64(3), np.float32(3), torch.tensor(3), 3.0], ids=repr)
def test_scalars_of_any_kind(step):
    assert float(cosine(9)(step)) == cosine(9)(3)


@given(every, every)
def test_told_and_made_again(schedule, other):
    told = json.dumps(schedule.to_dict())
    for again in (
        from_dict(json.loads(told)),
        eval(repr(schedule), vars(schedules).copy()),
        pickle.loads(pickle.dumps(schedule)),
        copy.deepcopy(schedule),
    ):
        assert again == schedule
        assert hash(again) == hash(schedule)
        assert repr(again) == repr(schedule)
        assert [again(t) for t in (0, 1, 30.5, 400)] == [schedule(t) for t in (0, 1, 30.5, 400)]
        assert again.length == schedule.length
    assert (schedule == other) == (repr(schedule) == repr(other))


def test_repr_is_what_was_written():
    a, b = linear(0, 1, 500), cosine(10_000, end=0.1)
    product = a * b * np.float64(0.5)
    assert np.float64(0.5) * (a * b) == torch.tensor(0.5) * (a * b) == product
    for schedule, code in (
        (a.then(b), "linear(0, 1, 500).then(cosine(10000, end=0.1))"),
        (product, "(linear(0, 1, 500) * cosine(10000, end=0.1)) * 0.5"),
        (product.delayed(3), "((linear(0, 1, 500) * cosine(10000, end=0.1)) * 0.5).delayed(3)"),
        (b.in_epochs(50, whole=True), "cosine(10000, end=0.1).in_epochs(50, whole=True)"),
    ):
        assert repr(schedule) == code


def test_a_schedule_is_equal_to_its_likes_only():
    assert cosine(100) == cosine(100.0) == cosine(np.int32(100), end=torch.tensor(0.0))
    assert len({cosine(100), cosine(100.0), cosine(101), linear(1, 0, 100)}) == 3
    assert cosine(100) != "cosine(100)"


def test_a_schedule_cannot_be_changed():
    schedule = cosine(100)
    with pytest.raises(AttributeError):
        schedule.length = 5
    with pytest.raises(TypeError):
        schedule.arguments["steps"] = 5


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"name": "cosin", "arguments": {}}, "did you mean 'cosine'"),
        ({"name": "cosine", "arguments": {"stepz": 5}}, "did you mean 'steps'"),
        ({"name": "cosine", "arguments": {}}, "cosine: missing a required argument: 'steps'"),
        ({"name": "cosine", "arguments": {"steps": -5}}, "steps must be .* not -5"),
        ({"name": "cosine"}, "name and its arguments"),
        ({"name": "os.system", "arguments": {"command": "true"}}, "name must be one of"),
        (["cosine"], "name and its arguments"),
    ],
    ids=str,
)
def test_what_nobody_told_is_refused(told, said):
    with pytest.raises(ValueError, match=said):
        from_dict(told)


def test_a_schedule_of_ones_own(monkeypatch):
    monkeypatch.setattr("thalweg.schedules.schedule.CONSTRUCTORS", dict(NAMED))

    @constructor()
    def sawtooth(steps: float) -> Course:
        return Course(lambda t: t % steps / steps, None, 3 * steps)

    schedule = sawtooth(4).until(10).then(cosine(5))
    assert [schedule(t) for t in (0, 3, 4, 9, 10)] == [0, 0.75, 0, 0.25, 1]
    assert from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule

    def cosine_again(steps: float) -> Course:
        return Course(float, steps, steps)

    cosine_again.__name__ = "cosine"
    with pytest.raises(ValueError, match=r"'cosine' already, in thalweg.schedules.cosines"):
        constructor()(cosine_again)
