"""What a fused step does between its passes: matrix words, run by torch on whole tensors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.rule.graph import Graph, evaluate, given, is_gradient, is_temporary
from thalweg.rule.trace import Node
from thalweg.rule.words import Matrix

if TYPE_CHECKING:
    from thalweg.engines.fused import FusedBatch


def fits(word: Matrix, found: Any, shape: torch.Size) -> Tensor:
    """What a word has given back for a parameter of this shape, or an error."""
    if not isinstance(found, Tensor) or found.shape != shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the matrix word {word.name} gave {got} for a parameter of shape {tuple(shape)}"
        )
    return found


def renew(states: Mapping[str, tuple[Tensor, Tensor]], symbolic: bool = False) -> None:
    """Store the next values of a parameter's shaped states; old and new by name. ``symbolic``
    tensors have no address."""
    for name, (old, new) in states.items():
        if new.shape != old.shape:  # copy_ would spread it
            raise ValueError(
                f"the shaped state {name!r} has shape {tuple(old.shape)}; its word gave "
                f"{tuple(new.shape)}"
            )
    changed = [(old, new) for old, new in states.values() if new is not old]
    # What one state was may be what another becomes.
    places = set() if symbolic else {old.data_ptr() for old, _ in states.values()}
    changed = [
        (old, new.clone() if symbolic or new.data_ptr() in places else new) for old, new in changed
    ]
    for old, new in changed:
        old.copy_(new)


@functools.cache
def _keep_freed_memory() -> None:
    """Once a block of nearly 32 MiB has been freed, glibc keeps up to twice as much for the next
    temporaries, where it would give it back after every step and have new pages zeroed at the next,
    which takes twice as long as Adafactor's arithmetic. The block itself is never touched."""
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _name(node: Node) -> str:
    """What an operand is kept as."""
    return node.name if node.op == "matrix" else given(node)


class Matrices:
    """The matrix words of a batch's graph, and the arrays that they live on during a step: as few
    at a time as can be, for new memory costs as much as the arithmetic."""

    # The batch is an argument everywhere: kept here, it would be kept alive with all its memory
    # until the garbage collector finds the circle.

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        self.dtype, self.graph = dtype, graph
        self.row = {name: i for i, name in enumerate(self.graph.tensors)}
        self.found: dict[tuple[str, int], Tensor] = {}  # by name and slot, for the step under way
        self.words = [
            [node for node in self.graph.matrices if node.after == number]
            for number in range(len(self.graph.passes))
        ]
        self.done = self._last_uses()
        _keep_freed_memory()

    def _last_uses(self) -> dict[int | Node, list[str]]:
        """Which arrays nothing needs any more after a pass or a word."""
        last: dict[str, int | Node | None] = {}
        for number, p in enumerate(self.graph.passes):
            last |= dict.fromkeys(p.loads, number)
            for node in self.words[number]:
                last |= dict.fromkeys((node.name, *map(_name, node.args)), node)
        last |= dict.fromkeys(map(_name, self.graph.new_shaped.values()))
        done: dict[int | Node, list[str]] = {}
        for name, user in last.items():
            if user is not None:
                done.setdefault(user, []).append(name)
        return done

    def begin(self) -> None:
        self.found.clear()  # what a step that failed has left

    def before(self, batch: FusedBatch, number: int) -> None:
        """Arrays for what a pass computes for the words."""
        for name in filter(is_temporary, self.graph.passes[number].stores):
            for i in batch.active:
                self._keep(batch, name, i, torch.empty_like(batch.params[i], dtype=self.dtype))

    def after(self, batch: FusedBatch, number: int) -> None:
        """Run the words whose operands pass ``number`` has finished, parameter by parameter."""
        with torch.no_grad():
            for i in batch.active:
                self._drop(number, i)
                for node in self.words[number]:
                    assert node.word is not None
                    found = node.word.run(*(self._operand(batch, a, i) for a in node.args))
                    if node.elementwise:
                        found = self._fitted(node.word, found, batch.params[i])
                    self._keep(batch, node.name, i, found)
                    self._drop(node, i)

    def _drop(self, user: int | Node, i: int) -> None:
        for name in self.done.get(user, ()):
            self.found.pop((name, i), None)

    def end(self, batch: FusedBatch) -> None:
        """Store the new shaped state; the step's arrays are given back."""
        with torch.no_grad():
            for i in batch.active:
                old, new = batch.slots[i].state, self.graph.new_shaped
                keys = batch.work.shaped_keys
                renew({s: (old[key], self._operand(batch, new[s], i)) for s, key in keys.items()})
        self.found.clear()

    def _keep(self, batch: FusedBatch, name: str, i: int, x: Tensor) -> None:
        self.found[name, i] = x
        if name in self.row:
            batch.bases[self.row[name], i] = x.data_ptr()

    def _fitted(self, word: Matrix, x: Tensor, p: Tensor) -> Tensor:
        """A word's result as the kernels read it: in the parameter's layout."""
        x = fits(word, x, p.shape)
        if x.dtype is self.dtype and x.stride() == p.stride() and not x.is_neg():
            return x
        return torch.empty_like(p, dtype=self.dtype).copy_(x)

    def _operand(self, batch: FusedBatch, node: Node, i: int) -> Any:
        slot = batch.slots[i]
        if node.op == "shaped":
            # Of another dtype where the parameter's has changed since the first step.
            return slot.state[batch.work.shaped_keys[node.name]].to(self.dtype)
        if not (node.op == "matrix" or node.elementwise):
            return float(evaluate(node, lambda name: self._scalar(batch, name, i)))
        if is_gradient(node):
            g = batch.gradients.taken[i]
            assert g is not None
            return g.detach().to(self.dtype)
        return self.found[_name(node), i]

    def _scalar(self, batch: FusedBatch, name: str, i: int) -> float:
        slot, keys = batch.slots[i], batch.work.scalar_keys
        if name == "step":
            return float(batch.steps[i])
        return float(slot.state[keys[name]] if name in keys else batch.known[slot.group][name])
