"""What a schedule is: a value that depends on the step and on nothing else.

A constructor (``cosine``, ``then``) checks its arguments and gives back the value at one step as a
plain function of a float; :func:`constructor` makes of it a function that returns a
:class:`Schedule` and can be found by name. Arrays are mapped element by element, so that a value
has the same bits whichever way it is asked for.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg.schedules.entry import CONSTRUCTORS, SCHEDULES, Course, Entry
from thalweg.validation import check_choice, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A value for every step from 0 on, made by a constructor such as ``cosine(10_000)``.

    Called with a step it gives the value there: a float for a number; a float64 array of the same
    shape for a NumPy array; a float64 tensor of the same shape and device for a tensor, a stack of
    trials for instance (it is computed on the host). Steps may lie between whole numbers, as
    fractions of an epoch do. ValueError for a negative step or one that is not finite.

    As the schedule of a learning rate it is a factor of the optimizer's ``lr``; for any other
    hyperparameter it is the value itself.

    Attributes:
        name: of the constructor, e.g. ``"cosine"``.
        arguments: all of them, defaults too: numbers, strings, tuples, and the schedules that a
            composition is made of.
        length: the number of steps after which it has ended and holds its last value; None: never.
        last: the value that it then holds; None where there is no end.
        span: steps that show its shape; the length, where there is one.
    """

    name: str
    arguments: Mapping[str, Any]
    length: float | None
    last: float | None
    span: float
    _value: Callable[[float], float]
    __array_ufunc__: ClassVar[None] = None  # np.float64(2) * schedule is a schedule

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: NDArray[Any]) -> NDArray[np.float64]: ...
    @overload
    def __call__(self, step: Tensor) -> Tensor: ...
    def __call__(self, step: Any) -> Any:
        if isinstance(step, Tensor):
            return torch.from_numpy(self(step.detach().cpu().double().numpy())).to(step.device)
        if isinstance(step, np.ndarray):
            values = map(self, step.ravel().tolist())
            return np.fromiter(values, np.float64, step.size).reshape(step.shape)
        t = number("step", step)
        if not 0 <= t < math.inf:
            raise ValueError(f"step must be finite and at least 0, not {step!r}")
        if self.length is not None and t >= self.length:
            return self.last
        return float(self._value(t))

    def then(self, second: Schedule) -> Schedule:
        """The same, and after it another one.

        Step N, this one's length, is the first step of the second::

            step       0 … N-1     N    N+1  …
            first      ●  ●  ●     ○              ○ reached, but not used
            second                 ●     ●   ●    second(0), second(1), …

        So ``linear(0, 1, 500).then(cosine(10_000))`` is continuous: the warm-up would be 1 at step
        500, and ``cosine(10_000)`` starts with 1. ValueError if this one never ends.
        """
        return CONSTRUCTORS["then"].make(self, second)

    def until(self, steps: float) -> Schedule:
        """The same, cut off: from step ``steps`` on it holds what it is there."""
        return CONSTRUCTORS["until"].make(self, steps)

    def delayed(self, steps: float) -> Schedule:
        """Its first value for ``steps`` steps, and then this schedule from its start."""
        return CONSTRUCTORS["delayed"].make(self, steps)

    def stretched_to(self, total: float) -> Schedule:
        """The same, slower or faster, so that its length is ``total``; it must have one."""
        return CONSTRUCTORS["stretched_to"].make(self, total)

    def warmed_up(self, steps: float, start: float = 0.0) -> Schedule:
        """A straight line from ``start`` to its first value over ``steps`` steps, and then this
        schedule: ``linear(start, self(0), steps).then(self)``. No steps, no warm-up."""
        if steps == 0:
            return self
        return CONSTRUCTORS["linear"].make(start, self(0), steps).then(self)

    def in_epochs(self, steps_per_epoch: float, whole: bool = False) -> Schedule:
        """The same, its arguments being epochs, for an optimizer that counts steps.

        Args:
            steps_per_epoch: how many steps make an epoch, above 0.
            whole: change at the start of an epoch only, as a torch scheduler that is stepped once
                an epoch does; else step 50 of 100 is epoch 0.5.
        """
        return CONSTRUCTORS["in_epochs"].make(self, steps_per_epoch, whole)

    def __mul__(self, other: Schedule | float) -> Schedule:
        return CONSTRUCTORS["times"].make(self, other)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return (self.name, self.arguments) == (other.name, other.arguments)

    def __hash__(self) -> int:
        return hash((self.name, *self.arguments.items()))

    def __repr__(self) -> str:
        given = list(self.arguments.items())
        if self.name == "times":
            left, right = (_operand(v) for _, v in given)
            return f"{left} * {right}"
        defaults = inspect.signature(CONSTRUCTORS[self.name].make).parameters
        words = [
            repr(v) if defaults[k].default is inspect.Parameter.empty else f"{k}={v!r}"
            for k, v in given
            if v != defaults[k].default
        ]
        if hasattr(Schedule, self.name):
            return f"{_operand(given[0][1])}.{self.name}({', '.join(words[1:])})"
        return f"{self.name}({', '.join(words)})"

    def to_dict(self) -> dict[str, Any]:
        """Name and arguments, as JSON can hold them; :func:`from_dict` makes it again."""
        return {"name": self.name, "arguments": {k: _json(v) for k, v in self.arguments.items()}}

    def __reduce__(self) -> tuple[Any, ...]:
        return from_dict, (self.to_dict(),)

    def plot(self, steps: float | None = None, axes: Axes | None = None) -> Figure:
        """A picture of the first steps, ``span`` unless told; in ``axes``, or on a new figure."""
        from thalweg.schedules.picture import figure

        return figure(self, steps, axes)


