"""One descent, with all that was on the way: what figures, the page and notebooks draw from."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from thalweg.analysis.batched import whole
from thalweg.analysis.derivatives import Function, function
from thalweg.analysis.derivatives import gradient as gradient_of
from thalweg.analysis.descent import Descent
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.registry import ALGORITHMS, Algorithm, find
from thalweg.problems.landscapes.noise import GradientNoise
from thalweg.validation import NON_NEGATIVE, Interval, check, check_choice, number

Noise = Callable[[Tensor, int, int], Tensor]

RATE = Interval(0.0, open_low=True)


def descend(
    f: Function | str,
    x0: Any,
    optimizer: str | Algorithm | Callable[..., torch.optim.Optimizer],
    lr: float | None = None,
    steps: int = 100,
    noise: float | Noise | None = None,
    seed: int = 0,
    *,
    schedule: Callable[[int], float] | None = None,
    averaged: bool = True,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> Descent:
    """Minimise ``f`` from ``x0`` and keep everything that was on the way.

    Args:
        f: a landscape, a formula's text, or any function of a tensor [d], written in torch
            operations, to one number.
        x0: where to start, d numbers; stays as it is.
        optimizer: a name in ``thalweg.optim.registry.ALGORITHMS`` or such an entry, which bring
            their fixed options; ``FILE.py:NAME``; an optimizer class of ours or torch's; or a
            function of the parameters that builds one, which takes no ``options``.
        lr: learning rate, above 0. None: the registry's customary rate, or else what the class or
            function has set.
        steps: how many, at least 1. Those of SAM take two gradients each, of LBFGS more.
        noise: what is done to every gradient that the optimizer sees. A number, at least 0: the
            standard deviation of normal noise, in units of the gradient. A function, such as
            ``GradientNoise``: of gradient, step (from 0 on) and seed, to the gradient with noise.
            Within a step, noise is the same: a step stands for a mini-batch.
        seed: of the noise, at least 0. No global generator is touched.
        schedule: factor of the learning rate by step, from 0 on; a ``thalweg.schedules`` schedule
            or any function.
        averaged: record the points to evaluate, where they differ from those that are trained: for
            Schedule-Free, the averages. False: record those that are trained.
        dtype: what is computed in.
        options: further options of the optimizer.

    Raises:
        ValueError: the start does not fit, the function is not finite there, or an argument is
            out of bounds. A bad option of an optimizer raises what its constructor does.
    """
    minimised = function(f)
    w = _start(minimised, x0, dtype)
    whole("steps", steps)
    disturb = _disturbing(noise)
    o = _built(optimizer, w, lr, options)
    if schedule is not None and not all("lr" in group for group in o.param_groups):
        raise ValueError(f"schedule needs an optimizer with a learning rate, not {o!r}")
    base = [group.get("lr", math.nan) for group in o.param_groups]
    seen: tuple[Tensor, Tensor, Tensor] | None = None  # a point, its loss and gradient

    def look() -> tuple[Tensor, Tensor]:
        nonlocal seen
        if seen is None or not torch.equal(seen[0], w):
            seen = (w.detach().clone(), *gradient_of(minimised, w))
        return seen[1:]

    def closure() -> Any:
        loss, gradient = look()
        gradient = gradient.clone()  # whoever writes to it must not change what is kept
        w.grad = gradient if disturb is None else disturb(gradient, step, seed)
        return loss

    def view() -> AbstractContextManager[None]:
        return o.averaged() if averaged and isinstance(o, RuleOptimizer) else nullcontext()

    points, losses, norms, states, rates = [], [], [], [], []
    diverged_at = None
    for step in range(steps + 1):
        with view():
            loss, gradient = look()
            if not loss.isfinite():
                diverged_at = step
                break
            points.append(w.detach().clone())
            losses.append(loss)
            norms.append(torch.linalg.vector_norm(gradient))
        states.append(_tensors(o.state.get(w, {})))
        if step == steps:
            break
        if schedule is not None:
            factor = number("what schedule gives", schedule(step))
            check(f"schedule({step})", factor, NON_NEGATIVE)
            for group, rate in zip(o.param_groups, base, strict=True):
                group["lr"] = rate * factor
        rates.append(float(o.param_groups[0].get("lr", math.nan)))
        o.step(closure)
    if diverged_at == 0:
        raise ValueError(f"f must be finite at x0, where it is {float(loss)}")
    return Descent(
        torch.stack(points),
        torch.stack(losses),
        torch.stack(norms),
        tuple(states),
        tuple(rates[: len(points) - 1]),
        diverged_at,
    )


def _start(f: Function, x0: Any, dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating one, not {dtype}")
    w = torch.as_tensor(x0, dtype=dtype).detach().clone()
    dim = getattr(f, "dim", None)
    if w.ndim != 1 or w.numel() == 0:
        raise ValueError(f"x0 must be one point of shape [d], not of shape {tuple(w.shape)}")
    if dim is not None and len(w) != dim:
        raise ValueError(f"x0 must have the function's {dim} coordinates, not {len(w)}")
    if not w.isfinite().all():
        raise ValueError(f"x0 must be finite, not {w.tolist()}")
    return w.requires_grad_()


def _disturbing(noise: float | Noise | None) -> Noise | None:
    return noise if noise is None or callable(noise) else GradientNoise(number("noise", noise))


def _built(
    optimizer: str | Algorithm | Callable[..., torch.optim.Optimizer],
    w: Tensor,
    lr: float | None,
    options: dict[str, Any],
) -> torch.optim.Optimizer:
    if lr is not None:
        lr = number("lr", lr)
        check("lr", lr, RATE)
    if isinstance(optimizer, str):
        if ".py:" not in optimizer:
            check_choice("optimizer", optimizer, tuple(ALGORITHMS))
        optimizer = find(optimizer)
    given: dict[str, Any] = {} if lr is None else {"lr": lr}
    if isinstance(optimizer, Algorithm):
        given = {"lr": optimizer.lr, **optimizer.options, **given}
        optimizer = optimizer.optimizer
    if isinstance(optimizer, type):
        if not issubclass(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be an optimizer's class, not {optimizer!r}")
        make: Any = optimizer  # every class has its own constructor
        made: torch.optim.Optimizer = make([w], **{**given, **options})
        return made
    if not callable(optimizer):
        raise TypeError(f"optimizer must be a name, a class or a function, not {optimizer!r}")
    if options:
        raise TypeError(f"options {sorted(options)} must go into the function that is optimizer")
    built = optimizer([w])
    if not isinstance(built, torch.optim.Optimizer):
        raise TypeError(f"optimizer must build a torch.optim.Optimizer, not {built!r}")
    for group in built.param_groups if lr is not None else ():
        if "lr" not in group:
            raise ValueError(f"lr={lr} cannot be given to {type(built).__name__}: it has none")
        group["lr"] = lr
    return built


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in state.items() if isinstance(v, Tensor)}
