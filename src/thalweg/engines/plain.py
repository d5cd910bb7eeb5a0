"""The plain engine: the rule runs as written, on torch tensors of any device, dtype and layout.

Storage narrower than float32 is widened to float32 for the computation and rounded once at the
end, as the fused engine does.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from thalweg.engines import rounding
from thalweg.engines.base import Run, Slot, Work, real
from thalweg.engines.matrices import fits, renew
from thalweg.engines.observed import symbolic, unobserved
from thalweg.engines.watch import Held, missing
from thalweg.rule import words
from thalweg.rule.rule import Values
from thalweg.rule.words import Matrix, Number, Scope


class Found(Exception):
    """A rule has reached the total that this round is for."""


@dataclass
class _Reductions:
    """Totals over all parameters, numbered as the rule asks for them. Those of a later level are
    NaN until their round has come; nothing that is asked for earlier can depend on them."""

    everything: int
    known: dict[int, Any] = field(default_factory=dict)
    target: int | None = None
    partial: Any = 0.0
    asked: int = 0

    def answer(self, x: Tensor) -> Any:
        number, self.asked = self.asked, self.asked + 1
        if number == self.target:
            self.partial += _sum(x)
            raise Found
        return self.known.get(number, Number(math.nan))


class _Context(threading.local):
    reductions: _Reductions | None = None
    dtype: torch.dtype = torch.float32
    shape: torch.Size = torch.Size()
    symbolic = False  # whether sums must stay tensors


_context = _Context()


class _Tensors:
    """The words on torch tensors. Scalars among the operands take the computation's dtype: torch
    alone would make ``where(c, 1.2, 0.5)`` float32 whatever the rest is."""

    def _like(self, x: Any, other: Any) -> Tensor:
        if isinstance(x, Tensor):
            return x
        if _context.symbolic:  # of the same kind as the other
            like: Tensor = other.new_full((), float(x), dtype=_context.dtype)
            return like
        device = other.device if isinstance(other, Tensor) else None
        return torch.tensor(float(x), dtype=_context.dtype, device=device)

    def sqrt(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def sign(self, x: Tensor) -> Tensor:
        return torch.where(x.isnan(), x, x.sign())

    def cbrt(self, x: Tensor) -> Tensor:
        # The exponent is a third up to rounding, and the power off by log(x) of that: one step of
        # Newton's brings it back.
        size = x.abs()
        y = size ** (1 / 3)
        y = torch.where((y > 0) & (y < math.inf), y - (y - size / (y * y)) / 3, y)
        return y.copysign(x)

    def exp(self, x: Tensor) -> Tensor:
        return x.exp()

    def log(self, x: Tensor) -> Tensor:
        return x.log()

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if not isinstance(condition, Tensor):
            return a if condition else b
        return torch.where(condition, self._like(a, condition), self._like(b, condition))

    def maximum(self, a: Any, b: Any) -> Tensor:
        return torch.maximum(self._like(a, b), self._like(b, a))

    def minimum(self, a: Any, b: Any) -> Tensor:
        return torch.minimum(self._like(a, b), self._like(b, a))

    def named(self, name: str, x: Tensor) -> Tensor:
        del name
        return x

    def total(self, x: Tensor, scope: Scope) -> Any:
        if scope == "tensor":
            return _sum(x)
        assert _context.reductions is not None
        return _context.reductions.answer(x)

    def count(self, x: Tensor, scope: Scope) -> Number:
        if scope == "tensor":
            return Number(x.numel())
        assert _context.reductions is not None
        return Number(_context.reductions.everything)

    def matrix(self, word: Matrix, *x: Any) -> Tensor:
        found: Tensor = word.run(*(a if isinstance(a, Tensor) else float(a) for a in x))
        return found if word.shaped else fits(word, found, _context.shape).to(_context.dtype)


TENSORS = _Tensors()
words.register(Tensor, TENSORS)


class PlainBatch:
    """Parameters stepped one after another by torch operations."""

    def __init__(self, work: Work, slots: Sequence[Slot], differentiable: bool = False) -> None:
        self.work, self.slots, self.differentiable = work, slots, differentiable
        # All, until gradients are collected: a view reads none, whatever stands in their place.
        self._active: list[tuple[Slot, Tensor]] = [(s, s.param) for s in slots]
        self._collected = False
        self.symbolic = any(symbolic(s.param) for s in slots)
        self._layouts: dict[Slot, torch.layout] = {}  # what the optimizer has said this rule takes
        self.held = Held(slots)

    def holds(self) -> bool:
        return self.held.same()

    def collect(self) -> bool:
        gradients = [(s, s.param.grad) for s in self.slots]
        self._active = [(s, g) for s, g in gradients if g is not None]
        self._collected = True
        return self.held.same() and all(
            g.shape == s.param.shape
            and g.device == s.param.device
            and self._layouts.setdefault(s, g.layout) is g.layout
            and not missing(g)
            for s, g in self._active
        )

    def count(self) -> int:
        return sum(_elements(g) for _, g in self._active)

    def run(self, values: Mapping[int, Values], everything: int) -> Run:
        numbers = {i: {k: _number(v) for k, v in h.items()} for i, h in values.items()}
        reductions = _Reductions(everything)
        totals = [r for r in self.work.graph.reductions if r.scope == "all"]
        # No mode is kept over a yield: runs that take turns would restore each other's.
        for number, _ in sorted(enumerate(totals), key=lambda pair: pair[1].level):
            reductions.partial, reductions.target = 0.0, number
            _context.reductions = reductions
            with torch.set_grad_enabled(self.differentiable):
                for slot, g in self._active:
                    with contextlib.suppress(Found):
                        self._update(slot, g, numbers[slot.group])
            total: Any = yield reductions.partial
            reductions.known[number] = total if isinstance(total, Tensor) else Number(total)
        _context.reductions, reductions.target = reductions, None
        with torch.set_grad_enabled(self.differentiable):
            for slot, g in self._active:
                self._store(slot, *self._update(slot, g, numbers[slot.group]))
        if self._collected:  # kept, gradients would last until the next step
            self._active = []

    def _update(self, slot: Slot, g: Tensor, h: Values) -> _Result:
        """The rule's answer for one parameter, and the rows that it speaks of."""
        tensors = {"w": slot.param, **{s: slot.state[k] for s, k in self.work.keys.items()}}
        if self.differentiable:  # backward needs what is overwritten below
            tensors = {s: x.clone() for s, x in tensors.items()}
        rows: Rows = ...
        if g.layout is torch.sparse_coo:
            if self.work.rule.sparse(h) == "rows":
                g = g.coalesce()
                rows, g = tuple(g.indices()), g.values()
                tensors = {s: x[rows] for s, x in tensors.items()}
            else:
                g = g.to_dense()
        _context.dtype = wide = _compute_dtype(slot.param)
        _context.shape, _context.symbolic = real(g).shape, self.symbolic
        assert _context.reductions is not None
        _context.reductions.asked = 0
        x = {s: real(t).to(wide) for s, t in tensors.items()}
        step = self._steps(slot) + 1 if "step" in slot.state else 1 + (not slot.fresh)
        tensors_only = self.differentiable or self.symbolic
        scalars = {
            s: slot.state[k].clone() if tensors_only else Number(float(slot.state[k]))
            for s, k in self.work.scalar_keys.items()
        }
        shaped = {s: slot.state[k].to(wide) for s, k in self.work.shaped_keys.items()}
        h = {**h, "step": Number(step)}
        w, new = self.work.rule.update(x["w"], real(g).to(wide), {**x, **scalars, **shaped}, h)
        return w, new, rows

    def _store(self, slot: Slot, w: Tensor, new: dict[str, Any], rows: Rows) -> None:
        slot.fresh = False
        if "step" in slot.state:
            self._count(slot)
        keys = self.work.keys
        for s, k in self.work.scalar_keys.items():
            if self.symbolic and peek_interpreter_stack() is not None:
                # A transform of torch.func forbids writing to tensors that are not its own.
                slot.state[k] = torch.as_tensor(new.pop(s), dtype=torch.float64)
            else:
                slot.state[k].fill_(new.pop(s))
        shaped = self.work.shaped_keys
        renew({s: (slot.state[k], new.pop(s)) for s, k in shaped.items()}, self.symbolic)
        drawn = _Noise(slot, rows, self._steps(slot) if "step" in slot.state else 0)
        for s, x in new.items():
            if self.work.at_random(s, slot.state[keys[s]].dtype) and not self.differentiable:
                new[s] = rounding.at_random(x, drawn(self.work.graph.states.index(s)))
        # Weights last: a state may be what they were.
        for old, x in (*((slot.state[keys[s]], x) for s, x in new.items()), (slot.param, w)):
            value = torch.view_as_complex(x.contiguous()) if old.is_complex() else x
            if rows is ...:
                old.copy_(value)
            else:
                old[rows] = value.to(old.dtype)

    def _steps(self, slot: Slot) -> float:
        if not self.symbolic:
            return float(slot.state["step"])
        with unobserved():
            return float(slot.state["step"])

    def _count(self, slot: Slot) -> None:
        if not self.symbolic:
            slot.state["step"] += 1
            return
        with unobserved():  # in another tensor, likewise
            slot.state["step"] = slot.state["step"] + 1


