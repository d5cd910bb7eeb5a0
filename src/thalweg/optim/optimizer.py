"""The one place that knows torch.optim's habits: groups, state, hooks, closures, checkpoints.

A subclass says which rule it is and which values its hyperparameters may take; everything else is
done here. A step first looks at everything (options, gradients, memory), then lets the engines
write: what is refused leaves nothing half changed.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from operator import is_
from typing import Any, ClassVar, cast, overload

import torch
from torch import Tensor
from torch.optim import optimizer as hooks

from thalweg.engines import fused
from thalweg.engines.base import Batch, Slot, Work, drive, real
from thalweg.engines.plain import PlainBatch
from thalweg.optim.options import (
    DEFAULTS,
    EXECUTION,
    Common,
    Interval,
    check,
    check_choice,
    check_common,
    engine_of,
    number,
    unknown,
)
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Rule, Values

Group = dict[str, Any]


class Optimizer(torch.optim.Optimizer):
    """Base of every optimizer in ``thalweg.optim``: a :class:`torch.optim.Optimizer` whose step is
    a rule run by an engine."""

    rule: ClassVar[Rule]
    domains: ClassVar[Mapping[str, Interval]]  # of every numeric hyperparameter
    flags: ClassVar[Mapping[str, tuple[Any, ...]]] = {}  # options that choose a form of the rule
    # Options that are several numbers, and the rule's names for them; betas need not be named here.
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    eager: ClassVar[bool] = False  # whether torch allocates this one's state at construction

    def __init__(self, params: Any, defaults: Group, common: Common) -> None:
        for name in common:
            if name not in DEFAULTS:
                raise unknown(name, [*defaults, *DEFAULTS], type(self).__name__)
        self._forget()
        super().__init__(params, {**defaults, **DEFAULTS, **common})

    def _forget(self) -> None:
        """Drop all that is derived from groups and state; the next step derives it anew."""
        self.batches: list[Batch] = []
        self._params: list[Tensor] = []  # in order, as the batches were made for them
        self._states: list[Any] = []  # likewise
        self._waiting: list[Tensor] = []  # those among them that have had no gradient yet
        self._options: dict[int, list[Any]] = {}  # by group, as they were when last looked at
        self._tensors: set[int] = set()  # groups with a tensor among their options
        self._values: dict[int, Values] = {}
        self._graphs: dict[int, Graph] = {}

    # ---- groups and their options

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own. Raises, and adds nothing, for bad options."""
        super().add_param_group(param_group)
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
            graph = self.rule.trace(self.hyperparameters(group))
            for p in group["params"]:
                self._allocate(p, group, graph)

    def _check(self, group: Group) -> None:
        """Raise for options of a group that are out of range or contradict each other."""
        check_common(group)
        for name, choices in self.flags.items():
            check_choice(name, group[name], choices)
        numbers = self._numbers(group)
        for name, called, _ in self._given(group):
            check(called, numbers[name], self.domains[name])

    def _agree(self) -> None:
        """Options that speak of all parameters together must be the same in all groups."""
        for name in ("max_grad_norm", "check_finite"):
            first = self.param_groups[0][name]
            for group in self.param_groups:
                if group[name] != first:
                    raise ValueError(
                        f"{name} speaks of all parameters together: it cannot be {first!r} in one "
                        f"group and {group[name]!r} in another"
                    )

    def _given(self, group: Group) -> Iterator[tuple[str, str, Any]]:
        """The group's numeric hyperparameters: the rule's name, what messages call it, the value.
        Options that are several numbers are taken apart."""
        parts = {"betas": tuple(d for d in self.domains if d.startswith("beta")), **self.parts}
        for name in self.defaults:
            if name in parts:
                names, given = parts[name], group[name]
                if not isinstance(given, tuple | list) or len(given) != len(names):
                    raise ValueError(f"{name} must be {len(names)} numbers, not {given!r}")
                for i, (part, value) in enumerate(zip(names, given, strict=True)):
                    yield part, f"{name}[{i}]", value
            elif name in self.domains:
                yield name, name, group[name]

    def _numbers(self, group: Group) -> dict[str, float | None]:
        """The group's numeric hyperparameters by the rule's names."""
        return {
            name: None if value is None and self.domains[name].optional else number(called, value)
            for name, called, value in self._given(group)
        }

    def hyperparameters(self, group: Group) -> Values:
        """A group's options by the rule's names: numbers as doubles, switches as they are."""
        clip = group["max_grad_norm"]
        return {
            **self._numbers(group),
            **{name: group[name] for name in (*self.flags, "maximize")},
            "max_grad_norm": None if clip is None else number("max_grad_norm", clip),
        }

    def _refresh(self) -> bool:
        """Read the groups' options; False if a batch must be made anew for them."""
        same = True
        for i, group in enumerate(self.param_groups):
            now = [group[name] for name in self.defaults]
            before = self._options.get(i)
            # A tensor may have been written to in place: it is read at every step.
            if now == before and i not in self._tensors:
                continue
            self._tensors.discard(i)
            if any(isinstance(x, Tensor) for option in now for x in _flat(option)):
                self._tensors.add(i)
            self._check(group)
            self._agree()
            self._values[i] = self.hyperparameters(group)
            graph = self.rule.trace(self._values[i])
            if before is None or graph is not self._graphs[i]:
                same = False
            else:
                changed = [
                    n for n, x, y in zip(self.defaults, now, before, strict=True) if x is not y
                ]
                same &= not any(n in DEFAULTS and n != "max_grad_norm" for n in changed)
            self._options[i], self._graphs[i] = now, graph
        return same

    # ---- state and checkpoints

    def _state_dtype(self, p: Tensor, group: Group) -> torch.dtype:
        return cast(torch.dtype, group["state_dtype"] or p.dtype)

    def _allocate(self, p: Tensor, group: Group, graph: Graph) -> bool:
        """Give a parameter the state that its rule needs; True if some of it was not there yet."""
        state = self.state[p]
        if self.rule.counts and "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float64)
        missing = [s for s in graph.states if state.get(self.rule.state[s]) is None]
        for s in missing:
            start = self.rule.start.get(s, 0.0)
            x = torch.zeros_like(p, dtype=self._state_dtype(p, group), requires_grad=False)
            if start == "w":
                x.copy_(p.detach())
            else:
                real(x).fill_(float(group[start]) if isinstance(start, str) else start)
            state[self.rule.state[s]] = x
        for s in graph.new_shaped:
            if self.rule.state[s] not in state:
                shape, dtype = self.rule.shaped[s](tuple(p.shape)), _wide(p)
                state[self.rule.state[s]] = torch.zeros(shape, dtype=dtype, device=p.device)
        for s in graph.new_scalars:
            if self.rule.state[s] not in state:
                start = self.rule.start.get(s, 0.0)
                value = float(group[start]) if isinstance(start, str) else start
                state[self.rule.state[s]] = torch.tensor(value, dtype=torch.float64)
        return bool(missing)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class or of torch's of the same name. State keeps the dtype
        that this optimizer declares for it, whatever the parameters' dtype; how a step is executed
        (``engine``, ``state_dtype``, ``check_finite`` and torch's flags) stays as constructed."""
        before = self.state, self.param_groups
        kept = [{name: g[name] for name in EXECUTION} for g in self.param_groups]
        given: dict[str, Any] = {}

        def restore(_: torch.optim.Optimizer) -> None:
            for group, execution in zip(self.param_groups, kept, strict=True):
                group.update(execution)
                self._check(group)
            self._agree()
            self._accept(given)
            saved = [i for g in given["param_groups"] for i in g["params"]]
            params = [(p, g) for g in self.param_groups for p in g["params"]]
            for i, (p, group) in zip(saved, params, strict=True):
                if i in given["state"]:
                    self.state[p] = self._loaded(p, group, given["state"][i])

        # After the hooks that may change what is loaded, before those that look at the result.
        hooks = [
            self.register_load_state_dict_pre_hook(lambda _, s: given.update(s)),
            self.register_load_state_dict_post_hook(restore, prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        except Exception:
            self.state, self.param_groups = before
            raise
        finally:
            for hook in hooks:
                hook.remove()
            self._forget()

    def _accept(self, given: Mapping[str, Any]) -> None:
        """Raise for a checkpoint whose state means something else here."""

    def _loaded(self, p: Tensor, group: Group, given: Mapping[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {}
        scalars = {self.rule.state[s] for s in self.rule.scalar}
        for name, value in given.items():
            if name == "step" or name in scalars:
                state[name] = torch.tensor(float(value), dtype=torch.float64)
            elif isinstance(value, Tensor) and name in self.rule.state.values():
                if value.shape != p.shape:  # copy_ would spread it
                    raise ValueError(
                        f"the checkpoint's {name} has shape {tuple(value.shape)}, which does not "
                        f"fit {self._name(p)}"
                    )
                x = torch.empty_like(p, dtype=self._state_dtype(p, group), requires_grad=False)
                state[name] = x.copy_(value.to_dense())
            elif value is not None:
                state[name] = value
        return state

    # ---- which engine

    def _name(self, p: Tensor) -> str:
        """What to call a parameter in a message."""
        for i, group in enumerate(self.param_groups):
            for k, q in enumerate(group["params"]):
                if q is p:
                    shape = tuple(p.shape)
                    if "param_names" in group:
                        return f"parameter {group['param_names'][k]!r} (shape {shape})"
                    return f"parameter {k} of group {i} (shape {shape})"
        raise KeyError("not a parameter of this optimizer")

    def _refuse(self, p: Tensor, group: Group) -> str:
        """The engine for a parameter, or an error where what is asked for cannot be had."""
        if not (p.is_floating_point() or p.is_complex()):
            raise ValueError(f"{self._name(p)} has dtype {p.dtype}, which has no gradient")
        wanted = group["state_dtype"]
        if wanted is not None and (p.is_complex() or wanted.itemsize > max(4, p.dtype.itemsize)):
            raise ValueError(f"state_dtype={wanted} does not fit {self._name(p)}, a {p.dtype}")
        engine = engine_of(group)
        if engine == "plain":
            return engine
        reason = fused.refuses(p, self._state_dtype(p, group))
        if reason is None:
            return "fused"
        if engine == "fused":
            raise ValueError(f'engine="fused" cannot step {self._name(p)}: {reason}')
        if group["fused"]:
            notice(f"fused=True: the plain engine steps {self._name(p)}, because {reason}")
        elif missing := fused.installed():
            notice(f"the plain engine is used, which is slower: {missing}")
        return "plain"

    def _engine(self, p: Tensor, group: Group, values: Values) -> str:
        """The engine for a parameter as its gradient is now."""
        engine = self._refuse(p, group)
        if p.grad is not None and p.grad.shape != p.shape:
            raise ValueError(
                f"the gradient of {self._name(p)} has another shape, {tuple(p.grad.shape)}"
            )
        if p.grad is None or p.grad.layout is torch.strided:
            return engine
        if p.grad.layout is not torch.sparse_coo or self.rule.sparse(values) == "refused":
            raise RuntimeError(
                f"{type(self).__name__} with these options does not take the {p.grad.layout} "
                f"gradient of {self._name(p)}"
            )
        if group["engine"] == "fused":
            raise ValueError(f'engine="fused" cannot step {self._name(p)}: its gradient is sparse')
        return "plain"

    # ---- the step

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
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._finite():
            self._prepare()
            everything = sum([b.count() for b in self.batches])
            drive([b.run(self._values, everything) for b in self.batches])
        return loss

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
        fits = (
            self._refresh()
            and _same(self._params, params)
            and _same(self._states, self.state.values())
            and all(p.grad is None for p in self._waiting)
            # A list: each batch must look, even if an earlier one does not fit.
            and all([b.collect() for b in self.batches])  # noqa: C419
        )
        if not fits:
            self._build(params)

    def _build(self, params: list[Tensor]) -> None:
        chosen = [
            (p, i, group, self._engine(p, group, self._values[i]))
            for i, group in enumerate(self.param_groups)
            for p in group["params"]
            if p.grad is not None
        ]
        alike: dict[Any, list[Slot]] = {}
        for p, i, group, engine in chosen:
            graph = self._graphs[i]
            fresh = self._allocate(p, group, graph)
            stored = tuple(self.state[p][self.rule.state[s]].dtype for s in graph.states)
            key = (engine, graph, group["differentiable"], p.dtype, stored)
            alike.setdefault(key, []).append(Slot(p, i, self.state[p], fresh))
        self.batches = []
        for (engine, graph, differentiable, *_), slots in alike.items():
            work = Work(self.rule, graph)
            batch: Batch
            if engine == "fused":
                batch = fused.FusedBatch(work, slots)
            else:
                batch = PlainBatch(work, slots, differentiable)
            if not batch.collect():
                raise AssertionError("a batch does not fit the parameters it was just made for")
            self.batches.append(batch)
        stepped = {id(p) for p, *_ in chosen}
        self._waiting = [p for p in params if id(p) not in stepped]
        self._params, self._states = params, list(self.state.values())


# torch wraps every step in a profiler's range, which takes longer than a small model's update. Here
# its wrapper runs when there is somebody to watch: a hook or a profiler.
_watched = cast(Any, torch.optim.Optimizer.profile_hook_step(Optimizer._step))
Optimizer.step.hooked = True  # type: ignore[attr-defined]


def _wide(p: Tensor) -> torch.dtype:
    """What is computed in."""
    return torch.float64 if p.dtype is torch.float64 else torch.float32


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


@functools.cache
def notice(text: str) -> None:
    """Warn once about something that is slower than asked for."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)
