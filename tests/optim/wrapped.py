"""A trainer's wrapper around an optimizer, made as Lightning makes its own."""

from __future__ import annotations


def wrapped(optimizer):
    """An object of the optimizer's class that reads its attributes but keeps what is set on it, and
    whose step is the optimizer's, with a closure in any case."""

    class Wrapper(type(optimizer)):
        def __getattr__(self, name):
            return getattr(optimizer, name)

        def step(self, closure=None):
            return optimizer.step(closure or (lambda: None))

    return object.__new__(Wrapper)
