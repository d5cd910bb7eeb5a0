"""Descents on contours, on surfaces and basin maps: what is drawn lies where it should."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reference import colour
from thalweg import theme
from thalweg.analysis import basins, descend
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems.landscapes import LANDSCAPES, parse
from thalweg.report import paths, surface
from thalweg.report.basins import TINTS, _tints, basin_map
from thalweg.report.ground import Ground, around, within
from thalweg.report.landscapes import contours
from thalweg.report.runs import Run, best, leaving, rate_too_large, runs

FLAT = [f for f in LANDSCAPES.values() if f.dim == 2]
SIX = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")


def raced(f, names, steps=40, rate=None):
    return runs(f, f.starts[0], [ALGORITHMS[n] for n in names], steps, rate)


def boxes(figure, labels):
    """Where the labels lie in pixels."""
    theme.settle(figure)
    found = {t.get_text(): t.get_window_extent() for a in figure.axes for t in a.texts}
    return [found[label] for label in labels]


@pytest.mark.parametrize("f", FLAT, ids=lambda f: f.name)
def test_half_of_the_ground_is_below_half_of_the_height(f):
    ground = Ground.of(f, n=51)
    height = ground.height(ground.z)
    finite = height[np.isfinite(height)]
    assert finite.min() >= 0
    assert finite.max() == pytest.approx(1)
    # Only a landscape that is mostly high keeps its own heights.
    assert np.median(finite) == pytest.approx(0.5, abs=0.02) or (ground.root == 1)
    order = np.argsort(ground.z[np.isfinite(ground.z)], kind="stable")
    assert (np.diff(finite[order]) >= 0).all()


def test_a_saddle_keeps_its_heights():
    ground = Ground.of(LANDSCAPES["saddle"])
    assert ground.root == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["rosenbrock", "beale", "saddle"])
def test_names_lie_inside_and_apart(name):
    f = LANDSCAPES[name]
    figure = contours(f, raced(f, SIX, rate=1e-3))
    frame = figure.axes[0].get_window_extent()
    found = boxes(figure, [ALGORITHMS[n].title for n in SIX])
    for box in found:
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0
        assert box.y1 <= frame.y1 + 1
    for one, two in itertools.combinations(found, 2):
        assert not one.overlaps(two)


def test_eight_are_coloured_and_named_and_the_rest_is_grey():
    f = LANDSCAPES["rosenbrock"]
    found = raced(f, ALGORITHMS, steps=3, rate=1e-3)
    axes = contours(f, found, "Caption.").axes[0]
    known = {a.colour for a in ALGORITHMS.values()}
    drawn = [line.get_color() for line in axes.lines if len(line.get_xdata()) > 1]
    coloured = [c for c in drawn if c in known]
    assert len(coloured) == len(set(coloured)) == theme.COLOURED
    assert drawn.count(theme.GREY) == len(ALGORITHMS) - theme.COLOURED
    assert len([t for t in axes.texts if t.get_text()]) == theme.COLOURED
    assert "22 more in grey" in axes.figure._supxlabel.get_text()


def test_a_path_is_cut_where_it_leaves_for_good():
    box = ((-1.0, 1.0), (-1.0, 1.0))
    away = torch.tensor([[0.0, 0.0], [0.5, 3.0], [0.5, 0.5], [1.5, 1.0], [9.0, 9.0]])
    line, gone = paths.clipped(away, box)
    assert gone
    assert line.tolist() == [[0, 0], [0.5, 3], [0.5, 0.5], [1.0, 0.75]]
    line, gone = paths.clipped(away[:3], box)
    assert not gone
    assert line.tolist() == away[:3].tolist()


def test_an_arrow_marks_where_it_leaves():
    f = LANDSCAPES["saddle"]
    left = contours(f, raced(f, ["sgd"], steps=60, rate=0.1))
    stayed = contours(f, raced(f, ["sgd"], steps=5, rate=0.1))

    def arrows(figure):
        return [t for t in figure.axes[0].texts if t.arrow_patch and not t.get_text()]

    assert [t.xy[1] for t in arrows(left)] == pytest.approx([2.0])
    assert not arrows(stayed)


@pytest.mark.parametrize("f", FLAT, ids=lambda f: f.name)
def test_the_picture_holds_the_paths_and_no_more_than_the_domain(f):
    d = descend(f, f.starts[0], "adam", 0.1, 20)
    box = around(f, [d.points])
    for (low, high), (left, right) in zip(box, f.domain, strict=True):
        assert left <= low < high <= right
    assert all(within(box, p) for p in d.points.tolist() if within(f.domain, p))


def test_the_rate_is_the_grid_s_best():
    # Gradient descent on a quadratic has a closed form.
    f, steps, start = LANDSCAPES["quadratic"], 25, (9.0, 9.0)
    curvature = np.diagonal(f.hessian([0.0, 0.0]).numpy())
    rates = [10 ** (k / 2) for k in range(-9, 6)]
    ends = [0.5 * (curvature * ((1 - r * curvature) ** steps * start) ** 2).sum() for r in rates]
    found = best(f, start, ALGORITHMS["sgd"], steps, leaps=True)
    assert found.rate == pytest.approx(rates[int(np.argmin(ends))])
    assert float(found.descent.losses[-1]) == pytest.approx(min(ends), rel=1e-9)


def test_no_leaps_where_there_is_a_rate_without():
    f = LANDSCAPES["saddle"]
    found = best(f, f.starts[0], ALGORITHMS["adam"], 60)
    out = leaving(f, found.descent)
    assert out is not None
    strides = found.descent.points[: out + 1].diff(dim=0).norm(dim=1)
    assert strides.max() <= math.dist((-2, -2), (2, 2)) / 20


def test_a_rate_is_too_large_beyond_the_stability_limit():
    f = LANDSCAPES["quadratic"]
    found = rate_too_large(f, (1.0, 1.0), ALGORITHMS["sgd"], 200, 1e-3)
    limit = 2 / 100
    assert limit < found < limit * 1.03


def test_what_is_behind_a_hill_is_not_seen():
    f = parse("exp(-2*(x^2+y^2))", domain=((-3.0, 3.0), (-3.0, 3.0)))
    ground = replace(Ground.of(f), root=1.0)
    spots = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-2.9, 2.5]])
    assert surface.seen(ground, spots, azimuth=0).tolist() == [False, True, True, True]
    assert surface.seen(ground, spots, azimuth=180).tolist() == [True, False, True, True]


def test_the_eye_stands_where_the_paths_are_in_sight():
    f = LANDSCAPES["saddle"]
    d = descend(f, (-1.5, 1e-3), "adam", 0.1, 25)
    ground = Ground.of(f)
    path, _ = paths.clipped(d.points, ground.box)
    azimuth = surface._azimuth(ground, [path])
    assert surface.seen(ground, path, azimuth).all()
    assert not surface.seen(ground, path, azimuth - 180).all()


@pytest.mark.parametrize("name", ["saddle", "himmelblau"])
def test_a_surface_has_its_names(name):
    f = LANDSCAPES[name]
    figure = surface.surface(f, raced(f, ["sgd", "adam"], steps=20, rate=1e-3), "Caption.")
    one, two = boxes(figure, ["SGD", "Adam"])
    assert not one.overlaps(two)
    title, caption = (t.get_text() for t in figure.texts)
    assert title == f.title
    assert caption.startswith("Caption.")
    assert "the loss above its least, to the power 1/" in caption


def test_a_basin_map_names_values_and_shares():
    figure = basin_map(LANDSCAPES["himmelblau"])
    words = [t.get_text() for t in figure.axes[0].texts]
    assert len(words) == 4
    shares = [int(w.split("\n")[1].removesuffix(" %")) for w in words]
    assert sum(shares) == pytest.approx(100, abs=2)


def pixels(figure, x, y):
    """What is painted at points of the axes, as numbers from 0 to 1, [n, 3]."""
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    column, row = figure.axes[0].transData.transform(np.stack([x, y], 1)).T.round().astype(int)
    return image[len(image) - 1 - row, column]


def test_no_white_spot_is_where_four_basins_meet():
    figure = basin_map(LANDSCAPES["himmelblau"])
    x, y = (
        a.flatten() for a in np.meshgrid(np.linspace(-0.6, 0.1, 15), np.linspace(-0.8, -0.3, 15))
    )
    assert not (pixels(figure, x, y) > 0.99).all(1).any()


def test_without_minima_levels_are_still_seen():
    figure = basin_map(parse("x^2 - y^2"))
    x = np.linspace(-4, 4, 2000)
    assert (pixels(figure, x, np.full_like(x, 2.0)) < 0.7).all(1).sum() >= 4


@pytest.mark.parametrize("name", ["rastrigin", "himmelblau"])
def test_neighbouring_basins_have_different_tints(name):
    labels = basins(LANDSCAPES[name], resolution=60).labels.numpy()
    tints = np.array(_tints(labels))
    for one, two in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        border = one != two
        assert (tints[one[border]] != tints[two[border]]).all()


@pytest.mark.parametrize("tint", TINTS)
def test_words_can_be_read_on_a_tint(tint):
    ink, paper = (float(colour.luminance(colour.linear(c))) for c in (theme.INK, tint))
    assert (paper + 0.05) / (ink + 0.05) >= 7


def test_three_variables_are_refused():
    with pytest.raises(ValueError, match="2 variables"):
        basin_map(LANDSCAPES["helical-valley"])
    f = LANDSCAPES["helical-valley"]
    with pytest.raises(ValueError, match="2 variables"):
        contours(f, [Run(ALGORITHMS["sgd"], 0.1, descend(f, f.starts[0], "sgd", 1e-4, 2))])
