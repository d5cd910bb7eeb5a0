"""A race from plan to verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from thalweg.lab.plan import Plan, Trial
from thalweg.lab.run import cores, run
from thalweg.lab.store import Store
from thalweg.lab.trial import Outcome
from thalweg.lab.verdict import Verdict, verdict

Outcomes = dict[Trial, Outcome]


def race(
    plan: Plan,
    out: Path | str,
    workers: int | None = None,
    progress: Callable[[Outcomes, int], None] = lambda outcomes, total: None,
) -> Verdict:
    """Run what is missing of a race and judge it.

    Outcomes are kept in ``out`` as they arrive; what is already there is not run again, so that a
    race that was interrupted goes on and one with more seeds extends the old.

    Args:
        plan: from :func:`thalweg.lab.plan`.
        out: folder of the store ``race.sqlite``; created if need be.
        workers: processes, one thread each; None for one per core.
        progress: called with all outcomes so far and the number of trials, at the start and
            whenever one has arrived.

    Raises:
        ValueError: there must be at least one worker.
        thalweg.lab.store.Unusable: the folder cannot be written or belongs to somebody else.
    """
    workers = cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    trials = plan.trials()
    with Store(Path(out)) as store:
        outcomes: Outcomes = store.get(trials)
        progress(outcomes, len(trials))
        missing = [t for t in trials if t not in outcomes]
        with closing(run(missing, workers, plan.sources)) as arriving:
            for trial, outcome in arriving:
                store.put(trial, outcome)
                outcomes[trial] = outcome
                progress(outcomes, len(trials))
    return verdict(plan, outcomes)
