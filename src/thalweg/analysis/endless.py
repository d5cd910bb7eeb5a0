"""Batches without end, taken anew from whatever gives them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

Data = Iterable[Any] | Callable[[], Iterable[Any]]


def check_data(data: Any) -> None:
    """Raise for what gives no batches, or gives them only once."""
    if isinstance(data, Iterator):
        raise TypeError(
            f"data would be used up, since it is an iterator ({type(data).__name__}): give the "
            "loader or list that it comes from, or a function that makes one"
        )
    if isinstance(data, str | bytes | dict | torch.Tensor) or not (
        hasattr(data, "__iter__") or callable(data)
    ):
        raise TypeError(
            "data must be a DataLoader, a list of batches or a function that gives an iterator, "
            f"not {type(data).__name__}"
        )
    if isinstance(data, list | tuple) and not data:
        raise ValueError("data must give at least one batch, but is empty")


def endless(data: Data) -> Generator[Any]:
    """Batches of ``data``, which is taken again whenever it ends; a list's in an order drawn from
    torch's global generator each time."""
    if isinstance(data, DataLoader):
        data = copy.copy(data)  # persistent workers belong to a loader: these are not the user's
        data._iterator = None
    rounds = 0
    while True:
        batch = data  # of which there has been none yet
        for batch in _once(data):
            yield batch
        if batch is data:
            often = "the second time" if rounds else "at all"
            raise ValueError(f"data must give at least one batch each time, but gave none {often}")
        rounds += 1


def _once(data: Data) -> Iterator[Any]:
    if isinstance(data, list | tuple):
        return (data[i] for i in torch.randperm(len(data)).tolist())
    return iter(data if isinstance(data, Iterable) else data())
