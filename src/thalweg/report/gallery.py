"""The figures of descents by name: what each shows, and what it shows if nothing else is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import torch

from thalweg.analysis import descend
from thalweg.analysis.descend import RATE
from thalweg.lab.names import known
from thalweg.optim.registry import ALGORITHMS, Algorithm
from thalweg.problems.landscapes import (
    LANDSCAPES,
    FormulaError,
    GradientNoise,
    Landscape,
    landscape,
    parse,
    quadratic,
)
from thalweg.report import animation, descents, landscapes, surface
from thalweg.report.basins import basin_map
from thalweg.report.film import Film
from thalweg.report.ground import within
from thalweg.report.runs import Run, best, diverged, how, rate_too_large, runs
from thalweg.validation import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMOUS = ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam")
FEW = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
SLOW = 30  # how many times smaller than the best a rate is that is shown as too small
BATCH = 10  # samples of a mini-batch
ASIDE = (-0.75, 0.6)  # a formula's start from the middle to the edge; no diagonal, no axis
SPREAD = 0.25  # a sample's noise by the length of the first gradient


@dataclass(frozen=True)
class Order:
    """What is to be drawn."""

    f: Landscape
    start: tuple[float, ...]
    algorithms: tuple[Algorithm, ...]
    steps: int
    rates: tuple[float, ...] | None  # None: those that serve best


@dataclass(frozen=True)
class Entry:
    """A named figure, and what it draws by default."""

    name: str
    about: str
    draw: Callable[[Order], Figure | Film]
    landscape: Landscape
    optimizers: tuple[str, ...] = ()  # none: it shows the landscape alone
    steps: int = 0
    start: tuple[float, ...] | None = None  # None: the landscape's first
    moving: bool = False  # a film
    single: bool = False  # of one algorithm


def _raced(figure: Callable[..., Figure | Film]) -> Callable[[Order], Figure | Film]:
    """A figure of each algorithm's descent at its best rate, or at one for all."""

    def draw(o: Order) -> Figure | Film:
        rate = None if o.rates is None else o.rates[0]
        found = runs(o.f, o.start, o.algorithms, o.steps, rate)
        caption = f"{o.steps} steps. {how(o.f, found, rate)} {diverged(found)}"
        return figure(o.f, found, caption.strip())

    return draw


def _basins(o: Order) -> Figure:
    return basin_map(o.f)


def _rates(o: Order) -> Figure:
    [a] = o.algorithms
    if o.rates is None:
        right = best(o.f, o.start, a, o.steps, leaps=True).rate
        chosen = {
            "too small": right / SLOW,
            "right": right,
            "too large": rate_too_large(o.f, o.start, a, o.steps, right),
        }
        caption = (
            f"Right is the best in half decades; too small a {SLOW}th of it; too large the least "
            "found at which the loss ends above where it began."
        )
    else:
        chosen, caption = {f"learning rate {r:g}": r for r in o.rates}, ""
    found = [Run(a, r, descend(o.f, o.start, a, r, o.steps)) for r in chosen.values()]
    titles = [name if o.rates else f"{name}: {r:.3g}" for name, r in chosen.items()]
    caption = f"{o.steps} steps. {caption} {diverged(found, list(chosen))}"
    return descents.panels(o.f, found, titles, " ".join(caption.split()))


def _noise(o: Order) -> Figure:
    [a] = o.algorithms
    rate = best(o.f, o.start, a, o.steps).rate if o.rates is None else o.rates[0]
    sigma = SPREAD * float(torch.linalg.vector_norm(o.f.gradient(o.start)))
    noises = {
        "batch: no noise": None,
        f"mini-batch of {BATCH}": GradientNoise(sigma, BATCH),
        "single sample": GradientNoise(sigma),
    }
    found = [Run(a, rate, descend(o.f, o.start, a, rate, o.steps, n)) for n in noises.values()]
    caption = (
        f"Learning rate {rate:.3g} in all. A sample's gradient has normal noise of standard "
        f"deviation {sigma:.3g} in each coordinate, a quarter of the first gradient's length; the "
        f"mean of {BATCH} has {sigma / math.sqrt(BATCH):.3g}. {diverged(found, list(noises))}"
    )
    return descents.panels(o.f, found, list(noises), caption.strip())


BEALE, ROSENBROCK, SADDLE = map(landscape, ("beale", "rosenbrock", "saddle"))
AWAY = (1.0, 1.5)  # on Beale's, from where the ways part

