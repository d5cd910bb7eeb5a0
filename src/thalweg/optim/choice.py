"""Which engine steps a parameter, and the batches that engines step together."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.engines import compiled, fused
from thalweg.engines.base import Batch, Slot, Work
from thalweg.engines.installed import installed
from thalweg.engines.observed import symbolic
from thalweg.engines.plain import PlainBatch
from thalweg.engines.watch import ordinary
from thalweg.optim.groups import Group
from thalweg.optim.options import engine_of
from thalweg.optim.state import Stateful
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Rule, Values

TOGETHER = 2**22  # elements of which a step holds temporary copies at a time, or one parameter


class Choosing(Stateful):
    """The part of an optimizer that knows the engines."""

    def _refuse(self, p: Tensor, group: Group) -> str:
        """The engine for a parameter, or an error where what is asked for cannot be had."""
        if not (p.is_floating_point() or p.is_complex()):
            raise ValueError(f"{self._name(p)} has dtype {p.dtype}, which has no gradient")
        if p.is_complex() and "complex" in self.cannot:
            raise ValueError(
                f"{type(self).__name__} cannot step {self._name(p)}, which is complex: "
                f"{self.cannot['complex']}"
            )
        wanted = group["state_dtype"]
        if wanted is not None and (p.is_complex() or wanted.itemsize > max(4, p.dtype.itemsize)):
            raise ValueError(f"state_dtype={wanted} does not fit {self._name(p)}, a {p.dtype}")
        engine = engine_of(group)
        if engine == "plain" or symbolic(p):
            return "plain"
        if engine == "compiled" or (engine == "auto" and p.device.type == "cuda"):
            reason = compiled.refuses(p, self.rule.trace(self.values(p, group)))
            if reason is None:
                return "compiled"
            if engine == "compiled":
                raise ValueError(f'engine="compiled" cannot step {self._name(p)}: {reason}')
        reason = fused.refuses(p, self._state_dtype(p, group))
        if reason is None:
            return "fused"
        if engine == "fused":
            raise ValueError(f'engine="fused" cannot step {self._name(p)}: {reason}')
        if group["fused"]:
            notice(f"fused=True: the plain engine steps {self._name(p)}, because {reason}")
        elif missing := installed():
            notice(f"the plain engine is used, which is slower: {missing}")
        return "plain"

    def _engine(self, p: Tensor, group: Group, values: Values) -> str:
        """The engine for a parameter as its gradient is now."""
        engine = self._refuse(p, group)
        if p.grad is None:
            return engine
        if p.grad.layout is torch.strided:
            if engine != "fused" or ordinary(p.grad):
                return engine
            if engine_of(group) == "fused":
                raise ValueError(
                    f'engine="fused" cannot step {self._name(p)}: its gradient is a '
                    f"{type(p.grad).__name__}, whose memory is not plain"
                )
            return "plain"
        if p.grad.layout is not torch.sparse_coo or self.rule.sparse(values) == "refused":
            raise RuntimeError(
                f"{type(self).__name__} with these options does not take the {p.grad.layout} "
                f"gradient of {self._name(p)}"
            )
        if group["engine"] in ("fused", "compiled"):
            raise ValueError(
                f'engine="{group["engine"]}" cannot step {self._name(p)}: its gradient is sparse'
            )
        return "plain"

    def _settle(self, p: Tensor, group: Group, work: Work, engine: str) -> str:
        """The engine for a parameter as the state that it has is now."""
        if engine != "fused":
            return engine
        for key in work.keys.values():
            x = self.state.get(p, {}).get(key)
            reason = None if x is None else fused.refuses_state(p, x)
            if reason is not None and engine_of(group) == "fused":
                raise ValueError(
                    f'engine="fused" cannot step {self._name(p)} with its state {key!r}: {reason}'
                )
            if reason is not None:
                return "plain"
        return engine


def batches(rule: Rule, slots: Iterable[tuple[Slot, str, Graph, bool]]) -> list[Batch]:
    """Slots, each with its engine, its graph and whether gradients flow through, put together where
    these and their storage formats are the same. Those that share memory are stepped one after the
    other, as torch does it."""
    given = [(slot, engine, Work(rule, graph), d) for slot, engine, graph, d in slots]
    tangled = _tangled([(slot, work) for slot, _, work, _ in given])
    alike: dict[Any, list[Slot]] = {}
    for i, (slot, engine, work, differentiable) in enumerate(given):
        stored = tuple(slot.state[k].dtype for k in work.keys.values())
        read = None if slot.param.grad is None else slot.param.grad.dtype
        alone = i if i in tangled else None
        if engine == "fused" and i in tangled:
            engine = "plain"
        stored = slot.param.dtype, read, *stored
        key = (engine, work.graph, differentiable, slot.param.device, stored, alone)
        alike.setdefault(key, []).append(slot)
    found: list[Batch] = []
    for (engine, graph, differentiable, *_), together in alike.items():
        work = Work(rule, graph)
        match engine:
            case "fused":
                parts = _parts(together) if graph.matrices else [together]
                found += [fused.FusedBatch(work, part) for part in parts]
            case "compiled":
                found.append(compiled.CompiledBatch(work, together))
            case _:
                found.append(PlainBatch(work, together, differentiable))
    return found


def _tangled(slots: Sequence[tuple[Slot, Work]]) -> set[int]:
    """Which of them have not their parameters and state's memory to themselves."""
    stretches: list[tuple[int, int, int]] = []
    for i, (slot, work) in enumerate(slots):
        keys = (*work.keys.values(), *work.shaped_keys.values(), "step", *work.scalar_keys.values())
        stretches += [
            (x.data_ptr(), x.data_ptr() + x.nbytes, i)
            for x in (slot.param, *(slot.state.get(k) for k in keys))
            if x is not None and ordinary(x) and x.nbytes and x.device == slot.param.device
        ]
    tangled: set[int] = set()
    end, last = 0, -1  # of the stretch that reaches furthest so far
    for start, stop, i in sorted(stretches):
        if start < end:
            tangled |= {i, last}
        if stop > end:
            end, last = stop, i
    return tangled


def _parts(slots: list[Slot]) -> list[list[Slot]]:
    """Slots whose parameters are not too much together for what their matrix words leave behind."""
    parts, room = list[list[Slot]](), 0
    for slot in slots:
        if not parts or slot.param.numel() > room:
            parts.append([])
            room = TOGETHER
        parts[-1].append(slot)
        room -= slot.param.numel()
    return parts


@functools.cache
def notice(text: str) -> None:
    """Warn once about something that is slower than asked for."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)
