"""Verdicts, against cases computed by hand, and what they say in words."""

from __future__ import annotations

import math
from importlib import import_module

import pytest

from lab.rows import blew_up, judged, ran
from thalweg.lab.trial import Outcome

lab_verdict = import_module("thalweg.lab.verdict")
interval, holm, step = lab_verdict._interval, lab_verdict._holm, lab_verdict._step

SGD, ADAM, ADAGRAD = "SGD", "Adam", "Adagrad"


def order(v):
    return [s.algorithm.title for s in v.standings]


# -- choosing


def test_the_rate_is_chosen_by_mean_validation_score_alone():
    v = judged({"sgd": [[ran(90, 99), ran(95, 50), ran(91, 99)],
                        [ran(90, 99), ran(93, 60), ran(91, 99)]]}, rates=3)  # fmt: skip
    (s,) = v.standings
    assert s.rate == 0.1
    assert not s.at_edge
    assert (s.validation, s.test) == (94, 55)
    assert s.spread == pytest.approx(math.sqrt(50))
    assert list(s.scores.values()) == [(90, 90), (95, 93), (91, 91)]
    assert [o.test for o in s.outcomes] == [50, 60]


@pytest.mark.parametrize(
    ("scores", "chosen", "edge"),
    [
        ((95, 95, 95, 95, 95), 2, False),  # a plateau's middle
        ((95, 95, 90, 90, 90), 1, False),
        ((90, 90, 90, 95, 95), 3, False),
        ((90, 95, 90, 95, 90), 1, False),  # equally far: the lower
        ((95, 90, 90, 90, 90), 0, True),
        ((90, 90, 90, 90, 95), 4, True),
    ],
)
def test_ties_between_rates_and_edges(scores, chosen, edge):
    v = judged({"sgd": [[ran(s) for s in scores]]}, rates=5)
    (s,) = v.standings
    assert s.rate == v.plan.grid(s.algorithm)[chosen]
    assert s.at_edge is edge


def test_one_rate_has_no_edge():
    assert not judged({"sgd": [ran(90)]}).standings[0].at_edge


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"sgd": [ran(90, 99)], "adam": [ran(91, 10)]}, [ADAM, SGD]),  # the test score is not asked
        ({"sgd": [ran(90, loss=0.3)], "adam": [ran(90, loss=0.2)]}, [ADAM, SGD]),
        ({"sgd": [ran(90)], "adam": [ran(90)], "adagrad": [ran(90)]}, [SGD, ADAM, ADAGRAD]),
        ({"adagrad": [ran(90)], "sgd": [ran(90)]}, [ADAGRAD, SGD]),
        ({"sgd": [blew_up(0.0)], "adam": [ran(5)]}, [ADAM, SGD]),
        ({"sgd": [ran(0.0)], "adam": [blew_up(0.0)]}, [SGD, ADAM]),
    ],
)
def test_standings_go_by_validation_score_then_loss_then_the_plans_order(rows, expected):
    assert order(judged(rows)) == expected


def test_lower_is_better_where_the_problem_says_so():
    v = judged({"sgd": [[ran(3.0), ran(2.0), ran(4.0)]] * 2, "adam": [[ran(1.0)] * 3] * 2},
               problem="least-squares", rates=3)  # fmt: skip
    assert order(v) == [ADAM, SGD]
    assert [s.validation for s in v.standings] == [1.0, 2.0]
    assert v.differences[0].mean == 1.0, "positive favours the leader"


def test_what_a_standing_counts():
    rows = [[ran(90, seconds=s, steps=n), blew_up(0.0), Outcome(error="ValueError: x")]
            for s, n in ((1.0, 10), (9.0, 10), (2.0, 12))]  # fmt: skip
    (s,) = judged({"sgd": rows}, rates=3).standings
    assert s.seconds == 2.0
    assert s.evaluations == 12
    assert s.diverged == 3
    assert s.failures == tuple(f"rate 0.316228, seed {i}: ValueError: x" for i in range(3))
    assert len(s.scores) == 2, "a rate with a failure is no candidate"


# -- telling apart


