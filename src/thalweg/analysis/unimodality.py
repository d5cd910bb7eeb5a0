"""How many minima a function has, as far as can be found, and which starts lead to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from thalweg.analysis import batched, hidden
from thalweg.analysis.batched import Box
from thalweg.analysis.curvature_rules import prove
from thalweg.analysis.derivatives import Function
from thalweg.analysis.flow import Ends, Rest, flow
from thalweg.analysis.precision import need_32_bits
from thalweg.problems.landscapes import Landscape

SAME = 1e-4  # distance up to which two ends are one minimum, in units of the box
REACH = 0.1  # distance up to which flat ends of one value are one set, likewise
ALIKE = 1e-9  # difference of values up to which flat ends have one, in units of the starts' scale
SHOWN = 12  # minima in a repr, at most
KINDS: dict[int, Literal["minimum", "flat", "cusp"]] = {
    Rest.MINIMUM: "minimum",
    Rest.FLAT: "flat",
    Rest.CUSP: "cusp",
}


@dataclass(frozen=True)
class Minimum:
    """A local minimum that flows ended in."""

    x: tuple[float, ...]
    value: float
    # "minimum": all curvatures are positive. "flat": one is zero, to a relative 1e-7, or so small
    # that rounding moves the minimum by 1e-5 of the box, so that it may be one of many, such as a
    # valley's floor. "cusp": no derivative.
    kind: Literal["minimum", "flat", "cusp"]
    share: float  # of all starts, that lead to it: the size of its basin
    extent: float  # how far apart the ends were that are counted as it: the length of a flat set


@dataclass(frozen=True)
class Unimodality:
    """The minima found, the lowest first, by gradient flow from random starts."""

    domain: Box
    starts: int
    minima: tuple[Minimum, ...]
    left: float  # share of starts whose flow ended outside the box, or where f is not finite
    unsettled: float  # share of starts whose flow came to no end
    proof: str  # why the function is convex; empty if that is not proved

    @property
    def unimodal(self) -> bool | None:
        """True: there is a minimum, and the function is proved convex. False: there are several
        that are not flat. None: nothing is proved, as flat ones may be parts of one set."""
        if self.proof:
            return True if self.minima else None
        return False if self._apart > 1 else None

    @property
    def _apart(self) -> int:
        return sum(m.kind != "flat" for m in self.minima)

    @property
    def unseen(self) -> float:
        """Share of the box that probably leads to minima not found yet: that of minima seen by one
        start only (Good 1953, Biometrika 40)."""
        return sum(round(m.share * self.starts) == 1 for m in self.minima) / self.starts

    @property
    def verdict(self) -> str:
        if self.unimodal:
            return f"unimodal (proved: it is convex); the minimum is {self.minima[0].value:.6g}"
        n = len(self.minima)
        found = "no minimum" if n == 0 else "one minimum" if n == 1 else f"{n} minima"
        least = max(1, self._apart)
        if n > least:
            found = f"{least} to {n} minima (flat ones may be one)"
        text = f"{found} found from {self.starts} starts"
        for share, what in (
            (self.left, "left the box"),
            (self.unsettled, "came to no end"),
            (self.unseen, "of the box may lead to others"),
        ):
            text += f"; {100 * share:.3g} % {what}" if share else ""
        return text

    def __repr__(self) -> str:
        lines = [f"<{self.verdict}"]
        for m in self.minima[:SHOWN]:
            at = ", ".join(f"{c:.6g}" for c in m.x)
            long = f" (a set {m.extent:.2g} wide)" if m.kind == "flat" else ""
            lines.append(f"  {m.kind} ({at}){long}, value {m.value:.6g}: {100 * m.share:.3g} %")
        if len(self.minima) > SHOWN:
            lines.append(f"  and {len(self.minima) - SHOWN} more")
        return "\n".join(lines) + ">"


@dataclass(frozen=True, eq=False)
class Basins:
    """Which minimum gradient flow reaches, on a grid: what a basin map draws."""

    x: Tensor  # [n], the grid's first coordinates
    y: Tensor  # [n], its second ones
    labels: Tensor  # [n, n] of int64, row by row of y: an index into minima; -1: none
    minima: tuple[Minimum, ...]


def unimodality(
    f: Function | str, domain: Any = None, starts: int = 200, seed: int = 0
) -> Unimodality:
    """Look for local minima by gradient flow (:mod:`thalweg.analysis.flow`) from many starts.

    Flows may leave the box and come back; what rests outside is not counted as a minimum. Two
    ends are one minimum if they are within 1e-4 of the box. Flat ends of the same value are one
    set where they lie in a chain of links of at most 0.1 of the box.

    Args:
        f: a landscape, a formula's text, or a function of a tensor [d] to one number, twice
            differentiable but for kinks, in at least 32 bits.
        domain: d pairs, lower and upper end for each variable; None: the landscape's own.
        starts: how many, at least 1, uniform in the box. Minima whose basins are small need many:
            see ``Unimodality.unseen``.
        seed: of the starts. No global generator is touched.

    Raises:
        ValueError: f is finite at none of the starts.
        TypeError: f is not made of torch operations, hides its argument from autograd, or computes
            in 16 bits.
    """
    f, box = batched.function(f, domain)
    batched.need_gradient(f, box)
    batched.whole("starts", starts)
    _check_fit("starts", starts, starts, len(box))
    x0 = batched.uniform(box, starts, torch.Generator().manual_seed(seed))
    ends = flow(batched.values(f), x0, box, _precision(f, box))
    minima, labels = _minima(ends, box)
    proof = prove(f, box) if isinstance(f, Landscape) else ""
    moving = (ends.rest == Rest.MOVING) | (ends.rest == Rest.STUCK)
    unsettled = float(moving.double().mean())
    left = float(((labels < 0) & ~moving).double().mean())
    return Unimodality(box, starts, minima, left, unsettled, proof)


def basins(f: Function | str, domain: Any = None, resolution: int = 150) -> Basins:
    """The minimum that gradient flow reaches from each point of a grid over a box of two
    dimensions.

    Args:
        f: as for :func:`unimodality`.
        domain: likewise; two pairs.
        resolution: points along each side, at least 1.

    Raises:
        ValueError: the box has another dimension than two.
    """
    f, box = batched.function(f, domain)
    batched.need_gradient(f, box)
    batched.whole("resolution", resolution)
    if len(box) != 2:
        raise ValueError(f"domain must have two variables for a map, not {len(box)}")
    _check_fit("resolution", resolution, resolution**2, 2)
    x, y = (torch.linspace(*ends, resolution, dtype=torch.float64) for ends in box)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    x0 = torch.stack([columns.flatten(), rows.flatten()], 1)
    minima, labels = _minima(flow(batched.values(f), x0, box, _precision(f, box)), box)
    return Basins(x, y, labels.reshape(resolution, resolution), minima)


def _precision(f: Function, box: Box) -> float:
    """With which f computes, relative. Raises TypeError if no derivatives can be trusted."""
    dtype = batched.coarsest(f, box)
    eps = need_32_bits(dtype)
    hidden.refuse(hidden.on_box(f, box, dtype))
    return eps


def _check_fit(name: str, value: int, points: int, dim: int) -> None:
    if points > batched.room(dim):
        raise ValueError(
            f"{name} must be smaller than {value}: {points} points with their second derivatives "
            "do not fit into memory"
        )


def _minima(ends: Ends, box: Box) -> tuple[tuple[Minimum, ...], Tensor]:
    """The distinct minima, the lowest first, and each end's index among them, -1 for none."""
    low, high = torch.tensor(box, dtype=torch.float64).unbind(1)
    place = (ends.x - low) / (high - low)
    inside = ((place >= -SAME) & (place <= 1 + SAME)).all(1)
    settled = torch.zeros_like(inside)
    for kind in KINDS:
        settled |= ends.rest == kind
    left = (inside & settled).nonzero()[:, 0]
    left = left[ends.values[left].argsort(stable=True)]
    groups: list[Tensor] = []
    while len(left):
        flat = ends.rest[left] == Rest.FLAT
        mine = _of_one(place[left], ends.values[left] / (ends.scale or 1.0), flat)
        if ends.coarse:  # neither places nor values tell flat ends apart
            near = (place[left] - place[left[0]]).abs().amax(1) <= REACH
            mine |= flat & (near | flat[0]) | near & flat[0]
        groups.append(left[mine])
        left = left[~mine]
    labels = torch.full_like(ends.rest, -1)
    found = []
    for i, group in enumerate(groups):
        labels[group] = i
        x = ends.x[group]
        kinds = {KINDS[r] for r in ends.rest[group].tolist()}
        found.append(
            Minimum(
                tuple(x[0].tolist()),
                float(ends.values[group[0]]),
                next(iter(kinds)) if len(kinds) == 1 else "flat",
                len(group) / len(labels),
                float(torch.linalg.vector_norm(x.amax(0) - x.amin(0))),
            )
        )
    return tuple(found), labels


def _of_one(place: Tensor, values: Tensor, flat: Tensor) -> Tensor:
    """Which ends are the same minimum as the first, which is the lowest; places in units of the box
    and values in units of their scale."""
    mine: Tensor = (place - place[0]).abs().amax(1) <= SAME
    if not flat[0]:
        return mine
    alike = flat & (values - values[0] <= ALIKE)
    # From link to link, on a grid as coarse as the chain allows to keep them few.
    unique: Any = torch.unique  # has no types
    cells, cell = unique((place[alike] / (REACH / 2)).floor(), dim=0, return_inverse=True)
    reached = torch.zeros(len(cells), dtype=torch.bool)
    new = reached.clone()
    new[cell[0]] = True
    while new.any():
        reached |= new
        near = (torch.cdist(cells, cells[new], p=torch.inf) <= 2).any(1)
        new = near & ~reached
    mine[alike.nonzero()[:, 0][reached[cell]]] = True
    return mine
