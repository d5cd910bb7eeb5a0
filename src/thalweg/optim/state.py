"""An optimizer's state: how it starts, what it takes, how it is saved and loaded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from thalweg.engines.base import Work, real
from thalweg.engines.counters import own_counter
from thalweg.engines.observed import unobserved
from thalweg.engines.watch import lasting, missing
from thalweg.optim.fit import check_fit
from thalweg.optim.given import idle, plain_options
from thalweg.optim.groups import Group, Groups
from thalweg.optim.memory import Memory
from thalweg.optim.options import EXECUTION
from thalweg.optim.torch_group import TorchGroup, as_torchs, everything
from thalweg.rule.graph import Graph
from thalweg.rule.rule import Values


class Stateful(Groups):
    """The part of an optimizer that knows its state."""

    def _forget(self) -> None:
        """Drop all that is derived from groups and state; the next step derives it anew."""
        raise NotImplementedError

    def _state_dtype(self, p: Tensor, group: Group) -> torch.dtype:
        return cast(torch.dtype, group["state_dtype"] or p.dtype)

    def _allocate(self, p: Tensor, group: Group, graph: Graph) -> bool:
        """Give a parameter the state that its rule needs; True if some of it was not there yet."""
        state = self.state.get(p, {})
        counts = "step" in graph.scalars if self.rule.counts is None else self.rule.counts
        missing = [s for s in graph.states if state.get(self.rule.state[s]) is None]
        # Random rounding depends on the step, if the rule does not; state without one has made one.
        short = self._state_dtype(p, group) is torch.bfloat16
        draws = short and not self.rule.nearest.issuperset(graph.states)
        if (counts or draws) and state.get("step") is None:
            made = 0.0 if counts or missing else 1.0
            with unobserved():  # a number on the host, whatever the default device
                state["step"] = torch.tensor(made, dtype=torch.float64, device="cpu")
        for s in missing:
            start = self.rule.start.get(s, 0.0)
            x = torch.zeros_like(p, dtype=self._state_dtype(p, group), requires_grad=False)
            if start == "w":
                x.copy_(p if group["differentiable"] else p.detach())
            else:
                real(x).fill_(float(group[start]) if isinstance(start, str) else start)
            state[self.rule.state[s]] = x
        for s in graph.new_shaped:
            if state.get(self.rule.state[s]) is None:
                shape = self.rule.shaped[s](tuple(p.shape), self.values(p, group))
                x = torch.zeros(shape, dtype=_wide(p), device=p.device)
                state[self.rule.state[s]] = x
        for s in graph.new_scalars:
            key = self.rule.state[s]
            if state.get(key) is None:
                start = self.rule.start.get(s, 0.0)
                value = float(group[start]) if isinstance(start, str) else start
                if s in self.rule.shared:
                    value = next((x[key] for x in self.state.values() if key in x), value)
                state[key] = torch.zeros((), dtype=torch.float64, device="cpu") + value
        if state:  # as in torch's, a parameter without state is not there
            self.state[p] = state
        return bool(missing)

    def _present(self) -> None:
        """Raise for parameters and gradients whose memory is not there: torch's operations on them
        would end the process."""
        for group in self.param_groups:
            for p in group["params"]:
                for x, what in ((p, ""), (p.grad, "the gradient of ")):
                    if x is not None and (reason := missing(x)):
                        raise ValueError(f"{what}{self._name(p)} has lost its memory: {reason}")

    def _look(self, p: Tensor, values: Values, work: Work, gradient: Tensor | None) -> None:
        """Raise for memory that is not there, and for a gradient or state that does not fit its
        parameter; nothing is written."""
        state: Any = self.state.get(p, {})
        called = functools.partial(self._name, p)
        if not isinstance(state, dict):
            kind = type(state).__name__
            raise TypeError(f"the state of {called()} must be a dict, not a {kind}")
        check_fit(p, p, called)
        check_fit(gradient, p, lambda: f"the gradient of {called()}", written=False)
        shapes = {
            k: work.rule.shaped[s](tuple(p.shape), values) for s, k in work.shaped_keys.items()
        }
        for key in (*work.keys.values(), *shapes):
            check_fit(
                state.get(key), p, functools.partial(self._state_name, key, p), shapes.get(key)
            )
        for key in ("step", *work.scalar_keys.values()):
            if state.get(key) is not None:
                named = functools.partial(self._state_name, key, p)
                state[key] = own_counter(state[key], named, whole=key == "step")

    def _state_name(self, key: str, p: Tensor) -> str:
        return f"the state {key!r} of {self._name(p)}"

    def _flat(self) -> bool:
        """Whether there are gradients and all are zero. torch.distributed.checkpoint makes a step
        with such, at rate 0, to have the state allocated."""
        self._present()
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        there = [g for g in grads if g is not None]
        return bool(there) and not any(bool(g.any()) for g in there)

    def memory(self) -> Memory:
        """The bytes of state that these parameters need with the options as they are, gradients or
        not. Nothing is allocated for it."""
        found: dict[Tensor, dict[str, int]] = {}
        for group in self.param_groups:
            for p in group["params"]:
                if idle(p):
                    found[p] = {}
                    continue
                twin = torch.empty_like(p, device="meta", requires_grad=False)
                self._allocate(twin, group, self.rule.trace(self.values(p, group)))
                found[p] = {name: x.nbytes for name, x in self.state.pop(twin, {}).items()}
        return Memory(found)

    def share_memory(self) -> None:
        """Move the state that there is into memory that other processes can share: the averages as
        well as the step counts. Most optimizers have theirs from the first step on."""
        self._present()
        for group in self.param_groups:
            for p in group["params"]:
                for x in self.state.get(p, {}).values():
                    if isinstance(x, Tensor):
                        x.share_memory_()  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()
        for i, group in enumerate(self.param_groups):
            for name, value in self.defaults.items():
                group.setdefault(name, value)
            self.param_groups[i] = as_torchs(type(self), group)

    def __repr__(self) -> str:  # torch's shows what a group lists
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            options = {k: x for k, x in everything(group).items() if k != "params"}
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {options[name]}\n" for name in sorted(options))
        return text + ")"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds. Options that torch's class of the same name does not have stand
        under ``"thalweg"``, group by group, where torch's does not look."""

        def add(_: torch.optim.Optimizer, made: dict[str, Any]) -> None:
            for packed in made["param_groups"]:  # a scheduler may have written NumPy's numbers
                packed.update(plain_options(packed))
            beside = [g.unlisted() if isinstance(g, TorchGroup) else {} for g in self.param_groups]
            if any(beside):
                made["thalweg"] = [
                    plain_options({k: x for k, x in options.items() if k not in EXECUTION})
                    for options in beside
                ]

        hook = self.register_state_dict_post_hook(add, prepend=True)
        try:
            return super().state_dict()
        finally:
            hook.remove()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class or of torch's of the same name. State keeps the dtype
        that this optimizer declares for it, whatever the parameters' dtype; how a step is executed
        (``engine``, ``state_dtype``, ``check_finite`` and torch's flags) stays as constructed, and
        so does every option that the checkpoint does not hold."""
        self._complete()
        before = self.state, self.param_groups
        kept = [{name: g[name] for name in self.defaults} for g in self.param_groups]
        given: dict[str, Any] = {}

        def look(_: torch.optim.Optimizer, loaded: dict[str, Any]) -> None:
            check_is_optimizers(loaded)
            check_is_there(loaded["state"])
            given.update(loaded)

        check_is_mapping(state_dict)

        def restore(_: torch.optim.Optimizer) -> None:
            beside = given.get("thalweg") or [{} for _ in kept]
            groups = zip(self.param_groups, kept, given["param_groups"], beside, strict=True)
            for group, mine, listed, more in groups:
                group.update({k: x for k, x in more.items() if k not in listed})
                found = (listed.keys() | more.keys()) - {*EXECUTION}
                group.update({k: x for k, x in mine.items() if k not in found})
                self._check(group)
            self._agree()
            self._accept(given)
            saved = [i for g in given["param_groups"] for i in g["params"]]
            params = [(p, g) for g in self.param_groups for p in g["params"]]
            for i, (p, group) in zip(saved, params, strict=True):
                if i in given["state"]:
                    with lasting():
                        self.state[p] = self._loaded(p, group, given["state"][i])

        # After the hooks that may change what is loaded, before those that look at the result.
        hooks = [
            self.register_load_state_dict_pre_hook(look),
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
        shaped = {self.rule.state[s]: shape for s, shape in self.rule.shaped.items()}
        values = self.values(p, group) if shaped else {}
        for s in self.rule.trace(values).new_shaped if shaped and given else ():
            if not isinstance(given.get(self.rule.state[s]), Tensor):
                raise ValueError(
                    f"the checkpoint has no tensor {self.rule.state[s]!r} for {self._name(p)}: "
                    f"it is another algorithm's, or other code's than this {type(self).__name__}"
                )
        for name, value in given.items():
            if name == "step" or name in scalars:
                state[name] = torch.tensor(float(value), dtype=torch.float64)
            elif isinstance(value, Tensor) and name in self.rule.state.values():
                if name in shaped:
                    shape, dtype = shaped[name](tuple(p.shape), values), _wide(p)
                    x = torch.empty(shape, dtype=dtype, device=p.device)
                else:
                    x = torch.empty_like(p, dtype=self._state_dtype(p, group), requires_grad=False)
                if value.shape != x.shape:  # copy_ would spread it
                    raise ValueError(
                        f"the checkpoint's {name} has shape {tuple(value.shape)}, which does not "
                        f"fit {self._name(p)}"
                    )
                state[name] = x.copy_(value.to_dense())
            elif isinstance(value, Tensor) and value.dim() and value.shape == p.shape:
                raise ValueError(
                    f"the checkpoint has a state {name!r}, which {type(self).__name__} does not "
                    f"keep (it keeps: {', '.join(self.rule.state.values()) or 'none'})"
                )
            elif value is not None:
                state[name] = value
        return state


def _wide(p: Tensor) -> torch.dtype:
    """What is computed in."""
    return torch.float64 if p.dtype is torch.float64 else torch.float32


def check_is_there(state: Mapping[Any, Any]) -> None:
    """Raise for tensors whose memory has been taken: to copy them would end the process."""
    for i, kept in state.items():
        for name, x in kept.items() if isinstance(kept, Mapping) else ():
            if isinstance(x, Tensor) and (reason := missing(x)):
                raise ValueError(
                    f"the checkpoint's {name!r} of parameter {i} has lost its memory: {reason}"
                )


def check_is_mapping(state_dict: Any) -> None:
    """Raise for what is no state dict at all."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be what an optimizer's state_dict() gave, not {state_dict!r}"
        )


def check_is_optimizers(state_dict: Mapping[str, Any]) -> None:
    """Raise for what is no optimizer's state dict, and say whose it may be."""
    if {"state", "param_groups"} <= state_dict.keys():
        groups, beside = len(state_dict["param_groups"]), len(state_dict.get("thalweg") or ())
        if beside not in (0, groups):
            raise ValueError(
                f"the checkpoint has {groups} param_groups, but options of {beside} groups under "
                "'thalweg': without that key, those options stay as constructed"
            )
        return
    inside = [k for k, x in state_dict.items() if isinstance(x, Mapping) and "param_groups" in x]
    if inside:
        hint = f"; did you mean its [{inside[0]!r}]?"
    elif all(isinstance(x, Tensor) for x in state_dict.values()):
        hint = ": this looks like a model's, which model.load_state_dict() takes"
    else:
        hint = ""
    shown = [*state_dict][:4]
    more = ", ..." if len(state_dict) > len(shown) else ""
    raise ValueError(
        "state_dict must be an optimizer's, with 'state' and 'param_groups'; this one has "
        f"{', '.join(map(repr, shown)) or 'nothing'}{more}{hint}"
    )
