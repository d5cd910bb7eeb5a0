"""The base of every optimizer: torch.optim's habits of stepping, hooks and closures.

A step first looks at everything (options, gradients, memory), then lets the engines write: what is
refused leaves nothing half changed. Options are in ``groups``, state and checkpoints in ``state``,
the choice of an engine in ``choice``.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast, overload

import numpy as np
import torch
from torch import Tensor
from torch.optim import optimizer as hooks
from torch.optim.optimizer import (
    Optimizer,
    ParamsT,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)

from thalweg.engines.base import Batch, Slot, Work, drive, real
from thalweg.engines.observed import observed, symbolic
from thalweg.engines.watch import lasting
from thalweg.optim.choice import Choosing, batches
from thalweg.optim.declared import takes_options
from thalweg.optim.given import check_group, check_params, idle, plain_options
from thalweg.optim.groups import Group
from thalweg.optim.options import DEFAULTS, Common
from thalweg.optim.plan import Plan, same
from thalweg.optim.sharded import divider, refuse
from thalweg.optim.torch_group import as_torchs, everything, unlisted_before
from thalweg.rule.rule import Values

__all__ = [
    "Optimizer",  # these are torch's, where code written for torch.optim imports them
    "ParamsT",
    "RuleOptimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]


class RuleOptimizer(Choosing, Common):
    """Base of every optimizer in ``thalweg.optim``: a :class:`torch.optim.Optimizer` whose step is
    a rule run by an engine."""

    # No annotation: a checker would take it for an option.
    _divided_by = cast("str | None", None)  # who has given other parameters to other processes

    @takes_options
    def __init__(self, params: Any, *arguments: Any, **options: Any) -> None:
        taken = self._taken(arguments, options)
        besides = {n: taken.pop(n) for n, x in self.options.items() if not x.grouped}
        self._forget()
        params = check_params(params, type(self).__name__)
        self._divided_by = divider()
        super().__init__(params, plain_options(taken))
        self._besides(**besides)

    def _besides(self, **arguments: Any) -> None:
        """Make use of the arguments that are no group's."""

    def _forget(self) -> None:
        """Drop all that is derived from groups and state; the next step derives it anew."""
        self._plan = Plan((), {})
        self._lock = threading.RLock()  # a plan serves one step at a time
        _living.add(self)

    @property
    def batches(self) -> list[Batch]:
        """What the engines stepped together in the last step."""
        return [batch for together in self._plan.rounds for batch in together]

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own. The dictionary is copied: given to two
        optimizers, it would carry the options of one to the other. Raises, and adds nothing, for
        bad options."""
        check_group(param_group, self.defaults, type(self).__name__)
        given: Any = param_group  # what is no dictionary, torch refuses
        self._add(everything(given) if isinstance(given, dict) else given)

    def _add(self, group: Group) -> None:
        if isinstance(group, dict):
            group.update(plain_options(group))
            if isinstance(group["params"], list):  # perhaps a copy of one that has been taken away
                for name, value in unlisted_before(group, self._before).items():
                    group.setdefault(name, value)
        _light(torch.optim.Optimizer.add_param_group)(self, group)
        group = self.param_groups[-1] = as_torchs(type(self), self.param_groups[-1])
        try:
            self._check(group)
            self._agree()
            refuse(self, group, self._divided_by)
            for p in group["params"]:
                if not idle(p):
                    self._refuse(p, group)
        except Exception:
            self.param_groups.pop()
            raise
        self._forget()
        self._before = [*self._before, self.param_groups[-1]]
        if self.eager:
            for p in group["params"]:
                if idle(p):
                    continue
                self._allocate(p, group, self.rule.trace(self.values(p, group)))

    def _refresh(self) -> None:
        """Read the groups and their options; a plan that does not fit them any more is dropped."""
        if not self._plan.fits(self.param_groups, self.state):
            self._complete()
            self._plan = Plan(self.param_groups, self.state)
        plan, changes = self._plan, []
        for i, group in enumerate(plan.groups):
            before = plan.options[i]
            # What may have been written to in place is read at every step.
            settled = bool(before) and i not in plan.changeable
            if (
                settled
                and same(before.values(), dict.values(group))
                and [*before] == [*dict.keys(group)]
            ):
                continue
            if not self.defaults.keys() <= dict.keys(group):
                self._complete()
            now = dict(dict.items(group))  # those that are not listed, too
            mine = self.defaults if before else ()
            changed = {n: before[n] for n in mine if before[n] is not now[n]}
            moved = self._moved(group, changed) if settled else None
            if moved is None:
                self._check(group)
            changes.append((i, group, now, changed, moved))
        if changes:
            self._agree()
        for i, group, now, changed, moved in changes:  # all are as they should be
            plan.options[i] = now
            if moved is not None:
                for place in set(plan.places[i]):
                    plan.values[place] = {**plan.values[place], **moved}
                continue
            plan.changeable.discard(i)
            options = [now[n] for n in self.defaults]
            if any(isinstance(o, list) or not all(map(_lasts, _flat(o))) for o in options):
                plan.changeable.add(i)
            executed = any(n in DEFAULTS and n != "max_grad_norm" for n in changed)
            if not self._sort(i, group) or executed:
                plan.built = False

    def _sort(self, i: int, group: Group) -> bool:
        """Tell what each of a group's parameters is stepped with; False if a graph is not what it
        was, or a parameter not in the place where it was."""
        plan, values = self._plan, self.hyperparameters(group)
        new: dict[int, Values] = {}
        places = []
        for p in plan.params[i]:
            own = self.particulars(p, group)
            places.append(plan.known.setdefault((i, *own.items()), len(plan.known)))
            new[places[-1]] = own
        same = places == plan.places[i]
        plan.places[i] = places
        for place, own in new.items():
            plan.values[place] = {**values, **own}
            graph = self.rule.trace(plan.values[place])
            same &= graph is plan.graphs.get(place)
            plan.graphs[place] = graph
        return same

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
        if watched and type(self).step is RuleOptimizer.step:
            loss: float | None = _watched(self) if closure is None else _watched(self, closure)
            return loss
        return self._step(closure)

    def _step(self, closure: Callable[[], float] | None = None) -> float | None:
        self._may_step(closure is not None)
        loss = None
        if closure is not None:
            with torch.enable_grad(), self.ahead():
                loss = closure()
        with self._lock:
            if self._finite():
                self._prepare()
                for turn, together in enumerate(self._plan.rounds):
                    if turn:  # a gradient that shares its parameter's memory has changed
                        for batch in together:
                            if not batch.collect():
                                raise RuntimeError("gradients have changed during the step")
                    everything = sum([b.count() for b in together])
                    drive([b.run(self._plan.values, everything) for b in together])
                if self.rule.shared:
                    self._share()
        return loss

    def phases(self) -> tuple[torch.optim.Optimizer, ...]:
        """What a step consists of, each after a gradient of its own; where there are several, a
        closure must be given to ``step``."""
        return (self,)

    def _may_step(self, evaluates: bool) -> None:
        """Raise where a step would be a mistake, before the closure is called, if there is one."""

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
        default = self.defaults["check_finite"]
        wanted: bool | str = False
        for group in self.param_groups:
            wanted = wanted or group.get("check_finite", default)
        if not wanted:
            return True
        self._present()
        for group in self.param_groups:
            refuse(self, group, self._divided_by)
            for p in group["params"]:
                if p.grad is not None and symbolic(p.grad):
                    raise ValueError(
                        f"check_finite={wanted!r} cannot be honoured while the step is traced or "
                        f"the gradient of {self._name(p)} is a fake one: it would have to be known"
                    )
                if p.grad is not None and not finite(p.grad):
                    if wanted == "skip":
                        return False
                    raise ValueError(f"the gradient of {self._name(p)} holds NaN or infinity")
        return True

    def _prepare(self) -> None:
        """Make batches that fit parameters, gradients, state and options as they are now."""
        self._refresh()
        plan = self._plan
        if not (plan.built and not observed() and plan.collect()):
            plan.built = False  # until all that can be wrong has been looked at
            self._build(plan)

    def _build(self, plan: Plan) -> None:
        """Look at all that a step will touch; then allot what it needs."""
        for i, group in enumerate(plan.groups):
            refuse(self, group, self._divided_by)
            self._sort(i, group)  # a parameter's shape may be another, too
        chosen = []
        times: dict[int, int] = {}  # how often each parameter has come already
        for p, group, place in plan.entries():
            if p.grad is None:
                continue
            work = Work(self.rule, plan.graphs[place])
            engine = self._engine(p, group, plan.values[place])
            self._look(p, plan.values[place], work, p.grad)
            times[id(p)] = turn = times.get(id(p), -1) + 1
            if turn and any(r.scope == "all" for r in work.graph.reductions):
                raise ValueError(
                    f"{self._name(p)} stands in the groups more than once, which sums over all "
                    "parameters do not allow: give it once"
                )
            chosen.append((p, group, place, turn, self._settle(p, group, work, engine)))
        plan.waiting = [p for p, _, _ in plan.entries() if id(p) not in times]
        kept = {p: {*self.state.get(p, ())} for p, *_ in chosen}
        try:
            self._allot(plan, chosen)
            if not plan.collect():
                raise AssertionError("a batch does not fit the parameters it was just made for")
        except BaseException:  # no memory, or an impatient user: the first step is still to come
            for p, keys in kept.items():
                state = self.state.get(p, {})
                for key in state.keys() - keys:
                    del state[key]
                if not state:
                    self.state.pop(p, None)
            raise
        lasting = not observed()
        if torch.is_inference_mode_enabled():  # the next step may be outside it
            written = [x for p, *_ in chosen for x in (p, *self.state.get(p, {}).values())]
            lasting &= not any(isinstance(x, Tensor) and x.is_inference() for x in written)
        plan.build(self.param_groups, self.state, lasting)

    def _allot(self, plan: Plan, chosen: Iterable[tuple[Tensor, Group, int, int, str]]) -> None:
        """Allocate what is missing, and make batches."""
        rounds: list[list[Any]] = []
        numbers = {id(p): k for k, (p, _, _) in enumerate(plan.entries())}
        fresh: dict[int, bool] = {}
        for p, group, place, turn, engine in chosen:
            graph = plan.graphs[place]
            with lasting():
                new = self._allocate(p, group, graph)
            fresh.setdefault(id(p), new)
            if turn == len(rounds):
                rounds.append([])
            slot = Slot(p, place, self.state.get(p, {}), fresh[id(p)], numbers[id(p)])
            rounds[turn].append((slot, engine, graph, group["differentiable"]))
        plan.rounds = [batches(self.rule, slots) for slots in rounds]


_living: weakref.WeakSet[RuleOptimizer] = weakref.WeakSet()


def _after_fork() -> None:
    for optimizer in _living:  # whoever was stepping is not in this process
        optimizer._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# torch wraps every step in a profiler's range, which takes longer than a small model's update. Here
# its wrapper runs when there is somebody to watch: a hook or a profiler.
_watched = cast(Any, torch.optim.Optimizer.profile_hook_step(RuleOptimizer._step))
RuleOptimizer.step.hooked = True  # type: ignore[attr-defined]


def _light(method: Callable[..., Any]) -> Callable[..., Any]:
    """Torch's method without the wrapper that keeps torch.compile out of it: where nobody has
    loaded torch.compile, the wrapper's first call would, which takes a second."""
    return method if "torch._dynamo" in sys.modules else getattr(method, "__wrapped__", method)


def _flat(option: Any) -> Collection[Any]:
    return option if isinstance(option, tuple | list) else (option,)


def _lasts(x: Any) -> bool:
    """Whether an option, or a part of one, can never be another while it is the same object."""
    return x is None or isinstance(x, float | int | str | np.generic | torch.dtype)


def finite(g: Tensor) -> bool:
    """Whether every element of a gradient is finite; one read."""
    values = real(g.coalesce().values() if g.is_sparse else g.detach())
    if values.numel() == 0 or not values.is_floating_point():  # the latter is refused later
        return True
    if hasattr(values, "full_tensor"):  # a DTensor: a maximum over processes may lose NaN
        values = values.full_tensor()
    return bool(torch.linalg.vector_norm(values, torch.inf).isfinite())
