"""Convexity proved from a formula: by exact elimination for what is quadratic, else by the rules of
disciplined convex programming.

Every part of the formula has a range on the box (an interval, rounded outwards) and is convex,
concave, both (affine) or unknown. What a word makes of its argument follows from one rule: an
increasing convex function of something convex is convex, a decreasing convex one of something
concave too, any convex one of something affine; likewise concave. To it come norms, log-sum-exp,
and sums, whose quadratic terms are taken together.

References: Grant, Boyd & Ye 2006, Disciplined Convex Programming, in Global Optimization;
Boyd & Vandenberghe 2004, Convex Optimization, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from thalweg.analysis import intervals
from thalweg.analysis.intervals import EVERYTHING, Interval
from thalweg.analysis.quadratics import Quadratic
from thalweg.analysis.shapes import Shape, power_shape, shape
from thalweg.problems.landscapes import Landscape
from thalweg.problems.landscapes.expression import Apply, Expression, Variable, evaluate

LARGEST = 1e150  # coefficient of a quadratic: beyond, its square leaves what a float can hold


@dataclass(frozen=True)
class Facts:
    """What is known of a part of a formula on a box, and why. What is neither convex nor concave,
    nor quadratic, is unknown: it may not even have a value everywhere."""

    range: Interval = EVERYTHING
    convex: bool = False
    concave: bool = False
    quadratic: Quadratic | None = None
    why: str = "affine"

    @property
    def affine(self) -> bool:
        return self.convex and self.concave

    @property
    def way(self) -> str:
        return "convex" if self.convex else "concave"

    def scaled(self, k: float) -> Facts:
        """What is known of k times it; k is not 0."""
        ends = intervals.multiply((k, k), self.range)
        if self.quadratic is not None:
            return _quadratic(self.quadratic.scaled(Fraction(k)), ends)
        if k > 0:
            return replace(self, range=ends)
        why = f"a negative multiple of what is {self.way}: [{self.why}]"
        return Facts(ends, self.concave, self.convex, None, why)


UNKNOWN = Facts()


def prove(f: Landscape, box: Sequence[Interval], concave: bool = False) -> str:
    """Why ``f`` is convex (or concave) on the box; empty if no proof is found."""
    variables = {
        name: Facts(interval, True, True, Quadratic({(i,): Fraction(1)}))
        for i, (name, interval) in enumerate(zip(f.variables, box, strict=True))
    }
    facts = _Reader(variables).facts(f.expression)
    return facts.why if (facts.concave if concave else facts.convex) else ""


@dataclass(frozen=True)
class _Reader:
    """Goes through a formula's tree, from the leaves up."""

    variables: dict[str, Facts]
    known: dict[int, Facts] = field(default_factory=dict)  # by a node's id: some are asked twice

    def facts(self, tree: Expression) -> Facts:
        if id(tree) not in self.known:
            self.known[id(tree)] = self.find(tree)
        return self.known[id(tree)]

    def find(self, tree: Expression) -> Facts:
        if not _varies(tree):
            value = evaluate(tree, {})
            return _constant(float(value)) if math.isfinite(value) else UNKNOWN
        match tree:
            case Variable(name=name):
                return self.variables[name]
            case Apply(word="+", args=args):
                return _sum([self.facts(a) for a in args])
            case Apply(word="*", args=args):
                return self.product(args)
            case Apply(word="neg", args=(arg,)):
                return self.facts(arg).scaled(-1.0)
            case Apply(word="inv", args=(arg,)):
                return _power(self.facts(arg), -1.0)
            case Apply(word="sqrt", args=(arg,)):
                return _power(self.facts(arg), 0.5)
            case Apply(word="^", args=(base, exponent)) if not _varies(exponent):
                return _power(self.facts(base), float(evaluate(exponent, {})))
            case Apply(word="^", args=(base, exponent)) if not _varies(base):
                return self.exponential(float(evaluate(base, {})), exponent)
            case Apply(word="max" | "min" as word, args=args):
                return _extreme(word, [self.facts(a) for a in args])
            case Apply(word="log", args=(arg,)) if self.sums_exponentials(arg):
                ends = intervals.monotone(math.log, self.facts(arg).range, -math.inf, math.inf)
                return Facts(ends, True, False, None, "the log of a sum of exponentials")
            case Apply(word=word, args=(arg,)):
                inner = self.facts(arg)
                return _composed(word, shape(word, inner.range), inner)
        return UNKNOWN  # where, comparisons, atan2

    def product(self, args: Sequence[Expression]) -> Facts:
        k, total, zero = 1.0, None, False
        for arg in args:
            if not _varies(arg):
                factor = float(evaluate(arg, {}))
                k, zero = k * factor, zero or factor == 0
            elif total is None:
                total = self.facts(arg)
            else:
                other = self.facts(arg)
                both = total.quadratic, other.quadratic
                q = None if both[0] is None or both[1] is None else both[0].times(both[1])
                total = _quadratic(q, intervals.multiply(total.range, other.range))
        assert total is not None
        if zero and (total.quadratic is not None or all(map(math.isfinite, total.range))):
            return _constant(0.0)  # not where something infinite is multiplied
        return total.scaled(k) if math.isfinite(k) and k != 0 else UNKNOWN

    def exponential(self, base: float, exponent: Expression) -> Facts:
        if not 0 < base < math.inf:
            return UNKNOWN
        inner = self.facts(exponent)
        ends = (math.log(base), math.log(base))
        rate = intervals.wider(*ends, 2) if base != 1 else (0.0, 0.0)
        growth = shape("exp", intervals.multiply(rate, inner.range))
        known = Shape(True, False, base >= 1, base <= 1, growth.range)
        return _composed(f"{base:g}^", known, inner)

    def sums_exponentials(self, tree: Expression) -> bool:
        """Whether it is exp of something convex, a positive number, a positive multiple of such, or
        a sum of these: its log is convex."""
        match tree:
            case Apply(word="exp", args=(arg,)):
                return self.facts(arg).convex
            case Apply(word="+", args=args):
                return all(map(self.sums_exponentials, args))
            case Apply(word="*", args=args):
                varying = [a for a in args if _varies(a)]
                numbers = [float(evaluate(a, {})) for a in args if not _varies(a)]
                return (
                    len(varying) == 1
                    and all(0 < k < math.inf for k in numbers)
                    and self.sums_exponentials(varying[0])
                )
        return not _varies(tree) and 0 < float(evaluate(tree, {})) < math.inf