def constructor(
    latex: str = "", example: tuple[Any, ...] = ()
) -> Callable[[Callable[P, Course]], Callable[P, Schedule]]:
    """A decorator that makes a constructor of a function that gives back a :class:`Course`.

    The function's name becomes the schedule's, under which :func:`from_dict` and ``thalweg list``
    find it; its arguments are numbers, strings, sequences of numbers, None, or schedules. It checks
    them itself.

    Args:
        latex: the formula of the value at step t, for ``thalweg explain``.
        example: arguments of the schedule in its picture; without them it is not listed.
    """

    def decorate(make: Callable[P, Course]) -> Callable[P, Schedule]:
        name, signature = make.__name__, inspect.signature(make)

        @functools.wraps(make)
        def construct(*args: P.args, **kwargs: P.kwargs) -> Schedule:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            for k, v in given.arguments.items():
                given.arguments[k] = _plain(v)
            value, length, span, last = make(*given.args, **given.kwargs)
            if last is None and length is not None:
                last = float(value(length))
            arguments = MappingProxyType(dict(given.arguments))
            return Schedule(name, arguments, length, last, span, value)

        shown = signature.replace(return_annotation=Schedule)
        construct.__signature__ = shown  # type: ignore[attr-defined]  # what help() shows
        known = CONSTRUCTORS.get(name)
        if known is not None and known.make.__module__ != make.__module__:
            raise ValueError(f"there is a schedule {name!r} already, in {known.make.__module__}")
        CONSTRUCTORS[name] = Entry(construct, latex, example)
        if example:
            SCHEDULES[name] = CONSTRUCTORS[name]
        return construct

    return decorate


def from_dict(given: Any) -> Schedule:
    """The schedule that ``to_dict`` told.

    Args:
        given: ``{"name": ..., "arguments": {...}}``; schedules among the arguments are such
            dictionaries, too.

    Raises:
        ValueError: there is no schedule of this name, an argument that it does not have, or one
            that it needs is missing.
    """
    if not isinstance(given, Mapping) or set(given) != {"name", "arguments"}:
        raise ValueError(f"a schedule is told by its name and its arguments, not by {given!r}")
    name, arguments = given["name"], given["arguments"]
    check_choice("the schedule's name", name, tuple(CONSTRUCTORS))
    make = CONSTRUCTORS[name].make
    signature = inspect.signature(make)
    for argument in arguments:
        check_choice(f"an argument of {name}", argument, tuple(signature.parameters))
    try:
        signature.bind(**arguments)
    except TypeError as e:
        raise ValueError(f"{name}: {e}") from None
    return make(**{k: from_dict(v) if isinstance(v, Mapping) else v for k, v in arguments.items()})


def _plain(value: Any) -> Any:
    """An argument as it is kept: Python's numbers, tuples for sequences."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return tuple(_plain(v) for v in value)
    if hasattr(value, "__float__") and not isinstance(value, int | float):
        return float(value)
    return value


def _json(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _operand(value: Any) -> str:
    """The code for a schedule or a number as part of a longer expression."""
    return f"({value!r})" if getattr(value, "name", "") == "times" else repr(value)
