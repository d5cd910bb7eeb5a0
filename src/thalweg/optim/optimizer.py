"""The base of every optimizer: torch.optim's habits of stepping, hooks and closures.

A step first looks at everything (options, gradients, memory), then lets the engines write: what is
refused leaves nothing half changed. Options are in ``groups``, state and checkpoints in ``state``,
the choice of an engine in ``choice``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from operator import is_
from typing import Any, cast, overload

import torch
from torch import Tensor
from torch.optim import optimizer as hooks

from thalweg.engines.base import Batch, Slot, drive, real
from thalweg.optim.choice import Choosing, batches
from thalweg.optim.groups import Group
from thalweg.optim.options import DEFAULTS, Common, unknown
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Values

__all__ = ["Optimizer"]


class Optimizer(Choosing):
    """Base of every optimizer in ``thalweg.optim``: a :class:`torch.optim.Optimizer` whose step is
    a rule run by an engine."""

    def __init__(self, params: Any, defaults: Group, common: Common) -> None:
        for name in common:
            if name not in DEFAULTS:
                raise unknown(name, [*defaults, *DEFAULTS], type(self).__name__)
        self._forget()
        super().__init__(params, {**defaults, **DEFAULTS, **common})

    def _forget(self) -> None:
        """Drop all that is derived from groups and state; the next step derives it anew."""
        self.batches: list[Batch] = []
        self._built = False  # whether the batches fit the options as they were last looked at
        self._params: list[Tensor] = []  # in order, as the batches were made for them
        self._states: list[Any] = []  # likewise
        self._waiting: list[Tensor] = []  # those among them that have had no gradient yet
        self._options: dict[int, list[Any]] = {}  # by group, as they were when last looked at
        self._changeable: set[int] = set()  # groups with a tensor or list among their options
        # A place is a group's parameters for which all values are the same.
        self._places: dict[tuple[Any, ...], int] = {}
        self._place: dict[Tensor, int] = {}
        self._within: dict[int, list[int]] = {}  # by group: its places
        self._values: dict[int, Values] = {}  # by place
        self._graphs: dict[int, Graph] = {}  # likewise

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own. Raises, and adds nothing, for bad options."""
        _light(torch.optim.Optimizer.add_param_group)(self, param_group)
        group = self.param_groups[-1]
        try:
            self._check(group)
            self._agree()
            for p in group["params"]:
                self._refuse(p, group)
        except Exception:
            self.param_groups.pop()
            raise
        self._forget()
        if self.eager:
            for p in group["params"]:
                self._allocate(p, group, self.rule.trace(self.values(p, group)))

    def _refresh(self) -> None:
        """Read the groups' options; batches that do not fit them any more are forgotten."""
        changes = []
        for i, group in enumerate(self.param_groups):
            now = [group[name] for name in self.defaults]
            before = self._options.get(i)
            # A tensor or a list may have been written to in place: it is read at every step.
            settled = before is not None and i not in self._changeable
            if settled and all(map(is_, now, before or ())):
                continue
            changed = {
                n: x
                for n, x, y in zip(self.defaults, before or (), now, strict=False)
                if x is not y
            }
            moved = self._moved(group, changed) if settled else None
            if moved is None:
                self._check(group)
            changes.append((i, group, now, changed, moved))
        if changes:
            self._agree()
        for i, group, now, changed, moved in changes:  # all are as they should be
            self._options[i] = now
            if moved is not None:
                for place in self._within[i]:
                    self._values[place] = {**self._values[place], **moved}
                continue
            self._changeable.discard(i)
            if any(isinstance(x, Tensor | list) for o in now for x in (o, *_flat(o))):
                self._changeable.add(i)
            executed = any(n in DEFAULTS and n != "max_grad_norm" for n in changed)
            if not self._sort(i, group) or executed:
                self._built = False

    def _sort(self, i: int, group: Group) -> bool:
        """Tell what each of a group's parameters is stepped with; False if a graph is not what it
        was, or a parameter not in the place where it was."""
        same, values = True, self.hyperparameters(group)
        new: dict[int, Values] = {}
        for p in group["params"]:
            own = self.particulars(p, group)
            place = self._places.setdefault((i, *own.items()), len(self._places))
            same &= self._place.get(p) == place
            self._place[p], new[place] = place, own
        self._within[i] = list(new)
        for place, own in new.items():
            self._values[place] = {**values, **own}
            graph = self.rule.trace(self._values[place])
            same &= graph is self._graphs.get(place)
            self._graphs[place] = graph
        return same

    def _sort_new(self) -> None:
        """Sort the groups that have been given other parameters by hand."""
        for i, group in enumerate(self.param_groups):
            if any(p not in self._place for p in group["params"]):
                self._sort(i, group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or fill them with zeros."""
        _light(torch.optim.Optimizer.zero_grad)(self, set_to_none)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for every parameter that has a gradient; ``closure``, if given, recomputes the
        loss first and its value is returned."""
        watched = (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or hooks._global_optimizer_pre_hooks
            or hooks._global_optimizer_post_hooks
            or torch._C._autograd._profiler_enabled()
        )
        # A subclass with a step of its own has been wrapped by torch already.
        if watched and type(self).step is Optimizer.step:
            loss: float | None = _watched(self) if closure is None else _watched(self, closure)
            return loss
        return self._step(closure)

    def _step(self, closure: Callable[[], float] | None = None) -> float | None:
        self._may_step()
        loss = None
        if closure is not None:
            with torch.enable_grad(), self.ahead():
                loss = closure()
        if self._finite():
            self._prepare()
            everything = sum([b.count() for b in self.batches])
            drive([b.run(self._values, everything) for b in self.batches])
            if self.rule.shared:
                self._share()
        return loss

    def phases(self) -> tuple[torch.optim.Optimizer, ...]:
        """What a step consists of, each after a gradient of its own; where there are several, a
        closure must be given to ``step``."""
        return (self,)

    def _may_step(self) -> None:
        """Raise where a step would be a mistake, before the closure is called."""

    def ahead(self) -> AbstractContextManager[None]:
        """A context in which the parameters are where the gradient is to be taken; behind it they
        are what they were. Both are the same for a rule that does not look ahead."""
        return nullcontext()

    def averaged(self) -> AbstractContextManager[None]:
        """A context in which the parameters are what to evaluate with; behind it they are what they
        were. Both are the same for a rule that knows no better weights than those it trains."""
        return nullcontext()

    def _share(self) -> None:
        """Give shared state, as it is after a step, to parameters that had no gradient in it."""
        moved = next((s for p, s in self.state.items() if p.grad is not None), None)
        for p, state in self.state.items():
            if p.grad is None and moved is not None:
                for key in {self.rule.state[s] for s in self.rule.shared} & moved.keys():
                    state[key].copy_(moved[key])

    def _finite(self) -> bool:
        """Whether to go on: False if gradients are not finite and such steps are left out."""
        wanted = self.param_groups[0]["check_finite"]
        if not wanted:
            return True
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not finite(p.grad):
                    if wanted == "skip":
                        return False
                    raise ValueError(f"the gradient of {self._name(p)} holds NaN or infinity")
        return True

    def _prepare(self) -> None:
        """Make batches that fit parameters, gradients and options as they are now."""
        params = [p for g in self.param_groups for p in g["params"]]
        self._refresh()
        fits = (
            self._built
            and _same(self._params, params)
            and _same(self._states, self.state.values())
            and all(p.grad is None for p in self._waiting)
            # A list: each batch must look, even if an earlier one does not fit.
            and all([b.collect() for b in self.batches])  # noqa: C419
        )
        if not fits:
            self._built = False  # until all that can be wrong has been looked at
            self._build(params)

    def _build(self, params: list[Tensor]) -> None:
        self._sort_new()
        chosen = [
            (p, self._place[p], group, self._engine(p, group, self._values[self._place[p]]))
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        slots, numbers = [], {id(p): k for k, p in enumerate(params)}
        for p, i, group, engine in chosen:
            fresh = self._allocate(p, group, self._graphs[i])
            how = engine, self._graphs[i], group["differentiable"]
            slots.append((Slot(p, i, self.state[p], fresh, numbers[id(p)]), *how))
        self.batches = batches(self.rule, slots)
        if not all([b.collect() for b in self.batches]):  # noqa: C419
            raise AssertionError("a batch does not fit the parameters it was just made for")
        stepped = {id(p) for p, *_ in chosen}
        self._waiting = [p for p in params if id(p) not in stepped]
        self._params, self._states, self._built = params, list(self.state.values()), True


# torch wraps every step in a profiler's range, which takes longer than a small model's update. Here
# its wrapper runs when there is somebody to watch: a hook or a profiler.
_watched = cast(Any, torch.optim.Optimizer.profile_hook_step(Optimizer._step))
Optimizer.step.hooked = True  # type: ignore[attr-defined]


def _light(method: Callable[..., Any]) -> Callable[..., Any]:
    """Torch's method without the wrapper that keeps torch.compile out of it: where nobody has
    loaded torch.compile, the wrapper's first call would, which takes a second."""
    return method if "torch._dynamo" in sys.modules else getattr(method, "__wrapped__", method)


def _flat(option: Any) -> Collection[Any]:
    return option if isinstance(option, tuple | list) else (option,)


def _same(before: Collection[Any], now: Collection[Any]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))


def finite(g: Tensor) -> bool:
    """Whether every element of a gradient is finite; one read."""
    values = real(g.coalesce().values() if g.is_sparse else g.detach())
    if values.numel() == 0:
        return True
    return bool(torch.linalg.vector_norm(values, torch.inf).isfinite())
