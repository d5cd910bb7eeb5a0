"""``thalweg explain``: what an algorithm is, from its rule and its docstring.

Nothing is written here a second time: the formula is printed from the traced rule, options and
defaults come from the constructor, all words from the class's docstring.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass

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
        common_ones = _documented(Common)
        options = tuple((k, str(group[k]), "") for k in optimizer.defaults if k not in common_ones)
    common = tuple((name, str(group[name]), why) for name, why in _documented(Common).items())
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


def _options(cls: type, algorithm: Algorithm) -> list[tuple[str, str, str]]:
    """A constructor's arguments: name, default as this algorithm has it, meaning."""
    meanings = arguments(sections(inspect.getdoc(cls) or "").get("Args", ""))
    signature = inspect.signature(cls).parameters
    return [
        (name, _shown(algorithm.options.get(name, signature[name].default)), meaning)
        for name, meaning in meanings.items()
        if name in signature and name != "params"
    ]


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


def _documented(cls: type) -> dict[str, str]:
    """The strings that stand below a class's annotations."""
    found, name = dict[str, str](), ""
    for statement in ast.walk(ast.parse(inspect.getsource(cls))):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(meaning))) if name:
                found[name] = plain(" ".join(meaning.split()))
    return found
