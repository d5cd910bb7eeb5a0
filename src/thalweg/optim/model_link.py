"""A model whose ``train()`` and ``eval()`` are followed by optimizers.

The model's own ``train``, which ``eval`` calls too, is shadowed by an attribute of that one module.
Nobody is kept alive by it: model and optimizers know each other weakly. Copies (``deepcopy``,
``pickle``) of a model and its optimizers made together belong together; a copy of one of them alone
follows nobody and is followed by nobody.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol

from torch import nn


class Follower(Protocol):
    """Who can be told of a model's mode."""

    def follow(self, mode: bool) -> None:
        """The model has been told to train (True) or to evaluate."""
        ...


class Followers(weakref.WeakSet[Any]):
    """Who follows a model. A copy is empty: copied followers join it again."""

    def __reduce__(self) -> Any:
        return Followers, ()


class _Train:
    """In the place of a module's method ``train``."""

    def __init__(self, model: nn.Module, followers: Followers) -> None:
        self.__setstate__((model, followers))

    def __call__(self, mode: bool = True) -> nn.Module:
        model: Any = self.model()
        type(model).train(model, mode)
        for follower in list(self.followers):
            follower.follow(mode)
        return model  # type: ignore[no-any-return]

    def __getstate__(self) -> tuple[nn.Module | None, Followers]:
        return self.model(), self.followers

    def __setstate__(self, state: tuple[nn.Module, Followers]) -> None:
        self.model, self.followers = weakref.ref(state[0]), state[1]


def follow(model: nn.Module, follower: Follower) -> Followers:
    """Tell ``follower`` whenever the model's mode is set; gives back all who are told."""
    train = vars(model).get("train")
    if train is None:
        train = _Train(model, Followers())
        setattr(model, "train", train)  # noqa: B010  an assignment would be one to a method
    elif not isinstance(train, _Train):
        raise ValueError(
            "model cannot be followed: its train() has been replaced on this instance; "
            "call optimizer.train() and optimizer.eval() yourself"
        )
    train.followers.add(follower)
    return train.followers
