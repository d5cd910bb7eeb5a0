"""Printed formulas say what the rule computes: Python reads them back and compares."""

from __future__ import annotations

import math
import re

import pytest
import torch

from thalweg.optim.registry import ALGORITHMS
from thalweg.rule.formula import latex, symbol, text

OPTIONS = {
    "adamw": {"amsgrad": True, "max_grad_norm": 1.0, "weight_decay": 0.1},
    "adam": {"weight_decay": 0.1},
    "rmsprop": {"centered": True, "momentum": 0.9},
    "nesterov": {"weight_decay": 0.1, "maximize": True},
    "adagrad": {"lr_decay": 0.1},
    "rprop": {"weight_decay": 0.1},
    "padam": {"partial": 0.3, "weight_decay": 0.1},
    "asgd": {"t0": 1.0, "lambd": 0.3},
}


def formulas(name):
    algorithm = ALGORITHMS[name]
    p = torch.zeros(1, requires_grad=True)
    o = algorithm.optimizer([p], **{**algorithm.options, **OPTIONS.get(name, {})})
    h = o.values(p, o.param_groups[0])
    return text(o.rule, h), latex(o.rule, h)


def test_adam_reads_as_in_the_paper():
    shown, _ = formulas("adam")
    assert str(shown).splitlines() == [
        "g ← g + λ·w",
        "m ← β₁·m + (1 − β₁)·g",
        "v ← β₂·v + (1 − β₂)·g²",
        "w ← w − α·m / (1 − β₁^t) / (√(v / (1 − β₂^t)) + ε)",
    ]


def _python(line):
    """A formula's text as Python arithmetic; Greek letters are names in Python."""
    signs = dict(zip("₀₁₂₃₄₅₆₇₈₉−·", "0123456789-*", strict=True))
    signs |= {"₋": "_minus", "₊": "_plus", "^": "**", "²": "**2", "³": "**3", "≤": "<=", "≥": ">=",
              "≠": "!=", " = ": " == ", "∇f(w)": "gradient"}  # fmt: skip
    for sign, meaning in signs.items():
        line = line.replace(sign, meaning)
    for root, word in (("√", "sqrt"), ("∛", "cbrt")):
        line = re.sub(rf"{root}(\w+)", rf"{word}(\1)", line).replace(root, word)
    return re.sub(r"\|([^|]+)\|", r"abs(\1)", line)


WORDS = {
    **{name: getattr(math, name) for name in ("cbrt", "exp", "log")},
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "max": max,
    "min": min,
    "abs": abs,
    "sign": lambda x: math.copysign(x != 0, x),
    # Of one tensor with one element.
    "Σ": float,
    "Σ_all": float,
    "n_tensor": 1,
    "n_all": 1,
    # Matrix words: of one number, that has no bases.
    **{word: lambda q, x: x for word in ("project", "back")},
    **{word: lambda q, new, x: x for word in ("moved", "resorted")},
    **{word: lambda q, *_: q for word in ("average", "iterated", "bases")},
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_text_computes_what_the_rule_computes(name):
    """Evaluate the printed lines, and the rule itself, on the same numbers."""
    shown, _ = formulas(name)
    algorithm = ALGORITHMS[name]
    p = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    o = algorithm.optimizer([p], **{**algorithm.options, **OPTIONS.get(name, {})}, engine="plain")

    def closure(g):  # for those that evaluate twice
        p.grad = torch.tensor([g], dtype=torch.float64)
        return 0.0

    o.step(lambda: closure(0.3))
    group = o.param_groups[0]
    keys = {s: k for s, k in o.rule.state.items() if k in o.state[p] and s not in o.rule.shaped}
    letters = {s: _python(symbol(s).replace("_", "")) for s in keys}
    names = {letters[s]: float(o.state[p][k]) for s, k in keys.items()}
    names |= {letter: None for s in o.rule.shaped for letter in (s, f"{s}_old")}
    h = o.values(p, group)
    names |= {_python(letter): h[k] for k, letter in shown.symbols.items() if k in h}
    names |= {"w": float(p.detach()), "g": -0.2, "gradient": -0.2, "t": 2.0}
    for left, right in shown.lines:
        names[_python(left)] = eval(_python(right), WORDS, names)
    o.step(lambda: closure(-0.2))
    assert float(p.detach()) == pytest.approx(names["w"], rel=1e-12)
    for s, k in keys.items():
        assert float(o.state[p][k]) == pytest.approx(names[letters[s]], rel=1e-12)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_latex_is_balanced_and_plain(name):
    _, shown = formulas(name)
    for _, line in shown.lines:
        assert line.isascii(), line
        assert line.count("{") == line.count("}")
        assert line.count(r"\left") == line.count(r"\right")
        assert not re.search(r"operatorname\{[^}]*(?<!\\)_", line), line