def test_an_interval_by_hand():
    # mean 2, standard deviation 1, 3 values: 2 ± 4.30265 · 1/√3; t = 3.4641, p = 0.0741799
    mean, low, high, p = interval([1.0, 2.0, 3.0], 0.0)
    assert (mean, low, high) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert p == pytest.approx(0.0741799, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_and_p_agree_with_scipys_paired_test(seed):
    import numpy as np
    from scipy import stats

    g = np.random.default_rng(seed)
    a, b = g.normal(90, 1, 4 + seed), g.normal(91, 1, 4 + seed)
    expected = stats.ttest_rel(a, b)
    ci = expected.confidence_interval(0.95)
    mean, low, high, p = interval(list(a - b), 0.0)
    assert (mean, low, high, p) == pytest.approx(
        (np.mean(a - b), ci.low, ci.high, expected.pvalue), rel=1e-9
    )


@pytest.mark.parametrize(
    ("gaps", "resolution", "expected"),
    [
        ([0.5], 0.1, (0.5, -math.inf, math.inf, 1.0)),  # one seed
        ([0.0, 0.0, 0.0], 0.0, (0.0, 0.0, 0.0, 1.0)),
        ([math.inf] * 3, 0.1, (math.inf, math.inf, math.inf, 0.0)),
        ([-math.inf] * 2, 0.1, (-math.inf, -math.inf, -math.inf, 0.0)),
        ([math.inf, 1.0, 1.0], 0.1, (math.inf, -math.inf, math.inf, 1.0)),
        ([math.inf, -math.inf], 0.1, (math.nan, -math.inf, math.inf, 1.0)),
        ([math.nan, math.inf], 0.1, (math.nan, -math.inf, math.inf, 1.0)),
    ],
)
def test_intervals_without_a_spread(gaps, resolution, expected):
    assert interval(gaps, resolution) == pytest.approx(expected, nan_ok=True)


def test_the_same_gap_three_times_is_not_certainty_when_scores_come_in_steps():
    # Standard error √(1/6/3) = 0.235702: t = 4.24264 with 2 degrees of freedom
    mean, low, high, p = interval([1.0, 1.0, 1.0], 1.0)
    assert mean == 1
    assert (low, high) == pytest.approx((1 - 1.014145, 1 + 1.014145), abs=1e-5)
    assert p == pytest.approx(0.0513167, abs=1e-6)


def test_the_step_of_scores():
    assert step([90.0, 92.5, 92.5, 91.0, math.inf]) == 1.0
    assert step([90.0, 90.0]) == step([]) == step([math.inf]) == 0.0
    assert step([100 * 0.7, 100 * 0.7 + 1e-14, 100.0]) == pytest.approx(30)  # rounding is no step


@pytest.mark.parametrize(
    ("ps", "rejected"),
    [
        ([], []),
        ([0.04], [True]),
        ([0.03, 0.04], [False, False]),
        ([0.04, 0.02], [True, True]),  # 0.02 ≤ 0.05/2, then 0.04 ≤ 0.05/1
        ([0.01, 0.04, 0.03, 0.005], [True, False, False, True]),  # Holm's own example
        ([0.0, 0.0, 1.0], [True, True, False]),
        ([0.02, 0.02, 0.001], [True, True, True]),
    ],
)
def test_holms_correction(ps, rejected):
    assert holm(ps) == rejected


@pytest.mark.parametrize("seed", range(20))
def test_holms_correction_from_adjusted_p(seed):
    import numpy as np

    ps = np.random.default_rng(seed).beta(0.3, 3, 6)
    by_size = np.argsort(ps)
    adjusted = np.empty(6)
    adjusted[by_size] = np.maximum.accumulate(ps[by_size] * np.arange(6, 0, -1))
    assert holm(list(ps)) == list(adjusted <= 0.05)


def test_a_clear_winner_and_an_equal():
    tests = {"adam": (97.0, 97.5, 96.5), "sgd": (91.0, 91.6, 90.5), "adagrad": (97.1, 97.3, 96.6)}
    v = judged({n: [ran(t, t) for t in ts] for n, ts in tests.items()})
    apart = {d.algorithm.title: d.told_apart for d in v.differences}
    assert order(v) == [ADAM, ADAGRAD, SGD]
    assert apart == {ADAGRAD: False, SGD: True}
    sgd = v.differences[1]
    assert sgd.mean == pytest.approx((6.0 + 5.9 + 6.0) / 3)
    assert sgd.low < sgd.mean < sgd.high


@pytest.mark.parametrize("great", [1e154, 1e200, 1.7e308])
def test_scores_about_to_overflow_lose_nobody_the_verdict(great):
    v = judged({"sgd": [ran(1.0), ran(2.0)], "adam": [ran(great, loss=great), ran(great / 2)]},
               "least-squares")  # fmt: skip
    assert order(v) == [SGD, ADAM]
    assert v.standings[1].validation == pytest.approx(great / 4 + great / 2)
    [d] = v.differences
    assert not d.told_apart
