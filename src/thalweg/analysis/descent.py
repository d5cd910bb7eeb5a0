"""What is kept of a descent, and what can be told from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.validation import NON_NEGATIVE, check, number


@dataclass(frozen=True, eq=False)
class Descent:
    """A descent of n steps in d dimensions; index k of each is what there was after k steps.

    A descent that diverged ends with the last point whose loss was finite: everything here is
    finite but, at most, the last gradient's norm. ``diverged_at`` is the number of the step, from
    1 on, that led beyond, which is always ``n + 1``; None if all steps asked for were made.
    """

    points: Tensor  # [n + 1, d]
    losses: Tensor  # [n + 1], of the function itself, whatever noise there was
    gradient_norms: Tensor  # [n + 1], Euclidean, likewise
    states: tuple[dict[str, Tensor], ...]  # n + 1, the optimizer's by name; most start empty
    rates: tuple[float, ...]  # n learning rates, that of step k at k - 1
    diverged_at: int | None

    @property
    def steps(self) -> int:
        """How many steps are recorded: n."""
        return len(self.rates)

    def __repr__(self) -> str:
        end = ", ".join(f"{x:.6g}" for x in self.points[-1].tolist())
        how = "" if self.diverged_at is None else f", diverged at step {self.diverged_at}"
        return f"<Descent of {self.steps} steps to ({end}), loss {self.losses[-1]:.6g}{how}>"

    def distances(self, center: Any) -> Tensor:
        """Euclidean distance of every point from ``center``, shape [n + 1]."""
        to = torch.as_tensor(center, dtype=self.points.dtype, device=self.points.device)
        if to.shape != self.points.shape[1:]:
            raise ValueError(
                f"center must have {self.points.shape[1]} coordinates, not shape {tuple(to.shape)}"
            )
        distances: Tensor = torch.linalg.vector_norm(self.points - to, dim=1)
        return distances

    def steps_to_escape(self, center: Any, radius: float) -> int | None:
        """After how many steps the distance from ``center``, such as a saddle, first exceeds
        ``radius``; None if it never does. Divergence counts as an escape."""
        radius = number("radius", radius)
        check("radius", radius, NON_NEGATIVE)
        found = _first(self.distances(center) > radius)
        return self.diverged_at if found is None else found

    def steps_to(
        self, *, loss: float | None = None, gradient_norm: float | None = None
    ) -> int | None:
        """After how many steps the loss, or the gradient's norm, is first at or below a value; give
        one of the two. None if it never is."""
        if (loss is None) == (gradient_norm is None):
            raise TypeError("steps_to needs either loss= or gradient_norm=")
        if loss is not None:
            return _first(self.losses <= number("loss", loss))
        return _first(self.gradient_norms <= number("gradient_norm", gradient_norm))


def _first(where: Tensor) -> int | None:
    found = where.nonzero()
    return int(found[0]) if len(found) else None
