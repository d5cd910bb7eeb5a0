"""Graph -> machine code: the only file that imports llvmlite.

For every pass over memory two functions are printed as LLVM IR:

``head``  runs once a step over the parameters' rows and works in double precision: it counts the
          step and turns hyperparameters, step and finished reductions into *coefficients*, the
          scalars that the elementwise part needs;
``sweep`` takes chunks of memory from a shared counter until none is left: load, compute in
          float32 (float64) registers, reduce, store.

LLVM's own vectoriser does the rest; nothing but the pointers' independence is promised to it.
Fast-math is limited to flags that keep NaN, infinity and the order of additions (reductions alone
may be reordered): whoever adds ``nnan`` or ``ninf`` deletes the tests for them.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from thalweg.rule.trace import Graph, Node, Pass, column, walk

FLOAT, DOUBLE, HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()
I1, I16, I32, I64 = ir.IntType(1), ir.IntType(16), ir.IntType(32), ir.IntType(64)
STORED = {"float32": FLOAT, "float64": DOUBLE, "bfloat16": I16, "float16": HALF}
ITEMSIZE = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
EXACT = ("contract", "nsz", "arcp")
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


@dataclass(frozen=True)
class CompiledPass:
    """One pass as two C functions; ``coefficients`` and ``reductions`` size their arrays."""

    head: Callable[..., None]
    sweep: Callable[..., None]
    coefficients: int
    reductions: tuple[Node, ...]


@dataclass(frozen=True)
class Kernel:
    """A graph compiled for one choice of storage formats. ``columns`` name the rows' scalars in
    the order in which ``head`` reads them; ``assembly()`` is for those who want to look."""

    passes: tuple[CompiledPass, ...]
    columns: tuple[str, ...]
    ir: str
    keep: Any  # the library that holds the code

    def assembly(self) -> str:
        module = llvm.parse_assembly(self.ir)
        _optimise(module)
        return str(_machine().emit_assembly(module))


def missing(formats: Mapping[str, str]) -> str | None:
    """Why this machine cannot serve these storage formats, or None."""
    x86 = llvm.get_process_triple().split("-")[0] in ("x86_64", "i686")
    if "float16" in formats.values() and x86 and not llvm.get_host_cpu_features().get("f16c"):
        return "this processor cannot convert float16"
    return None


class _Values:
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
        return self.b.call(self.b.module.declare_intrinsic(name, [self.wide]), x)

    def _neg(self, x: ir.Value) -> ir.Value:
        return self.b.fneg(x)

    def _sqrt(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.sqrt", x)

    def _abs(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("llvm.fabs", x)

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


class _Row(_Values):
    """Scalar expressions of one parameter, in double precision, from its row of the table."""

    def __init__(self, builder: ir.IRBuilder, cells: Callable[[str], ir.Value]) -> None:
        super().__init__(builder, DOUBLE)
        self.cells = cells

    def leaf(self, node: Node) -> ir.Value:
        return self.cells(column(node))


class _Lane(_Values):
    """Elementwise expressions of one weight. Scalars become coefficients, computed by the head; a
    division by one becomes a multiplication by its reciprocal, taken in double."""

    def __init__(self, builder: ir.IRBuilder, wide: ir.Type, coefficients: list[Node]) -> None:
        super().__init__(builder, wide)
        self.coefficients = coefficients
        self.load_coefficient: Callable[[int], ir.Value]
        self.load: Callable[[str], ir.Value]
        self._index: dict[int, int] = {}
        self._inverse: dict[int, Node] = {}

    def leaf(self, node: Node) -> ir.Value:
        return self.load(node.name)

    def _print(self, node: Node) -> ir.Value:
        if not node.elementwise and node.op != "constant":
            if id(node) not in self._index:
                self._index[id(node)] = len(self.coefficients)
                self.coefficients.append(node)
            return self.load_coefficient(self._index[id(node)])
        if node.op == "div" and not node.args[1].elementwise:
            x, y = node.args
            inverse = self._inverse.setdefault(id(y), 1.0 / y)
            return self.b.fmul(self(x), self(inverse), flags=EXACT)
        return super()._print(node)


@functools.lru_cache(maxsize=256)
def compile(graph: Graph, formats: tuple[tuple[str, str], ...]) -> Kernel:
    """Machine code for a graph whose tensors are stored in ``formats`` (name -> dtype's name)."""
    stored = dict(formats)
    wide = DOUBLE if stored["w"] == "float64" else FLOAT
    module = ir.Module("thalweg")
    module.triple = llvm.get_process_triple()
    module.data_layout = str(_machine().target_data)
    parts: list[tuple[list[Node], Pass]] = []
    for number, p in enumerate(graph.passes):
        coefficients: list[Node] = []
        _print_sweep(module, number, graph, p, stored, wide, coefficients)
        parts.append((coefficients, p))
    columns = _columns(parts)
    for number, (coefficients, _) in enumerate(parts):
        _print_head(module, number, coefficients, columns, wide)
    text = str(module)
    library, address = _link(text, [f"{f}{i}" for i in range(len(parts)) for f in ("head", "sweep")])
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    head = ctypes.CFUNCTYPE(None, *[pointer] * 4, integer, integer)
    sweep = ctypes.CFUNCTYPE(None, *[pointer] * 7, integer, integer)
    passes = tuple(
        CompiledPass(head(address[f"head{i}"]), sweep(address[f"sweep{i}"]), len(c), p.reductions)
        for i, (c, p) in enumerate(parts)
    )
    return Kernel(passes, columns, text, library)


def _columns(parts: list[tuple[list[Node], Pass]]) -> tuple[str, ...]:
    leaves = (n for c, _ in parts for n in walk(*c) if n.op in ("scalar", "total", "count"))
    return tuple(dict.fromkeys(c for c in map(column, leaves) if c != "step"))


def _print_head(
    module: ir.Module, number: int, coefficients: list[Node], columns: tuple[str, ...], wide: Any
) -> None:
    """``head(steps, table, coefficients, rows, active rows, all rows)``: the table holds one
    column of doubles after another; the first pass counts the step."""
    doubles, longs = DOUBLE.as_pointer(), I64.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [doubles, doubles, wide.as_pointer(), longs, I64, I64])
    f = ir.Function(module, kind, f"head{number}")
    steps, table, out, rows, active, stride = f.args
    with _loop(f, active) as (b, i):
        row = b.load(b.gep(rows, [i]))

        def cell(name: str) -> ir.Value:
            if name == "step":
                return b.gep(steps, [row])
            at = b.add(b.mul(ir.Constant(I64, columns.index(name)), stride), row)
            return b.gep(table, [at])

        if number == 0:
            b.store(b.fadd(b.load(cell("step")), ir.Constant(DOUBLE, 1.0)), cell("step"))
        values = _Row(b, lambda name: b.load(cell(name)))
        width = ir.Constant(I64, max(1, len(coefficients)))
        for k, node in enumerate(coefficients):
            value = values(node)
            if value.type == I1:
                value = b.uitofp(value, DOUBLE)
            if wide != DOUBLE:
                value = b.fptrunc(value, wide)
            b.store(value, b.gep(out, [b.add(b.mul(row, width), ir.Constant(I64, k))]))


