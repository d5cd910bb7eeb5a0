"""Pictures show the values."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import example, given
from matplotlib.figure import Figure

from schedules.made import every
from thalweg.schedules import (
    cosine,
    cyclic,
    linear,
    multi_step,
    one_cycle_momentum,
    sketch,
    step,
    warm_restarts,
)


@pytest.mark.parametrize(
    ("schedule", "steps", "end"),
    [
        (linear(0, 1, 50).then(cosine(100)), None, 150),
        (cosine(100), 130, 130),
        (step(30), None, 150),
        (multi_step([30, 80]), None, 100),
        (cyclic(0, 1, 20, 30).in_epochs(10), None, 1500),
    ],
    ids=repr,
)
def test_the_line_has_the_values(schedule, steps, end):
    figure = schedule.plot(steps)
    [axes] = figure.axes
    [line] = axes.lines
    x, y = line.get_data()
    assert (x[0], x[-1]) == axes.get_xlim() == (0, end)
    assert y.tolist() == schedule(x).tolist()
    assert axes.get_title(loc="left") == repr(schedule)
    assert axes.get_ylim()[0] == 0


def test_axes_of_ones_own():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert cosine(100).plot(axes=right) is figure
    assert one_cycle_momentum(90).plot(axes=right) is figure
    assert [len(a.lines) for a in (left, right)] == [0, 2]


def test_a_momentum_is_not_seen_from_zero():
    [axes] = one_cycle_momentum(90).plot().axes
    assert axes.get_ylim()[0] == pytest.approx(0.85, abs=1e-3)


def dots(text):
    """The picture of a sketch, True where there is a dot."""
    rows = [line.partition("│")[2] for line in text.splitlines() if "│" in line]
    width = max(map(len, rows))
    cells = np.array([[ord(c) - 0x2800 for c in row.ljust(width, "\u2800")] for row in rows])
    bits = np.array([[0, 3], [1, 4], [2, 5], [6, 7]])  # of a braille letter, by row and column
    found = cells[:, None, :, None] >> bits[None, :, None, :] & 1
    return found.reshape(4 * len(rows), 2 * width).astype(bool)


def test_a_sketch_is_the_curve():
    wave = cosine(100)
    found = dots(sketch(wave, width=60, height=8))
    assert found.shape == (32, 120)
    for column in range(120):
        row = round(31 * (1 - wave(column * 100 / 119)))
        assert found[row, column]
        assert found[:, column].sum() <= 2


def test_a_jump_is_an_upright_line():
    found = dots(sketch(step(50, 0).until(100), width=10, height=3))
    assert found.sum(axis=0).tolist() == [1] * 10 + [11] + [1] * 9


def test_a_sketch_as_it_is_printed():
    assert sketch(linear(0, 5, 12), width=6, height=2) == (
        "5 │⠀⠀⠀⣀⠔⠊\n"
        "0 │⡠⠔⠉\n"
        "  └──────\n"
        "   0   12"
    )  # fmt: skip


@given(every)
@example(warm_restarts(0.5, start=-1.0).until(100).stretched_to(1))  # 200 teeth
def test_everything_can_be_drawn(schedule):
    lines = sketch(schedule).splitlines()
    assert len(lines) == 10
    assert dots("\n".join(lines)).any(axis=0).all()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib: pip install 'thalweg\[lab\]'"):
        cosine(3).plot()
