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
from thalweg.rule import formula

WIDTH = 88


@dataclass(frozen=True)
class Explanation:
    """The parts of the answer, as plain text; ``options`` are (name, default, meaning)."""

    title: str
    idea: str
    formula: formula.Formula
    latex: formula.Formula
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
    common = tuple((name, str(DEFAULTS[name]), text) for name, text in _documented(Common).items())
    return Explanation(
        algorithm.title,
        sections["Idea"],
        formula.text(cls.rule, values),
        formula.latex(cls.rule, values),
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
        heading = re.match(r"(Args|State|Where papers and code disagree|Reference|End|): ?(.*)$", line)
        if heading or line == "::":
            found[name] = "\n".join(lines).strip("\n")
            name, lines = (heading[1], [heading[2]]) if heading else ("Formula", [])
        else:
            lines.append(line)
    return {k: _plain(v) for k, v in found.items()}


def _plain(text: str) -> str:
    """Docstring markup as a reader of a terminal wants it."""
    text = re.sub(r":class:`~?[\w.]*?(\w+)`", r"\1", text)
    return text.replace("``", "")


def _arguments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in textwrap.dedent(text.strip("\n")).splitlines():
        start = re.match(r"(\w+): (.*)", line)
        if start:
            last = start[1]
            found[last] = start[2]
        elif line.strip():
            found[last] += " " + line.strip()
    return found


def _documented(cls: type) -> dict[str, str]:
    """The strings that stand below a class's annotations."""
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    return {
        a.target.id: _plain(" ".join(s.value.value.split()))
        for a, s in zip(body, body[1:], strict=False)
        if isinstance(a, ast.AnnAssign) and isinstance(s, ast.Expr)
    }


def _wrap(text: str, width: int = WIDTH) -> str:
    return textwrap.fill(" ".join(text.split()), width)


def _table(rows: tuple[tuple[str, str, str], ...]) -> str:
    """Name and default on the left, the meaning beside them or, where they are long, below."""
    lines = []
    for name, default, meaning in rows:
        left = f"    {name} = {default}"
        lines += [left, textwrap.fill(meaning, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)]
    return "\n".join(lines)