def _print_sweep(
    module: ir.Module,
    number: int,
    graph: Graph,
    p: Pass,
    stored: Mapping[str, str],
    wide: Any,
    coefficients: list[Node],
) -> None:
    """``sweep(bases, row of chunk, offset, length, coefficients, partial sums, counter, chunks,
    rows)``; partial sums go to one double per reduction and chunk, so that their order, and hence
    every bit, is the same for any number of threads."""
    chunk = _print_chunk(module, number, graph, p, stored, wide, coefficients)
    longs = I64.as_pointer()
    kind = ir.FunctionType(
        ir.VoidType(),
        [longs] * 4 + [wide.as_pointer(), DOUBLE.as_pointer(), longs, I64, I64],
    )
    f = ir.Function(module, kind, f"sweep{number}")
    bases, row_of, offset, length, table, partial, counter, chunks, rows = f.args
    entry, take, body, done = (f.append_basic_block(n) for n in ("entry", "take", "body", "done"))
    ir.IRBuilder(entry).branch(take)
    b = ir.IRBuilder(take)
    i = b.atomic_rmw("add", counter, ir.Constant(I64, 1), "monotonic")
    b.cbranch(b.icmp_signed("<", i, chunks), body, done)
    b = ir.IRBuilder(body)
    row, start, n = (b.load(b.gep(x, [i])) for x in (row_of, offset, length))
    arrays = []
    for k, name in enumerate(graph.tensors):
        base = b.load(b.gep(bases, [b.add(b.mul(ir.Constant(I64, k), rows), row)]))
        at = b.add(base, b.mul(start, ir.Constant(I64, ITEMSIZE[stored[name]])))
        arrays.append(b.inttoptr(at, STORED[stored[name]].as_pointer()))
    width = ir.Constant(I64, max(1, len(coefficients)))
    sums = b.gep(partial, [b.mul(i, ir.Constant(I64, max(1, len(p.reductions))))])
    b.call(chunk, [*arrays, b.gep(table, [b.mul(row, width)]), sums, n])
    b.branch(take)
    ir.IRBuilder(done).ret_void()


