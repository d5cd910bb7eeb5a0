"""The fused engine: one compiled sweep over memory for all parameters of a batch, on the CPU.

Tensors are cut into chunks of a fixed size. Everything a chunk needs beside memory stands in a
table of doubles with one row per parameter (its step count, its group's hyperparameters, finished
reductions), so that groups with different rates and parameters that came late share one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thalweg.engines.base import Run, Slot, Work, real
from thalweg.engines.pool import together
from thalweg.rule.rule import Values
from thalweg.rule.trace import column

CHUNK = 16_384  # elements; never depends on the number of threads, nor do the results
ALONE = 131_072  # elements below which waking a second thread costs more than it saves
FORMATS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}

Longs = npt.NDArray[np.int64]


def installed() -> str | None:
    """None where kernels can be compiled, else the reason why not."""
    try:
        import llvmlite.binding  # noqa: F401
    except (ImportError, OSError) as e:
        return f"llvmlite cannot be imported ({e})"
    return None


def refuses(param: Tensor, state_dtype: torch.dtype) -> str | None:
    """Why the fused engine cannot step this parameter, or None."""
    if type(param) not in (Tensor, torch.nn.Parameter):
        return f"it is a {type(param).__name__}, whose memory is not plain"
    if param.device.type != "cpu":
        return f"it is on {param.device}; fused kernels run on the CPU"
    if param.layout is not torch.strided:
        return f"its layout is {param.layout}"
    dtypes = {real_dtype(param.dtype), real_dtype(state_dtype)}
    for d in dtypes:
        if d not in FORMATS:
            return f"kernels do not store {d}"
    if not dense(param):
        return f"its memory has gaps or overlaps (strides {param.stride()}, shape {param.shape})"
    if reason := installed():
        return reason
    from thalweg.engines import llvm

    return llvm.missing({str(d): FORMATS[d] for d in dtypes})


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype


def dense(x: Tensor) -> bool:
    """Whether the elements fill their stretch of memory, in whatever order of dimensions."""
    return x.is_contiguous() or torch.empty_like(x).stride() == x.stride()


class _Plan:
    """Which chunks a step sweeps, for one choice of parameters that have a gradient."""

    def __init__(self, sizes: Sequence[int], active: Sequence[int]) -> None:
        pieces = [(i, o, min(CHUNK, sizes[i] - o)) for i in active for o in range(0, sizes[i], CHUNK)]
        self.row, self.offset, self.length = (
            np.array([p[k] for p in pieces], dtype=np.int64) for k in range(3)
        )
        self.rows = np.array(active, dtype=np.int64)
        self.elements = sum(sizes[i] for i in active)
        self.counter = np.zeros(1, dtype=np.int64)
        self.pointers = [x.ctypes.data for x in (self.row, self.offset, self.length)]


class FusedBatch:
    """Parameters of one graph and one choice of storage formats, stepped in one call."""

    def __init__(self, work: Work, slots: Sequence[Slot]) -> None:
        from thalweg.engines import llvm

        self.work, self.slots = work, slots
        keys = list(work.keys.values())
        first = slots[0]
        stored = [first.param, first.param, *(first.state[k] for k in keys)]
        formats = [(n, FORMATS[real_dtype(t.dtype)]) for n, t in zip(work.graph.tensors, stored)]
        self.kernel = llvm.compile(work.graph, tuple(formats))
        wide = np.float64 if formats[0][1] == "float64" else np.float32

        self.sizes = [real(s.param).numel() for s in slots]
        self.states = [[(k, s.state[k]) for k in keys] for s in slots]
        self.memory = [
            (s.param.data_ptr(), s.param.numel(), s.param.dtype, s.param.is_contiguous())
            for s in slots
        ]
        self.bases = np.zeros((len(stored), len(slots)), dtype=np.int64)
        self.bases[0] = [pointer for pointer, *_ in self.memory]
        for k in range(len(keys)):
            self.bases[2 + k] = [tensors[k][1].data_ptr() for tensors in self.states]

        self.steps = torch.zeros(len(slots), dtype=torch.float64)
        for i, s in enumerate(slots):
            self.steps[i] = float(s.state["step"]) if "step" in s.state else float(not s.fresh)
            if "step" in s.state:
                s.state["step"] = self.steps[i]
        self.step_views = [s.state.get("step") for s in slots]
        self.column = {name: i for i, name in enumerate(self.kernel.columns)}
        self.table = np.zeros((max(1, len(self.column)), len(slots)))
        self.hyperparameters = [n for n in self.column if " " not in n]
        self._set("count tensor", self.sizes)
        groups = sorted({s.group for s in slots})
        self.groups = {g: [i for i, s in enumerate(slots) if s.group == g] for g in groups}
        self.known: dict[int, Values] = {}
        self.coefficients = [
            np.zeros((len(slots), max(1, p.coefficients)), dtype=wide) for p in self.kernel.passes
        ]
        self.plans: dict[tuple[int, ...], _Plan] = {}
        self.everyone = tuple(range(len(slots)))
        self.plan = self._plan(self.everyone)
        self.copies: list[Tensor] = []

    def _plan(self, active: tuple[int, ...]) -> _Plan:
        if active not in self.plans:
            if len(self.plans) > 32:  # gradients that come and go at random
                self.plans.clear()
            self.plans[active] = _Plan(self.sizes, active)
        return self.plans[active]

    def collect(self, states: Mapping[Tensor, Any]) -> bool:
        gradients: list[int] = []
        missing: set[int] = set()
        self.copies.clear()
        for i, slot in enumerate(self.slots):
            p = slot.param
            pointer, n, dtype, contiguous = self.memory[i]
            if (
                p.data_ptr() != pointer
                or p.numel() != n
                or p.dtype is not dtype
                or states.get(p) is not slot.state
                or slot.state.get("step") is not self.step_views[i]
            ):
                return False
            for k, t in self.states[i]:
                if slot.state.get(k) is not t:
                    return False
            g = p.grad
            if g is None:
                missing.add(i)
                gradients.append(0)
            elif (
                contiguous
                and g.layout is torch.strided
                and g.dtype is dtype
                and g.is_contiguous()
                and not g.is_neg()
                and not g.is_conj()
            ):
                gradients.append(g.data_ptr())
            elif g.layout is torch.strided:
                gradients.append(self._fitted(p, g))
            else:
                return False
        self.bases[1] = gradients
        if missing:
            self.plan = self._plan(tuple(i for i in self.everyone if i not in missing))
        else:
            self.plan = self.plans[self.everyone]
        return True

    def _fitted(self, p: Tensor, g: Tensor) -> int:
        """The address of a gradient in its parameter's layout and dtype: a copy where needed."""
        if g.stride() == p.stride() and g.dtype is p.dtype and not g.is_neg() and not g.is_conj():
            return g.data_ptr()
        with torch.no_grad():
            copy = torch.empty_like(p).copy_(g)
        self.copies.append(copy)
        return copy.data_ptr()

    def count(self) -> int:
        return self.plan.elements

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        self._fill(values, everything)
        plan = self.plan
        for number, p in enumerate(self.kernel.passes):
            sums = self._sweep(number, plan)
            for k, r in enumerate(p.reductions):
                if r.scope == "all":
                    found: Any = yield float(sums[:, k].sum())
                else:
                    # Adds in chunk order, as the sum above does: the same bits on any machine.
                    found = np.bincount(plan.row, weights=sums[:, k], minlength=len(self.slots))
                self._set(column(r), found)
        for slot in self.slots:
            slot.fresh = False
        self.copies.clear()

    def _sweep(self, number: int, plan: _Plan) -> npt.NDArray[np.float64]:
        """One pass over memory; returns the partial sums, chunk by chunk."""
        p, coefficients = self.kernel.passes[number], self.coefficients[number]
        sums = np.zeros((len(plan.row), max(1, len(p.reductions))))
        p.head(
            self.steps.data_ptr(),
            self.table.ctypes.data,
            coefficients.ctypes.data,
            plan.rows.ctypes.data,
            len(plan.rows),
            len(self.slots),
        )
        plan.counter[0] = 0
        arguments = (
            self.bases.ctypes.data,
            *plan.pointers,
            coefficients.ctypes.data,
            sums.ctypes.data,
            plan.counter.ctypes.data,
            len(plan.row),
            len(self.slots),
        )
        threads = min(torch.get_num_threads(), len(plan.row))
        if plan.elements < ALONE or threads < 2:
            p.sweep(*arguments)
        else:
            together(lambda: p.sweep(*arguments), threads)
        return sums

    def _fill(self, values: Mapping[int, Values], everything: int) -> None:
        """Bring the table's hyperparameters up to date; unchanged groups cost one comparison."""
        self._set("count all", everything)
        for group, rows in self.groups.items():
            h = values[group]
            if self.known.get(group) is not h:
                self.known[group] = h
                for name in self.hyperparameters:
                    self.table[self.column[name], rows] = h[name]

    def _set(self, name: str, value: Any) -> None:
        if name in self.column:
            self.table[self.column[name]] = value
