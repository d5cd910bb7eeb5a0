"""Parameter groups and their options: what they may be, and what a rule is told of them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from thalweg.optim.options import DEFAULTS, check_common, limits
from thalweg.optim.torch_group import TorchGroup, as_torchs, unlisted_before
from thalweg.optim.tracing import Opaque
from thalweg.rule.rule import Rule, Values
from thalweg.validation import Interval, check, check_choice, number

Group = dict[str, Any]


class Groups(Opaque, torch.optim.Optimizer):
    """The part of an optimizer that knows its options. A subclass says which rule it is and which
    values the rule's hyperparameters may take."""

    rule: ClassVar[Rule]
    # As declared in the class: see `thalweg.optim.declared`.
    domains: ClassVar[Mapping[str, Interval]]  # of every numeric hyperparameter
    flags: ClassVar[Mapping[str, tuple[Any, ...]]]  # options that choose a form of the rule
    parts: ClassVar[Mapping[str, tuple[str, ...]]]  # options that are several numbers
    # Numeric options of which `hyperparameters` makes more than their own, or whose value `_check`
    # compares; other numbers it may ask only whether they are zero.
    linked: ClassVar[tuple[str, ...]] = ()
    # Options that speak of all parameters together.
    united: ClassVar[tuple[str, ...]] = ("max_grad_norm", "check_finite")
    eager: ClassVar[bool] = False  # whether torch allocates this one's state at construction
    # Why a rule that is not made with the modifier `cautious` is not.
    heedless: ClassVar[str] = "its steps are not compared with the gradient"
    # Likewise for the modifier `bounded`.
    boundless: ClassVar[str] = "its steps know nothing of bounds"
    # What else this one cannot do, "complex" parameters or steps that are "differentiable": why.
    cannot: ClassVar[Mapping[str, str]] = {}
    _made: weakref.ref[Self]
    _before: Sequence[Group] = ()  # the groups when they were last completed

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        del args, kwargs
        made = super().__new__(cls)
        made._made = weakref.ref(made)
        return made

    @property
    def _original(self) -> Self:
        """The optimizer itself, also for the wrapper of a trainer (Lightning's) that has its class
        and reads its attributes: what is set on the wrapper, the optimizer would not know."""
        return self._made() or self

    def _check(self, group: Group) -> None:
        """Raise for options of a group that are out of range or contradict each other."""
        check_common(group)
        for name, choices in self.flags.items():
            check_choice(name, group[name], choices)
        if group["cautious"] and "cautious" not in self.rule.scalars:
            raise ValueError(
                f"cautious=True cannot be honoured by {type(self).__name__}: {self.heedless}"
            )
        if group["bounds"] is not None and "bounds_low" not in self.rule.scalars:
            raise ValueError(
                f"bounds cannot be honoured by {type(self).__name__}: {self.boundless}"
            )
        if group["differentiable"] and "differentiable" in self.cannot:
            reason = self.cannot["differentiable"]
            raise ValueError(
                f"differentiable=True cannot be honoured by {type(self).__name__}: {reason}"
            )
        self._numbers(group, self._numeric)

    def _complete(self) -> None:
        """Give groups that have been put there by hand the options that torch's class of this name
        does not list, those of the group of which it is a copy; raise where another is missing."""
        for i, group in enumerate(self.param_groups):
            if not isinstance(group, dict):
                raise TypeError(f"parameter group {i} must be a dict, not a {type(group).__name__}")
            lacking = [name for name in self.defaults if name not in group]
            if not lacking:
                continue
            like = as_torchs(type(self), self.defaults)
            unlisted = {*DEFAULTS, *(like.unlisted() if isinstance(like, TorchGroup) else ())}
            for name in lacking:
                if name not in unlisted:
                    raise ValueError(f"parameter group {i}, put there by hand, has no {name!r}")
            known = unlisted_before(group, self._before)
            group.update({name: known.get(name, self.defaults[name]) for name in lacking})
        self._before = list(self.param_groups)

    def _agree(self) -> None:
        """Options that speak of all parameters together must be the same in all groups."""
        for name in self.united:
            # A group put there by hand may lack it.
            given = [group.get(name, self.defaults[name]) for group in self.param_groups]
            for other in given:
                if other != given[0]:
                    raise ValueError(
                        f"{name} speaks of all parameters together: it cannot be {given[0]!r} in "
                        f"one group and {other!r} in another"
                    )

    @cached_property
    def _numeric(self) -> dict[str, tuple[str, ...] | None]:
        """The numeric options; of those that are several numbers, the rule's names for them."""
        return {n: self.parts.get(n) for n in self.defaults if n in self.parts or n in self.domains}

    def _given(self, group: Group, options: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
        """Numeric hyperparameters of a group: the rule's name, what messages call it, the value.
        Options that are several numbers are taken apart."""
        for name in options:
            names, given = self._numeric[name], group[name]
            if names is None:
                yield name, name, given
                continue
            if not isinstance(given, tuple | list) or len(given) != len(names):
                raise ValueError(f"{name} must be {len(names)} numbers, not {given!r}")
            for i, (part, value) in enumerate(zip(names, given, strict=True)):
                yield part, f"{name}[{i}]", value

    def _numbers(self, group: Group, options: Iterable[str]) -> dict[str, float | None]:
        """What some of a group's numeric options are by the rule's names; raises for what is no
        number or out of range."""
        return {
            name: check(
                called,
                None if value is None and domain.optional else number(called, value),
                domain,
            )
            for name, called, value in self._given(group, options)
            for domain in (self.domains[name],)
        }

    def _moved(self, group: Group, before: Mapping[str, Any]) -> Values | None:
        """The hyperparameters of changed options, which are given as they were; None if more than
        these numbers may have to change, which no schedule's course asks for."""
        for name, value in before.items():
            if name not in self._numeric or name in self.linked or not _alike(value, group[name]):
                return None
        return self._numbers(group, before)

    def hyperparameters(self, group: Group) -> Values:
        """A group's options by the rule's names: numbers as doubles, switches as they are."""
        clip = group["max_grad_norm"]
        return {
            **self._numbers(group, self._numeric),
            **{name: group[name] for name in (*self.flags, "maximize", "cautious")},
            "max_grad_norm": None if clip is None else number("max_grad_norm", clip),
            **dict(zip(("bounds_low", "bounds_high"), limits(group["bounds"]), strict=True)),
        }

    def particulars(self, p: Tensor, group: Group) -> Values:
        """What a rule is told of one parameter beside its group's options: what depends on its
        shape or dtype, and perhaps on options that are no numbers, or None."""
        del p, group
        return {}

    def values(self, p: Tensor, group: Group) -> Values:
        """All that the rule is told about the step of one parameter, but for the step's number."""
        return {**self.hyperparameters(group), **self.particulars(p, group)}

    def _name(self, p: Tensor) -> str:
        """What to call a parameter in a message."""
        for i, group in enumerate(self.param_groups):
            for k, q in enumerate(group["params"]):
                if q is p:
                    shape = tuple(p.shape)
                    names = group.get("param_names", ())
                    if k < len(names):  # groups may have been changed by hand
                        return f"parameter {names[k]!r} (shape {shape})"
                    return f"parameter {k} of group {i} (shape {shape})"
        raise KeyError("not a parameter of this optimizer")


def _alike(x: Any, y: Any) -> bool:
    """Whether two values of a numeric option make the same graph: plain numbers, and both zero or
    neither."""
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(_alike, x, y))
    plain = all(isinstance(v, float | int) and not isinstance(v, bool) for v in (x, y))
    return plain and bool(x) == bool(y)