FIGURES: dict[str, Entry] = {
    e.name: e
    for e in (
        Entry(
            "contour-race", "a film: into a valley, on its contours",
            _raced(animation.contour_race), BEALE, FAMOUS, 120, start=AWAY, moving=True,
        ),
        Entry(
            "saddle-race", "a film: off a saddle, seen from the side",
            _raced(animation.saddle_race), SADDLE, FAMOUS, 120, moving=True,
        ),
        Entry(
            "contours", "paths on a landscape's contours",
            _raced(landscapes.contours), ROSENBROCK, FEW, 100,
        ),
        Entry(
            "surface", "paths on a landscape seen from the side",
            _raced(surface.surface), ROSENBROCK, FEW, 100,
        ),
        Entry("basins", "which starts lead to which minimum", _basins, landscape("himmelblau")),
        Entry("loss", "loss against step", _raced(descents.loss), ROSENBROCK, FEW, 100),
        Entry(
            "rates", "a learning rate too small, right, too large",
            _rates, quadratic(10), ("sgd",), 40, start=(9.0, 3.0), single=True,
        ),
        Entry(
            "noise", "the whole batch, mini-batches, single samples",
            _noise, quadratic(10), ("sgd",), 80, start=(9.0, 6.0), single=True,
        ),
        Entry(
            "effective-step", "the learning rate that each coordinate gets",
            _raced(descents.effective_steps), quadratic(30), FEW, 80,
        ),
    )
}  # fmt: skip


def order(
    name: str,
    on: str | Landscape | None = None,
    optimizers: Sequence[Algorithm] | None = None,
    steps: int | None = None,
    rates: Sequence[float] | None = None,
    start: Sequence[float] | None = None,
) -> tuple[Entry, Order]:
    """Check what is asked for; None is the figure's own.

    Args:
        name: one of `FIGURES`.
        on: a landscape, its name, or a formula.
        optimizers: at least one; exactly one for ``rates`` and ``noise``.
        steps: at least 1.
        rates: one learning rate for all, instead of each one's best; two to four for ``rates``.
        start: coordinates in the domain; by default the landscape's own, and on a formula
            -0.75, 0.6 (and so on) of the way from the domain's middle to its edge: (-3.75, 3).

    Raises:
        ValueError: an argument does not fit the figure; the message names it.
    """
    entry = FIGURES[known("figure", name, FIGURES)]
    f = entry.landscape if on is None else on
    if isinstance(f, str):
        f = _landscape(f)
    if f.dim != 2 and entry.name != "loss":
        raise ValueError(f"landscape must have 2 variables for {name}, {f.name} has {f.dim}")
    if not entry.optimizers:
        given = {"optimizers": optimizers, "steps": steps, "lr": rates, "start": start}
        for argument, value in given.items():
            if value is not None:
                raise ValueError(f"{argument} has no meaning for {name}: it shows no descents")
        return entry, Order(f, (), (), 0, None)
    if start is None:
        own = f is entry.landscape and entry.start
        start = own or (f.starts[0] if f.starts else _aside(f))
    start = tuple(float(x) for x in start)
    if len(start) != f.dim or not within(f.domain, start):
        raise ValueError(f"start must be a point in {_box(f)}, not {_point(start)}")
    if optimizers is None:
        optimizers = [ALGORITHMS[a] for a in entry.optimizers]
    if not optimizers:
        raise ValueError("optimizers must name at least one")
    algorithms = tuple(optimizers)
    if entry.single and len(algorithms) != 1:
        raise ValueError(f"optimizers must be one for {name}, not {len(algorithms)}")
    steps = entry.steps if steps is None else steps
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    for rate in rates or ():
        check("lr", rate, RATE)
    most = 4 if entry.draw is _rates else 1
    if rates is not None and not most // 2 <= len(rates) <= most:
        many = "two to four" if most > 1 else "one rate"
        raise ValueError(f"lr must be {many} for {name}, not {len(rates)}")
    return entry, Order(f, start, algorithms, steps, None if rates is None else tuple(rates))


def _landscape(text: str) -> Landscape:
    """The landscape of this name, or of this formula."""
    if text.replace("-", "").isalpha():
        return LANDSCAPES[known("landscape", text, LANDSCAPES)]
    try:
        return parse(text)
    except FormulaError as e:
        raise ValueError(f"landscape {text!r}, character {e.place + 1}: {e.reason}") from None


def _aside(f: Landscape) -> tuple[float, ...]:
    """Where to begin on a landscape that has no start of its own."""
    sides = zip(f.domain, cycle(ASIDE))
    start = tuple((low + high) / 2 + share * (high - low) / 2 for (low, high), share in sides)
    if not math.isfinite(float(f(torch.tensor(start, dtype=torch.float64)))):
        raise ValueError(
            f"start must be given on {f.title}, as --start X,Y: it has none of its own, and is not "
            f"finite at {_point(start)}"
        )
    return start


def _box(f: Landscape) -> str:
    return " × ".join(f"[{low:g}, {high:g}]" for low, high in f.domain)


def _point(x: Sequence[float]) -> str:
    return f"({', '.join(f'{c:g}' for c in x)})"
