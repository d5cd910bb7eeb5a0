"""How a module of moves keeps its table."""

from __future__ import annotations


class Skip(Exception):
    """A move does not apply to things as they are."""


def move(table, may, torch=True):
    """A decorator that enters a move into a table; ``may`` and ``torch`` are as in ``Move``."""

    def enter(function):
        table[function.__name__] = function, may, torch
        return function

    return enter