def _varies(tree: Expression) -> bool:
    match tree:
        case Apply(args=args):
            return any(map(_varies, args))
    return isinstance(tree, Variable)


def _constant(value: float) -> Facts:
    q = Quadratic({(): Fraction(value)} if value else {})
    return Facts((value, value), True, True, q, "constant")


def _quadratic(q: Quadratic | None, ends: Interval) -> Facts:
    """What an exact Hessian tells."""
    if q is None or any(abs(k) > LARGEST for k in q.terms.values()):
        return UNKNOWN
    if q.sum_of_squares():
        ends = max(ends[0], 0.0), ends[1]
    convex, concave = q.convex(), q.concave()
    if convex and concave:
        return Facts(ends, True, True, q)
    found = q.eigenvalues()
    shown = " to ".join(dict.fromkeys(f"{x:.6g}" for x in (found[0], found[-1])))
    sign = "negative" if convex else "positive"  # where it is neither, nobody reads why
    why = f"quadratic, the eigenvalues of its Hessian are {shown}, none {sign} (exact elimination)"
    return Facts(ends, convex, concave, q, why)


def _sum(terms: Sequence[Facts]) -> Facts:
    ends, q = (0.0, 0.0), Quadratic({})
    for term in terms:
        ends = intervals.add(ends, term.range)
        q += term.quadratic or Quadratic({})
    rest = [t for t in terms if t.quadratic is None]
    together = _quadratic(q, ends)
    if not rest:
        return together
    parts = [*rest, together]
    convex, concave = (all(getattr(p, way) for p in parts) for way in ("convex", "concave"))
    whys = [f"[{p.why}]" for p in parts if not p.affine]
    facts = Facts(ends, convex, concave)
    if not whys:  # such as x + abs(x) where x is positive
        return facts
    why = f"a sum of {facts.way} terms: {' + '.join(whys)}" if len(whys) > 1 else whys[0][1:-1]
    return replace(facts, why=why)


def _power(inner: Facts, p: float) -> Facts:
    if not math.isfinite(p):
        return UNKNOWN
    if p == 1:
        return inner
    ends, q = intervals.power(inner.range, p), inner.quadratic
    if p == 2 and q is not None and (square := q.times(q)) is not None:
        return _quadratic(square, ends)
    if p == 0.5 and q is not None and q.sum_of_squares():
        return Facts(ends, True, False, None, "a norm: the root of squares of affine functions")
    return _composed(f"the power {p:g}", power_shape(p, inner.range), inner)


def _extreme(word: str, parts: Sequence[Facts]) -> Facts:
    choose, way = (max, "convex") if word == "max" else (min, "concave")
    if not all(getattr(p, way) for p in parts):
        return UNKNOWN
    ends = choose(p.range[0] for p in parts), choose(p.range[1] for p in parts)
    whys = ", ".join(f"[{p.why}]" for p in parts)
    why = f"the {word} of {way} functions: {whys}"
    return Facts(ends, word == "max", word == "min", None, why)


def _composed(name: str, outer: Shape, inner: Facts) -> Facts:
    if not (inner.convex or inner.concave):
        return UNKNOWN
    up, down = outer.increasing, outer.decreasing
    convex = inner.affine or (up and inner.convex) or (down and inner.concave)
    concave = inner.affine or (up and inner.concave) or (down and inner.convex)
    convex, concave = outer.convex and convex, outer.concave and concave
    if not (convex or concave):
        return UNKNOWN
    way = "convex" if outer.convex else "concave"
    if inner.affine:
        why = f"{name} is {way} there, and its argument affine"
    else:
        grows = "increasing" if up else "decreasing"
        why = f"{name} is {way} and {grows} there, and its argument {inner.way}: [{inner.why}]"
    return Facts(outer.range, convex, concave, None, why)
