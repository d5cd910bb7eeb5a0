"""What is done once a step for every parameter, a row of the table: head and tail."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from llvmlite import ir

from thalweg.engines.block import KINDS, Arguments
from thalweg.engines.kernel.arguments import BLOCK, VOID, Block, integer
from thalweg.engines.kernel.expressions import Row
from thalweg.engines.kernel.formats import DOUBLE, FLOAT, I1, I64
from thalweg.rule.graph import Graph
from thalweg.rule.trace import Node

Cell = Callable[[str], ir.Value]  # where a row keeps what has this name


def print_head(
    module: ir.Module,
    number: int,
    coefficients: list[Node],
    graph: Graph,
    columns: tuple[str, ...],
    wide: ir.Type,
) -> None:
    """Coefficients of every active row. The first pass fetches the counters and counts the step."""
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), f"head{number}")
    entry = ir.IRBuilder(f.append_basic_block("entry"))
    block = Block(entry, f.args[0])
    table = _Table(block, columns)
    active, own = block.pointer(Arguments.ACTIVE, I64), _Own(block, graph)
    out = block.pointer(Arguments.COEFFICIENTS, wide)
    with _loop(f, entry, block.number(Arguments.ACTIVES)) as (b, i):
        row = b.load(b.gep(active, [i]))
        cell = table.row(b, row)
        if number == 0:
            own.fetch(b, row, cell)
            b.store(b.fadd(b.load(cell("step")), ir.Constant(DOUBLE, 1.0)), cell("step"))
        values = Row(b, lambda name: b.load(cell(name)))
        first = b.mul(row, integer(max(1, len(coefficients))))
        for k, node in enumerate(coefficients):
            value = values(node)
            if value.type == I1:
                value = b.uitofp(value, DOUBLE)
            if wide != DOUBLE:
                value = b.fptrunc(value, wide)
            b.store(value, b.gep(out, [b.add(first, integer(k))]))


def print_tail(module: ir.Module, graph: Graph, columns: tuple[str, ...]) -> None:
    """The new values of state that has one value per parameter, for every active row; after the
    last pass, from the old ones."""
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), "tail")
    entry = ir.IRBuilder(f.append_basic_block("entry"))
    block = Block(entry, f.args[0])
    table = _Table(block, columns)
    active, own = block.pointer(Arguments.ACTIVE, I64), _Own(block, graph)
    with _loop(f, entry, block.number(Arguments.ACTIVES)) as (b, i):
        row = b.load(b.gep(active, [i]))
        cell = table.row(b, row)
        values = Row(b, lambda name: b.load(cell(name)))
        for name, value in [(k, values(n)) for k, n in graph.new_scalars.items()]:
            b.store(value, cell(name))
        own.bring_back(b, row, cell)


class _Table:
    """Where the rows' doubles are: how many steps, and the columns."""

    def __init__(self, block: Block, columns: tuple[str, ...]) -> None:
        self.columns, self.rows = columns, block.number(Arguments.ROWS)
        self.steps = block.pointer(Arguments.STEPS, DOUBLE)
        self.cells = block.pointer(Arguments.TABLE, DOUBLE)

    def row(self, b: ir.IRBuilder, row: ir.Value) -> Cell:
        def cell(name: str) -> ir.Value:
            if name == "step":
                return b.gep(self.steps, [row])
            at = b.mul(integer(self.columns.index(name)), self.rows)
            return b.gep(self.cells, [b.add(at, row)])

        return cell


class _Own:
    """Counters in the user's own memory: fetched before a step, brought back after it."""

    def __init__(self, block: Block, graph: Graph) -> None:
        self.names, self.rows = ("step", *graph.new_scalars), block.number(Arguments.ROWS)
        self.places = block.pointer(Arguments.OWN, I64)
        self.kinds = block.pointer(Arguments.OWN_KIND, I64)

    def fetch(self, b: ir.IRBuilder, row: ir.Value, cell: Cell) -> None:
        for name, stored, place in self._each(b, row):
            x = b.load(place)
            if stored == FLOAT:
                x = b.fpext(x, DOUBLE)
            b.store(b.sitofp(x, DOUBLE) if stored == I64 else x, cell(name))

    def bring_back(self, b: ir.IRBuilder, row: ir.Value, cell: Cell) -> None:
        for name, stored, place in self._each(b, row):
            x = b.load(cell(name))
            if stored == FLOAT:
                x = b.fptrunc(x, FLOAT)
            b.store(b.fptosi(x, I64) if stored == I64 else x, place)

    def _each(self, b: ir.IRBuilder, row: ir.Value) -> Generator[tuple[str, ir.Type, ir.Value]]:
        """Every counter, how it may be stored, and where it is if it is stored so: what is printed
        meanwhile runs only then."""
        types = {torch.float64: DOUBLE, torch.float32: FLOAT, torch.int64: I64}
        for k, name in enumerate(self.names):
            at = b.add(b.mul(integer(k), self.rows), row)
            place, kind = b.load(b.gep(self.places, [at])), b.load(b.gep(self.kinds, [at]))
            for dtype, stored in types.items():
                with b.if_then(b.icmp_signed("==", kind, integer(KINDS[dtype]))):
                    yield name, stored, b.inttoptr(place, stored.as_pointer())


@contextmanager
def _loop(
    f: ir.Function, entry: ir.IRBuilder, n: ir.Value
) -> Generator[tuple[ir.IRBuilder, ir.Value]]:
    """The body for i in 0 .. n-1, and the function's return."""
    body, done = f.append_basic_block("body"), f.append_basic_block("done")
    entry.cbranch(entry.icmp_signed(">", n, integer(0)), body, done)
    b = ir.IRBuilder(body)
    i = b.phi(I64)
    i.add_incoming(integer(0), entry.block)
    yield b, i
    following = b.add(i, integer(1))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, n), body, done)
    ir.IRBuilder(done).ret_void()
