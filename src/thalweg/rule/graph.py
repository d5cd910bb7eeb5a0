"""A traced rule: what it needs, and in how many passes over memory it is computed."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from thalweg.rule import words
from thalweg.rule.trace import Node
from thalweg.rule.words import Number


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
    new_shaped: Mapping[str, Node]  # state of a shape of its own: its next value
    scalars: tuple[str, ...]
    reductions: tuple[Node, ...]  # in the order in which the rule names them
    matrices: tuple[Node, ...]  # matrix words, likewise
    passes: tuple[Pass, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every array that a step touches: weights, gradient, state, temporaries."""
        return ("w", "g", *self.states, *self.temporaries)

    @property
    def temporaries(self) -> tuple[str, ...]:
        """Arrays that live for one step: what matrix words are given and what they give back."""
        given = [name for p in self.passes for name in p.stores if is_temporary(name)]
        return (*given, *(m.name for m in self.matrices if m.elementwise))

    def bytes_moved(self, itemsize: Callable[[str], int]) -> int:
        """Bytes that a step must read and write for each weight, all passes together; what matrix
        words move is not counted."""
        wide = max(4, itemsize("w"))
        return _bytes(self.passes, lambda k: wide if is_temporary(k) else itemsize(k))


def is_temporary(name: str) -> bool:
    return " " in name


def given(node: Node) -> str:
    """The temporary in which a matrix word is given an elementwise operand."""
    return f"given {node.serial}"


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


def plan(
    outputs: Mapping[str, Node],
    declared: tuple[str, ...],
    scalar: Collection[str] = (),
    shaped: Collection[str] = (),
) -> Graph:
    """Check what a rule gave back and plan its passes.

    ``outputs`` holds ``"w"`` and the new state, of which ``scalar`` has one value per parameter and
    ``shaped`` a shape of its own; a declared state that is read but not given back raises, for its
    next value would be unknown.
    """
    nodes = list(walk(*outputs.values()))
    states = tuple(s for s in declared if s in outputs)
    for name in (n.name for n in nodes if n.op in ("tensor", "shaped") or n.name in scalar):
        if name not in ("w", "g", *states):
            raise ValueError(f"the rule reads the state {name!r} but does not give it back")
    new_scalars = {s: outputs[s] for s in states if s in scalar}
    new_shaped = {s: outputs[s] for s in states if s in shaped}
    for name, node in new_scalars.items():
        if node.elementwise or node.is_shaped:
            raise ValueError(f"the state {name!r} has one value per parameter, not one per weight")
    for name, node in new_shaped.items():
        if not node.is_shaped:
            raise ValueError(f"the state {name!r} has a shape of its own: a word must give it")
    states = tuple(s for s in states if s not in scalar and s not in shaped)
    for name in ("w", *states):
        if outputs[name].is_shaped:
            raise ValueError(f"{name!r} has one value per weight, not a shape of its own")
    outputs = {k: n for k, n in outputs.items() if k == "w" or k in states}
    reductions = tuple(sorted((n for n in nodes if n.op == "total"), key=lambda n: n.serial))
    matrices = tuple(sorted((n for n in nodes if n.op == "matrix"), key=lambda n: n.serial))
    scalars = tuple(
        dict.fromkeys(n.name for n in nodes if n.op == "scalar" and n.name not in scalar)
    )
    passes = _plan(outputs, states, reductions, matrices)
    return Graph(outputs, states, new_scalars, new_shaped, scalars, reductions, matrices, passes)


@lru_cache(maxsize=256)
def storing_last(graph: Graph, states: frozenset[str]) -> Graph:
    """The same graph, but the last pass stores these states: one that is stored in fewer bits than
    it is computed in would come back rounded."""
    if not any(states & p.stored_before.keys() for p in graph.passes):
        return graph
    passes = _plan(graph.outputs, graph.states, graph.reductions, graph.matrices, states)
    return replace(graph, passes=passes)


def _plan(
    outputs: Mapping[str, Node],
    states: tuple[str, ...],
    reductions: tuple[Node, ...],
    matrices: tuple[Node, ...],
    late: Collection[str] = (),
) -> tuple[Pass, ...]:
    """Cut the graph into passes; of all legal ways to store state early, the one that moves the
    fewest bytes. Weights are stored last, and so is the state in ``late``."""
    levels = [n.level for n in outputs.values()]
    last = max([*levels, *(r.level - 1 for r in reductions), *(m.after for m in matrices)])
    changed = {k: n for k, n in outputs.items() if not (n.op == "tensor" and n.name == k)}
    early = [s for s in states if s in changed and s not in late and changed[s].level < last]
    best: tuple[Pass, ...] | None = None
    for count in range(len(early) + 1):
        for chosen in itertools.combinations(early, count):
            when = {k: n.level if k in chosen else last for k, n in changed.items()}
            passes = _passes(changed, when, reductions, matrices, last)
            if passes and (best is None or _bytes(passes, lambda _: 4) < _bytes(best, lambda _: 4)):
                best = passes
    assert best is not None  # storing everything last is always legal
    return best


def _passes(
    outputs: Mapping[str, Node],
    when: Mapping[str, int],
    reductions: tuple[Node, ...],
    matrices: tuple[Node, ...],
    last: int,
) -> tuple[Pass, ...] | None:
    """The passes for one choice of when each output is stored; None if a pass would need the old
    form of a state that is gone by then."""
    passes = []
    for level in range(last + 1):
        stores = {k: n for k, n in outputs.items() if when[k] == level}
        before = {k: n for k, n in outputs.items() if when[k] < level}
        here = tuple(r for r in reductions if r.level - 1 == level)
        operands = [x for m in matrices if m.after == level for x in m.args if x.elementwise]
        # The gradient and what another word gave are there already, as tensors.
        stores |= {given(x): x for x in operands if x.op != "matrix" and not is_gradient(x)}
        loads = _loads([*(r.args[0] for r in here), *stores.values()], before)
        if any(k in before and new is False for k, new in loads):
            return None
        passes.append(Pass(tuple(dict.fromkeys(k for k, _ in loads)), here, stores, before))
    return tuple(passes)


def is_gradient(node: Node) -> bool:
    return node.op == "tensor" and node.name == "g"


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
        elif node.op in ("tensor", "matrix"):
            found[(node.name, False)] = None
        else:
            stack.extend(reversed(node.args))
    return list(found)


def evaluate(node: Node, scalar: Callable[[str], float]) -> Any:
    """The number that a scalar expression is, by what its hyperparameters and states are."""
    if node.op == "constant":
        return Number(node.value)
    if node.op == "scalar":
        return Number(scalar(node.name))
    return _EVALUATED[node.op](*(evaluate(a, scalar) for a in node.args))


_EVALUATED: dict[str, Callable[..., Any]] = {
    **{op: getattr(operator, op) for op in ("add", "sub", "mul", "pow", "neg", "abs")},
    **{op: getattr(operator, op) for op in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{op: getattr(words, op) for op in ("sqrt", "cbrt", "exp", "log", "sign", "where")},
    "div": operator.truediv,
    "and": operator.and_,
    "or": operator.or_,
    "max": words.maximum,
    "min": words.minimum,
}


def column(node: Node) -> str:
    """What a scalar leaf is called in an engine's table: a hyperparameter by its name, a total or
    count by something no hyperparameter can be called."""
    if node.op == "total":
        return f"total {node.serial}"
    return f"count {node.scope}" if node.op == "count" else node.name
