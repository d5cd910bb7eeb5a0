"""What the rules of several algorithms have in common."""

from __future__ import annotations

from typing import Any

from thalweg.rule import sqrt
from thalweg.rule.words import named


def rectification(beta2: Any, step: Any) -> tuple[Any, Any]:
    """How many gradients there are in an average of squares, rho, and what to multiply a step by
    that is divided by its root, r, which is a number where rho is above 4 (Liu et al. 2020,
    arXiv:1908.03265, Algorithm 2)."""
    rho_max = named("rho_max", 2 / (1 - beta2) - 1)
    rho = named("rho", rho_max - 2 * step * beta2**step / (1 - beta2**step))
    r = sqrt((rho - 4) * (rho - 2) * rho_max / ((rho_max - 4) * (rho_max - 2) * rho))
    return rho, r
