"""The named figures: each can be drawn, and what it cannot do is refused by name."""

from __future__ import annotations

import pytest

from thalweg.optim.registry import ALGORITHMS
from thalweg.problems.landscapes import LANDSCAPES
from thalweg.report import gallery, pictures, runs
from thalweg.report.film import Film
from thalweg.report.gallery import FIGURES

FEW = [ALGORITHMS["sgd"], ALGORITHMS["adam"]]


@pytest.mark.parametrize("name", FIGURES)
def test_each_can_be_drawn(name, tmp_path):
    entry = FIGURES[name]
    small = {"steps": 8} if entry.optimizers else {}
    if len(entry.optimizers) > 1:
        small["rates"] = [0.01]
    optimizers = FEW if len(entry.optimizers) > 1 else None
    entry, order = gallery.order(name, optimizers=optimizers, **small)
    picture = entry.draw(order)
    assert isinstance(picture, Film) == entry.moving
    path = tmp_path / "figure.png"
    pictures.write(picture, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("name", FIGURES)
def test_names_and_defaults_are_sound(name):
    entry = FIGURES[name]
    assert entry.name == name
    assert all(a in ALGORITHMS for a in entry.optimizers)
    assert entry.single == (len(entry.optimizers) == 1)
    _, order = gallery.order(name)
    assert order.f is entry.landscape
    assert [a.name for a in order.algorithms] == list(entry.optimizers)


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_vector_figures_are_the_same_each_time(suffix, tmp_path):
    entry, order = gallery.order("contours", optimizers=FEW, steps=5, rates=[1e-3])
    paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for path in paths:
        pictures.write(entry.draw(order), path)
    one, two = (p.read_bytes() for p in paths)
    assert one == two
    assert len(one) < 1e6


def test_captions_tell_the_rates():
    entry, order = gallery.order("contours", optimizers=FEW, steps=10)
    words = entry.draw(order)._supxlabel.get_text().replace("\n", " ")
    assert "10 steps" in words
    assert "half decades" in words
    assert "SGD 0.001" in words
    entry, order = gallery.order("contours", optimizers=FEW, steps=10, rates=[0.002])
    assert "Learning rate 0.002 for all" in entry.draw(order)._supxlabel.get_text()


@pytest.mark.parametrize(
    ("name", "rates", "said"),
    [
        ("contours", [1.0], "Diverged: SGD at step 4."),
        ("loss", [1.0], "Diverged: SGD at step 4."),
        ("contours", [1e-3], None),
        ("rates", [0.01, 1e200], "Diverged: learning rate 1e+200 at step 1."),
        ("noise", [1e200], "Diverged: batch: no noise at step 1, mini-batch of 10 at step 1, sin"),
    ],
)
def test_captions_name_who_diverged_and_when(name, rates, said):
    optimizers = None if FIGURES[name].single else FEW
    entry, order = gallery.order(name, optimizers=optimizers, steps=10, rates=rates)
    words = " ".join(entry.draw(order)._supxlabel.get_text().split())
    assert said in words if said else "iverged" not in words


def test_many_that_diverged_are_counted():
    everyone = list(ALGORITHMS.values())
    entry, order = gallery.order("contour-race", optimizers=everyone, steps=4, rates=[1e15])
    found = runs.runs(order.f, order.start, order.algorithms, 4, 1e15)
    gone = sum(r.descent.diverged_at is not None for r in found)
    assert 10 < gone < 30
    assert f"{gone} of 30 diverged." in entry.draw(order).caption


def test_a_formula_is_a_landscape():
    entry, order = gallery.order("contours", "x^2 + 3*y^2 - x*y", FEW, 5, start=(4, 3))
    assert order.f.title == "x^2 + 3*y^2 - x*y"
    assert order.start == (4.0, 3.0)
    entry.draw(order)


@pytest.mark.parametrize(
    ("name", "formula", "start"),
    [("contours", "x^2 + 3*y^2", (-3.75, 3)), ("loss", "x^2 + y^2 + z^2", (-3.75, 3, -3.75))],
)
def test_a_formula_begins_aside(name, formula, start):
    _, order = gallery.order(name, formula)
    assert order.start == pytest.approx(start, abs=1e-12)


def test_a_landscape_has_its_own_start():
    _, order = gallery.order("contour-race", "himmelblau")
    assert order.start == LANDSCAPES["himmelblau"].starts[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "contour"}, "did you mean 'contours'"),
        ({"name": "contours", "on": "rosenbrok"}, "did you mean 'rosenbrock'"),
        ({"name": "contours", "on": "x^2 +", "start": (1, 1)}, "character 6"),
        (
            {"name": "contours", "on": "log(x) + y"},
            r"log\(x\) \+ y, as --start X,Y: .* \(-3.75, 3\)",
        ),
        ({"name": "contours", "on": "helical-valley"}, "2 variables for contours"),
        ({"name": "basins", "on": "powell-singular"}, "2 variables for basins"),
        ({"name": "contours", "start": (9, 9)}, r"start must be a point in \[-2, 2\]"),
        ({"name": "contours", "start": (1,)}, "start must be a point"),
        ({"name": "contours", "start": (float("nan"), 1)}, "start must be a point"),
        ({"name": "rates", "optimizers": FEW}, "optimizers must be one for rates, not 2"),
        ({"name": "rates", "rates": [0.1]}, "lr must be two to four for rates, not 1"),
        ({"name": "noise", "rates": [0.1, 0.2]}, "lr must be one rate for noise, not 2"),
        ({"name": "basins", "steps": 3}, "steps has no meaning for basins"),
        ({"name": "basins", "rates": [3]}, "lr has no meaning for basins"),
        ({"name": "basins", "optimizers": FEW}, "optimizers has no meaning for basins"),
        ({"name": "basins", "start": (1, 1)}, "start has no meaning for basins"),
        ({"name": "loss", "optimizers": []}, "optimizers must name at least one"),
        ({"name": "loss", "steps": 0}, "steps must be at least 1, not 0"),
        ({"name": "loss", "rates": [-1.0]}, "lr must be finite and above 0"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        gallery.order(**arguments)


def test_loss_can_be_drawn_in_any_number_of_variables():
    entry, order = gallery.order("loss", "powell-singular", FEW, 5)
    assert len(entry.draw(order).axes[0].lines) == 2
