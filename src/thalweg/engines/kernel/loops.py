"""The loops around a graph's expressions of elements: over chunks, and within one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from llvmlite import ir

from thalweg.engines.block import Arguments
from thalweg.engines.kernel.arguments import BLOCK, VOID, Block, integer
from thalweg.engines.kernel.expressions import EXACT, Lane
from thalweg.engines.kernel.formats import (
    DOUBLE,
    I32,
    I64,
    STORED,
    at_random,
    drawn,
    key,
    narrow,
    share,
    widen,
)
from thalweg.engines.rounding import SPREAD
from thalweg.rule.graph import Graph
from thalweg.rule.trace import Node

# A pass that only reads waits for memory; several streams side by side hide more of the wait.
STREAMS = 4


def print_run(module: ir.Module, number: int, last: bool) -> None:
    """Head, then sweep, on one thread or on a team of OpenMP's; and the tail, if nothing has to be
    added up before it."""
    f = ir.Function(module, ir.FunctionType(VOID, [BLOCK]), f"run{number}")
    b = ir.IRBuilder(f.append_basic_block("entry"))
    block = Block(b, f.args[0])
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
    if last:
        b.call(module.get_global("tail"), [f.args[0]])
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
    names = ("entry", "take", "some", "body", "done")
    entry, take, some, body, done = (f.append_basic_block(n) for n in names)
    b = ir.IRBuilder(entry)
    block = Block(b, f.args[0])
    bases, rows = block.pointer(Arguments.BASES, I64), block.number(Arguments.ROWS)
    places = [
        block.pointer(a, I64)
        for a in (Arguments.CHUNK_ROW, Arguments.CHUNK_START, Arguments.CHUNK_LENGTH)
    ]
    chunks, counter = block.number(Arguments.CHUNKS), block.place(Arguments.NEXT)
    at_once = block.number(Arguments.AT_ONCE)
    table, sums = block.pointer(Arguments.COEFFICIENTS, wide), block.pointer(Arguments.SUMS, DOUBLE)
    steps, numbers = block.pointer(Arguments.STEPS, DOUBLE), block.pointer(Arguments.NUMBERS, I64)
    b.branch(take)
    b = ir.IRBuilder(take)
    first = b.atomic_rmw("add", counter, at_once, "monotonic")
    b.cbranch(b.icmp_signed("<", first, chunks), some, done)
    b = ir.IRBuilder(some)
    end = b.add(first, at_once)
    end = b.select(b.icmp_signed("<", end, chunks), end, chunks)
    b.branch(body)
    b = ir.IRBuilder(body)
    i = b.phi(I64)
    i.add_incoming(first, some)
    row, start, length = (b.load(b.gep(x, [i])) for x in places)
    arrays = []
    for k, name in enumerate(graph.tensors):
        kind, size = STORED[stored[name]]
        base = b.load(b.gep(bases, [b.add(b.mul(integer(k), rows), row)]))
        arrays.append(b.inttoptr(b.add(base, b.mul(start, integer(size))), kind.as_pointer()))
    mine = b.gep(table, [b.mul(row, integer(max(1, len(coefficients))))])
    partial = b.gep(sums, [b.mul(i, integer(max(1, len(p.reductions))))])
    keys = []
    if pairs := _pairs(graph, number, stored):
        number_of = b.trunc(b.load(b.gep(numbers, [row])), I32)
        step = b.trunc(b.fptosi(b.load(b.gep(steps, [row])), I64), I32)
        before = b.mul(b.trunc(start, I32), ir.Constant(I32, SPREAD))
        keys = [b.add(key(b, number_of, step, k), before) for k in pairs]
    b.call(chunk, [*arrays, mine, partial, length, *keys])
    following = b.add(i, integer(1))
    i.add_incoming(following, body)
    b.cbranch(b.icmp_signed("<", following, end), body, take)
    ir.IRBuilder(done).ret_void()
    return coefficients


def _pairs(graph: Graph, number: int, stored: Mapping[str, str]) -> list[int]:
    """The pairs of states of which a pass stores one that is rounded at random."""
    names = [name for name in graph.passes[number].stores if at_random(stored[name])]
    return sorted({graph.states.index(name) // 2 for name in names})


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
    pointers += [wide.as_pointer(), DOUBLE.as_pointer()]
    pairs = _pairs(graph, number, stored)
    kind = ir.FunctionType(VOID, [*pointers, I64, *(I32 for _ in pairs)])
    f = ir.Function(module, kind, f"chunk{number}")
    f.linkage = "internal"
    f.attributes.add("noinline")
    for a in f.args[: len(pointers)]:
        a.add_attribute("noalias")
    arrays = dict(zip(names, f.args, strict=False))
    table, sums, length, *keys = f.args[len(names) :]
    ahead = ir.IRBuilder(f.append_basic_block("ahead"))  # what does not change from lane to lane
    start = f.append_basic_block("start")
    held: dict[int, ir.Value] = {}

    def coefficient(k: int) -> ir.Value:
        if k not in held:
            held[k] = ahead.load(ahead.gep(table, [integer(k)]))
        return held[k]

    def element(b: ir.IRBuilder, at: ir.Value, so_far: Sequence[ir.Value]) -> list[ir.Value]:
        """Stores what the pass stores of one element; gives back the sums with it included."""
        loaded: dict[str, ir.Value] = {}

        def load(name: str) -> ir.Value:
            if name not in loaded:
                loaded[name] = widen(b, b.load(b.gep(arrays[name], [at])), stored[name], wide)
            return loaded[name]

        lane = Lane(b, wide, coefficients, load, coefficient)
        for name, node in p.stored_before.items():
            if name in p.loads:
                lane.memo[id(node)] = load(name)
        sums_now = [
            b.fadd(before, lane(r.args[0]), flags=(*EXACT, "reassoc"))
            for before, r in zip(so_far, p.reductions, strict=True)
        ]
        place = b.trunc(at, I32)
        bits = {k: drawn(b, place, x) for k, x in zip(pairs, keys, strict=True)}

        def noise(name: str) -> ir.Value | None:
            pair, state = divmod(graph.states.index(name), 2) if name in graph.states else (0, 0)
            return share(b, bits[pair], state) if at_random(stored[name]) else None

        new = {k: narrow(b, lane(x), stored[k], noise(k)) for k, x in p.stores.items()}
        for name, value in new.items():
            b.store(value, b.gep(arrays[name], [at]))
        return sums_now

    b = ir.IRBuilder(start)
    zeros = [[ir.Constant(wide, 0.0)] * len(p.reductions)]
    if p.stores:
        (found,) = _elements(b, length, [integer(0)], zeros, element)
    else:
        part = b.udiv(length, integer(STREAMS))
        firsts = [b.mul(part, integer(k)) for k in range(STREAMS + 1)]
        parts = _elements(b, part, firsts[:-1], zeros * STREAMS, element)
        joined = [functools.reduce(lambda x, y: b.fadd(x, y), r) for r in zip(*parts, strict=True)]
        (found,) = _elements(b, b.sub(length, firsts[-1]), firsts[-1:], [joined], element)
    for k, x in enumerate(found):
        b.store(x if wide == DOUBLE else b.fpext(x, DOUBLE), b.gep(sums, [integer(k)]))
    b.ret_void()
    ahead.branch(start)
    return f


def _elements(
    b: ir.IRBuilder,
    count: ir.Value,
    firsts: Sequence[ir.Value],
    sums: Sequence[Sequence[ir.Value]],
    element: Callable[[ir.IRBuilder, ir.Value, Sequence[ir.Value]], list[ir.Value]],
) -> list[list[ir.Value]]:
    """``count`` elements of each of several streams, side by side, one stream from each of
    ``firsts``; sums go on from ``sums`` and are given back stream by stream. Leaves the builder
    behind the loop."""
    before = b.block
    loop, done = (b.function.append_basic_block(x) for x in ("loop", "done"))
    b.cbranch(b.icmp_signed(">", count, integer(0)), loop, done)
    b.position_at_end(loop)
    j = b.phi(I64)
    running = [[b.phi(x.type) for x in stream] for stream in sums]
    now = [element(b, b.add(first, j), r) for first, r in zip(firsts, running, strict=True)]
    following = b.add(j, integer(1), flags=("nuw", "nsw"))
    b.cbranch(b.icmp_signed("<", following, count), loop, done)
    j.add_incoming(integer(0), before)
    j.add_incoming(following, loop)
    b.position_at_end(done)
    found = [[b.phi(x.type) for x in stream] for stream in sums]
    for streams in zip(sums, running, now, found, strict=True):
        for x, inside, after, outside in zip(*streams, strict=True):
            inside.add_incoming(x, before)
            inside.add_incoming(after, loop)
            outside.add_incoming(x, before)
            outside.add_incoming(after, loop)
    return found
