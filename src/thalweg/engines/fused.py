"""The fused engine: one compiled sweep over memory for all parameters of a batch, on the CPU.

Tensors are cut into chunks of a fixed size. Everything a chunk needs beside memory stands in a
table of doubles with one row per parameter (its step count, its group's hyperparameters, finished
reductions), so that groups with different rates and parameters that came late share one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.engines.base import Run, Slot, Work, real
from thalweg.engines.block import Arguments
from thalweg.engines.counters import Counters
from thalweg.engines.formats import FORMATS, converts_float16, gradient_dtype, real_dtype
from thalweg.engines.gradients import Gradients
from thalweg.engines.installed import installed
from thalweg.engines.matrices import Matrices
from thalweg.engines.sweep import Array, Sweep
from thalweg.engines.threads import team, together
from thalweg.engines.watch import Held, layout, ordinary
from thalweg.rule.graph import column, storing_last
from thalweg.rule.rule import Values

ALONE = 32_768  # elements below which waking a second thread costs more than it saves


def refuses(param: Tensor, state_dtype: torch.dtype) -> str | None:
    """Why the fused engine cannot step this parameter, or None."""
    if type(param) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(param).__name__}, whose memory is not plain"
    if param.device.type != "cpu":
        return f"it is on {param.device}; fused kernels run on the CPU"
    if param.layout is not torch.strided:
        return f"its layout is {param.layout}"
    if not ordinary(param):
        return "it is inside a transform of torch.func"
    if param.is_conj() or param.is_neg():
        return "its memory holds its conjugate or negative"
    dtypes = {real_dtype(param.dtype), real_dtype(state_dtype)}
    for d in dtypes:
        if d not in FORMATS:
            return f"kernels do not store {d}"
    if not dense(param):
        return f"its memory has gaps or overlaps (strides {param.stride()}, shape {param.shape})"
    if reason := installed():
        return reason
    if torch.float16 in dtypes and not converts_float16():
        return "this processor cannot convert float16"
    return None


def refuses_state(param: Tensor, state: Tensor) -> str | None:
    """Why the fused engine cannot keep a parameter's state where it is, or None."""
    if not ordinary(state) or state.device != param.device:
        return "it is not plain memory"
    if layout(state) != layout(param):
        return f"its strides are {state.stride()}, the parameter's {param.stride()}"
    if real_dtype(state.dtype) not in FORMATS or state.is_complex() != param.is_complex():
        return f"kernels do not store {state.dtype} beside {param.dtype}"
    if state.is_conj() or state.is_neg():
        return "its memory holds its conjugate or negative"
    return None


def dense(x: Tensor) -> bool:
    """Whether the elements fill their stretch of memory, in whatever order of dimensions."""
    return x.is_contiguous() or torch.empty_like(x).stride() == x.stride()


