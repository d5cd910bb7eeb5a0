"""What a fused step does between its passes: matrix words, run by torch on whole tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.rule.graph import given, is_gradient
from thalweg.rule.trace import Node

if TYPE_CHECKING:
    from thalweg.engines.fused import FusedBatch


class Matrices:
    """The matrix words of a batch's graph, and the arrays that they live on during a step."""

    def __init__(self, batch: FusedBatch, dtype: torch.dtype) -> None:
        self.batch, self.dtype, self.graph = batch, dtype, batch.work.graph
        self.row = {name: i for i, name in enumerate(self.graph.tensors)}
        self.given = [n for n in self.graph.temporaries if n.startswith("given")]
        self.found: dict[tuple[str, int], Tensor] = {}  # by name and slot, for the step under way

    def begin(self) -> None:
        """Arrays for what the first passes compute for the words."""
        for i in self.batch.active:
            for name in self.given:
                self._keep(name, i, torch.empty_like(self.batch.params[i], dtype=self.dtype))

    def after(self, number: int) -> None:
        """Run the words whose operands pass ``number`` has finished."""
        with torch.no_grad():
            for node in self.graph.matrices:
                if node.after == number and node.word is not None:
                    for i in self.batch.active:
                        found = node.word.function(*(self._operand(a, i) for a in node.args))
                        if node.elementwise:
                            found = self._fitted(found, self.batch.params[i])
                        self._keep(node.name, i, found)

    def end(self) -> None:
        """Store the new shaped state; the step's arrays are given back."""
        with torch.no_grad():
            for s, key in self.batch.work.shaped_keys.items():
                node = self.graph.new_shaped[s]
                for i in self.batch.active if node.op == "matrix" else ():
                    old, new = self.batch.slots[i].state[key], self.found[node.name, i]
                    if new is not old:
                        old.copy_(new)
        self.found.clear()

    def _keep(self, name: str, i: int, x: Tensor) -> None:
        self.found[name, i] = x
        if name in self.row:
            self.batch.bases[self.row[name], i] = x.data_ptr()

    def _fitted(self, x: Tensor, p: Tensor) -> Tensor:
        """A word's result as the kernels read it: in the parameter's layout."""
        if x.shape != p.shape:
            raise ValueError(f"a matrix word gave shape {tuple(x.shape)}, not {tuple(p.shape)}")
        if x.dtype is self.dtype and x.stride() == p.stride():
            return x
        return torch.empty_like(p, dtype=self.dtype).copy_(x)

    def _operand(self, node: Node, i: int) -> Any:
        slot = self.batch.slots[i]
        match node.op:
            case "constant":
                return node.value
            case "scalar" if node.name == "step":
                return float(self.batch.steps[i])
            case "scalar" if node.name in self.batch.work.scalar_keys:
                return float(slot.state[self.batch.work.scalar_keys[node.name]])
            case "scalar":
                return float(self.batch.known[slot.group][node.name])
            case "shaped":
                return slot.state[self.batch.work.shaped_keys[node.name]]
            case "matrix":
                return self.found[node.name, i]
        if is_gradient(node):
            assert slot.param.grad is not None
            return slot.param.grad.detach().to(self.dtype)
        return self.found[given(node), i]
