"""What a formula is once it has been read: a tree of numbers, variables and words, and its value.

A tree has three kinds of node, so that whoever walks it (the value here, LaTeX, the rules of
convexity, JavaScript) needs three cases. Sums and products are flat: ``a - b + c`` is
``+(a, neg(b), c)`` and ``a / b * c`` is ``*(a, inv(b), c)``, taken from left to right.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Number:
    """A number, and how the formula spells it (``1e-3``, ``pi``)."""

    value: float
    text: str


@dataclass(frozen=True)
class Variable:
    """One of the formula's variables."""

    name: str


@dataclass(frozen=True)
class Apply:
    """A word of `WORDS` and what it is applied to."""

    word: str
    args: tuple[Expression, ...]


Expression = Number | Variable | Apply


@dataclass(frozen=True)
class Word:
    """What a word means: how many arguments it takes (None: two or more), and its value."""

    arity: int | None
    value: Callable[..., Any]


COMPARISONS: dict[str, Word] = {
    "<": Word(2, operator.lt),
    "<=": Word(2, operator.le),
    ">": Word(2, operator.gt),
    ">=": Word(2, operator.ge),
    "==": Word(2, operator.eq),
    "!=": Word(2, operator.ne),
}

# What a formula may call by name. `where` is not a function of its arguments' values: see evaluate.
FUNCTIONS: dict[str, Word] = {
    "abs": Word(1, torch.abs),
    "atan": Word(1, torch.atan),
    "atan2": Word(2, torch.atan2),
    "cos": Word(1, torch.cos),
    "exp": Word(1, torch.exp),
    "log": Word(1, torch.log),
    "max": Word(None, lambda *a: reduce(torch.maximum, a)),
    "min": Word(None, lambda *a: reduce(torch.minimum, a)),
    "sin": Word(1, torch.sin),
    "sqrt": Word(1, torch.sqrt),
    "tan": Word(1, torch.tan),
    "tanh": Word(1, torch.tanh),
    "where": Word(3, torch.where),
}

WORDS: dict[str, Word] = {
    "+": Word(None, operator.add),
    "*": Word(None, operator.mul),
    "neg": Word(1, operator.neg),
    "inv": Word(1, torch.reciprocal),
    "^": Word(2, torch.pow),
    **COMPARISONS,
    **FUNCTIONS,
}

Value = Tensor | float


def evaluate(tree: Expression, variables: Mapping[str, Tensor]) -> Value:
    """The value of a tree; a float where no variable occurs in it, else a tensor of the variables'
    broadcast shape and dtype. Nothing raises: 1/0 is inf, 0/0 and sqrt(-1) are NaN.

    Numbers are combined in double precision, whatever the variables' dtype.
    """
    match tree:
        case Number(value=value):
            return value
        case Variable(name=name):
            return variables[name]
        case Apply(word="where", args=(condition, then, otherwise)):
            return _where(condition, then, otherwise, variables)
        case Apply(word="+" | "*" as word, args=(first, *rest)):
            total = evaluate(first, variables)
            inverse = "neg" if word == "+" else "inv"
            for node in rest:
                if isinstance(node, Apply) and node.word == inverse:  # a - b, a / b: one rounding
                    part = evaluate(node.args[0], variables)
                    total = total - part if word == "+" else _quotient(total, part)
                else:
                    part = evaluate(node, variables)
                    total = total + part if word == "+" else total * part
            return total
        case Apply(word=word, args=args):
            return _call(word, [evaluate(a, variables) for a in args])


def _quotient(a: Value, b: Value) -> Value:
    if isinstance(a, float) and isinstance(b, float):  # Python would raise on 1/0
        return float(torch.tensor(a, dtype=torch.float64) / b)
    return a / b


def _call(word: str, args: list[Value]) -> Value:
    like = next((a for a in args if isinstance(a, Tensor)), None)
    if like is None:
        return float(WORDS[word].value(*(torch.tensor(a, dtype=torch.float64) for a in args)))
    if word != "^":  # torch.pow takes a number, and is exact and fast for small whole exponents
        args = [a if isinstance(a, Tensor) else like.new_tensor(a) for a in args]
    value: Tensor = WORDS[word].value(*args)
    return value


def _where(
    condition: Expression, then: Expression, otherwise: Expression, variables: Mapping[str, Tensor]
) -> Value:
    chosen = evaluate(condition, variables)
    if not isinstance(chosen, Tensor):
        return evaluate(then if chosen else otherwise, variables)

    like = next(iter(variables.values()))

    # A branch sees the variables only where it is chosen, else some number: backward multiplies
    # what is not chosen by zero, and zero times the infinite slope of a quotient at 0 is NaN.
    def branch(tree: Expression, mask: Tensor) -> Tensor:
        aside = {
            name: torch.where(mask, v, (i + 1) * 0.6180339887498949)
            for i, (name, v) in enumerate(variables.items())
        }
        value = evaluate(tree, aside)
        return value if isinstance(value, Tensor) else like.new_tensor(value)

    return torch.where(chosen, branch(then, chosen), branch(otherwise, ~chosen))
