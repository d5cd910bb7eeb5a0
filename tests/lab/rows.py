"""Outcomes and races made by hand."""

from __future__ import annotations

from thalweg.lab import plan, verdict
from thalweg.lab.trial import Outcome


def ran(validation, test=None, loss=0.5, seconds=1.0, steps=10):
    test = validation if test is None else test
    return Outcome(validation, test, steps, seconds, False, "", (2.0, loss), (2.0, loss))


def blew_up(worst):
    return Outcome(worst, worst, 4, 0.5, True, "", (2.0,), (2.0,))


def judged(rows, problem="digits", rates=1):
    """The verdict on a table: name -> seed -> rate -> outcome (or None: not run); a bare list of
    outcomes stands for one rate."""
    seeds = max(len(r) for r in rows.values())
    p = plan(problem, list(rows), seeds=seeds, rates=rates)
    outcomes = {}
    for a in p.algorithms:
        for seed, row in enumerate(rows[a.name]):
            for rate, o in zip(p.grid(a), row if isinstance(row, list) else [row], strict=True):
                if o is not None:
                    outcomes[p.trial(a, rate, seed)] = o
    return verdict(p, outcomes)
