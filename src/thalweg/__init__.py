"""Gradient descent for PyTorch: from the update rule on paper to the fused kernel.

``import thalweg`` loads nothing; ``thalweg.optim`` and its siblings are loaded when asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg import analysis, lab, optim, problems, schedules

__all__ = ["analysis", "lab", "optim", "problems", "schedules"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"thalweg.{name}")
    raise AttributeError(f"module 'thalweg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
