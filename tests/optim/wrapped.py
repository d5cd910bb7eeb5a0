"""A trainer's wrapper around an optimizer, made as Lightning makes its own."""

from __future__ import annotations


def wrapped(optimizer):
    """An object of the optimizer's class that has a copy of its attributes, and whose step is the
    optimizer's, with a closure in any case."""

    class Wrapper(type(optimizer)):
        def step(self, closure=None):
            return optimizer.step(closure or (lambda: None))

    made = object.__new__(Wrapper)
    vars(made).update({k: x for k, x in vars(optimizer).items() if k != "step"})
    return made
