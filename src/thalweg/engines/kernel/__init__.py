"""Graph -> kernel. Only this folder imports llvmlite.

For every pass over memory the graph gives two functions, printed as LLVM IR:

``head``   once a step, over the parameters' rows, in double precision: counts the step and turns
           hyperparameters, step and finished reductions into *coefficients*, the scalars that the
           elementwise part needs; the first pass's fetches the counters from the user's memory;
``sweep``  takes chunks of memory from a shared counter until none is left: load, compute in
           float32 (float64) registers, reduce, store.

``tail``   once a step, over the rows, after the last pass: the state that has one value per
           parameter, back into the user's memory.

Another, ``run``, is head and sweep, the sweep on as many OpenMP threads as it is told, and the tail
if nothing is added up before it. LLVM's own vectoriser does the rest. From graph to machine code
takes some tens of milliseconds, so kernels are compiled where they are needed and never kept on
disk.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from thalweg.engines.kernel import machine
from thalweg.engines.kernel.formats import DOUBLE, FLOAT
from thalweg.engines.kernel.loops import print_run, print_sweep
from thalweg.engines.kernel.rows import print_head, print_tail
from thalweg.rule.graph import Graph, column, walk
from thalweg.rule.trace import Node

__all__ = ["CompiledPass", "Kernel", "compile", "machine"]

Function = Callable[[int], None]


@dataclass(frozen=True)
class CompiledPass:
    """One pass over memory: C functions of an ``engines.block.Arguments`` block's address."""

    head: Function
    sweep: Function
    run: Function
    coefficients: int
    reductions: tuple[Node, ...]


@dataclass(frozen=True)
class Kernel:
    """A graph compiled for one choice of storage formats. ``columns`` name the scalars of a row in
    the order of the table that ``head`` reads."""

    passes: tuple[CompiledPass, ...]
    tail: Function  # after the passes, where there is state with one value per parameter
    ends: bool  # whether the last pass's `run` calls it
    columns: tuple[str, ...]
    ir: str
    keep: Any  # the library that holds the code


@functools.lru_cache(maxsize=256)
def compile(graph: Graph, formats: tuple[tuple[str, str], ...]) -> Kernel:
    """Machine code for a graph whose tensors are stored in ``formats``: (name, one of
    ``kernel.formats.STORED``)."""
    stored = dict(formats)
    wide = DOUBLE if stored["w"] == "float64" else FLOAT
    module = ir.Module("thalweg")
    module.triple = machine.triple()
    coefficients = [
        print_sweep(module, number, graph, stored, wide) for number in range(len(graph.passes))
    ]
    roots = [*(n for c in coefficients for n in c), *graph.new_scalars.values()]
    leaves = [column(n) for n in walk(*roots) if n.op in ("scalar", "total", "count")]
    columns = tuple(dict.fromkeys(n for n in (*leaves, *graph.new_scalars) if n != "step"))
    print_tail(module, graph, columns)
    ends = not graph.passes[-1].reductions and not graph.matrices
    for number, c in enumerate(coefficients):
        print_head(module, number, c, graph, columns, wide)
        print_run(module, number, ends and number == len(graph.passes) - 1)
    text = str(module)
    names = [
        "tail",
        *(f"{f}{i}" for i in range(len(coefficients)) for f in ("head", "sweep", "run")),
    ]
    library, address = machine.link(text, names)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # releases the GIL
    call: dict[str, Function] = {name: signature(at) for name, at in address.items()}
    passes = tuple(
        CompiledPass(call[f"head{i}"], call[f"sweep{i}"], call[f"run{i}"], len(c), p.reductions)
        for i, (c, p) in enumerate(zip(coefficients, graph.passes, strict=True))
    )
    return Kernel(passes, call["tail"], ends, columns, text, library)
