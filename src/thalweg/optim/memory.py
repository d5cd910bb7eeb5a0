"""What an optimizer's state takes, told before it is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, repr=False)
class Memory:
    """Bytes of state by parameter and by name, the names being those of ``optimizer.state``."""

    parameters: Mapping[Tensor, Mapping[str, int]]

    @property
    def states(self) -> dict[str, int]:
        """Bytes by the state's name, over all parameters."""
        found: dict[str, int] = {}
        for state in self.parameters.values():
            for name, size in state.items():
                found[name] = found.get(name, 0) + size
        return found

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.states.values())

    def __str__(self) -> str:
        weights = max(1, sum(p.numel() for p in self.parameters))
        rows = {**self.states, "total": self.total}
        width = max(map(len, rows))
        return "\n".join(
            f"{name:<{width}}  {size:>15,} bytes  {size / weights:>5.3g} per weight"
            for name, size in rows.items()
        )

    __repr__ = __str__  # what a notebook shows
