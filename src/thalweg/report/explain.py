"""``thalweg explain``: what an algorithm is, from its rule and its docstring.

Nothing is written here a second time: the formula is printed from the traced rule, options and
defaults come from the constructor, all words from the class's docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass

import torch

from thalweg.optim.options import DEFAULTS, Common
from thalweg.optim.registry import Algorithm
from thalweg.rule.formula import Formula, latex, text

WIDTH = 88


@dataclass(frozen=True)
class Explanation:
    """The parts of the answer, as plain text; ``options`` are (name, default, meaning)."""

    title: str
    idea: str
    formula: Formula
    latex: Formula
    options: tuple[tuple[str, str, str], ...]
    common: tuple[tuple[str, str, str], ...]
    state: str
    disagreements: str
    reference: str

    def __str__(self) -> str:
        letters = {name: letter for name, letter in self.formula.symbols.items() if name != letter}
        parts = [
            self.title,
            "=" * len(self.title),
            _wrap(self.idea),
            "",
            "Update, with g the gradient at w:",
            "",
            textwrap.indent(str(self.formula), "    "),
            "",
            _wrap("where " + ", ".join(f"{letter} is {name}" for name, letter in letters.items())),
            "",
            _wrap("State: " + self.state),
            "",
            "Options",
            _table(self.options),
            "",
            "Options of every optimizer",
            _table(self.common),
            "",
            "Where papers and code disagree",
            textwrap.indent(_wrap(self.disagreements, WIDTH - 4), "    "),
            "",
            "Reference",
            textwrap.indent(_wrap(self.reference, WIDTH - 4), "    "),
        ]
        return "\n".join(parts)


def explain(algorithm: Algorithm) -> Explanation:
    """Everything that the package knows about an algorithm."""
    optimizer = algorithm.build([torch.zeros(1, requires_grad=True)], lr=algorithm.lr)
    cls = type(optimizer)
    group = optimizer.param_groups[0]
    values = optimizer.hyperparameters(group)
    sections = _sections(inspect.getdoc(cls) or "")
    meanings = _arguments(sections["Args"])
    signature = inspect.signature(cls.__init__).parameters
    options = tuple(
        (name, str(algorithm.options.get(name, signature[name].default)), meaning)
        for name, meaning in meanings.items()
        if name in signature and name != "params"
    )
    common = tuple((name, str(DEFAULTS[name]), why) for name, why in _documented(Common).items())
    return Explanation(
        algorithm.title,
        sections["Idea"],
        text(cls.rule, values),
        latex(cls.rule, values),
        options,
        common,
        sections["State"],
        sections["Where papers and code disagree"],
        sections["Reference"],
    )


def _sections(doc: str) -> dict[str, str]:
    """A docstring's parts by their headings; what comes first is the idea."""
    found: dict[str, str] = {}
    name, lines = "Idea", list[str]()
    for line in [*doc.splitlines(), "End:"]:
        heading = re.match(
            r"(Args|State|Where papers and code disagree|Reference|End|): ?(.*)$", line
        )
        if heading or line == "::":
            found[name] = "\n".join(lines).strip("\n")
            name, lines = (heading[1], [heading[2]]) if heading else ("Formula", [])
        else:
            lines.append(line)
    return {k: _plain(v) for k, v in found.items()}


def _plain(doc: str) -> str:
    """Docstring markup as a reader of a terminal wants it."""
    return re.sub(r":class:`~?[\w.]*?(\w+)`", r"\1", doc).replace("``", "")


def _arguments(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in textwrap.dedent(doc.strip("\n")).splitlines():
        start = re.match(r"(\w+): (.*)", line)
        if start:
            last = start[1]
            found[last] = start[2]
        elif line.strip():
            found[last] += " " + line.strip()
    return found


def _documented(cls: type) -> dict[str, str]:
    """The strings that stand below a class's annotations."""
    found, name = dict[str, str](), ""
    for statement in ast.walk(ast.parse(inspect.getsource(cls))):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(meaning))) if name:
                found[name] = _plain(" ".join(meaning.split()))
    return found


def _wrap(words: str, width: int = WIDTH) -> str:
    return textwrap.fill(" ".join(words.split()), width)


def _table(rows: tuple[tuple[str, str, str], ...]) -> str:
    """Name and default, the meaning below."""
    lines = []
    for name, default, meaning in rows:
        left = f"    {name} = {default}"
        lines += [
            left,
            textwrap.fill(meaning, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8),
        ]
    return "\n".join(lines)
