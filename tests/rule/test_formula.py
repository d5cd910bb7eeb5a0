"""Printed formulas say what the rule computes: sympy reads them back and compares."""

from __future__ import annotations

import pytest
import sympy
import torch

from thalweg.optim.registry import ALGORITHMS
from thalweg.rule.formula import latex, text

OPTIONS = {
    "adamw": {"amsgrad": True, "max_grad_norm": 1.0, "weight_decay": 0.1},
    "adam": {"weight_decay": 0.1},
    "rmsprop": {"centered": True, "momentum": 0.9},
    "nesterov": {"weight_decay": 0.1, "maximize": True},
    "adagrad": {"lr_decay": 0.1},
}


def formulas(name):
    algorithm = ALGORITHMS[name]
    o = algorithm.optimizer(
        [torch.zeros(1, requires_grad=True)], **{**algorithm.options, **OPTIONS.get(name, {})}
    )
    h = o.hyperparameters(o.param_groups[0])
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
    """A formula's text as Python arithmetic."""
    digits = {ord(a): b for a, b in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)}
    greek = {"α": "lr", "β": "beta", "λ": "lam", "ε": "eps", "ρ": "rho", "τ": "tau", "κ": "kappa"}
    line = line.translate(digits).replace("−", "-").replace("·", "*").replace("^", "**")
    line = line.replace("²", "**2").replace("√(", "sqrt(").replace("√s", "sqrt(s)")
    line = line.replace("Σ_all(g**2)", "S")
    for letter, name in greek.items():
        line = line.replace(letter, name)
    return line.replace("max(", "Max(").replace("min(", "Min(")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_text_computes_what_the_rule_computes(name):
    """Evaluate the printed lines, and the rule itself, on the same numbers."""
    shown, _ = formulas(name)
    algorithm = ALGORITHMS[name]
    p = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    o = algorithm.optimizer([p], **{**algorithm.options, **OPTIONS.get(name, {})}, engine="plain")
    p.grad = torch.tensor([0.3], dtype=torch.float64)
    o.step()
    group, work = o.param_groups[0], o.batches[0].work
    state = {s: o.state[p][k].clone() for s, k in work.keys.items()}
    p.grad = torch.tensor([-0.2], dtype=torch.float64)
    names = {"w": float(p.detach()), "g": -0.2, "t": 2.0, "S": 0.04}
    names |= {s.replace("_", ""): float(x) for s, x in state.items()}
    h = o.hyperparameters(group)
    names |= {_python(letter): float(h[k]) for k, letter in shown.symbols.items() if k in h}
    for left, right in shown.lines:
        expression = sympy.sympify(_python(right), locals={n: sympy.Symbol(n) for n in names})
        names[left] = float(expression.subs(names))
    o.step()
    assert float(p.detach()) == pytest.approx(names["w"], rel=1e-12)
    for s, k in work.keys.items():
        assert float(o.state[p][k]) == pytest.approx(names[s.replace("_", "")], rel=1e-12)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_latex_is_balanced_and_plain(name):
    _, shown = formulas(name)
    for _, line in shown.lines:
        assert line.isascii(), line
        assert line.count("{") == line.count("}")
        assert line.count(r"\left") == line.count(r"\right")
