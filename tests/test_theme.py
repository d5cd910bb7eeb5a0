"""Colours can be kept apart, by the colour-blind too, and text in them can be read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reference import colour
from thalweg import theme
from thalweg.optim.registry import ALGORITHMS, Algorithm

COLOURS = list(dict.fromkeys(a.colour for a in ALGORITHMS.values()))
EYES = (None, *colour.BLIND)


@pytest.mark.parametrize(("one", "two", "wanted"), colour.PAIRS)
def test_the_reference_agrees_with_its_paper(one, two, wanted):
    found = colour.ciede2000(np.array(one), np.array(two))
    assert found == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize("eyes", EYES)
def test_any_two_colours_differ_by_ten(eyes):
    seen = {c: colour.lab(colour.seen(colour.linear(c), eyes)) for c in {*COLOURS, theme.GREY}}
    near = {
        (a, b): float(colour.ciede2000(seen[a], seen[b]))
        for a, b in itertools.combinations(seen, 2)
    }
    assert min(near.values()) >= 10, min(near, key=near.__getitem__)


@pytest.mark.parametrize("c", COLOURS)
def test_lines_stand_out_and_labels_can_be_read(c):
    def contrast(x):
        return 1.05 / (0.05 + float(colour.luminance(colour.linear(x))))

    assert contrast(c) >= 3
    assert contrast(theme.readable(c)) >= 4.5


def test_at_most_eight_are_coloured():
    first = next(iter(ALGORITHMS.values()))
    many = [Algorithm(f"a{i}", f"A{i}", first.optimizer, 0.1, f"#0000{i:02x}") for i in range(12)]
    found = theme.colours(many)
    assert [c != theme.GREY for c in found.values()] == [True] * 8 + [False] * 4


def test_no_two_series_share_a_colour():
    every = list(ALGORITHMS.values())
    found = theme.colours(every)
    coloured = [c for c in found.values() if c != theme.GREY]
    assert len(coloured) == len(set(coloured))
    assert found[every[0].name] == every[0].colour


@pytest.mark.parametrize("wanted", [[0.1, 0.1, 0.1], [0.0, 0.01, 0.99, 1.0], [0.5], [], [1.2, -3]])
def test_labels_are_spread_near_where_they_belong(wanted):
    places = theme.spread(wanted, 0.1)
    assert all(b - a > 0.0999 for a, b in itertools.pairwise(sorted(places)))
    assert all(-1e-9 <= p <= 1 + 1e-9 for p in places)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    assert [places[i] for i in order] == sorted(places)


def test_labels_with_room_stay_where_they_are():
    assert theme.spread([0.2, 0.8, 0.5], 0.1) == pytest.approx([0.2, 0.8, 0.5])


def test_a_tick_below_what_a_float_can_hold_has_no_name():
    _, axes = theme.canvas(2, 2)
    theme.plain_log(axes.yaxis)
    name = axes.yaxis.get_major_formatter()
    assert [name(x) for x in (0.0, 0.01)] == ["", "0.01"]
