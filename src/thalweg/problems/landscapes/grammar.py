"""From a formula's text to its tree: a recursive descent that knows a few words and runs nothing.

::

    sum      = product { ("+" | "-") product }
    product  = unary { ("*" | "/") unary }
    unary    = ("-" | "+") unary | power
    power    = atom [ ("^" | "**") unary ]              -x^2 is -(x^2), 2^3^2 is 2^(3^2)
    atom     = number | "pi" | "e" | variable | function "(" sum { "," sum } ")" | "(" sum ")"

where's first argument is a comparison of two sums.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from thalweg.problems.landscapes.expression import (
    COMPARISONS,
    FUNCTIONS,
    Apply,
    Expression,
    Number,
    Variable,
)
from thalweg.problems.landscapes.tokens import FormulaError, Token, tokens

LONGEST = 10_000  # characters
DEEPEST = (
    25  # brackets, signs and powers in one another: a pickle takes 700 of Python's 1000 frames
)
CONSTANTS = {"pi": math.pi, "e": math.e}
_RESERVED = {*CONSTANTS, *FUNCTIONS}
_ALIASES = {"ln": "log"}  # for hints
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_FREE = re.compile(r"[A-Za-z][0-9]{0,3}")  # what may be a variable without having been announced


def read(text: str, variables: Sequence[str] | None = None) -> tuple[Expression, tuple[str, ...]]:
    """The tree of a formula and its variables in order.

    Args:
        text: the formula, e.g. ``"(1-x)^2 + 100*(y-x^2)^2"``; at most 10,000 characters.
        variables: their names in order. None: every single letter, with or without a number behind
            it, that occurs, in the order x, y, z and x1, x2, …, x10.

    Raises:
        FormulaError: a ValueError that shows the place.
        TypeError: text is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    if variables is not None:
        variables = tuple(variables)
        for name in variables:
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"variables: {name!r} cannot name a variable")
        if len(set(variables)) < len(variables):
            raise ValueError(f"variables: a name occurs twice in {variables}")
    if len(text) > LONGEST:
        reason = f"the formula has {len(text)} characters; at most {LONGEST} are read"
        raise FormulaError(reason, text, LONGEST)
    reader = _Reader(text, variables)
    tree = reader.whole()
    if variables is None:
        variables = tuple(sorted(reader.met, key=lambda n: (n[0], int(n[1:] or -1), n)))
    if not variables:
        raise FormulaError("the formula has no variable", text, 0)
    return tree, variables


class _Reader:
    def __init__(self, text: str, variables: Sequence[str] | None) -> None:
        self.text, self.variables = text, variables
        self.met: set[str] = set()
        self.depth = 0
        self.tokens = tokens(text)
        self.token = next(self.tokens)

    def error(self, reason: str, place: int | None = None) -> FormulaError:
        return FormulaError(reason, self.text, self.token.place if place is None else place)

    def take(self, *signs: str) -> str | None:
        """The present sign, and on to the next, if it is one of these."""
        if self.token.kind != "sign" or self.token.text not in signs:
            return None
        sign = self.token.text
        self.token = next(self.tokens)
        return sign

    def expect(self, sign: str, opened: int) -> None:
        if not self.take(sign):
            raise self.unexpected(f'"{sign}" is missing for the "(" at {opened + 1}')

    def unexpected(self, wanted: str) -> FormulaError:
        token = self.token
        if token.kind == "end":
            return self.error(f"the formula ends too early: {wanted}")
        if token.kind in ("number", "name") or token.text == "(":
            what = repr(token.text[:40])
            return self.error(f"an operator is missing before {what}: write * to multiply")
        if token.text in COMPARISONS:
            return self.error(f"{token.text!r} may only stand in the first argument of where")
        return self.error(f"{token.text!r} does not belong here: {wanted}")

    def whole(self) -> Expression:
        tree = self.sum()
        if self.token.kind != "end":
            raise self.unexpected("the formula is complete before it")
        return tree

    def sum(self) -> Expression:
        terms = [self.product()]
        while sign := self.take("+", "-"):
            term = self.product()
            terms.append(term if sign == "+" else Apply("neg", (term,)))
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms))

    def product(self) -> Expression:
        factors = [self.unary()]
        while sign := self.take("*", "/"):
            factor = self.unary()
            factors.append(factor if sign == "*" else Apply("inv", (factor,)))
        return factors[0] if len(factors) == 1 else Apply("*", tuple(factors))

    def unary(self) -> Expression:
        # Every recursion of the grammar comes through here.
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"nested more than {DEEPEST} deep")
        sign = self.take("-", "+")
        tree = self.unary() if sign else self.power()
        self.depth -= 1
        return Apply("neg", (tree,)) if sign == "-" else tree

    def power(self) -> Expression:
        base = self.atom()
        return Apply("^", (base, self.unary())) if self.take("^", "**") else base

    def atom(self) -> Expression:
        token = self.token
        if self.take("("):
            inside = self.sum()
            self.expect(")", token.place)
            return inside
        if token.kind == "number":
            return self.number()
        if token.kind == "name":
            return self.name()
        wanted = "a number, a variable, a function or ( is wanted"
        if token.kind == "end":
            raise self.error(f"the formula ends too early: {wanted}")
        raise self.error(f"{token.text!r} does not belong here: {wanted}")

    def number(self) -> Number:
        value = float(self.token.text)
        if math.isinf(value):
            raise self.error("the number is too large for a float")
        number = Number(value, self.token.text)
        self.token = next(self.tokens)
        return number

    def name(self) -> Expression:
        token = self.token
        known = token.text in _RESERVED or (
            _FREE.fullmatch(token.text) if self.variables is None else token.text in self.variables
        )
        if not known:
            names = [*_RESERVED, *(self.variables or ())]
            near = get_close_matches(_ALIASES.get(token.text, token.text[:20]), names, n=1)
            if near:
                hint = f"; did you mean {near[0]}?"
            else:
                hint = f"; write {'*'.join(token.text)} to multiply" if len(token.text) == 2 else ""
            raise self.error(f"{token.text[:40]!r} is no name that is known here{hint}")
        self.token = next(self.tokens)
        if token.text in FUNCTIONS:
            return self.call(token)
        if self.token.text == "(":
            raise self.error(f"{token.text!r} is no function: write {token.text}*( to multiply")
        if token.text in CONSTANTS:
            return Number(CONSTANTS[token.text], token.text)
        self.met.add(token.text)
        return Variable(token.text)

    def call(self, name: Token) -> Apply:
        opened = self.token.place
        if not self.take("("):
            raise self.error(f'{name.text} is a function: "(" must follow')
        args = [self.condition() if name.text == "where" else self.sum()]
        while self.take(","):
            args.append(self.sum())
        self.expect(")", opened)
        arity = FUNCTIONS[name.text].arity
        if len(args) != arity and not (arity is None and len(args) > 1):
            wanted = "two or more arguments" if arity is None else f"{arity} argument(s)"
            raise self.error(f"{name.text} takes {wanted}, got {len(args)}", name.place)
        return Apply(name.text, tuple(args))

    def condition(self) -> Apply:
        left = self.sum()
        sign = self.take(*COMPARISONS)
        if sign is None:
            raise self.error("where needs a comparison first, such as where(x > 0, x, 0)")
        return Apply(sign, (left, self.sum()))
