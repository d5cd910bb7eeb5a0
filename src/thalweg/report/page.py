"""The report of a race: one HTML file that opens without a network, and its figures as PNG."""

from __future__ import annotations

import io
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.lab import Verdict
from thalweg.lab.verdict import Standing
from thalweg.report import figures
from thalweg.report.files import replacing
from thalweg.terminal import one_line
from thalweg.theme import FAINT, GREY, GRID, INK, colours, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
PICTURES = ("loss-training", "loss-validation", "learning-rate", "differences")


@dataclass(frozen=True)
class Row:
    """One line of the table, as text: shared by the terminal and the page."""

    title: str
    colour: str
    rate: str
    at_edge: bool
    validation: str
    test: str
    evaluations: str
    seconds: str
    apart: str  # from the leader: "leader", "yes", "no"


def rows(verdict: Verdict) -> list[Row]:
    """The table at the end of a race, best first."""
    colour = colours([s.algorithm for s in verdict.standings])
    unit = verdict.plan.problem.unit
    told = {d.algorithm.name: d.told_apart for d in verdict.differences}

    def row(s: Standing) -> Row:
        return Row(
            s.algorithm.title,
            colour[s.algorithm.name],
            f"{s.rate:.3g}",
            s.at_edge,
            score(s.validation, unit),
            score(s.test, unit) + (f" ± {score(s.spread, unit)}" if s.spread == s.spread else ""),
            f"{s.evaluations}",
            f"{s.seconds:.2f}",
            {None: "leader", True: "yes", False: "no"}[told.get(s.algorithm.name)],
        )

    return [row(s) for s in verdict.standings]


def write(verdict: Verdict, out: Path, command: str) -> Path:
    """Write ``report.html`` and the figures into ``out``; returns the page's path. A file is
    replaced only when the new one is complete.

    Args:
        verdict: of a race with at least one standing.
        out: an existing folder.
        command: the line that reproduces the race.

    Raises:
        OSError: the folder cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    standings = verdict.standings
    curves = {"loss-training": figures.loss(verdict, "train")}
    if any(o.train_curve != o.validation_curve for s in standings for o in s.outcomes):
        curves["loss-validation"] = figures.loss(verdict, "validation")
    apart = {"differences": figures.differences(verdict)} if verdict.differences else {}
    pictures = {**curves, "learning-rate": figures.rates(verdict), **apart}
    for name in PICTURES:
        if name in pictures:
            with replacing(out / f"{name}.png") as new:
                new.write_bytes(_png(pictures[name]))
        else:  # of an earlier race
            (out / f"{name}.png").unlink(missing_ok=True)

    environment = Environment(
        loader=PackageLoader("thalweg.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("page.html.j2").render(
        verdict=verdict,
        problem=verdict.plan.problem,
        rows=rows(verdict),
        curves={name: _svg(f, name) for name, f in curves.items()},
        rates=[
            (s, _svg(figures.rate(verdict, s), f"rate-{i}")) for i, s in enumerate(standings)
        ],
        differences=[_svg(f, name) for name, f in apart.items()],
        command=one_line(command),
        versions=f"thalweg {version('thalweg')}, torch {version('torch')}, "
        f"Python {platform.python_version()} on {platform.machine()}",
        ink=INK, faint=FAINT, grid=GRID, grey=GREY,
    )  # fmt: skip
    with replacing(out / PAGE) as new:
        new.write_bytes(page.encode(errors="replace"))  # half a letter pair, in a path
    return out / PAGE


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with theme():
        figure.savefig(file, format="png", facecolor="white", dpi=200)
    return file.getvalue()


def _svg(figure: Figure, name: str) -> Any:
    """The figure as inline SVG whose ids begin with a name of ours, and so do not meet another
    figure's."""
    from markupsafe import Markup

    file = io.StringIO()
    metadata: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with theme():
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None
    text = f'<svg viewBox="{box[1]}" role="img">' + text[text.index(">") + 1 :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    return Markup(text)


def score(x: float, unit: str) -> str:
    """A score as the table shows it: two decimals of a percentage, else three digits."""
    return f"{x:.2f}" if unit == "%" else f"{x:.3g}"
