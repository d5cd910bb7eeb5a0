"""A traced rule as formulas, in the order and grouping in which it was written.

Nothing is simplified or sorted: what is printed is what the engines compute. New state is given
the rule's symbol, so that later lines read as a paper's do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from thalweg.rule.graph import Graph, walk
from thalweg.rule.rule import Rule, Values
from thalweg.rule.trace import Node

# How tightly an expression binds: what is looser than its surroundings gets parentheses.
_COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(6)
_COMPARISONS = {"lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠"}
_GREEK = {
    "alpha": "ρ", "beta": "β", "gamma": "γ", "eps": "ε", "lr": "α", "rho": "ρ", "mu": "μ",
    "weight_decay": "λ", "momentum": "β", "dampening": "τ", "lr_decay": "κ", "max_grad_norm": "c",
    "weight_lr_power": "p", "warmup_steps": "T", "lambd": "λ", "lambda": "λ", "momentum_decay": "ψ",
    "nu": "ν", "eta": "η", "eta_minus": "η₋", "eta_plus": "η₊", "step_min": "s_min",
    "step_max": "s_max", "bounds_low": "low", "bounds_high": "high",
}  # fmt: skip
_LEAVES = ("tensor", "scalar", "shaped")
_LATEX = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "ε": r"\epsilon", "ρ": r"\rho", "μ": r"\mu",
    "λ": r"\lambda", "τ": r"\tau", "κ": r"\kappa", "ψ": r"\psi", "η": r"\eta", "ν": r"\nu",
    "η₋": r"\eta_{-}", "η₊": r"\eta_{+}", "≤": r"\le", "≥": r"\ge", "≠": r"\ne",
}  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """A rule's update, line by line: what is assigned, and to which symbol."""

    lines: tuple[tuple[str, str], ...]
    symbols: dict[str, str]  # hyperparameter -> the letter that stands for it
    words: dict[str, str] = field(default_factory=dict)  # the rule's own -> what they mean

    def __str__(self) -> str:
        width = max(len(left) for left, _ in self.lines)
        return "\n".join(f"{left:<{width}} ← {right}" for left, right in self.lines)

    def aligned(self) -> str:
        """The lines of a LaTeX formula as an ``aligned`` environment (amsmath, MathJax, KaTeX)."""
        lines = " \\\\\n".join(rf"  {left} &\gets {right}" for left, right in self.lines)
        return f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"


def text(rule: Rule, h: Values) -> Formula:
    """The formula in Unicode, for a terminal. ``h`` are the options, as a group holds them."""
    return _formula(rule, h, _Text())


def latex(rule: Rule, h: Values) -> Formula:
    """The formula as LaTeX maths, without delimiters."""
    return _formula(rule, h, _Latex())


def symbol(name: str, taken: frozenset[str] = frozenset()) -> str:
    """The letter for a hyperparameter: Greek where papers have it so, else its name."""
    stem, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    first, _, rest = stem.partition("_")
    letter = _GREEK.get(stem) or f"{_GREEK.get(first, first)}_{rest}".rstrip("_")
    letter = stem if letter in taken else letter
    return letter + digits.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


class _Text:
    flat = True  # fractions are written on one line
    minus = "−"
    gradient = "∇f(w)"

    def name(self, name: str) -> str:
        return name.replace("_", "")

    def old(self, name: str) -> str:
        return f"{name}_old"

    def number(self, value: float) -> str:
        return f"{value:g}"

    def power(self, base: str, exponent: str) -> str:
        digits = exponent.isdigit()
        up = exponent.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return base + (up if digits else f"^{exponent}")

    def fraction(self, a: str, b: str) -> tuple[str, int]:
        return f"{a} / {b}", _PRODUCT

    def times(self, a: str, b: str) -> str:
        return f"{a}·{b}"

    def call(self, word: str, *x: str) -> str:
        match word:
            case "sqrt":
                return f"√({x[0]})" if not x[0].isalnum() else f"√{x[0]}"
            case "cbrt":
                return f"∛({x[0]})" if not x[0].isalnum() else f"∛{x[0]}"
            case "abs":
                return f"|{x[0]}|"
            case "where":
                return f"({x[1]} if {x[0]} else {x[2]})"
        return f"{word}({', '.join(x)})"

    def total(self, x: str, scope: str) -> str:
        return f"Σ{'' if scope == 'tensor' else '_all'}({x})"


