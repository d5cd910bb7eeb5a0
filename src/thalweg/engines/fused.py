"""The fused engine: one compiled sweep over memory for all parameters of a batch, on the CPU.

Tensors are cut into chunks of a fixed size. Everything a chunk needs beside memory stands in a
table of doubles with one row per parameter (its step count, its group's hyperparameters, finished
reductions), so that groups with different rates and parameters that came late share one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thalweg.engines.base import Run, Slot, Work, real
from thalweg.engines.block import Arguments
from thalweg.engines.matrices import Matrices
from thalweg.engines.threads import team, together
from thalweg.rule.graph import column, storing_last
from thalweg.rule.rule import Values

CHUNK = 16_384  # elements; never depends on the number of threads, nor do the results
RUN = 16  # chunks that a thread takes at a time, at most: what lies in one stretch streams faster
SHARES = 8  # but so few that each thread comes back this often: a busy core must not be waited for
ALONE = 32_768  # elements below which waking a second thread costs more than it saves
FORMATS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}

Longs = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


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
    if torch.float16 in dtypes and not _converts_float16():
        return "this processor cannot convert float16"
    return None


def _converts_float16() -> bool:
    from thalweg.engines.kernel import machine

    return machine.converts_float16()


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype


def gradient_dtype(p: Tensor) -> torch.dtype:
    """What a parameter's gradient is read in: its own dtype (``p.grad_dtype`` may ask for another
    than the parameter's) where kernels can, else the parameter's."""
    if p.grad is None or p.grad.dtype is p.dtype:
        return p.dtype
    given = real_dtype(p.grad.dtype)
    readable = given in FORMATS and (given is not torch.float16 or _converts_float16())
    return p.grad.dtype if readable and p.grad.is_complex() == p.is_complex() else p.dtype


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

        # What a step checks: that parameters and state are still where they were.
        self.pointers = list(map(_pointer, self.params))
        self.nbytes = list(map(_nbytes, self.params))
        # Whether a contiguous gradient of so many bytes is sure to fit. (Two formats have 2.)
        self.straight = self.reads in (torch.float32, torch.float64) and all(
            map(Tensor.is_contiguous, self.params)
        )
        self.gradient_nbytes = [p.numel() * self.reads.itemsize for p in self.params]

        self.bases = np.zeros((len(formats), len(slots)), dtype=np.int64)
        self.bases[0] = self.pointers
        for k in range(len(keys)):
            self.bases[2 + k] = list(map(_pointer, self.states[k :: len(keys)]))
        self.steps = torch.zeros(len(slots), dtype=torch.float64)
        for i, s in enumerate(slots):
            self.steps[i] = float(s.state["step"]) if "step" in s.state else float(not s.fresh)
            if "step" in s.state:
                s.state["step"] = self.steps[i]
        self.numbers = np.array([s.number for s in slots], dtype=np.int64)
        self.column = {name: i for i, name in enumerate(self.kernel.columns)}
        scalars = work.scalar_keys
        self.hyperparameters = [n for n in self.column if " " not in n and n not in scalars]
        cells = torch.zeros(max(1, len(self.column)), len(slots), dtype=torch.float64)
        for name, key in scalars.items():
            for cell, slot in zip(cells[self.column[name]], slots, strict=True):
                cell.fill_(float(slot.state[key]))
                slot.state[key] = cell
        self.table: Array = cells.numpy()
        self.dicts = [s.state for s in slots]
        self.contents = [x for d in self.dicts for x in d.values()]
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
        self.matrices = Matrices(self, getattr(torch, wide)) if work.graph.matrices else None

        self.everyone = tuple(range(len(slots)))
        self.plans: dict[tuple[int, ...], _Plan] = {}
        self.choose(self.everyone)
        self.copies: list[Tensor] = []

    def choose(self, active: tuple[int, ...]) -> None:
        """Plan a sweep over some of the parameters; plans are kept."""
        if active not in self.plans:
            if len(self.plans) > 32:  # gradients that come and go at random
                self.plans.clear()
            self.plans[active] = _Plan(self, active)
        self.active, self.plan = active, self.plans[active]

    def collect(self) -> bool:
        # This runs at every step and costs a small model as much as its arithmetic: hence maps.
        if list(map(_pointer, self.params)) != self.pointers or not all(
            map(is_, self.contents, chain.from_iterable(map(dict.values, self.dicts)))
        ):
            return False
        gradients: list[Any] = [p.grad for p in self.params]
        try:
            if (
                self.straight
                and list(map(_nbytes, gradients)) == self.gradient_nbytes
                and all(map(Tensor.is_contiguous, gradients))
                and not any(map(Tensor.is_neg, gradients))
            ):
                self.bases[1] = list(map(_pointer, gradients))
                if self.active is not self.everyone:
                    self.choose(self.everyone)
                return True
        except (TypeError, RuntimeError):
            pass  # some are missing, or sparse
        return self._collect_slowly(gradients)

    def _collect_slowly(self, gradients: Sequence[Tensor | None]) -> bool:
        """Gradients that are missing, or laid out unlike their parameter."""
        self.copies.clear()
        for i, (p, g) in enumerate(zip(self.params, gradients, strict=True)):
            if p.nbytes != self.nbytes[i]:
                return False
            if g is not None:
                if g.layout is not torch.strided or g.shape != p.shape:
                    return False
                if gradient_dtype(p) is not self.reads:
                    return False
                self.bases[1, i] = self._fitted(p, g).data_ptr()
        active = tuple(i for i in self.everyone if gradients[i] is not None)
        if active != self.active:
            self.choose(self.everyone if len(active) == len(self.everyone) else active)
        return True

    def _fitted(self, p: Tensor, g: Tensor) -> Tensor:
        """A gradient in its parameter's layout and the kernel's format: a copy where needed."""
        as_is = g.stride() == p.stride() or (g.is_contiguous() and p.is_contiguous())
        if as_is and g.dtype is self.reads and not g.is_neg() and not g.is_conj():
            return g
        with torch.no_grad():
            copy = torch.empty_like(p, dtype=self.reads).copy_(g)
        self.copies.append(copy)
        return copy

    def count(self) -> int:
        return self.plan.elements

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        self._fill(values, everything)
        if self.matrices is not None:
            self.matrices.begin()
        for number, p in enumerate(self.kernel.passes):
            if self.matrices is not None:
                self.matrices.before(number)
            self._sweep(number)
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
                self.matrices.after(number)
        if self.matrices is not None:
            self.matrices.end()
        # Kernels write behind autograd's back: tell it, so that a backward through the old weights
        # raises as after torch's own steps.
        torch.autograd.graph.increment_version([self.params[i] for i in self.active])
        if self.kernel.tail is not None:
            self.kernel.tail(self.plan.addresses[0])
        if self.copies:
            self.copies.clear()

    def _sweep(self, number: int) -> None:
        """One pass over memory; leaves its partial sums, chunk by chunk, in the plan."""
        p, plan = self.kernel.passes[number], self.plan
        address = plan.addresses[number]
        threads = 1 if plan.elements < ALONE else min(torch.get_num_threads(), plan.chunks)
        openmp = team()
        plan.work_on(threads, openmp)
        if threads < 2 or openmp:
            p.run(address)
        else:
            p.head(address)
            plan.blocks[number][Arguments.NEXT] = 0
            together(lambda: p.sweep(address), threads)

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


class _Plan:
    """Which chunks a step sweeps, for one choice of parameters that have a gradient, and the block
    of arguments that each pass is called with."""

    def __init__(self, batch: FusedBatch, active: Sequence[int]) -> None:
        pieces = [
            (i, start, min(CHUNK, batch.sizes[i] - start))
            for i in active
            for start in range(0, batch.sizes[i], CHUNK)
        ]
        self.row, self.start, self.length = (
            np.array([p[k] for p in pieces], dtype=np.int64) for k in range(3)
        )
        self.rows = np.array(active, dtype=np.int64)
        self.chunks = len(pieces)
        self.elements = sum(batch.sizes[i] for i in active)
        self.sums = [
            np.zeros((self.chunks, max(1, len(p.reductions)))) for p in batch.kernel.passes
        ]
        self.blocks = [
            self._block(batch, coefficients, sums)
            for coefficients, sums in zip(batch.coefficients, self.sums, strict=True)
        ]
        self.team = (0, 0)  # as last written into the blocks
        self.addresses = [_address(block) for block in self.blocks]

    def work_on(self, threads: int, openmp: int) -> None:
        """Tell every pass how many threads there are and who starts them."""
        if self.team != (threads, openmp):
            self.team = threads, openmp
            for block in self.blocks:
                block[Arguments.THREADS], block[Arguments.TEAM] = threads, openmp
                block[Arguments.AT_ONCE] = min(RUN, max(1, self.chunks // (threads * SHARES)))

    def _block(self, batch: FusedBatch, coefficients: Array, sums: Array) -> Longs:
        block = np.zeros(len(Arguments), dtype=np.int64)
        block[Arguments.STEPS] = batch.steps.data_ptr()
        block[Arguments.TABLE] = _address(batch.table)
        block[Arguments.ACTIVE] = _address(self.rows)
        block[Arguments.ACTIVES] = len(self.rows)
        block[Arguments.ROWS] = len(batch.slots)
        block[Arguments.BASES] = _address(batch.bases)
        block[Arguments.CHUNK_ROW] = _address(self.row)
        block[Arguments.CHUNK_START] = _address(self.start)
        block[Arguments.CHUNK_LENGTH] = _address(self.length)
        block[Arguments.CHUNKS] = self.chunks
        block[Arguments.COEFFICIENTS] = _address(coefficients)
        block[Arguments.SUMS] = _address(sums)
        block[Arguments.NUMBERS] = _address(batch.numbers)
        return block


_pointer = Tensor.data_ptr
_nbytes: Callable[[Tensor], int] = vars(torch._C.TensorBase)["nbytes"].__get__


def _address(array: Array) -> int:
    return int(array.ctypes.data)
