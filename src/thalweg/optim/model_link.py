"""A model whose ``train()`` and ``eval()`` are followed by optimizers.

The model's own ``train``, which ``eval`` calls too, is shadowed by an attribute of that one module.
Trainers that set the flag ``training`` alone (Lightning, after validation) are noticed when one of
the modules with parameters is next run, before its parameters are used, and before a closure is.
Nobody is kept alive by it: model and optimizers know each other weakly. Copies (``deepcopy``,
``pickle``) of a model and its optimizers made together belong together; a copy of one of them alone
follows nobody and is followed by nobody.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch
from torch import nn


class Follower(Protocol):
    """Who can be told of a model's mode."""

    def follow(self, mode: bool) -> None:
        """The model has been told to train (True) or to evaluate."""
        ...


class Followers(weakref.WeakSet[Any]):
    """Who follows a model. A copy is empty: copied followers join it again."""

    leader: weakref.ref[_Train] | None = None

    def look(self) -> None:
        """Follow a mode of the model that has been set without a call."""
        train = self.leader() if self.leader else None
        if train is not None:
            train.look()

    def doubt(self) -> None:
        """A follower has been loaded, in whatever mode: follow the model's when next looked at."""
        train = self.leader() if self.leader else None
        if train is not None:
            train.seen = None

    def settle(self) -> None:
        """A follower has been told its mode by itself, which ends the doubt."""
        train = self.leader() if self.leader else None
        model = train.model() if train is not None else None
        if train is not None and model is not None and train.seen is None:
            train.seen = model.training

    def __reduce__(self) -> Any:
        return Followers, ()


class _Train:
    """In the place of a module's method ``train``."""

    def __init__(self, model: nn.Module, followers: Followers) -> None:
        self.__setstate__((model, followers))
        self.seen: bool | None = model.training  # the last mode that was told, if it still holds
        self._watch(model)

    def __call__(self, mode: bool = True) -> nn.Module:
        model: Any = self.model()
        type(model).train(model, mode)
        self.seen = mode
        if not self.watching:  # a copy
            self._watch(model)
        self._tell(mode)
        return model  # type: ignore[no-any-return]

    def look(self) -> None:
        """Follow a mode that has been set without a call."""
        model = self.model()
        if model is not None and model.training is not self.seen:
            self.seen = model.training
            self._tell(model.training)

    def _tell(self, mode: bool) -> None:
        for follower in list(self.followers):
            follower.follow(mode)

    def _watch(self, model: nn.Module) -> None:
        for module in model.modules():
            if module._parameters:
                hooks = module._forward_pre_hooks.values()
                look = next((hook for hook in hooks if isinstance(hook, _Look)), None)
                if look is None:
                    look = _Look()
                    module.register_forward_pre_hook(look)
                look.trains.append(weakref.ref(self))
        self.watching = True

    def __getstate__(self) -> tuple[nn.Module | None, Followers]:
        return self.model(), self.followers

    def __setstate__(self, state: tuple[nn.Module, Followers]) -> None:
        self.model, self.followers = weakref.ref(state[0]), state[1]
        self.followers.leader = weakref.ref(self)
        self.seen, self.watching = True, False


class _Look:
    """What a module calls before it is run. A copy looks at nothing: one module may be copied
    without the model that it belongs to."""

    def __init__(self) -> None:
        self.trains: list[weakref.ref[_Train]] = []

    def __call__(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():  # what is compiled must not depend on the mode's history
            return
        for known in self.trains:
            train = known()
            if train is not None:
                train.look()

    def __reduce__(self) -> Any:
        return _Look, ()


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
