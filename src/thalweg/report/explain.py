"""``thalweg explain``: what an algorithm is, from its rule and its docstring.

Nothing is written here a second time: the formula is printed from the traced rule, options and
defaults come from the constructor, all words from the class's docstring.
"""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

import torch

from thalweg.optim.options import Common
from thalweg.optim.registry import Algorithm
from thalweg.report.docstring import WIDTH, arguments, plain, sections, table, wrap
from thalweg.rule.formula import Formula, latex, text


@dataclass(frozen=True)
class Explanation:
    """The parts of the answer, as plain text; ``options`` are (name, default, meaning)."""

    title: str
    idea: str
    formula: Formula
    latex: Formula
    views: dict[str, Formula]  # other weights that the state knows of
    options: tuple[tuple[str, str, str], ...]
    common: tuple[tuple[str, str, str], ...]
    state: str
    disagreements: str
    reference: str

    def __str__(self) -> str:
        letters = {name: letter for name, letter in self.formula.symbols.items() if name != letter}
        where = ", ".join(f"{letter} is {name}" for name, letter in letters.items())
        parts = [self.title, "=" * len(self.title), wrap(self.idea), ""]
        parts += [
            "Update, with g the gradient at w:",
            "",
            textwrap.indent(str(self.formula), "    "),
        ]
        if "averaged" in self.views:
            averaged = textwrap.indent(str(self.views["averaged"]), "    ")
            parts += ["", "The weights to evaluate with, told from these:", "", averaged]
        if where:
            parts += ["", wrap("where " + where)]
        if self.formula.words:
            rows = [f"{word}: {meaning}" for word, meaning in self.formula.words.items()]
            parts += ["", *(textwrap.fill(row, WIDTH, subsequent_indent="    ") for row in rows)]
        if self.state:
            parts += ["", wrap("State: " + self.state)]
        if self.options:
            parts += ["", "Options", table(self.options)]
        parts += ["", "Options of every optimizer", table(self.common)]
        for heading, words in (
            ("Where papers and code disagree", self.disagreements),
            ("Reference", self.reference),
        ):
            if words:
                parts += ["", heading, textwrap.indent(wrap(words, WIDTH - 4), "    ")]
        return "\n".join(parts)


def explain(algorithm: Algorithm) -> Explanation:
    """Everything that the package knows about an algorithm."""
    matrix = torch.zeros(1, 1, requires_grad=True)
    optimizer = algorithm.build([matrix], lr=algorithm.lr)
    cls = type(optimizer)
    group = optimizer.param_groups[0]
    values = optimizer.values(matrix, group)
    said = sections(inspect.getdoc(cls) or "")
    # What an optimizer around another one hands on are options, too.
    classes = (cls, *(type(o) for o in optimizer.phases()[1:]))
    options = tuple(row for c in classes for row in _options(c, algorithm))
    if not options:  # a reader's own rule, whose options nobody has described
        own = [name for name in optimizer.defaults if name not in Common.options]
        options = tuple((name, str(group[name]), "") for name in own)
    common = tuple((n, str(group[n]), plain(x.doc)) for n, x in Common.options.items())
    return Explanation(
        algorithm.title,
        said.get("Idea", ""),
        text(cls.rule, values),
        latex(cls.rule, values),
        {name: text(view, values) for name, view in cls.rule.views.items()},
        options,
        common,
        said.get("State", ""),
        said.get("Where papers and code disagree", ""),
        said.get("Reference", ""),
    )


def _options(cls: Any, algorithm: Algorithm) -> list[tuple[str, str, str]]:
    """A constructor's arguments: name, default as this algorithm has it, meaning."""
    meanings = arguments(sections(inspect.getdoc(cls) or "").get("Args", ""))
    return [
        (
            name,
            _shown(algorithm.options.get(name, p.default)),
            f"{meanings[name]}{_range(cls, name)}",
        )
        for name, p in inspect.signature(cls).parameters.items()
        if name in meanings and name != "params" and name not in Common.options
    ]


def _range(cls: Any, name: str) -> str:
    option = cls.options.get(name)
    allowed = "" if option is None or option.choices else option.allowed()
    return f" {allowed[0].upper()}{allowed[1:]}." if allowed else ""


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)
