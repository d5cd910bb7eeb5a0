"""Every move: what users, trainers and sharding code do between steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optim.moves import on_gradients, on_groups, on_optimizers, on_parameters, on_state


@dataclass(frozen=True)
class Move:
    name: str
    function: Callable | None  # of (actor, label, random.Random)
    judged: Callable | None = None  # or of (world, seed): a move that steps
    # Whether the next steps may be refused, with a clear error: True, False, or None for
    # engine="fused" only, which may say that it is no engine for this.
    may: bool | None = False
    torch: bool = True  # whether torch is to be asked after it
    weight: float = 1.0


def steps(how, thread=False):
    return lambda world, seed: world.step(seed, how, thread)


_MODULES = (on_parameters, on_gradients, on_state, on_groups, on_optimizers)
MOVES = {
    m.name: m
    for m in (
        Move("step", None, steps("all"), weight=40),
        Move("step some", None, steps("some"), weight=8),
        Move("step as it is", None, steps("as they are"), weight=12),
        Move("step in another thread", None, steps("all", thread=True), weight=2),
        Move("average", None, lambda world, seed: world.average(seed), weight=4),
        Move("two threads", None, on_optimizers.two_threads, weight=1),
        *(
            Move(name.replace("_", " "), function, may=may, torch=torch)
            for module in _MODULES
            for name, (function, may, torch) in module.MOVES.items()
        ),
    )
}