class FusedBatch:
    """Parameters of one graph and one choice of storage formats, stepped in one call."""

    def __init__(self, work: Work, slots: Sequence[Slot]) -> None:
        from thalweg.engines import kernel

        self.slots = slots
        self.params = [s.param for s in slots]
        keys = list(work.keys.values())
        self.states = [s.state[k] for s in slots for k in keys]
        self.reads = gradient_dtype(self.params[0])  # as those of the others
        stored = [self.params[0].dtype, self.reads, *(x.dtype for x in self.states[: len(keys)])]
        names = work.graph.tensors
        formats = [
            (n, FORMATS[real_dtype(t)] + " at random" * (k > 1 and work.at_random(n, t)))
            for k, (n, t) in enumerate(zip(names, stored, strict=False))
        ]
        wide = "float64" if formats[0][1] == "float64" else "float32"
        formats += [(name, wide) for name in work.graph.temporaries]
        # What is stored rounded must not be read again in the same step.
        size = getattr(torch, wide).itemsize
        rounded = frozenset(n for n, t in zip(names, stored, strict=False)
                            if real_dtype(t).itemsize < size)  # fmt: skip
        work = self.work = Work(work.rule, storing_last(work.graph, rounded))
        self.kernel = kernel.compile(work.graph, tuple(formats))
        self.sizes = [real(p).numel() for p in self.params]

        self.held = Held(slots)
        arrays = [
            self.params,
            self.params,
            *(self.states[k :: len(keys)] for k in range(len(keys))),
        ]
        self.bases = np.zeros((len(formats), len(slots)), dtype=np.int64)
        for k, tensors in enumerate(arrays):
            self.bases[k] = list(map(Tensor.data_ptr, tensors))
        self.gradients = Gradients(
            self.params, self.reads, [*self.params, *self.states], self.bases[1]
        )

        self.steps = np.array([float(not s.fresh) for s in slots])
        self.numbers = np.array([s.number for s in slots], dtype=np.int64)
        self.column = {name: i for i, name in enumerate(self.kernel.columns)}
        scalars = work.scalar_keys
        self.hyperparameters = [n for n in self.column if " " not in n and n not in scalars]
        self.table: Array = np.zeros((max(1, len(self.column)), len(slots)))
        cells = [[s.state.get(key) for s in slots] for key in ("step", *scalars.values())]
        if "step" in work.graph.scalars:
            # A rule that asks, but keeps no count: of these too, only a step that is made counts.
            made = torch.from_numpy(self.steps.copy())
            cells[0] = [own if x is None else x for x, own in zip(cells[0], made, strict=True)]
        self.counters = Counters(
            [self.steps, *(self.table[self.column[name]] for name in scalars)], cells
        )
        self._set("count tensor", self.sizes)
        groups = sorted({s.group for s in slots})
        self.groups = {
            g: slice(None) if len(groups) == 1 else [i for i, s in enumerate(slots) if s.group == g]
            for g in groups
        }
        self.known: dict[int, Values] = {}
        self.coefficients = [
            np.zeros((len(slots), max(1, p.coefficients)), dtype=wide) for p in self.kernel.passes
        ]
        self.matrices = Matrices(work.graph, getattr(torch, wide)) if work.graph.matrices else None

        self.everyone = tuple(range(len(slots)))
        self.plans: dict[tuple[int, ...], Sweep] = {}
        self.choose(self.everyone)

    def choose(self, active: tuple[int, ...]) -> None:
        """Plan a sweep over some of the parameters; plans are kept."""
        if active not in self.plans:
            if len(self.plans) > 32:  # gradients that come and go at random
                self.plans.clear()
            self.plans[active] = Sweep(self, active)
        self.active, self.plan = active, self.plans[active]

    def holds(self) -> bool:
        return self.held.same()

    def collect(self) -> bool:
        if not self.held.same():
            return False
        active = self.gradients.collect()
        if active is None:
            return False
        if active != self.active:
            self.choose(active)
        return True

    def count(self) -> int:
        return self.plan.elements

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        self._fill(values, everything)
        if self.counters.rare:
            self.counters.read()
        if self.matrices is not None:
            self.matrices.begin()
        complete = False
        for number, p in enumerate(self.kernel.passes):
            if self.matrices is not None:
                self.matrices.before(self, number)
            complete = self._sweep(number)
            for k, r in enumerate(p.reductions):
                sums = self.plan.sums[number][:, k]
                if r.scope == "all":
                    found: Any = yield float(sums.sum())
                    found = found.detach() if isinstance(found, Tensor) else found
                else:
                    # Adds in chunk order, as the sum above does: the same bits for any threads.
                    found = np.bincount(self.plan.row, weights=sums, minlength=len(self.slots))
                self._set(column(r), found)
            if self.matrices is not None:
                self.matrices.after(self, number)
        if self.matrices is not None:
            self.matrices.end(self)
        # Kernels write behind autograd's back: tell it, so that a backward through the old weights
        # raises as after torch's own steps.
        torch.autograd.graph.increment_version(self.plan.params)
        if self.counters.cells and not complete:
            self.kernel.tail(self.plan.addresses[0])
        if self.counters.rare:
            self.counters.write()
        self.gradients.release()

    def _sweep(self, number: int) -> bool:
        """One pass over memory; leaves its partial sums, chunk by chunk, in the plan. Whether the
        kernel's tail has been run, too."""
        p, plan = self.kernel.passes[number], self.plan
        address = plan.addresses[number]
        threads = 1 if plan.elements < ALONE else min(torch.get_num_threads(), plan.chunks)
        openmp = team()
        plan.work_on(threads, openmp)
        if threads < 2 or openmp:
            p.run(address)
            return self.kernel.ends and number == len(self.kernel.passes) - 1
        p.head(address)
        plan.blocks[number][Arguments.NEXT] = 0
        together(lambda: p.sweep(address), threads)
        return False

    def _fill(self, values: Mapping[int, Values], everything: int) -> None:
        """Bring the table's hyperparameters up to date; unchanged groups cost one comparison, and
        a number that a schedule moves one write."""
        self._set("count all", everything)
        for group, rows in self.groups.items():
            h, known = values[group], self.known.get(group, {})
            if h is not known:
                self.known[group] = h
                for name in self.hyperparameters:
                    if h[name] != known.get(name):
                        self.table[self.column[name], rows] = h[name]

    def _set(self, name: str, value: Any) -> None:
        if name in self.column:
            self.table[self.column[name]] = value
