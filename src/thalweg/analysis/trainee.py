"""A copy of a model, with copies of all that trains it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Forward = Callable[[nn.Module, Any], tuple[Any, ...]]


class Trainee:
    """Deep copies of model, optimizer, loss and ``forward``, made together, so that they belong to
    each other as the originals do, and in training mode.

    Raises ValueError if one of them cannot be copied.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[..., Tensor],
        forward: Forward,
    ) -> None:
        try:
            copies = copy.deepcopy((model, optimizer, loss, forward))
        except Exception as e:
            raise ValueError(
                "model, optimizer, loss and forward must be such that copy.deepcopy can copy them: "
                f"{type(e).__name__}: {e}"
            ) from e
        self.model, self.optimizer, self.loss, self.forward = copies
        self._originals = set(map(id, model.parameters()))
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        most = max(rates)
        self._shares = [rate / most if most else 1.0 for rate in rates]
        if not model.training:
            self.model.train()
        train = getattr(self.optimizer, "train", None)
        if callable(train):  # Schedule-Free, the official package's too
            train()

    def set_rate(self, rate: float) -> None:
        """Give the group with the largest rate this one, and the others theirs in proportion."""
        for group, share in zip(self.optimizer.param_groups, self._shares, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def look(self, batch: Any) -> Tensor:
        """The loss of a batch, checked."""
        arguments = self.forward(self.model, batch)
        if not isinstance(arguments, tuple):
            raise TypeError(f"forward must give a tuple, not {type(arguments).__name__}")
        value: Any = self.loss(*arguments)
        if not isinstance(value, Tensor):
            raise TypeError(f"loss must give a tensor, not {type(value).__name__}")
        if value.numel() != 1 or value.is_complex():
            raise ValueError(
                f"loss must give one real number, not a {value.dtype} of shape {tuple(value.shape)}"
            )
        return value.reshape(())

    def check_own(self, value: Tensor) -> None:
        """Raise unless a loss depends on the copy's parameters, and on none of the original's."""
        leaves = set(map(id, _leaves(value)))
        if leaves & self._originals:
            raise ValueError(
                "forward and loss must not compute with the original model's parameters: forward "
                "is given a copy"
            )
        if not any(id(p) in leaves for g in self.optimizer.param_groups for p in g["params"]):
            raise ValueError("loss must depend on the optimizer's parameters, and does not")


def check_bound(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> None:
    """Raise unless the optimizer has a learning rate and parameters of model (or loss) only."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {model!r}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, not {optimizer!r}")
    name = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(f"optimizer cannot be {name}: torch's copies of it have no parameters")
    if not all("lr" in group for group in optimizer.param_groups):
        raise ValueError(f"optimizer must have a learning rate, lr, in all groups; {name} has none")
    modules = [model, loss] if isinstance(loss, nn.Module) else [model]
    known = {id(p) for m in modules for p in m.parameters()}
    params = [p for group in optimizer.param_groups for p in group["params"]]
    strange = sum(id(p) not in known for p in params)
    if strange:
        raise ValueError(
            f"optimizer must train the model's parameters, but {strange} of its {len(params)} are "
            "none of them"
        )


def _leaves(value: Tensor) -> Iterator[Tensor]:
    """The tensors that a gradient of this one would be given to."""
    if value.is_leaf and value.requires_grad:
        yield value
    waiting: list[Any] = [value.grad_fn]
    seen = {None}
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if hasattr(node, "variable"):
                yield node.variable
            waiting += [following for following, _ in node.next_functions]
