"""The compiled engine: a graph's passes through torch.compile, all parameters in one program.

For devices that the fused engine's kernels do not run on. What depends only on hyperparameters, the
step and finished totals is computed on the host in double precision, as everywhere, and handed over
as one tensor of coefficients: a changed rate or step is a changed value and compiles nothing anew.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from thalweg.engines import rounding
from thalweg.engines.base import Run, Slot, Work
from thalweg.engines.plain import TENSORS
from thalweg.engines.watch import Held
from thalweg.rule import words
from thalweg.rule.graph import Graph, column
from thalweg.rule.rule import Values
from thalweg.rule.trace import Node
from thalweg.rule.words import Number

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "pow": operator.pow, "neg": operator.neg, "abs": operator.abs, "and": operator.and_,
    "or": operator.or_, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
WORDS = {"sqrt": "sqrt", "sign": "sign", "cbrt": "cbrt", "exp": "exp", "log": "log",
         "where": "where", "max": "maximum", "min": "minimum"}  # fmt: skip
Arrays = Mapping[str, Sequence[Tensor]]
Program = Callable[[Arrays, Tensor, Tensor], Tensor]


def refuses(param: Tensor, graph: Graph | None = None) -> str | None:
    """Why the compiled engine cannot step this parameter, or None."""
    if type(param) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(param).__name__}"
    if param.layout is not torch.strided:
        return f"its layout is {param.layout}"
    if param.is_complex():
        return "it is complex"
    if param.device.type == "cuda" and find_spec("triton") is None:
        return "torch.compile needs triton for it, which is not installed"
    if graph is not None and graph.matrices:
        return "its rule has matrix words"
    return None


class CompiledBatch:
    """Parameters of one graph, on one device, stepped by one program per pass."""

    def __init__(self, work: Work, slots: Sequence[Slot]) -> None:
        self.work, self.slots = work, slots
        self.held = Held(slots)
        self._active = list(range(len(slots)))  # until gradients are collected, if they ever are

    def holds(self) -> bool:
        return self.held.same()

    def collect(self) -> bool:
        self._active = [i for i, s in enumerate(self.slots) if s.param.grad is not None]
        for i in self._active:
            g = self.slots[i].param.grad
            assert g is not None
            if g.layout is not torch.strided or g.shape != self.slots[i].param.shape:
                return False
        return self.held.same()

    def count(self) -> int:
        return sum(self.slots[i].param.numel() for i in self._active)

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        if not self._active:
            for p in self.work.graph.passes:  # totals over all parameters are owed all the same
                for r in p.reductions:
                    if r.scope == "all":
                        yield 0.0
            return
        slots = [self.slots[i] for i in self._active]
        rows = [self._row(s, values, everything) for s in slots]
        keys = self.work.keys
        noisy = frozenset(
            k for k, key in keys.items() if self.work.at_random(k, slots[0].state[key].dtype)
        )
        arrays: dict[str, list[Tensor]] = {
            "w": [_array(s.param) for s in slots],
            "g": [_array(s.param.grad) for s in slots if s.param.grad is not None],
            **{k: [_array(s.state[key]) for s in slots] for k, key in keys.items()},
        }
        device = arrays["w"][0].device
        pairs = range((len(self.work.graph.states) + 1) // 2 if noisy else 0)
        drawn = [
            [rounding.key(s.number, int(row["step"]), k) for k in pairs]
            for s, row in zip(slots, rows, strict=True)
        ]
        draws = torch.tensor(drawn, dtype=torch.int64).to(device)
        for number, p in enumerate(self.work.graph.passes):
            program, scalars = compiled(self.work.graph, number, noisy)
            table = [[float(x) for x in _scalars(scalars, row)] for row in rows]
            wide = torch.float64 if arrays["w"][0].dtype is torch.float64 else torch.float32
            found = program(arrays, torch.tensor(table, dtype=wide).to(device), draws)
            for k, r in enumerate(p.reductions):
                sums = found[:, k].tolist()
                if r.scope == "all":
                    total = yield sum(sums)
                    sums = [total] * len(rows)
                for row, x in zip(rows, sums, strict=True):
                    row[column(r)] = Number(x)
        for s, key in self.work.scalar_keys.items():
            new = [_scalars([self.work.graph.new_scalars[s]], row)[0] for row in rows]
            for slot, x in zip(slots, new, strict=True):
                slot.state[key].fill_(float(x))
        for slot in slots:
            slot.fresh = False
            if "step" in slot.state:
                slot.state["step"] += 1

    def _row(self, slot: Slot, values: Mapping[int, Values], everything: int) -> dict[str, Any]:
        """What a parameter's scalar expressions are made of."""
        h = values[slot.group]
        known = {k: Number(v) for k, v in h.items() if type(v) in (int, float)}
        kept = {s: Number(float(slot.state[k])) for s, k in self.work.scalar_keys.items()}
        counts = {"count all": Number(everything), "count tensor": Number(slot.param.numel())}
        step = float(slot.state["step"]) if "step" in slot.state else float(not slot.fresh)
        return {**known, **kept, **counts, "step": Number(step + 1)}


