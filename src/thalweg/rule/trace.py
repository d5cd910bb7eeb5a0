"""The symbols that a rule is run on once; what comes out is planned in ``rule.graph``.

Nodes are either *elementwise* (they have one value per weight) or *scalar* (one value per
parameter: hyperparameters, the step, finished reductions). A node's ``level`` says how many
reductions, one after another, must be finished before it can be known; it decides in which pass
over memory it is computed.
"""

from __future__ import annotations

import itertools
from typing import Any

from thalweg.rule import words
from thalweg.rule.words import Matrix, Scope

_serial = itertools.count()  # reductions are exchanged in the order in which a rule names them


class Node:
    """One operation of a traced rule. ``op`` is ``"tensor"``, ``"scalar"`` or ``"constant"`` at
    the leaves (``name`` or ``value`` says which), an operator or a word elsewhere."""

    __slots__ = (
        "args",
        "asked",
        "elementwise",
        "label",
        "level",
        "name",
        "nonzero",
        "op",
        "scope",
        "serial",
        "value",
        "word",
    )

    def __init__(
        self,
        op: str,
        *args: Node,
        name: str = "",
        value: float = 0.0,
        scope: Scope = "tensor",
        nonzero: bool | None = None,
        asked: set[str] | None = None,
        word: Matrix | None = None,
    ) -> None:
        self.op, self.args, self.name, self.value, self.scope = op, args, name, value, scope
        self.label = ""  # what a formula calls it, if it is worth a line of its own
        self.nonzero, self.asked, self.serial = nonzero, asked, next(_serial)
        self.word = word
        self.level: int = max((a.level for a in args), default=0)
        if word is not None:
            self.elementwise = not word.shaped
            self.name = f"result {self.serial}"
        else:
            if any(a.is_shaped for a in args):
                raise TypeError(
                    f"{op}: arithmetic with a shaped state; only a matrix word takes one"
                )
            reduces = op in ("total", "count")
            self.elementwise = op == "tensor" or (not reduces and any(a.elementwise for a in args))
        # A matrix word's function runs between two passes: elements can use it in the second.
        self.level += op == "total" or (word is not None and not word.shaped)

    @property
    def is_shaped(self) -> bool:
        """Whether this is a shaped state, old or new."""
        return self.op == "shaped" or (self.word is not None and self.word.shaped)

    @property
    def reduced(self) -> bool:
        """Whether a total or a count is part of it."""
        return self.op in ("total", "count") or any(a.reduced for a in self.args)

    @property
    def after(self) -> int:
        """The pass after which a matrix word's function is run."""
        return self.level - self.elementwise

    def __bool__(self) -> bool:
        if self.nonzero is None:
            raise TypeError(
                "a rule's `if` may test options and whether a hyperparameter is zero, nothing "
                "that is computed: use where(condition, a, b)"
            )
        if self.asked is not None:
            self.asked.add(self.name)
        return self.nonzero

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.args))
        return self.name or (f"{self.op}({inner})" if self.args else f"{self.value:g}")

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Node:
        return Node("add", self, lift(other))

    def __radd__(self, other: Any) -> Node:
        return Node("add", lift(other), self)

    def __sub__(self, other: Any) -> Node:
        return Node("sub", self, lift(other))

    def __rsub__(self, other: Any) -> Node:
        return Node("sub", lift(other), self)

    def __mul__(self, other: Any) -> Node:
        return Node("mul", self, lift(other))

    def __rmul__(self, other: Any) -> Node:
        return Node("mul", lift(other), self)

    def __truediv__(self, other: Any) -> Node:
        return Node("div", self, lift(other))

    def __rtruediv__(self, other: Any) -> Node:
        return Node("div", lift(other), self)

    def __pow__(self, other: Any) -> Node:
        return Node("pow", self, lift(other))

    def __rpow__(self, other: Any) -> Node:
        return Node("pow", lift(other), self)

    def __neg__(self) -> Node:
        return Node("neg", self)

    def __abs__(self) -> Node:
        return Node("abs", self)

    def __lt__(self, other: Any) -> Node:
        return Node("lt", self, lift(other))

    def __le__(self, other: Any) -> Node:
        return Node("le", self, lift(other))

    def __gt__(self, other: Any) -> Node:
        return Node("gt", self, lift(other))

    def __ge__(self, other: Any) -> Node:
        return Node("ge", self, lift(other))

    def __eq__(self, other: object) -> Node:  # type: ignore[override]
        return Node("eq", self, lift(other))

    def __ne__(self, other: object) -> Node:  # type: ignore[override]
        return Node("ne", self, lift(other))

    def __and__(self, other: Any) -> Node:
        return Node("and", self, lift(other))

    def __or__(self, other: Any) -> Node:
        return Node("or", self, lift(other))


def lift(x: Any) -> Node:
    """A node as it is, a number as a constant."""
    if isinstance(x, Node):
        return x
    if isinstance(x, int | float):
        return Node("constant", value=float(x), nonzero=bool(x))
    raise TypeError(f"a rule computes with numbers and tensors, not with {x!r}")


class _Symbols:
    def sqrt(self, x: Any) -> Node:
        return Node("sqrt", lift(x))

    def sign(self, x: Any) -> Node:
        return Node("sign", lift(x))

    def cbrt(self, x: Any) -> Node:
        return Node("cbrt", lift(x))

    def exp(self, x: Any) -> Node:
        return Node("exp", lift(x))

    def log(self, x: Any) -> Node:
        return Node("log", lift(x))

    def where(self, condition: Any, a: Any, b: Any) -> Node:
        if isinstance(condition, bool):
            return lift(a if condition else b)
        return Node("where", condition, lift(a), lift(b))

    def maximum(self, a: Any, b: Any) -> Node:
        return Node("max", lift(a), lift(b))

    def minimum(self, a: Any, b: Any) -> Node:
        return Node("min", lift(a), lift(b))

    def named(self, name: str, x: Any) -> Node:
        node = lift(x)
        if node.op not in ("tensor", "scalar", "constant"):
            node.label = name
        return node

    def total(self, x: Any, scope: Scope) -> Node:
        node = lift(x)
        if not node.elementwise:
            raise TypeError(f"total, mean and norm take a tensor, not the scalar {node!r}")
        return Node("total", node, scope=scope)

    def count(self, x: Any, scope: Scope) -> Node:
        return Node("count", lift(x), scope=scope)

    def matrix(self, word: Matrix, *x: Any) -> Node:
        for node in map(lift, x):
            if not (node.elementwise or node.is_shaped) and node.reduced:
                raise TypeError(
                    f"{word.name} takes tensors, shaped states and what is known before the step, "
                    f"not the reduction {node!r}"
                )
        return Node("matrix", *map(lift, x), word=word)


words.register(Node, _Symbols())