class _Noise:
    """What a parameter's states are rounded by at the step that it has just counted."""

    def __init__(self, slot: Slot, rows: Rows, step: float) -> None:
        # A move changes no state, and counts no step.
        self.slot, self.rows, self.step = slot, rows, int(step) if math.isfinite(step) else 0

    def __call__(self, state: int) -> Tensor:
        pair, which = divmod(state, 2)
        key = rounding.key(self.slot.number, self.step, pair)
        return rounding.noise(self.places, key, which)

    @cached_property
    def places(self) -> Tensor:
        return rounding.places(self.slot.param)[self.rows]


Rows = tuple[Tensor, ...] | EllipsisType
_Result = tuple[Tensor, dict[str, Any], Rows]


def _sum(x: Tensor) -> Any:
    """In double precision: a number, or a tensor where gradients flow through the step or where
    somebody must see what becomes of it."""
    total = x.sum(dtype=torch.float64)
    if hasattr(total, "full_tensor"):  # a DTensor, whose number alone would be this process's part
        total = total.full_tensor()
    return total if total.requires_grad or _context.symbolic else Number(total)


def _compute_dtype(param: Tensor) -> torch.dtype:
    return torch.float64 if real(param).dtype is torch.float64 else torch.float32


def _elements(g: Tensor) -> int:
    return g.numel() * (2 if g.is_complex() else 1)


def _number(v: Any) -> Any:
    return Number(v) if isinstance(v, int | float) and not isinstance(v, bool) else v
