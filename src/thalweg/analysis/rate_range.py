"""The learning-rate range test."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.analysis.endless import Data, check_data, endless
from thalweg.analysis.rate_curve import Curve, read, window
from thalweg.analysis.rate_range_result import RateRange, conclude
from thalweg.analysis.trainee import Forward, Trainee, check_bound
from thalweg.analysis.untouched import generators_kept, never_run
from thalweg.validation import DECAY, Interval, check, number

RATE = Interval(0.0, open_low=True)


def pair(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """For batches (inputs, targets): what a criterion such as ``nn.CrossEntropyLoss()`` takes."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(
            "data must give pairs (inputs, targets), or forward must tell how a batch is used; a "
            f"batch is {type(batch).__name__}"
        )
    inputs, targets = batch
    return model(inputs), targets


def rate_range_test(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., Tensor],
    data: Data,
    *,
    start: float = 1e-6,
    stop: float = 100.0,
    steps: int = 200,
    seeds: int = 3,
    smoothing: float = 0.9,
    forward: Forward = pair,
) -> RateRange:
    """Which learning rate to train with: let the rate grow exponentially from step to step, and see
    where the loss falls and where it rises again.

    ::

        rate_k = start (stop / start)^(k / (steps - 1))         one step of the optimizer with each
        s_k <- smoothing s_(k-1) + (1 - smoothing) loss_k       loss_k: after step k, its own batch
        smoothed_k = s_k / (1 - smoothing^(k + 1))
        suggested: a tenth of the rate where smoothed is least

    A sweep ends early where the smoothed loss has lost half of its descent, or is not finite. The
    answer is the geometric mean over the sweeps, with a t interval; where one of them cannot tell,
    because the loss does not fall by more than chance or not within the range, neither can it.

    Everything stays as it is, bit by bit, however the test ends: sweeps train deep copies, made
    together, of model, optimizer and loss; random generators (of torch on CPU and CUDA, NumPy,
    Python, and those that model, data, loss and forward hold) are put back. It takes the memory of
    a second model and optimizer with their gradients.

    How good the answer is was measured on the digits, with a perceptron (10 epochs) and with a
    convolutional net with BatchNorm and dropout (3 epochs), for 15 optimizers each. Training at the
    suggested rate came to within 0.4 (median; at worst 2.8) points of the best accuracy among nine
    rates in half decades. It is a cautious rate: 0.5 times the middle of those that come within
    half a point of the best (80 % of cases: 0.12 to 2.4 times). ``largest`` is 1.3 times the rate
    above which training fails (0.6 to 3.5). The rate of steepest descent of the same curve lost 10
    points on average for the perceptron, as it lies too high for some. All this with 25 steps per
    decade, as by default; with fewer the rate comes out higher. On losses that do not depend on the
    rate, 0.1 to 0.5 % of sweeps name one.

    Args:
        model: what is trained, as it is: weights and optimizer state are where sweeps start. If it
            is in evaluation mode its copies are put into training mode; else each module's own mode
            (a frozen BatchNorm's) is kept.
        optimizer: over the model's parameters, or the loss's. Groups with different rates keep
            their proportions, and rates are those of the group with the largest.
        loss: called with what ``forward`` gives; returns one number as a tensor.
        data: a DataLoader, a list of batches (taken in an order of its own by each sweep), or a
            function that gives an iterator. It is taken anew for each sweep, and again whenever it
            ends. On the model's device.
        start: the smallest rate, above 0; units of ``lr``.
        stop: the largest rate, above start.
        steps: of a sweep, at least twice ``1 / (1 - smoothing)``.
        seeds: how many sweeps, at least 1. They differ by what generators give: the order of the
            batches, dropout. One alone says nothing about how sure it is.
        smoothing: share of the old mean that is kept, from 0 to below 1.
        forward: of model and batch, to the arguments of ``loss``, a tuple. By default batches are
            pairs and loss is called as ``loss(model(inputs), targets)``; ``lambda m, b: (m, b)``
            leaves everything to loss.

    What the copies lack: hooks on tensors and on the optimizer, and what a training loop does
    beside ``backward`` and ``step``, such as clipping (but ``max_grad_norm`` is the optimizer's).

    Raises:
        ValueError: an argument is out of bounds; the optimizer has no ``lr`` or other parameters;
            model or optimizer cannot be copied; data is empty; the loss is not one number, not
            finite at the smallest rate, or computed with the original model.
        TypeError: data can be used only once, or an argument is of the wrong kind.

    Reference: Smith 2017, WACV, arXiv:1506.01186, section 3.3. Bias-corrected smoothing and the
    stop at divergence are fastai's.
    """
    smoothing = number("smoothing", smoothing)
    rates = _rates(number("start", start), number("stop", stop), steps, smoothing)
    _whole("seeds", seeds)
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds}")
    for name, what in (("loss", loss), ("forward", forward)):
        if not callable(what):
            raise TypeError(f"{name} must be a function, not {what!r}")
    check_data(data)
    check_bound(model, optimizer, loss)
    sweeps = []
    holders = model, data, loss, forward
    with generators_kept(*holders) as reseed, never_run(model), torch.enable_grad():
        for seed in range(seeds):
            reseed(seed)
            curve = Curve(smoothing)
            _sweep(Trainee(model, optimizer, loss, forward), data, rates, curve)
            sweeps.append(read(seed, rates, curve))
    return conclude(sweeps, math.log10(rates[1] / rates[0]))


class _Diverged(Exception):
    """Raised from within a step, so that none is made with such a loss."""


def _sweep(trainee: Trainee, data: Data, rates: list[float], curve: Curve) -> None:
    """Train with each rate in turn, and give the curve the losses."""
    batch: Any = None
    fresh = True  # no loss of this batch yet

    def keep(value: Tensor) -> None:
        loss = float(value.detach())
        if not math.isfinite(loss) and len(curve.losses) < 2:
            raise ValueError(
                f"loss must be finite at the smallest rate, start={rates[0]:g}, but is {loss}"
            )
        curve.add(loss)
        if curve.diverged:
            raise _Diverged

    def closure() -> Tensor:
        nonlocal fresh
        trainee.optimizer.zero_grad()
        value = trainee.look(batch)
        if fresh:  # further ones, such as SAM's, are taken elsewhere
            if not curve.losses:
                trainee.check_own(value)
            keep(value)
            fresh = False
        value.backward()  # type: ignore[no-untyped-call]
        return value

    step: Any = trainee.optimizer.step  # torch's types want a closure that gives a float
    with closing(endless(data)) as batches:
        try:
            for rate in rates:
                batch, fresh = next(batches), True
                trainee.set_rate(rate)
                step(closure)
            with torch.no_grad():
                keep(trainee.look(next(batches)))
        except _Diverged:
            return


def _rates(start: float, stop: float, steps: Any, smoothing: float) -> list[float]:
    check("start", start, RATE)
    check("stop", stop, RATE)
    check("smoothing", smoothing, DECAY)
    if start >= stop:
        raise ValueError(f"start must be below stop, but they are {start:g} and {stop:g}")
    _whole("steps", steps)
    if steps < 2 * window(smoothing):
        raise ValueError(
            f"steps must be at least {2 * window(smoothing)} with smoothing={smoothing:g}, which "
            f"takes the mean of about {window(smoothing)} losses, not {steps}"
        )
    return [float(x) for x in np.geomspace(start, stop, steps)]


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
