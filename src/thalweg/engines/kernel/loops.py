"""The loops around a graph's expressions: over rows, over chunks, over elements."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from llvmlite import ir

from thalweg.engines.block import Arguments
from thalweg.engines.kernel.expressions import (
    DOUBLE,
    EXACT,
    FLOAT,
    HALF,
    I1,
    I16,
    I32,
    I64,
    Lane,
    Row,
    narrow,
    widen,
)
from thalweg.rule.trace import Graph, Node

STORED = {"float32": (FLOAT, 4), "float64": (DOUBLE, 8), "bfloat16": (I16, 2), "float16": (HALF, 2)}
VOID, BLOCK = ir.VoidType(), I64.as_pointer()


class _Block:
    """Reads the argument block."""

    def __init__(self, builder: ir.IRBuilder, block: ir.Value) -> None:
        self.b, self.block = builder, block

    def place(self, which: Arguments) -> ir.Value:
        return self.b.gep(self.block, [integer(which)])

    def number(self, which: Arguments) -> ir.Value:
        return self.b.load(self.place(which))

    def pointer(self, which: Arguments, to: ir.Type) -> ir.Value:
        return self.b.inttoptr(self.number(which), to.as_pointer())


def integer(value: int) -> ir.Constant:
    return ir.Constant(I64, int(value))


def print_head(
    module: ir.Module,
    number: int,
    coefficients: list[Node],
    columns: tuple[str, ...],
    wide: ir.Type,
) -> None:
    """Coefficients of every active row. The first pass counts the step."""
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), f"head{number}")
    entry = ir.IRBuilder(f.append_basic_block("entry"))
    block = _Block(entry, f.args[0])
    steps, table = block.pointer(Arguments.STEPS, DOUBLE), block.pointer(Arguments.TABLE, DOUBLE)
    active, rows = block.pointer(Arguments.ACTIVE, I64), block.number(Arguments.ROWS)
    out = block.pointer(Arguments.COEFFICIENTS, wide)
    with _loop(f, entry, block.number(Arguments.ACTIVES)) as (b, i):
        row = b.load(b.gep(active, [i]))
        step = b.load(b.gep(steps, [row]))
        if number == 0:
            step = b.fadd(step, ir.Constant(DOUBLE, 1.0))
            b.store(step, b.gep(steps, [row]))

        def cell(name: str) -> ir.Value:
            if name == "step":
                return step
            at = b.add(b.mul(integer(columns.index(name)), rows), row)
            return b.load(b.gep(table, [at]))

        values = Row(b, cell)
        first = b.mul(row, integer(max(1, len(coefficients))))
        for k, node in enumerate(coefficients):
            value = values(node)
            if value.type == I1:
                value = b.uitofp(value, DOUBLE)
            if wide != DOUBLE:
                value = b.fptrunc(value, wide)
            b.store(value, b.gep(out, [b.add(first, integer(k))]))


def print_run(module: ir.Module, number: int) -> None:
    """Head, then sweep, on one thread or on a team of OpenMP's."""
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), f"run{number}")
    b = ir.IRBuilder(f.append_basic_block("entry"))
    block = _Block(b, f.args[0])
    b.call(module.get_global(f"head{number}"), [f.args[0]])
    b.store(integer(0), block.place(Arguments.NEXT))
    threads = block.number(Arguments.THREADS)
    sweep = module.get_global(f"sweep{number}")
    with b.if_else(b.icmp_signed(">", threads, integer(1))) as (several, alone):
        with several:
            # GOMP_parallel(function, data, threads, flags)
            kind = ir.FunctionType(VOID, [sweep.type, BLOCK, I32, I32])
            team = block.pointer(Arguments.TEAM, kind)
            b.call(team, [sweep, f.args[0], b.trunc(threads, I32), ir.Constant(I32, 0)])
        with alone:
            b.call(sweep, [f.args[0]])
    b.ret_void()


