"""The figures of a race where scores and losses are at the ends of what a float can hold, and
whatever the reader's own settings of Matplotlib are."""

from __future__ import annotations

import math

import matplotlib
import pytest

from thalweg.lab import plan, verdict
from thalweg.lab.trial import Outcome
from thalweg.report import figures, page


def _race(scores, curves, problem="least-squares"):
    """Two optimizers, a seed and a rate for each score, and these losses by epoch."""
    p = plan(problem, "sgd,adam", seeds=1, rates=len(scores))
    found = {}
    for a in p.algorithms:
        for rate, score in zip(p.grid(a), scores, strict=True):
            found[p.trial(a, rate, 0)] = Outcome(score, score, 3, 0.1, False, "", curves, curves)
    return verdict(p, found)


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@pytest.mark.parametrize(
    ("least", "most"),
    [
        (0.0, 5e-324),
        (0.0, 1.7e308),
        (5e-324, 1e300),
        (1e-200, 1e200),
        (1.0, 1e307),
        (1e307, 1.7e308),
    ],
)
def test_a_report_holds_whatever_a_float_can(least, most, tmp_path):
    v = _race([least, most, most], (most, least, most, least))
    assert page.write(v, tmp_path, "again").read_text().endswith("</html>")


def test_a_loss_of_zero_moves_no_other_epoch():
    figure = figures.loss(_race([1.0], (4.0, 0.0, 2.0, 1.0, 0.0)), "train")
    for line in figure.axes[0].lines[:2]:
        assert list(line.get_xdata()) == [0, 1, 2, 3, 4]
        assert [y if y == y else None for y in line.get_ydata()] == [4.0, None, 2.0, 1.0, None]
    assert {note.xy for note in figure.axes[0].texts} == {(3, 1.0)}


def test_a_seed_without_loss_counts_in_the_median():
    middle, low, high = figures._bands([(4.0, 0.0), (4.0, 0.5), (4.0, 2.0)])
    assert (middle, low, high) == ([4.0, 0.5], [4.0, 0.5], [4.0, 2.0])
    middle, low, high = figures._bands([(4.0, 0.0), (4.0, 0.0), (4.0, 2.0)])
    assert math.isnan(middle[1])


def test_a_readers_own_settings_change_no_figure(tmp_path):
    v = _race([1.0, 2.0, 3.0], (2.0, 1.0))
    plain = page.write(v, tmp_path, "again").read_bytes()
    own = {"text.usetex": True, "savefig.bbox": "tight", "axes.facecolor": "red"}
    with matplotlib.rc_context(own):
        assert page.write(v, tmp_path, "again").read_bytes() == plain
