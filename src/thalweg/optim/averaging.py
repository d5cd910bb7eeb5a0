"""Optimizers that train at one point and are evaluated at another, the average of their way."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from thalweg.optim.declared import argument
from thalweg.optim.fit import check_fit
from thalweg.optim.groups import Group
from thalweg.optim.model_link import Followers, follow
from thalweg.optim.moving import Moving, has
from thalweg.optim.torch_group import everything
from thalweg.validation import check_choice


class AveragingOptimizer(Moving):
    """Base of optimizers whose rule has the views "averaged" and "training". The parameters hold
    the training weights until ``eval()``, and the averaged ones until ``train()``.

    While they hold the averaged ones, the state has the training weights as ``y``: so that a way
    there and back changes no bit, and a checkpoint saved meanwhile neither.
    """

    _followers = cast("Followers | None", None)
    _contexts = 0  # open ones; meanwhile a model's mode is not followed

    model: nn.Module | None = argument(
        default=None,
        doc=(
            "a module whose ``train()`` and ``eval()`` shall switch the parameters too; "
            "its flag ``training`` is looked at before its parts are run, and before a "
            "closure is."
        ),
        kw_only=True,
    )

    def _besides(self, **arguments: Any) -> None:
        model = arguments["model"]
        self._versions: dict[Tensor, int] = {}  # of the averaged weights, when put there
        if model is not None:
            if not isinstance(model, nn.Module):
                raise TypeError(f"model must be a torch.nn.Module, not {model!r}")
            ours = {id(p) for group in self.param_groups for p in group["params"]}
            if not any(id(p) in ours for p in model.parameters()):
                raise ValueError("model has none of this optimizer's parameters")
            self._followers = follow(model, self)

    # ---- which weights the parameters hold

    @property
    def training(self) -> bool:
        """Whether the parameters hold the training weights, so that a step may be made."""
        return bool(self._original.param_groups[0]["train_mode"])

    @torch.no_grad()
    def eval(self) -> None:
        """Put the averaged weights into the parameters, to evaluate or to keep them."""
        if self._original is not self:
            self._original.eval()
            return
        self._told()
        if not self.training:
            return
        self._present()
        kept = {p: p.detach().clone() for p in self._with_views()}
        self._move(self.rule.views["averaged"], kept)
        for p, y in kept.items():
            self.state[p]["y"] = y
        self._versions = {p: p._version for p in kept if not p.is_inference()}
        self._set_mode(False)

    def train(self) -> None:
        """Put the training weights back into the parameters: bit by bit, or, where averaged weights
        have been written to meanwhile, those that belong to what was written."""
        me = self._original
        me._told()
        if not me.training:
            me._return(lambda p: p._version != me._versions.get(p, p._version))

    @contextmanager
    def averaged(self) -> Generator[None]:
        """A context in which the parameters hold the averaged weights; behind it they hold, bit by
        bit, what they held before. A model's ``train()`` and ``eval()`` switch nothing inside."""
        me = self._original
        before = me.training
        me._contexts += 1
        try:
            me.eval()
            yield
        finally:
            me._contexts -= 1
            if not before:
                me.eval()
            elif not me.training:
                me._return(lambda p: False)

    def update_bn(self, loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
        """Compute the statistics of a model's BatchNorm layers anew at the averaged weights, as
        :func:`torch.optim.swa_utils.update_bn` does: those seen in training belong to others."""
        with self.averaged():
            torch.optim.swa_utils.update_bn(loader, model, device)

    def follow(self, mode: bool) -> None:
        """What ``model.train(mode)`` calls, for the model given at construction."""
        if not self._contexts:
            (self.train if mode else self.eval)()

    def _told(self) -> None:
        if self._followers is not None and not self._contexts:
            self._followers.settle()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class. One that was saved in the other mode than a model's that
        was given at construction follows the model when it is next run."""
        super().load_state_dict(state_dict)
        if self._followers is not None:
            self._followers.doubt()

    @torch.no_grad()
    def _return(self, changed: Any) -> None:
        params = self._with_views()
        kept = {p: self.state[p].get("y") for p in params}
        for p, y in kept.items():
            check_fit(p, p, partial(self._name, p))
            check_fit(y, p, partial(self._state_name, "y", p), written=False)
        anew = [p for p in params if kept[p] is None or (not p.is_inference() and changed(p))]
        self._move(self.rule.views["training"], anew)
        done = set(map(id, anew))
        for p, y in kept.items():
            self.state[p].pop("y", None)
            if id(p) not in done:
                p.copy_(y)
        self._set_mode(True)

    def _with_views(self) -> list[Tensor]:
        """The parameters with a state to look from; for the others both points are the same."""
        needed = {k for view in self.rule.views.values() for k in view.state.values()}
        params = [p for group in self.param_groups for p in group["params"]]
        return [p for p in params if has(self.state.get(p, {}), needed)]

    def _set_mode(self, training: bool) -> None:
        for group in self.param_groups:
            group["train_mode"] = training

    # ---- what the base class asks for

    def _may_step(self, evaluates: bool) -> None:
        if evaluates and self._followers is not None:
            self._followers.look()
        # Without state, both points are the same.
        if not self.training and (self.state or not self._flat()):
            raise RuntimeError(
                "the parameters hold the averaged weights, from which no step can be made: call "
                "optimizer.train() first (or model.train(), with model= given)"
            )

    def add_param_group(self, param_group: Group) -> None:
        if isinstance(param_group, dict):  # what else it may be is refused below
            mode = not self.param_groups or self.training
            param_group = {"train_mode": mode, **everything(param_group)}
        super().add_param_group(param_group)

    def _check(self, group: Group) -> None:
        super()._check(group)
        check_choice("train_mode", group["train_mode"], (False, True))

    def _agree(self) -> None:
        super()._agree()
        if len({group["train_mode"] for group in self.param_groups}) > 1:
            raise ValueError(
                "train_mode speaks of all parameters together: it cannot differ by group"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_followers": self._followers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._versions = {}  # whatever is in the parameters now belongs to this state
        for group in self.param_groups:
            group.setdefault("train_mode", True)
        if self._followers is not None:
            self._followers.add(self)

    def _loaded(self, p: Tensor, group: Group, given: Mapping[str, Any]) -> dict[str, Any]:
        state = super()._loaded(p, group, {k: x for k, x in given.items() if k != "y"})
        y = given.get("y")
        if isinstance(y, Tensor) and not group["train_mode"]:
            if y.shape != p.shape:
                raise ValueError(
                    f"the checkpoint's y has shape {tuple(y.shape)}, which does not fit "
                    f"{self._name(p)}"
                )
            state["y"] = torch.empty_like(p, requires_grad=False).copy_(y)
        return state
