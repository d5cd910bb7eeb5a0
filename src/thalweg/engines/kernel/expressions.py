"""A graph's expressions as LLVM IR: scalars in double precision, elements in the storage's width.

Fast-math is limited to flags that keep NaN, infinity and the order of additions: whoever adds
``nnan`` or ``ninf`` deletes the tests for them. ``contract`` is left out too: which product a fused
multiply-add swallows would depend on signs, so that climbing on g and descending on -g would differ
in the last bit; memory is what a step waits for, with or without it. So is ``arcp``: it makes of
x / sqrt(y) a product with an estimated 1 / sqrt(y), which Newton's step turns into NaN where y is
infinite.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from llvmlite import ir

from thalweg.engines.kernel.formats import DOUBLE, I1, I32, I64
from thalweg.rule.graph import column
from thalweg.rule.trace import Node
from thalweg.rule.words import where

EXACT = ("nsz",)
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
# Of the cube root, by whether it is double: integers of that size, what makes a third of the bits a
# first guess (within 6 %), Halley steps, and the power of two beyond which numbers are scaled.
_CBRT = {False: (I32, 0x2A5119F2, 2, 90), True: (I64, 0x2A9F7893782DA1CE, 3, 900)}
FAR = 100  # the power of two beyond which a divisor has a reciprocal near the end of float32
ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


class Expressions:
    """Prints expressions of one floating-point width into a basic block."""

    def __init__(self, builder: ir.IRBuilder, wide: ir.Type) -> None:
        self.b, self.wide = builder, wide
        self.memo: dict[int, ir.Value] = {}

    def constant(self, value: float) -> ir.Constant:
        return ir.Constant(self.wide, value)

    def leaf(self, node: Node) -> ir.Value:
        raise KeyError(node.name)

    def __call__(self, node: Node) -> ir.Value:
        if id(node) not in self.memo:
            self.memo[id(node)] = self._print(node)
        return self.memo[id(node)]

    def _print(self, node: Node) -> ir.Value:
        b, op = self.b, node.op
        if op == "constant":
            return self.constant(node.value)
        if op in ("tensor", "scalar", "total", "count"):
            return self.leaf(node)
        if op == "pow":
            return self.power(*node.args)
        x = [self(a) for a in node.args]
        if op in ARITHMETIC:
            return getattr(b, ARITHMETIC[op])(*x, flags=EXACT)
        if op in COMPARISONS:
            compare = b.fcmp_unordered if op == "ne" else b.fcmp_ordered
            return compare(COMPARISONS[op], *x)
        return getattr(self, f"_{op}")(*x)

    def power(self, x: Node, y: Node) -> ir.Value:
        simple = {1.0: "itself", 2.0: "square", 0.5: "root", -1.0: "inverse"}
        match simple.get(y.value) if y.op == "constant" else None:
            case "itself":
                return self(x)
            case "square":
                return self.b.fmul(self(x), self(x), flags=EXACT)
            case "root":
                return self._sqrt(self(x))
            case "inverse":
                return self.b.fdiv(self.constant(1.0), self(x), flags=EXACT)
        return self.intrinsic("llvm.pow", self(x), self(y))

    def intrinsic(self, name: str, *x: ir.Value) -> ir.Value:
        kind = ir.FunctionType(self.wide, [self.wide] * len(x))
        return self.b.call(self.b.module.declare_intrinsic(name, [self.wide], kind), x)

    def _neg(self, x: ir.Value) -> ir.Value:
        return self.b.fneg(x)

    def _sqrt(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.sqrt", x)

    def _abs(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.fabs", x)

    def _exp(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.exp", x)

    def _log(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.log", x)

    def _cbrt(self, x: ir.Value) -> ir.Value:
        """A third of the exponent by integer division of the bits, then Halley's iteration, which
        triples the digits: libm's function would be called weight by weight."""
        b, double = self.b, self.wide == DOUBLE
        integers, magic, steps, far = _CBRT[double]
        size, one = self._abs(x), self.constant(1.0)
        scale = root = one  # numbers so small or large that the steps would leave the range
        for order, edge in (("<", -far), (">", far)):
            beyond = b.fcmp_ordered(order, size, self.constant(2.0**edge))
            scale = b.select(beyond, self.constant(2.0**-edge), scale)
            root = b.select(beyond, self.constant(2.0 ** (edge // 3)), root)
        scaled = b.fmul(size, scale)
        third = b.udiv(b.bitcast(scaled, integers), ir.Constant(integers, 3))
        y = b.bitcast(b.add(third, ir.Constant(integers, magic)), self.wide)
        for _ in range(steps):
            cube = b.fmul(b.fmul(y, y), y)
            above = b.fadd(cube, b.fadd(scaled, scaled))
            below = b.fadd(b.fadd(cube, cube), scaled)
            y = b.fmul(y, b.fdiv(above, below))
        y = b.fmul(y, root)
        # Zero, infinity and NaN are their own roots.
        inner = b.and_(
            b.fcmp_ordered(">", size, self.constant(0.0)),
            b.fcmp_ordered("<", size, self.constant(float("inf"))),
        )
        return b.select(inner, self.intrinsic("llvm.copysign", y, x), x)

    def _sign(self, x: ir.Value) -> ir.Value:
        zero = self.constant(0.0)
        one = self.intrinsic("llvm.copysign", self.constant(1.0), x)
        # `one` is not equal: neither zero nor NaN, both of which are their own sign.
        return self.b.select(self.b.fcmp_ordered("!=", x, zero), one, x)

    def _where(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        if condition.type != I1:  # a coefficient: the row's answer as 0 or 1
            condition = self.b.fcmp_unordered("!=", condition, self.constant(0.0))
        return self.b.select(condition, a, b)

    def _max(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self._extreme(">", x, y)

    def _min(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self._extreme("<", x, y)

    def _extreme(self, order: str, x: ir.Value, y: ir.Value) -> ir.Value:
        # An unordered comparison picks x when either is NaN; then y's own NaN is put back.
        picked = self.b.select(self.b.fcmp_unordered(order, x, y), x, y)
        return self.b.select(self.b.fcmp_unordered("uno", y, y), y, picked)

    def _and(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.and_(x, y)

    def _or(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.or_(x, y)


class Row(Expressions):
    """Scalar expressions of one parameter, in double precision, from its row of the table."""

    def __init__(self, builder: ir.IRBuilder, cells: Callable[[str], ir.Value]) -> None:
        super().__init__(builder, DOUBLE)
        self.cells = cells

    def leaf(self, node: Node) -> ir.Value:
        return self.cells(column(node))


class Lane(Expressions):
    """Elementwise expressions of one weight. Scalars become coefficients, computed by the head; a
    division by one becomes a multiplication by its reciprocal, taken in double (divisions of
    elements make a step that does not wait for memory up to 1.8 times as long)."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        wide: ir.Type,
        coefficients: list[Node],
        load: Callable[[str], ir.Value],
        coefficient: Callable[[int], ir.Value],
    ) -> None:
        super().__init__(builder, wide)
        self.coefficients, self.load, self.coefficient = coefficients, load, coefficient
        self._index: dict[int, int] = {}
        self._inverses: dict[int, tuple[Node, Node]] = {}

    def leaf(self, node: Node) -> ir.Value:
        return self.load(node.name)

    def _print(self, node: Node) -> ir.Value:
        if not node.elementwise and node.op != "constant":
            if id(node) not in self._index:
                self._index[id(node)] = len(self.coefficients)
                self.coefficients.append(node)
            return self.coefficient(self._index[id(node)])
        if node.op == "matrix":
            return self.load(node.name)
        if node.op == "div" and not node.args[1].elementwise:
            x, y = node.args
            return functools.reduce(self._times, map(self, self._inverse(y)), self(x))
        return super()._print(node)

    def _times(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fmul(x, y, flags=EXACT)

    def _inverse(self, y: Node) -> tuple[Node, Node]:
        """Two factors whose product is 1 / y: of a very small or large y the reciprocal alone has
        no place in float32. The second is 1 for every other."""
        if id(y) not in self._inverses:
            far = where(abs(y) < 2.0**-FAR, 2.0**FAR, where(abs(y) > 2.0**FAR, 2.0**-FAR, 1.0))
            self._inverses[id(y)] = 1.0 / (y * far), far
        return self._inverses[id(y)]