def print_sweep(
    module: ir.Module, number: int, graph: Graph, stored: Mapping[str, str], wide: ir.Type
) -> list[Node]:
    """Take chunks until none is left; returns the coefficients that its elements ask for. Partial
    sums are kept chunk by chunk, so that the order in which they are added, and hence every bit,
    is the same for any number of threads."""
    p = graph.passes[number]
    coefficients: list[Node] = []
    chunk = _print_chunk(module, number, graph, stored, wide, coefficients)
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), f"sweep{number}")
    entry, take, body, done = (f.append_basic_block(n) for n in ("entry", "take", "body", "done"))
    b = ir.IRBuilder(entry)
    block = _Block(b, f.args[0])
    bases, rows = block.pointer(Arguments.BASES, I64), block.number(Arguments.ROWS)
    places = [
        block.pointer(a, I64)
        for a in (Arguments.CHUNK_ROW, Arguments.CHUNK_START, Arguments.CHUNK_LENGTH)
    ]
    chunks, counter = block.number(Arguments.CHUNKS), block.place(Arguments.NEXT)
    table, sums = block.pointer(Arguments.COEFFICIENTS, wide), block.pointer(Arguments.SUMS, DOUBLE)
    b.branch(take)
    b = ir.IRBuilder(take)
    i = b.atomic_rmw("add", counter, integer(1), "monotonic")
    b.cbranch(b.icmp_signed("<", i, chunks), body, done)
    b = ir.IRBuilder(body)
    row, start, length = (b.load(b.gep(x, [i])) for x in places)
    arrays = []
    for k, name in enumerate(graph.tensors):
        kind, size = STORED[stored[name]]
        base = b.load(b.gep(bases, [b.add(b.mul(integer(k), rows), row)]))
        arrays.append(b.inttoptr(b.add(base, b.mul(start, integer(size))), kind.as_pointer()))
    mine = b.gep(table, [b.mul(row, integer(max(1, len(coefficients))))])
    partial = b.gep(sums, [b.mul(i, integer(max(1, len(p.reductions))))])
    b.call(chunk, [*arrays, mine, partial, length])
    b.branch(take)
    ir.IRBuilder(done).ret_void()
    return coefficients


def _print_chunk(
    module: ir.Module,
    number: int,
    graph: Graph,
    stored: Mapping[str, str],
    wide: ir.Type,
    coefficients: list[Node],
) -> ir.Function:
    """The inner loop over one chunk. A function of its own: `noalias` on its arguments is what
    lets LLVM vectorise without testing at run time whether arrays overlap."""
    p, names = graph.passes[number], graph.tensors
    pointers = [STORED[stored[n]][0].as_pointer() for n in names]
    kind = ir.FunctionType(VOID, [*pointers, wide.as_pointer(), DOUBLE.as_pointer(), I64])
    f = ir.Function(module, kind, f"chunk{number}")
    f.linkage = "internal"
    f.attributes.add("noinline")
    for a in f.args[:-1]:
        a.add_attribute("noalias")
    arrays = dict(zip(names, f.args, strict=False))
    table, sums, length = f.args[-3:]
    entry, loop, done = (f.append_basic_block(x) for x in ("entry", "loop", "done"))
    ahead, b = ir.IRBuilder(entry), ir.IRBuilder(loop)
    j = b.phi(I64)
    j.add_incoming(integer(0), entry)
    zero = ir.Constant(wide, 0.0)
    running = [b.phi(wide) for _ in p.reductions]
    loaded: dict[str, ir.Value] = {}

    def load(name: str) -> ir.Value:
        if name not in loaded:
            loaded[name] = widen(b, b.load(b.gep(arrays[name], [j])), stored[name], wide)
        return loaded[name]

    def coefficient(k: int) -> ir.Value:
        return ahead.load(ahead.gep(table, [integer(k)]))

    lane = Lane(b, wide, coefficients, load, coefficient)
    for name, node in p.stored_before.items():
        if name in p.loads:
            lane.memo[id(node)] = load(name)
    for k, (sum_before, r) in enumerate(zip(running, p.reductions, strict=True)):
        sum_now = b.fadd(sum_before, lane(r.args[0]), flags=(*EXACT, "reassoc"))
        sum_before.add_incoming(zero, entry)
        sum_before.add_incoming(sum_now, loop)
        end = ir.IRBuilder(done)
        total = sum_now if wide == DOUBLE else end.fpext(sum_now, DOUBLE)
        end.store(total, end.gep(sums, [integer(k)]))
    for name, value in [(k, narrow(b, lane(x), stored[k], wide)) for k, x in p.stores.items()]:
        b.store(value, b.gep(arrays[name], [j]))
    following = b.add(j, integer(1), flags=("nuw", "nsw"))
    j.add_incoming(following, loop)
    ahead.branch(loop)  # a chunk is never empty
    b.cbranch(b.icmp_signed("<", following, length), loop, done)
    ir.IRBuilder(done).ret_void()
    return f


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
