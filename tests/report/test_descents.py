"""Loss, rates, noise, effective steps: the numbers that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.analysis import descend
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems.landscapes import LANDSCAPES, quadratic
from thalweg.report.descents import _effective, effective_steps, loss, panels
from thalweg.report.runs import Run

SGD, ADAM = ALGORITHMS["sgd"], ALGORITHMS["adam"]


def test_gradient_descent_has_its_rate_as_effective_step_in_every_coordinate():
    f = quadratic(30)
    found = _effective(f, Run(SGD, 0.02, descend(f, (9.0, 9.0), SGD, 0.02, 30)))
    assert found.shape == (24, 2)
    np.testing.assert_allclose(found, 0.02, rtol=1e-12)


def test_adagrad_gives_a_steep_coordinate_a_smaller_step():
    f = quadratic(30)
    a = ALGORITHMS["adagrad"]
    found = _effective(f, Run(a, 0.5, descend(f, (9.0, 9.0), a, 0.5, 30)))
    # Both coordinates make the same moves, as Adagrad does not see a gradient's scale.
    np.testing.assert_allclose(found[0, 0] / found[0, 1], 30, rtol=0.2)


@pytest.mark.parametrize("steps", [1, 6, 7])
def test_few_steps_have_a_figure_too(steps):
    f = quadratic(30)
    found = [Run(a, 0.01, descend(f, (9.0, 9.0), a, 0.01, steps)) for a in (SGD, ADAM)]
    for draw in (effective_steps, loss):
        draw(f, found)


@pytest.mark.parametrize("name", ["rosenbrock", "branin", "saddle"])
def test_losses_are_drawn_above_the_least_known(name):
    f = LANDSCAPES[name]
    d = descend(f, f.starts[0], ADAM, 0.01, 30)
    axes = loss(f, [Run(ADAM, 0.01, d)]).axes[0]
    floor = f.minima[0].value if f.minima else 0.0
    np.testing.assert_allclose(axes.lines[0].get_ydata(), d.losses.numpy() - floor, rtol=1e-9)
    assert axes.get_yscale() == ("log" if f.minima else "linear")
    assert [t.get_text() for t in axes.texts] == ["Adam"]


def test_what_diverges_does_not_flatten_the_others():
    f = quadratic(10)
    found = [Run(SGD, r, descend(f, (9.0, 3.0), SGD, r, 200)) for r in (0.1, 1.0)]
    assert found[1].descent.diverged_at or found[1].descent.losses[-1] > 1e100
    axes = loss(f, found).axes[0]
    assert axes.get_ylim()[1] <= 201 * float(found[0].descent.losses[0])
    panels(f, found, ["right", "too large"])
