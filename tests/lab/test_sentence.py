"""What a verdict says in words, whole sentences."""

from __future__ import annotations

import math

import pytest

from lab.rows import blew_up, judged, ran
from thalweg.lab import plan, verdict
from thalweg.lab.trial import Outcome


def at(*tests, validation=None):
    """A row of seeds with these test scores."""
    return [ran(t if validation is None else validation, t) for t in tests]


FAILED = Outcome(error="ValueError: eps must not be negative")
ADAM = at(97.0, 97.5, 96.5)
SENTENCES = {
    "alone": (
        {"rows": {"adam": ADAM}},
        "Adam, the best on validation data, reaches a test accuracy of 97 %.",
    ),
    "one seed": (
        {"rows": {"adam": at(97.22), "sgd": at(20.0)}},
        "Adam, the best on validation data, reaches a test accuracy of 97.22 %; "
        "with one seed nobody can be told apart.",
    ),
    "one beaten": (
        {"rows": {"sgd": at(91.0, 91.6, 90.5), "adam": ADAM}},
        "Adam, the best on validation data, reaches a test accuracy of 97 %; "
        "it beats SGD by 5.97 points (95 % interval 5.44 to 6.49).",
    ),
    "all beaten": (
        {"rows": {"sgd": at(91.0, 91.6, 90.5), "adam": ADAM, "adagrad": at(80.0, 80.5, 79.4)}},
        "Adam, the best on validation data, reaches a test accuracy of 97 %; it beats all others, "
        "the nearest of them by 5.97 points (95 % interval 5.44 to 6.49).",
    ),
    "one beaten, two equal": (
        {
            "rows": {
                "adam": ADAM,
                "adamw": at(97.2, 97.2, 96.0),
                "adagrad": at(97.1, 97.0, 96.6),
                "sgd": at(91.0, 91.6, 90.5),
            }
        },
        "Adam, the best on validation data, reaches a test accuracy of 97 %; it beats SGD by 5.97 "
        "points (95 % interval 5.79 to 6.14); Adagrad and AdamW cannot be told apart from it with "
        "3 seeds.",
    ),
    "equal": (
        {"rows": {"adam": ADAM, "sgd": at(97.2, 97.2, 96.0)}},
        "Adam, the best on validation data, reaches a test accuracy of 97 %; "
        "SGD cannot be told apart from it with 3 seeds.",
    ),
    "a better one on test data": (
        {
            "rows": {
                "adam": at(91.0, 91.6, 90.5, validation=99),
                "sgd": at(97.0, 97.5, 96.5, validation=98),
                "adagrad": at(80.0, 80.5, 79.4, validation=97),
            }
        },
        "Adam, the best on validation data, reaches a test accuracy of 91.03 %; it beats Adagrad "
        "by 11.1 points (95 % interval 10.5 to 11.6); on test data SGD beats it by 5.97 points "
        "(95 % interval 5.44 to 6.49).",
    ),
    "lower is better, without a unit": (
        {
            "problem": "least-squares",
            "rows": {"sgd": at(0.011, 0.0125, 0.012), "adam": at(0.5, 0.501, 0.502)},
        },
        "SGD, the best, reaches a distance to the analytic solution of "
        "0.01183; it beats Adam by 0.489 (95 % interval 0.487 to 0.491).",
    ),
    "some diverged": (
        {
            "problem": "least-squares",
            "rows": {"sgd": [blew_up(math.inf)] * 3, "adam": at(0.5, 0.501, 0.502)},
        },
        "Adam, the best, reaches a distance to the analytic solution of "
        "0.501; it beats SGD, which diverged.",
    ),
    "all diverged": (
        {"rows": {"sgd": [blew_up(0.0)] * 2, "adam": [blew_up(0.0)] * 2}},
        "Every training diverged: no rate on the grid works for any of them.",
    ),
    "all diverged, lower is better": (
        {
            "problem": "least-squares",
            "rows": {"sgd": [blew_up(math.inf)] * 2, "adam": [blew_up(math.inf)] * 2},
        },
        "Every training diverged: no rate on the grid works for any of them.",
    ),
    "one seed of each diverged": (
        {
            "problem": "least-squares",
            "rows": {"sgd": [blew_up(math.inf), ran(1.0)], "adam": [ran(1.0), blew_up(math.inf)]},
        },
        "No rate works for every seed: at each, trainings diverged.",
    ),
    "one left out, one with fewer rates": (
        {
            "rates": 3,
            "rows": {
                "sgd": [[ran(90), ran(95), FAILED]] * 2,
                "adam": [[FAILED] * 3] * 2,
            },
        },
        "SGD, the best on validation data, reaches a test accuracy of 95 %. SGD had fewer rates to "
        "choose from: 2 trainings failed (rate 0.316228, seed 0: ValueError: eps must not be "
        "negative). Adam is left out: 6 of 6 trainings failed (rate 0.000948683, seed 0: "
        "ValueError: eps must not be negative).",
    ),
    "all failed": (
        {"rows": {"adam": [FAILED]}},
        "No optimizer has a rate that every seed has run. Adam is left out: 1 of 1 trainings "
        "failed (rate 0.003, seed 0: ValueError: eps must not be negative).",
    ),
    "unfinished, failed and missing mixed": (
        {"rows": {"adam": [ran(90), ran(90)], "sgd": [FAILED, None]}},
        "After 3 of 4 trainings: Adam, the best on validation data, reaches a test accuracy of "
        "90 %. SGD is left out: 1 of 2 trainings are still to be run and 1 of 2 trainings failed "
        "(rate 0.1, seed 0: ValueError: eps must not be negative).",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_sentence(case):
    race, expected = SENTENCES[case]
    assert judged(**race).sentence() == expected


def test_nothing_yet():
    v = verdict(plan("digits"), {})
    assert v.sentence() == "No training has finished yet."
    assert len(v.left_out) == len(v.plan.algorithms)