def _array(x: Tensor) -> Tensor:
    """A tensor as the programs take it: what they write to one of no dimensions would be lost."""
    return x.detach() if x.dim() else x.detach().view(1)


def _scalars(nodes: Sequence[Node], row: Mapping[str, Any]) -> list[Any]:
    """Scalar expressions on one row, in double precision."""
    memo: dict[int, Any] = {}

    def value(node: Node) -> Any:
        if id(node) not in memo:
            if node.op == "constant":
                memo[id(node)] = Number(node.value)
            elif node.op in ("scalar", "total", "count"):
                memo[id(node)] = row[column(node)]
            else:
                x = [value(a) for a in node.args]
                word = WORDS.get(node.op)
                memo[id(node)] = getattr(words, word)(*x) if word else OPERATORS[node.op](*x)
        return memo[id(node)]

    return [value(n) for n in nodes]


@functools.lru_cache(maxsize=256)
def compiled(graph: Graph, number: int, noisy: frozenset[str]) -> tuple[Program, list[Node]]:
    """One pass as a program of (arrays by name, coefficients by row, keys of the random rounding by
    row) that stores what the pass stores, the states in ``noisy`` rounded at random, and gives back
    its partial sums by row; and the scalars that are its coefficients."""
    p = graph.passes[number]
    scalars: dict[int, Node] = {}
    roots = [*(r.args[0] for r in p.reductions), *p.stores.values()]
    _coefficients(roots, {id(n) for n in p.stored_before.values()}, scalars)
    place = {key: k for k, key in enumerate(scalars)}

    def program(arrays: Arrays, coefficients: Tensor, draws: Tensor) -> Tensor:
        wide = coefficients.dtype
        sums = []
        for i, row in enumerate(coefficients.unbind()):
            cells = row.unbind() if len(place) else ()
            memo: dict[int, Any] = {
                id(n): arrays[k][i].to(wide) for k, n in p.stored_before.items() if k in p.loads
            }

            def value(node: Node, i: int = i, cells: Any = cells, memo: Any = memo) -> Any:
                if id(node) not in memo:
                    memo[id(node)] = _element(node, value, arrays, i, cells, place, wide)
                return memo[id(node)]

            reduced = [value(r.args[0]).sum(dtype=torch.float64) for r in p.reductions]
            if reduced:
                sums.append(torch.stack(reduced))
            # What is stored as it was must not change with the array that it was in.
            new = {
                k: value(n).clone() if n.op == "tensor" else value(n) for k, n in p.stores.items()
            }
            for k, x in new.items():
                if k in noisy:
                    pair, which = divmod(graph.states.index(k), 2)
                    noise = rounding.noise(rounding.places(arrays[k][i]), draws[i, pair], which)
                    x = rounding.at_random(x, noise)
                arrays[k][i].copy_(x)
        return torch.stack(sums) if p.reductions else coefficients

    # A code object of its own: torch.compile gives up on one that it has compiled too often.
    program.__code__ = program.__code__.replace(co_name=f"pass_{id(graph)}_{number}")
    return torch.compile(program, fullgraph=True, dynamic=False), list(scalars.values())


def _element(
    node: Node,
    value: Callable[[Node], Any],
    arrays: Arrays,
    i: int,
    cells: Sequence[Tensor],
    place: Mapping[int, int],
    wide: torch.dtype,
) -> Any:
    if node.op == "constant":
        return node.value
    if node.op == "tensor":
        return arrays[node.name][i].to(wide)
    if id(node) in place:
        return cells[place[id(node)]]
    x = [value(a) for a in node.args]
    if node.op not in WORDS:
        return OPERATORS[node.op](*x)
    like = next(a for a in x if isinstance(a, Tensor))
    x = [a if isinstance(a, Tensor) else torch.full_like(like, a, dtype=wide) for a in x]
    if node.op == "where" and x[0].dtype is not torch.bool:
        x[0] = x[0] != 0  # a scalar condition, from the coefficients
    return getattr(TENSORS, WORDS[node.op])(*x)


def _coefficients(roots: Sequence[Node], known: set[int], found: dict[int, Node]) -> None:
    """The largest scalar expressions below elementwise ones, in order of appearance."""
    seen: set[int] = set()
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if id(node) in seen or id(node) in known or node.op == "constant":
            continue
        seen.add(id(node))
        if not node.elementwise:
            found[id(node)] = node
        else:
            stack.extend(reversed(node.args))
