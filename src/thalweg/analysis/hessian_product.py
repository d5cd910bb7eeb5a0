"""The Hessian of a loss as a map of vectors, without the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[], Tensor]


class Hessian:
    """The Hessian of a loss as a linear map of vectors [n], n being the number of weights.

    The loss is evaluated once; its graph serves all products, each of which is one more backward
    pass (Pearlmutter 1994, Neural Computation 6(1):147-160). Parameters, their ``grad`` and
    torch's global random state stay as they are; what the loss draws at random (dropout) is drawn
    once.

    Vectors have the parameters' widest dtype.
    """

    def __init__(self, loss: Loss, parameters: Iterable[Tensor]) -> None:
        self.parameters = _accepted(parameters)
        self.size = sum(p.numel() for p in self.parameters)
        self.device = self.parameters[0].device
        self.dtype = reduce(torch.promote_types, [p.dtype for p in self.parameters])
        # A product is as exact as the coarsest of its parts.
        self.eps = max(torch.finfo(p.dtype).eps for p in self.parameters)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            value: Any = loss()
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise TypeError(f"loss must give a tensor with one number, not {value!r}")
            if not value.is_floating_point():
                raise TypeError(f"loss must be a real number of a floating dtype, not {value!r}")
            if not value.isfinite():
                raise ValueError(f"loss must be finite, not {value.item()}")
            if not value.requires_grad:
                raise ValueError("loss must depend on the parameters by torch operations")
            infos = [torch.finfo(d) for d in {self.dtype} | _dtypes(value)]
            self.eps = max([self.eps, *(i.eps for i in infos)])
            self.least = max(i.smallest_normal * i.eps for i in infos)  # the step below normals
            gradients = torch.autograd.grad(
                value.reshape(()), self.parameters, create_graph=True, materialize_grads=True
            )
        # Where the loss is linear, or does not depend on a parameter, there is nothing to follow.
        self._outputs = [(i, g) for i, g in enumerate(gradients) if g.requires_grad]

    def __call__(self, vector: Tensor) -> Tensor:
        if not self._outputs:
            return torch.zeros_like(vector)
        parts = self.split(vector)
        found = torch.autograd.grad(
            [g for _, g in self._outputs],
            self.parameters,
            [parts[i] for i, _ in self._outputs],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([t.reshape(-1).to(self.dtype) for t in found])

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector [n] as tensors of the parameters' shapes and dtypes."""
        parts = torch.split(vector, [p.numel() for p in self.parameters])
        return [v.view(p.shape).to(p.dtype) for v, p in zip(parts, self.parameters, strict=True)]


def _dtypes(value: Tensor) -> set[torch.dtype]:
    """The floating dtypes of what a value has been computed from, with autocast's."""
    found, seen, waiting = {value.dtype}, set(), [value.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found |= {m.dtype for m in node._input_metadata if m is not None}
            waiting += [before for before, _ in node.next_functions]
    return {d for d in found if d.is_floating_point}


def hessian_vector_product(
    loss: Loss, parameters: Iterable[Tensor], vector: Sequence[Tensor]
) -> list[Tensor]:
    """The Hessian of a loss times a vector, without the Hessian: a gradient's directional
    derivative, at the price of two or three gradients.

    Args:
        loss: a function of nothing to a tensor with one number, made from the parameters.
        parameters: tensors in float32 or float64 that require gradients, on one device; they stay
            as they are, and ``grad`` too.
        vector: one tensor per parameter, of its shape.

    Returns:
        One tensor per parameter, of its shape and dtype.
    """
    h = Hessian(loss, parameters)
    shapes, wanted = [v.shape for v in vector], [p.shape for p in h.parameters]
    if shapes != wanted:
        raise ValueError(f"vector must have the parameters' shapes {wanted}, not {shapes}")
    return h.split(h(torch.cat([v.detach().reshape(-1).to(h.device, h.dtype) for v in vector])))


def _accepted(parameters: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        raise TypeError("parameters must be an iterable of tensors, not a tensor")
    found: list[Any] = list(parameters)
    if not found:
        raise ValueError("parameters must hold at least one tensor")
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters[{i}] must be a tensor, not {p!r}")
        if p.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"parameters[{i}] must be float32 or float64, not {p.dtype}, in which second "
                "derivatives are mostly rounding; copy.deepcopy(model).float() serves"
            )
        if not p.requires_grad:
            raise ValueError(f"parameters[{i}] must require a gradient")
        if p.device != found[0].device:
            raise ValueError(
                f"parameters[{i}] must be on {found[0].device} as the first is, not {p.device}"
            )
    if len({id(p) for p in found}) < len(found):
        raise ValueError("parameters must hold no tensor twice")
    return found
