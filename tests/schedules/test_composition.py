"""What compositions are, for whatever they are made of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.made import ended, ending, every, lengths, steps, values
from thalweg.schedules import (
    constant,
    cosine,
    cyclic,
    exponential,
    linear,
    multi_step,
    polynomial,
    step,
)


def test_as_one_thinks_it():
    schedule = linear(0, 1, 500).then(cosine(10_000))
    found = [schedule(t) for t in (0, 250, 499, 500, 501, 5_500, 10_499, 10_500, 99_999)]
    wave = [(1 + math.cos(math.pi * t / 10_000)) / 2 for t in (0, 1, 5_000, 9_999)]
    assert found == [0, 0.5, 0.998, *wave, 0, 0]
    assert schedule.length == 10_500


@given(ended, every, steps)
def test_then_starts_the_second_at_the_end_of_the_first(first, second, t):
    both, n = first.then(second), first.length
    if t < n:
        assert both(t) == first(t)
    assert both(n) == second(0)
    assert both(n + t) == (second((n + t) - n) if n + t != both.length else second.last)
    assert both.length == (None if second.length is None else n + second.length)


@given(ended, lengths, values)
def test_a_joint_is_continuous_where_the_ends_meet(first, n, x):
    end = first.length
    both = first.then(linear(first.last, x, n))
    soon = math.nextafter(end, math.inf)
    assert both(end) == first(end)
    assert abs(both(soon) - both(end)) <= 2 * abs(x - first.last) * (soon - end) / n


@given(every, steps, values)
def test_times_a_number(schedule, t, x):
    assert (schedule * x)(t) == (x * schedule)(t) == schedule(t) * x
    assert schedule * x == x * schedule
    assert (schedule * x).length == schedule.length


@given(every, every, steps)
def test_times_a_schedule(one, two, t):
    both = one * two
    assert both(t) == one(t) * two(t)
    ends = [one.length, two.length]
    assert both.length == (None if None in ends else max(ends))


@given(every, lengths, steps)
def test_delayed(schedule, n, t):
    later = schedule.delayed(n)
    assert later(min(t, n)) == schedule(0)
    assert later(n + t) == (schedule((n + t) - n) if n + t != later.length else schedule.last)


@given(every, lengths, steps)
def test_until(schedule, n, t):
    cut = schedule.until(n)
    assert cut(t) == schedule(min(t, n))
    assert cut.length == n


@given(ended, lengths, steps)
def test_stretched_to(schedule, n, t):
    stretched = schedule.stretched_to(n)
    assert stretched(0) == schedule(0)
    assert stretched(n) == stretched(n + t) == schedule(schedule.length)
    if t < n:
        assert stretched(t) == schedule(t * schedule.length / n)


@given(every, st.integers(1, 500), st.integers(0, 300), st.integers(0, 499))
def test_in_epochs(schedule, n, epoch, batch):
    batch %= n
    t = epoch * n + batch
    if schedule.length is None or t < schedule.length * n:
        assert schedule.in_epochs(n)(t) == schedule(t / n)
        assert schedule.in_epochs(n, whole=True)(t) == schedule(epoch)
    else:
        assert schedule.in_epochs(n)(t) == schedule.in_epochs(n, whole=True)(t) == schedule.last


@given(every, st.integers(1, 300), values, steps)
def test_warmed_up(schedule, n, x, t):
    warm = schedule.warmed_up(n, x)
    assert warm == linear(x, schedule(0), n).then(schedule)
    assert warm(0) == x
    assert warm(n) == schedule(0)
    assert schedule.warmed_up(0, x) == schedule


@given(every, steps)
def test_after_its_end_it_holds_its_last_value(schedule, t):
    end = ending(schedule)
    assert end(end.length + t) == end(end.length) == end.last


@given(lengths, values, values)
def test_ends_are_exact(n, start, end):
    for schedule in (
        linear(start, end, n),
        cosine(n, end, start),
        polynomial(start, end, n, 3),
        linear(start, start, n).then(linear(start, end, n)).stretched_to(n),
    ):
        assert (schedule(0), schedule(n)) == (start, end)


ENDLESS = [
    constant(2),
    step(3),
    multi_step([3, 4]),
    exponential(k=0.1),
    cosine(5, periodic=True),
    cyclic(0.1, 1, 5),
    cosine(5) * step(3),
    cosine(5).then(step(3)),
    step(3).delayed(4),
]


@pytest.mark.parametrize("schedule", ENDLESS, ids=repr)
def test_nothing_comes_after_what_never_ends(schedule):
    assert schedule.length is None
    with pytest.raises(ValueError, match="never ends"):
        schedule.then(cosine(10))
    with pytest.raises(ValueError, match="never ends"):
        schedule.stretched_to(10)
    assert schedule.until(7).then(cosine(10)).length == 17
