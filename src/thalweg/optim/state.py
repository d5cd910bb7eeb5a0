"""An optimizer's state: how it starts, what it takes, how it is saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from thalweg.engines.base import real
from thalweg.optim.groups import Group, Groups
from thalweg.optim.memory import Memory
from thalweg.optim.options import EXECUTION
from thalweg.rule.graph import Graph


class Stateful(Groups):
    """The part of an optimizer that knows its state."""

    def _forget(self) -> None:
        """Drop all that is derived from groups and state; the next step derives it anew."""
        raise NotImplementedError

    def _state_dtype(self, p: Tensor, group: Group) -> torch.dtype:
        return cast(torch.dtype, group["state_dtype"] or p.dtype)

    def _allocate(self, p: Tensor, group: Group, graph: Graph) -> bool:
        """Give a parameter the state that its rule needs; True if some of it was not there yet."""
        state = self.state[p]
        counts = "step" in graph.scalars if self.rule.counts is None else self.rule.counts
        missing = [s for s in graph.states if state.get(self.rule.state[s]) is None]
        # Random rounding depends on the step, if the rule does not; state without one has made one.
        short = self._state_dtype(p, group) is torch.bfloat16
        draws = short and not self.rule.nearest.issuperset(graph.states)
        if (counts or draws) and "step" not in state:
            made = 0.0 if counts or missing else 1.0
            state["step"] = torch.tensor(made, dtype=torch.float64)
        for s in missing:
            start = self.rule.start.get(s, 0.0)
            x = torch.zeros_like(p, dtype=self._state_dtype(p, group), requires_grad=False)
            if start == "w":
                x.copy_(p if group["differentiable"] else p.detach())
            else:
                real(x).fill_(float(group[start]) if isinstance(start, str) else start)
            state[self.rule.state[s]] = x
        for s in graph.new_shaped:
            if self.rule.state[s] not in state:
                shape = self.rule.shaped[s](tuple(p.shape), self.values(p, group))
                x = torch.zeros(shape, dtype=_wide(p), device=p.device)
                state[self.rule.state[s]] = x
        for s in graph.new_scalars:
            key = self.rule.state[s]
            if key not in state:
                start = self.rule.start.get(s, 0.0)
                value = float(group[start]) if isinstance(start, str) else start
                if s in self.rule.shared:
                    value = next((float(x[key]) for x in self.state.values() if key in x), value)
                state[key] = torch.tensor(value, dtype=torch.float64)
        return bool(missing)

    def memory(self) -> Memory:
        """The bytes of state that these parameters need with the options as they are, gradients or
        not. Nothing is allocated for it."""
        found = {}
        for group in self.param_groups:
            for p in group["params"]:
                twin = torch.empty_like(p, device="meta", requires_grad=False)
                self._allocate(twin, group, self.rule.trace(self.values(p, group)))
                found[p] = {name: x.nbytes for name, x in self.state.pop(twin).items()}
        return Memory(found)

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
