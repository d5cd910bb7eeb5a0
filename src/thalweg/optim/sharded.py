"""Parameters of which a process has only a part, and what cannot be had for them.

An elementwise rule needs nothing but its own elements. A sum over a tensor or over all of them
would be that of this process's part, and a matrix word would see another matrix: both are refused
before anything is written, by every process alike. The rule's graph says which it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.optim.groups import Group, Groups
from thalweg.rule.graph import Graph

# Who makes an optimizer for some of the parameters: the module and function that do so.
_DIVIDERS = {
    ("torch.distributed.optim.zero_redundancy_optimizer", "_init_local_optimizer"): (
        "ZeroRedundancyOptimizer"
    ),
    ("torch.distributed.optim.optimizer", "__init__"): "DistributedOptimizer",
}
_SHAPES = ((4,), (4, 4), (4, 4, 2, 2))  # what a tensor that is not here may look like
_OFF = {"max_grad_norm": None, "cautious": False}  # options that take sums
_CLIP = "torch.nn.utils.clip_grad_norm_"
_ELSE = (
    "use an elementwise one (AdamW, Adan, Lion, ...), or DistributedDataParallel, with which every "
    "process has all of them"
)
Needs = Callable[[Graph], bool]


@dataclass(frozen=True)
class _Part:
    """What a process has of a parameter."""

    what: str  # in a message
    refused: Needs  # the graphs that cannot be run on it
    clip: str = _CLIP  # what clips the gradient's norm instead
    whole: bool = False  # all of it is here, though not as a plain tensor
    flat: bool = False  # its shape is not the parameter's


def divider() -> str | None:
    """Who is making, at this moment, an optimizer for some of the parameters; None for nobody."""
    if "torch.distributed.optim" not in sys.modules:
        return None
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        who = _DIVIDERS.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        if who and getattr(frame.f_locals.get("self"), "world_size", 2) > 1:
            return who
    return None


def refuse(optimizer: Groups, group: Group, divided_by: str | None) -> None:
    """Raise if a step of a group's parameters needs what only other processes have."""
    if divided_by is not None:
        part = _Part(f"each process has some of the parameters in {divided_by}", _sums_over_all)
        _check(optimizer, group, part, _twins(torch.float32), "the parameters")
    for p in group["params"]:
        found = _part(p)
        if found is not None:
            tensors = _twins(p.dtype) if found.flat else iter((p,))
            _check(optimizer, group, found, tensors, optimizer._name(p))


def _part(p: Tensor) -> _Part | None:
    """None for a tensor that is all here, as any other."""
    if getattr(p, "_fsdp_flattened", False) and p.dim() <= 1:
        what = "this process has a stretch of it, flattened by FullyShardedDataParallel"
        return _Part(what, _not_elementwise, "the model's clip_grad_norm_", flat=True)
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is None or not isinstance(p, distributed.DTensor):
        return None
    placed = zip(p.placements, p.device_mesh.shape, strict=True)
    divided = [(x, n) for x, n in placed if n > 1 and type(x) is not distributed.Replicate]
    # torch's operations on sharded matrices see the whole, but not all of them know every sharding.
    even = all(
        type(x) is distributed.Shard and p.shape[x.dim] >= n and (x.dim == 0 or p.dim() == 2)
        for x, n in divided
    )
    placements = ", ".join(map(str, p.placements))
    if not divided:
        return _Part(f"it is a DTensor ({placements})", _has_shaped, whole=True)
    what = f"this process has a shard of it ({placements})"
    return _Part(what, _sums_or_shaped if even else _not_elementwise)


def _sums_over_all(graph: Graph) -> bool:
    return any(r.scope == "all" for r in graph.reductions)


def _has_shaped(graph: Graph) -> bool:
    return bool(graph.new_shaped)


def _sums_or_shaped(graph: Graph) -> bool:
    return bool(graph.reductions or graph.new_shaped)


def _not_elementwise(graph: Graph) -> bool:
    return bool(graph.reductions or graph.matrices)


def _twins(dtype: torch.dtype) -> Iterator[Tensor]:
    return (torch.empty(shape, dtype=dtype, device="meta") for shape in _SHAPES)


def _check(
    optimizer: Groups, group: Group, part: _Part, tensors: Iterator[Tensor], name: str
) -> None:
    if group["check_finite"] and not part.whole:
        raise ValueError(
            f"check_finite={group['check_finite']!r} cannot be honoured for {name}: {part.what}, "
            f"and another may find what this one does not; look at the norm that {part.clip} gives "
            "back instead"
        )
    for p in tensors:
        if not part.refused(_graph(optimizer, p, group)):
            continue
        if part.refused(_graph(optimizer, p, group | _OFF)):
            needs = "its rule takes more than single elements"
            raise ValueError(
                f"{type(optimizer).__name__} cannot step {name}: {part.what}, and {needs}; {_ELSE}"
            )
        clips = part.refused(_graph(optimizer, p, group | {"cautious": False}))
        option = "max_grad_norm" if clips else "cautious"
        instead = f"max_grad_norm=None and call {part.clip} before step()" if clips else "False"
        raise ValueError(
            f"{option}={group[option]!r} of {type(optimizer).__name__} cannot be honoured for "
            f"{name}: {part.what}, and it sums over more; use {instead} instead"
        )


def _graph(optimizer: Groups, p: Tensor, group: Group) -> Graph:
    return optimizer.rule.trace(optimizer.values(p, group))
