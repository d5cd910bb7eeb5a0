"""A rule run once on symbols: what comes out is a graph that engines print, count and draw.

Nodes are either *elementwise* (they have one value per weight) or *scalar* (one value per
parameter: hyperparameters, the step, finished reductions). A node's ``level`` says how many
reductions, one after another, must be finished before it can be known; it decides in which pass
over memory it is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thalweg.rule import words
from thalweg.rule.words import Scope

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
    ) -> None:
        self.op, self.args, self.name, self.value, self.scope = op, args, name, value, scope
        self.label = ""  # what a formula calls it, if it is worth a line of its own
        self.nonzero, self.asked, self.serial = nonzero, asked, next(_serial)
        reduces = op in ("total", "count")
        self.elementwise: bool = op == "tensor" or (
            not reduces and any(a.elementwise for a in args)
        )
        self.level: int = max((a.level for a in args), default=0) + (op == "total")

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


words.register(Node, _Symbols())


@dataclass(frozen=True, eq=False)
class Pass:
    """One sweep over memory: what it reads, reduces and stores, by tensor name."""

    loads: tuple[str, ...]
    reductions: tuple[Node, ...]
    stores: Mapping[str, Node]
    stored_before: Mapping[str, Node]  # state that an earlier pass has finished and stored


@dataclass(frozen=True, eq=False)
class Graph:
    """A traced rule: the new weights and state as expressions in the old ones.

    ``states`` are the tensors that this choice of options needs, in the rule's order; ``scalars``
    the hyperparameters it reads (``step`` among them).
    """

    outputs: Mapping[str, Node]
    states: tuple[str, ...]
    new_scalars: Mapping[str, Node]  # state with one value per parameter: its next value
    scalars: tuple[str, ...]
    reductions: tuple[Node, ...]  # in the order in which the rule names them
    passes: tuple[Pass, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every array that a step touches: weights, gradient, state."""
        return ("w", "g", *self.states)

    def bytes_moved(self, itemsize: Callable[[str], int]) -> int:
        """Bytes that a step must read and write for each weight, all passes together."""
        return _bytes(self.passes, itemsize)


def _bytes(passes: tuple[Pass, ...], itemsize: Callable[[str], int]) -> int:
    return sum(itemsize(name) for p in passes for name in (*p.loads, *p.stores))


def walk(*roots: Node) -> Iterator[Node]:
    """Every node below the roots, arguments first, each once."""
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))


def graph(
    outputs: Mapping[str, Node], declared: tuple[str, ...], scalar: frozenset[str] = frozenset()
) -> Graph:
    """Check what a rule gave back and plan its passes.

    ``outputs`` holds ``"w"`` and the new state, of which ``scalar`` has one value per parameter; a
    declared state that is read but not given back raises, for its next value would be unknown.
    """
    nodes = list(walk(*outputs.values()))
    states = tuple(s for s in declared if s in outputs)
    for name in (n.name for n in nodes if n.op == "tensor" or n.name in scalar):
        if name not in ("w", "g", *states):
            raise ValueError(f"the rule reads the state {name!r} but does not give it back")
    new_scalars = {s: outputs[s] for s in states if s in scalar}
    for name, node in new_scalars.items():
        if node.elementwise:
            raise ValueError(f"the state {name!r} has one value per parameter, not one per weight")
    states = tuple(s for s in states if s not in scalar)
    outputs = {k: n for k, n in outputs.items() if k not in scalar}
    reductions = tuple(sorted((n for n in nodes if n.op == "total"), key=lambda n: n.serial))
    scalars = tuple(
        dict.fromkeys(n.name for n in nodes if n.op == "scalar" and n.name not in scalar)
    )
    passes = _plan(outputs, states, reductions)
    return Graph(outputs, states, new_scalars, scalars, reductions, passes)


def _plan(
    outputs: Mapping[str, Node], states: tuple[str, ...], reductions: tuple[Node, ...]
) -> tuple[Pass, ...]:
    """Cut the graph into passes; of all legal ways to store state early, the one that moves the
    fewest bytes. Weights are stored last."""
    last = max([n.level for n in outputs.values()] + [r.level - 1 for r in reductions])
    changed = {k: n for k, n in outputs.items() if not (n.op == "tensor" and n.name == k)}
    early = [s for s in states if s in changed and changed[s].level < last]
    best: tuple[Pass, ...] | None = None
    for count in range(len(early) + 1):
        for chosen in itertools.combinations(early, count):
            when = {k: n.level if k in chosen else last for k, n in changed.items()}
            passes = _passes(changed, when, reductions, last)
            if passes and (best is None or _bytes(passes, lambda _: 4) < _bytes(best, lambda _: 4)):
                best = passes
    assert best is not None  # storing everything last is always legal
    return best


def _passes(
    outputs: Mapping[str, Node], when: Mapping[str, int], reductions: tuple[Node, ...], last: int
) -> tuple[Pass, ...] | None:
    """The passes for one choice of when each output is stored; None if a pass would need the old
    form of a state that is gone by then."""
    passes = []
    for level in range(last + 1):
        stores = {k: n for k, n in outputs.items() if when[k] == level}
        before = {k: n for k, n in outputs.items() if when[k] < level}
        here = tuple(r for r in reductions if r.level - 1 == level)
        loads = _loads([*(r.args[0] for r in here), *stores.values()], before)
        if any(k in before and new is False for k, new in loads):
            return None
        passes.append(Pass(tuple(dict.fromkeys(k for k, _ in loads)), here, stores, before))
    return tuple(passes)


def _loads(roots: list[Node], before: Mapping[str, Node]) -> list[tuple[str, bool]]:
    """The tensors that these expressions read, and whether in their new form."""
    done = {id(n): k for k, n in before.items()}
    found: dict[tuple[str, bool], None] = {}
    stack, seen = list(reversed(roots)), set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen or not node.elementwise:
            continue
        seen.add(id(node))
        if id(node) in done:
            found[(done[id(node)], True)] = None
        elif node.op == "tensor":
            found[(node.name, False)] = None
        else:
            stack.extend(reversed(node.args))
    return list(found)


def column(node: Node) -> str:
    """What a scalar leaf is called in an engine's table: a hyperparameter by its name, a total or
    count by something no hyperparameter can be called."""
    if node.op == "total":
        return f"total {node.serial}"
    return f"count {node.scope}" if node.op == "count" else node.name
