"""A stretch of code that leaves no trace in random generators and never runs a given model."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

LARGE = 1000  # entries; in larger collections are data, and nobody keeps a generator
# What holds no generator, or (classes, modules) is not one user's own.
OPAQUE = (type, ModuleType, torch.Tensor, np.ndarray, str, bytes, int, float)


@dataclass(frozen=True)
class Stream:
    """A random generator: how its state is read, written, and set from a seed."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    seed: Callable[[int], Any]


@contextmanager
def generators_kept(*holders: Any) -> Generator[Callable[[int], None]]:
    """A context behind which random generators are, bit by bit, where they were before, also when
    it is left by an exception: torch's for the CPU and for CUDA devices, NumPy's and Python's
    global ones, and those that the ``holders`` (data loaders, functions) hold.

    Gives a function that sets all of them from a seed, at least 0.
    """
    streams = list(_streams(holders))
    before = [s.read() for s in streams]

    def seed(number: int) -> None:
        for s in streams:
            s.seed(number)

    try:
        yield seed
    finally:
        for s, state in zip(streams, before, strict=True):
            s.write(state)


@contextmanager
def never_run(model: nn.Module) -> Generator[None]:
    """A context in which a call of the model or one of its modules raises, before it changes
    anything such as the statistics of a BatchNorm layer."""
    live = set(map(id, model.modules()))

    def refuse(module: nn.Module, inputs: Any) -> None:
        del inputs
        if id(module) in live:
            raise ValueError(
                "data, forward and loss must not run the original model: forward is given a copy"
            )

    hook = register_module_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def _streams(holders: Iterable[Any]) -> Iterator[Stream]:
    # NumPy's global functions are those of a generator that it does not name.
    yield Stream(np.random.get_state, np.random.set_state, np.random.seed)
    yield Stream(random.getstate, random.setstate, random.seed)
    # Unlike torch.manual_seed, this leaves alone CUDA devices that nobody has used yet.
    everywhere = (torch.default_generator, *torch.cuda.default_generators)
    for x in _reachable([*everywhere, *holders]):
        match x:
            case torch.Generator():
                yield Stream(x.get_state, x.set_state, x.manual_seed)
            case np.random.BitGenerator():
                write = partial(setattr, x, "state")
                yield Stream(partial(getattr, x, "state"), write, partial(_reseed, x))
            case np.random.RandomState():
                yield Stream(x.get_state, x.set_state, x.seed)
            case random.Random() if not isinstance(x, random.SystemRandom):
                yield Stream(x.getstate, x.setstate, x.seed)


def _reseed(x: np.random.BitGenerator, number: int) -> None:
    x.state = type(x)(number).state


def _reachable(start: Iterable[Any]) -> Iterator[Any]:
    """Every object that can be reached from these, once."""
    seen: dict[int, Any] = {}  # holds on to them: an id must not be given anew
    waiting = list(start)
    while waiting:
        x = waiting.pop()
        if id(x) not in seen and not isinstance(x, OPAQUE):
            seen[id(x)] = x
            yield x
            waiting += _inside(x)


def _inside(x: Any) -> Iterable[Any]:
    match x:
        case Mapping() | list() | tuple() | set() | frozenset() if len(x) > LARGE:
            return ()
        case dict():
            return x.values()
        case list() | tuple() | set() | frozenset():
            return x
        case np.random.Generator():
            return (x.bit_generator,)
        case MethodType():
            return (x.__self__, x.__func__)
        case partial():
            return (x.func, *x.args, *x.keywords.values())
        case FunctionType():
            return _of_function(x)
    return vars(x).values() if hasattr(x, "__dict__") else ()


def _of_function(f: FunctionType) -> Iterator[Any]:
    yield from (f.__defaults__ or ())
    yield from (f.__kwdefaults__ or {}).values()
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that has not been given a value yet
            continue
    # A loader in a notebook is a global. Other functions' globals would lead into libraries.
    for name in _names(f.__code__):
        x = f.__globals__.get(name)
        if not isinstance(x, FunctionType):
            yield x


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for x in code.co_consts:
        if isinstance(x, CodeType):
            yield from _names(x)
