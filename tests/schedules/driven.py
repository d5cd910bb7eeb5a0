"""What schedules drive in the tests: an optimizer of two groups, and a look at it."""

from __future__ import annotations

from optim.training import tensors
from thalweg import optim
from thalweg.schedules import cosine, linear

WARM = linear(0.1, 1, 3).then(cosine(5))


def two_groups(make=optim.SGD, **options):
    ps = tensors()
    return make([{"params": ps[:2]}, {"params": ps[2:], "lr": 0.02}], lr=0.1, **options)


def rates(optimizer, name="lr"):
    return [g[name] for g in optimizer.param_groups]


def walk(scheduler, steps):
    """The rate of each group at each step."""
    seen = [rates(scheduler.optimizer)]
    for _ in range(steps):
        scheduler.step()
        seen.append(rates(scheduler.optimizer))
    return seen
