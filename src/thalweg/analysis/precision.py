"""How precisely a function computes, whatever dtype it is given and gives back.

``x.float().square().sum().double()`` takes and gives float64 and rounds as float32 does. So every
torch operation on something made from the argument is watched; and as NumPy is not, it is also
looked whether all values happen to be numbers of a coarser dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COARSER = (torch.bfloat16, torch.float16, torch.float32)


def unit(dtype: torch.dtype) -> float:
    """The largest relative error of one operation in a dtype: 2^-53 in float64."""
    return torch.finfo(dtype).eps / 2


def coarsest(f: Callable[[Tensor], Tensor], x: Tensor) -> torch.dtype:
    """The least precise floating dtype that ``f``, of points [m, d] to numbers [m], computes in at
    points x; theirs is one of them."""
    watch = _Watch(x)
    with torch.no_grad(), watch:
        values = f(x)
    found = {x.dtype, values.dtype} | watch.dtypes
    if any(d.itemsize < 2 for d in found):
        raise TypeError("f must compute in at least 16 bits")
    # Values of points that are themselves far apart, for their size, tell nothing.
    return max(found | (_granular(values) - _granular((x - x[0]).flatten())), key=unit)


def need_32_bits(dtype: torch.dtype) -> float:
    """The relative precision, ``eps``, of a dtype. TypeError in 16 bits, in which there are no
    second derivatives to speak of."""
    if torch.finfo(dtype).bits < 32:
        raise TypeError(
            f"f must compute in float32 or float64, not {dtype} as its values or operations do, "
            "in which second derivatives are mostly rounding"
        )
    return float(torch.finfo(dtype).eps)


class _Watch(TorchDispatchMode):
    """Keeps the floating dtypes of what is made from x: a constant in float32 rounds nothing."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()
        self.made = [x]  # kept alive: an address must not be given anew
        self.storages = {_address(x)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(_address(a) in self.storages for a in tree_leaves((args, kwargs)) if _memory(a)):
            for made in filter(_memory, tree_leaves(out)):
                self.made.append(made)
                self.storages.add(_address(made))
                if made.is_floating_point():
                    self.dtypes.add(made.dtype)
        return out


def _memory(a: Any) -> bool:
    return isinstance(a, Tensor) and a.layout == torch.strided and a.device.type != "meta"


def _address(a: Tensor) -> int:
    address: int = a.untyped_storage()._cdata
    return address


def _granular(values: Tensor) -> set[torch.dtype]:
    """The coarser dtypes that hold all values exactly; none if they are too few to be no chance."""
    unique: Any = torch.unique  # has no types
    exact: Tensor = unique(values[values.isfinite()].double())
    if len(exact) < 8:
        return set()
    return {d for d in COARSER if torch.equal(exact.to(d).double(), exact)}