class _Latex:
    flat = False

    minus = "-"
    gradient = r"\nabla f(w)"

    def name(self, name: str) -> str:
        name = name.translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789"))
        stem, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
        stem, _, rest = stem.partition("_")
        stem = _LATEX.get(stem, stem if len(stem) == 1 else rf"\mathrm{{{stem}}}")
        rest = rest.replace("_", r"\_")
        below = digits or (rf"\mathrm{{{rest}}}" if rest else "")
        return stem + (f"_{{{below}}}" if below else "")

    def old(self, name: str) -> str:
        return rf"{name}^{{\mathrm{{old}}}}"

    def number(self, value: float) -> str:
        mantissa, _, exponent = f"{value:g}".partition("e")
        if not exponent:
            return mantissa
        ten = f"10^{{{int(exponent)}}}"
        return ten if mantissa == "1" else rf"{mantissa}\cdot {ten}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def fraction(self, a: str, b: str) -> tuple[str, int]:
        return rf"\frac{{{a}}}{{{b}}}", _ATOM

    def times(self, a: str, b: str) -> str:
        return rf"{a}\,{b}"

    def call(self, word: str, *x: str) -> str:
        match word:
            case "sqrt":
                return rf"\sqrt{{{x[0]}}}"
            case "cbrt":
                return rf"\sqrt[3]{{{x[0]}}}"
            case "abs":
                return rf"\left|{x[0]}\right|"
            case "where":
                return rf"\begin{{cases}}{x[1]} & {x[0]}\\{x[2]} & \text{{otherwise}}\end{{cases}}"
        name = word.replace("_", r"\_")
        return rf"\operatorname{{{name}}}\left({', '.join(x)}\right)"

    def total(self, x: str, scope: str) -> str:
        return rf"\sum_{{\mathrm{{{scope}}}}} {x}"


def _formula(rule: Rule, h: Values, style: _Text | _Latex) -> Formula:
    move = rule.climb or rule.ahead
    first = _formula(move, h, style) if move else Formula((), {})
    graph = rule.trace(h)
    taken: set[str] = set()
    symbols: dict[str, str] = {}
    for name in graph.scalars:
        symbols[name] = "t" if name == "step" else symbol(name, frozenset(taken))
        taken.add(symbols[name])
    known: dict[int, str] = {}
    lines: list[tuple[str, str]] = []
    write = _Writer(style, symbols, known)
    for name, node in _statements(graph):
        letter = style.name(symbol(name))
        line = letter, write(node, _COMPARISON)
        # Neither what a modifier computes once more nor a move that leads nowhere.
        if line not in lines and line[0] != line[1]:
            lines.append(line)
        known[id(node)] = letter
    if first.lines:
        back = [("g", style.gradient), ("w", "kept" if style.flat else r"\mathrm{kept}")]
        lines = [(back[1][1], "w"), *first.lines, *back, *lines]
    shown = {n: style.name(s) for n, s in symbols.items() if n in write.written}
    words = {m.word.name: m.word.meaning for m in graph.matrices if m.word is not None}
    return Formula(tuple(lines), first.symbols | shown, words)


