"""What a race shows in the terminal: a bar with the leader while it runs, a table at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from thalweg.lab import Plan, Trial, Verdict
from thalweg.lab.trial import Outcome
from thalweg.lab.verdict import mean_of
from thalweg.report.page import rows

NAME = 16  # letters of a name that a narrow terminal must leave room for


def leader(plan: Plan, outcomes: Mapping[Trial, Outcome]) -> str:
    """Who is ahead while a race runs: the best mean validation score of any rate so far."""
    p = plan.problem
    titles = {
        (t.algorithm, t.schedule): a.title for a in plan.algorithms for t in [plan.trial(a, 1, 0)]
    }
    scores: dict[tuple[str, str, float], list[float]] = {}
    for trial, outcome in outcomes.items():
        if not outcome.error:
            at = (trial.algorithm, trial.schedule, trial.rate)
            scores.setdefault(at, []).append(outcome.validation)
    if not scores:
        return ""
    means = {k: mean_of(v) for k, v in scores.items()}
    best = (max if p.higher_is_better else min)(means, key=means.__getitem__)
    unit = f" {p.unit}" if p.unit else ""
    return f"{titles[best[:2]]} at {best[2]:.3g}: {means[best]:.4g}{unit}"


class Progress:
    """Follows a race: call it with all outcomes so far and the number of trials."""

    def __init__(self, plan: Plan, bar: Any, console: Any) -> None:
        self.plan, self.bar, self.console = plan, bar, console
        self.task: Any = None
        self.tenth = 0

    def __call__(self, outcomes: Mapping[Trial, Outcome], total: int) -> None:
        done = len(outcomes)
        ahead = leader(self.plan, outcomes)
        if self.task is None:
            if done:
                self.console.print(f"{done} of {total} trainings were already there.")
            # The bar knows only what is new, so that the time left is not fooled by the old.
            self.start = done
            self.task = self.bar.add_task("", total=total - done, leader="")
        self.bar.update(self.task, completed=done - self.start, leader=ahead and f"ahead: {ahead}")
        if not self.console.is_terminal and total and 10 * done // total > self.tenth:
            self.tenth = 10 * done // total
            self.console.print(f"{done} of {total} trainings; ahead: {ahead}", soft_wrap=True)


@contextmanager
def watching(plan: Plan) -> Iterator[Progress]:
    """A progress bar with the time left and the running leader; plain lines where the output is
    not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(highlight=False, markup=False, emoji=False)
    bar = Bar(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=False),
        TextColumn("{task.fields[leader]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        yield Progress(plan, bar, console)


def show(verdict: Verdict) -> None:
    """The result in one sentence and the table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    p = verdict.plan.problem
    unit = f" {p.unit}" if p.unit else ""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    found = rows(verdict)
    split = "test" if p.held_out else "score"
    columns = [
        ("best\nrate", [r.rate + ("*" if r.at_edge else "") for r in found]),
        (f"{split}{unit}\nmean ± s.d.", [r.test for r in found]),
        ("differs\nfrom 1st", [r.apart for r in found]),
        ("\ngradients", [r.evaluations for r in found]),
        ("\nseconds", [r.seconds for r in found]),
    ]
    if p.held_out:
        columns.insert(1, (f"validation{unit}\nmean", [r.validation for r in found]))
    # A narrow terminal has no room for the last ones: without names the others would say nothing.
    names = 2 + min(NAME, max(len(r.title) for r in found))
    widths = [1 + max(map(len, [*head.split("\n"), *cells])) for head, cells in columns]
    while len(columns) > 2 and names + sum(widths[: len(columns)]) > console.width:
        columns.pop()
    table.add_column("optimizer", min_width=names)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for i, r in enumerate(found):
        name = Text("● ", style=r.colour) + Text(r.title, style="default")
        table.add_row(name, *(cells[i] for _, cells in columns))
    console.print()
    console.print(table)
    if any(r.at_edge for r in found):
        console.print(
            "* the first or last rate of the grid: a better one may lie beyond", style="dim"
        )
    console.print()
    console.print(verdict.sentence(), soft_wrap=not console.is_terminal)