def _print_chunk(
    module: ir.Module,
    number: int,
    graph: Graph,
    p: Pass,
    stored: Mapping[str, str],
    wide: Any,
    coefficients: list[Node],
) -> ir.Function:
    """The inner loop over one chunk. A function of its own: `noalias` on its arguments is what
    lets LLVM vectorise without testing at run time whether arrays overlap."""
    names = graph.tensors
    kinds = [STORED[stored[n]].as_pointer() for n in names]
    kind = ir.FunctionType(
        ir.VoidType(), [*kinds, wide.as_pointer(), DOUBLE.as_pointer(), I64]
    )
    f = ir.Function(module, kind, f"chunk{number}")
    f.linkage = "internal"
    f.attributes.add("noinline")
    for a in f.args[:-1]:
        a.add_attribute("noalias")
    arrays = dict(zip(names, f.args, strict=False))
    table, sums, n = f.args[-3:]
    entry, loop, done = (f.append_basic_block(x) for x in ("entry", "loop", "done"))
    ahead, b = ir.IRBuilder(entry), ir.IRBuilder(loop)
    j = b.phi(I64)
    j.add_incoming(ir.Constant(I64, 0), entry)
    zero = ir.Constant(wide, 0.0)
    running = [b.phi(wide) for _ in p.reductions]
    lane = _Lane(b, wide, coefficients)
    lane.load_coefficient = lambda k: ahead.load(ahead.gep(table, [ir.Constant(I64, k)]))
    loaded: dict[str, ir.Value] = {}

    def load(name: str) -> ir.Value:
        if name not in loaded:
            loaded[name] = _widen(b, b.load(b.gep(arrays[name], [j])), stored[name], wide)
        return loaded[name]

    lane.load = load
    for name, node in p.stored_before.items():
        if node.elementwise:
            lane.memo[id(node)] = load(name) if name in p.loads else zero
    sums_now = []
    for phi, r in zip(running, p.reductions, strict=True):
        phi.add_incoming(zero, entry)
        new = b.fadd(phi, lane(r.args[0]), flags=(*EXACT, "reassoc"))
        phi.add_incoming(new, loop)
        sums_now.append(new)
    results = [(arrays[k], _narrow(b, lane(x), stored[k], wide)) for k, x in p.stores.items()]
    for array, value in results:
        b.store(value, b.gep(array, [j]))
    following = b.add(j, ir.Constant(I64, 1), flags=("nuw", "nsw"))
    j.add_incoming(following, loop)
    ahead.branch(loop)  # a chunk is never empty
    b.cbranch(b.icmp_signed("<", following, n), loop, done)
    end = ir.IRBuilder(done)
    for k, value in enumerate(sums_now):
        double = value if wide == DOUBLE else end.fpext(value, DOUBLE)
        end.store(double, end.gep(sums, [ir.Constant(I64, k)]))
    end.ret_void()
    return f


def _widen(b: ir.IRBuilder, x: ir.Value, stored: str, wide: Any) -> ir.Value:
    if stored == "bfloat16":
        x = b.bitcast(b.shl(b.zext(x, I32), ir.Constant(I32, 16)), FLOAT)
    elif stored == "float16":
        x = b.fpext(x, FLOAT)
    return b.fpext(x, DOUBLE) if wide == DOUBLE and x.type == FLOAT else x


def _narrow(b: ir.IRBuilder, x: ir.Value, stored: str, wide: Any) -> ir.Value:
    if stored == "float64":
        return x
    if wide == DOUBLE:
        x = b.fptrunc(x, FLOAT)
    if stored == "float16":
        return b.fptrunc(x, HALF)
    if stored == "float32":
        return x
    # Round to nearest, ties to even, in integers: no processor here has an instruction for it. NaN
    # first: adding the rounding to a full mantissa would wrap it to -0.
    bits = b.bitcast(x, I32)
    odd = b.and_(b.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
    rounded = b.lshr(b.add(bits, b.add(odd, ir.Constant(I32, 0x7FFF))), ir.Constant(I32, 16))
    nan = b.fcmp_unordered("uno", x, x)
    return b.trunc(b.select(nan, ir.Constant(I32, 0x7FC0), rounded), I16)


class _loop:  # noqa: N801  (reads as a statement)
    """``with _loop(f, n) as (b, i)``: the body for i in 0 .. n-1, and the function's return."""

    def __init__(self, f: ir.Function, n: ir.Value) -> None:
        self.f, self.n = f, n

    def __enter__(self) -> tuple[ir.IRBuilder, ir.Value]:
        entry, self.body, self.done = (self.f.append_basic_block(x) for x in ("e", "body", "done"))
        b = ir.IRBuilder(entry)
        b.cbranch(b.icmp_signed(">", self.n, ir.Constant(I64, 0)), self.body, self.done)
        self.b = ir.IRBuilder(self.body)
        self.i = self.b.phi(I64)
        self.i.add_incoming(ir.Constant(I64, 0), entry)
        return self.b, self.i

    def __exit__(self, *_: object) -> None:
        following = self.b.add(self.i, ir.Constant(I64, 1))
        self.i.add_incoming(following, self.b.block)
        self.b.cbranch(self.b.icmp_signed("<", following, self.n), self.body, self.done)
        ir.IRBuilder(self.done).ret_void()


_lock = threading.Lock()


@functools.cache
def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )


@functools.cache
def _linker() -> Any:
    return llvm.create_lljit_compiler(_machine())


def _optimise(module: Any) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.loop_interleaving = options.loop_unrolling = True
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)


_count = iter(range(1 << 62))


def _link(text: str, names: list[str]) -> tuple[Any, dict[str, int]]:
    with _lock:  # llvmlite's optimiser and linker are not made for several threads
        module = llvm.parse_assembly(text)
        module.verify()
        _optimise(module)
        builder = llvm.JITLibraryBuilder().add_ir(module).add_current_process()
        for name in names:
            builder = builder.export_symbol(name)
        library = builder.link(_linker(), f"kernel{next(_count)}")
        return library, {name: library[name] for name in names}