def _statements(graph: Graph) -> list[tuple[str, Node]]:
    """What is worth a line, and its name, in an order in which it can be read: after what it uses,
    and before that which it uses is overwritten."""
    w = graph.outputs["w"]
    assigned = {**graph.outputs, **graph.new_scalars, **graph.new_shaped}
    names = {id(node): name for name, node in assigned.items()} | {id(w): "w"}
    roots = [assigned[name] for name in (*graph.states, *graph.new_scalars, *graph.new_shaped, "w")]
    waiting: dict[int, tuple[str, Node]] = {}
    for node in walk(*roots):
        name = names.get(id(node)) or node.label
        if name and (node is w or node.op not in _LEAVES):
            waiting[id(node)] = name, node
    reads: dict[int, set[str]] = {}  # old values that a line reads
    above: dict[int, set[int]] = {}  # lines that it uses, or that those use
    for key, (_, statement) in waiting.items():
        reads[key], above[key], stack = set(), set(), list(statement.args)
        while stack:
            node = stack.pop()
            if id(node) in waiting:
                above[key] |= {id(node)} | above[id(node)]
            elif node.op in _LEAVES:
                reads[key].add(node.name)
            else:
                stack.extend(node.args)
    ordered = []
    while waiting:
        ready = [key for key in waiting if not above[key] & waiting.keys()]
        free = [
            key
            for key in ready
            if not any(
                waiting[key][0] in reads[k] and k != key and key not in above[k] for k in waiting
            )
        ]
        ordered.append(waiting.pop((free or ready)[0]))
    return ordered


class _Writer:
    def __init__(
        self, style: _Text | _Latex, symbols: dict[str, str], known: dict[int, str]
    ) -> None:
        self.style, self.symbols, self.known = style, symbols, known
        self.written: set[str] = set()  # scalars that have been

    def __call__(self, node: Node, around: int) -> str:
        if id(node) in self.known:
            return self.known[id(node)]
        written, binds = self._write(node)
        return f"({written})" if binds < around else written

    def _write(self, node: Node) -> tuple[str, int]:
        style, op, args = self.style, node.op, node.args
        write: Callable[[int, int], str] = lambda k, around: self(args[k], around)  # noqa: E731
        match op:
            case "constant":
                return style.number(node.value), _ATOM if node.value >= 0 else _SUM
            case "tensor" | "shaped":
                name = style.name(symbol(node.name))
                # Overwritten by a line above that had to come first.
                return style.old(name) if name in self.known.values() else name, _ATOM
            case "scalar":
                self.written.add(node.name)
                return style.name(self.symbols.get(node.name) or symbol(node.name)), _ATOM
            case "add":
                return f"{write(0, _SUM)} + {write(1, _SUM)}", _SUM
            case "sub":
                return f"{write(0, _SUM)} {style.minus} {write(1, _PRODUCT)}", _SUM
            case "mul" if args[0] is args[1]:
                return style.power(write(0, _POWER), "2"), _POWER
            case "mul" if args[0].op == "mul" and args[0].args[1] is args[1]:
                square = style.power(self(args[1], _POWER), "2")
                return style.times(self(args[0].args[0], _PRODUCT), square), _PRODUCT
            case "mul":
                return style.times(write(0, _PRODUCT), write(1, _PRODUCT)), _PRODUCT
            case "div":
                inside = _PRODUCT if style.flat else _COMPARISON
                return style.fraction(write(0, inside), write(1, inside + style.flat))
            case "pow":
                return style.power(write(0, _ATOM), write(1, _ATOM)), _POWER
            case "neg":
                return f"{style.minus}{write(0, _PRODUCT)}", _SIGN
            case "and" | "or":
                word = f" {op} " if style.flat else rf"\ \text{{{op}}}\ "
                return f"{write(0, _COMPARISON)}{word}{write(1, _COMPARISON)}", _COMPARISON
            case "total":
                return style.total(write(0, _PRODUCT), node.scope), _PRODUCT
            case "count":
                return f"n_{node.scope}" if style.flat else rf"n_{{\mathrm{{{node.scope}}}}}", _ATOM
            case "matrix" if node.word is not None:
                op, args = node.word.name, args[: len(args) - len(node.word.keywords)]
        if op in _COMPARISONS:
            sign = _COMPARISONS[op]
            sign = sign if style.flat else _LATEX.get(sign, sign)
            return f"{write(0, _SUM)} {sign} {write(1, _SUM)}", _COMPARISON
        return style.call(op, *(write(k, _COMPARISON) for k in range(len(args)))), _ATOM
