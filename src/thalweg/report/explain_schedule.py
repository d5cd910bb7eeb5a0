"""``thalweg explain`` of a schedule: its docstring, and a picture of it."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass

from thalweg.report.docstring import arguments, sections, table, wrap
from thalweg.schedules import SCHEDULES
from thalweg.schedules.picture import sketch

PARTS = ("In torch", "Where papers and code disagree", "Reference")


@dataclass(frozen=True)
class Explanation:
    """The parts of the answer, as plain text; ``arguments`` are (name, default, meaning)."""

    title: str
    idea: str
    formula: str
    latex: str
    example: str  # code and picture of one; empty for what depends on more than the step
    arguments: tuple[tuple[str, str, str], ...]
    parts: dict[str, str]  # the docstring's others, by heading

    def __str__(self) -> str:
        lines = [self.title, "=" * len(self.title), wrap(self.idea), "", self.formula]
        if self.example:
            lines += ["", self.example]
        lines += ["", "Arguments", table(self.arguments)]
        for heading, words in self.parts.items():
            lines += ["", heading, textwrap.indent(wrap(words, 84), "    ")]
        return "\n".join(lines)


def explain(name: str) -> Explanation:
    """Everything that the package knows about a schedule of ``SCHEDULES``."""
    entry = SCHEDULES[name]
    said = sections(inspect.getdoc(entry.make) or "")
    signature = inspect.signature(entry.make).parameters
    example = ""
    if entry.example:
        schedule = entry.make(*entry.example)
        example = f"{schedule!r}\n\n{textwrap.indent(sketch(schedule), '    ')}"
    return Explanation(
        name,
        said["Idea"],
        said["Formula"],
        entry.latex,
        example,
        tuple(
            (k, "" if p.default is p.empty else repr(p.default), arguments(said["Args"])[k])
            for k, p in signature.items()
        ),
        {k: said[k] for k in PARTS if k in said},
    )
