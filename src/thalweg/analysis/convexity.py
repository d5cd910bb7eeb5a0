"""Is a function convex on a box? A proof, a witness against it, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from thalweg.analysis import batched, hidden
from thalweg.analysis.batched import Box
from thalweg.analysis.curvature_rules import prove
from thalweg.analysis.derivatives import Function
from thalweg.analysis.witnesses import (
    ROUNDS,
    Chord,
    Curvature,
    Points,
    along,
    bends,
    bent,
    broken,
    chords,
)
from thalweg.problems.landscapes import Landscape


@dataclass(frozen=True)
class Convexity:
    """What has been found out about a function on a box."""

    kind: Literal["convex", "concave"]
    domain: Box
    tries: int  # chords and points looked at; 0 if there is a proof
    witness: Chord | Curvature | None
    proof: str  # empty if there is none

    @property
    def holds(self) -> bool | None:
        """True: proved. False: there is a witness. None: neither."""
        return True if self.proof else False if self.witness else None

    @property
    def verdict(self) -> str:
        if self.holds is None:
            return f"no counter-example in {self.tries} tries"
        return f"{self.kind} (proved)" if self.holds else f"not {self.kind} (witness)"

    def __repr__(self) -> str:
        reason = self.proof or self.witness
        return f"<{self.verdict}: {reason}>" if reason else f"<{self.verdict}>"


def convexity(
    f: Function | str,
    domain: Any = None,
    tries: int = 10_000,
    seed: int = 0,
    *,
    concave: bool = False,
) -> Convexity:
    """Prove that ``f`` is convex on a box, or look for a witness against it.

    A proof is looked for in a landscape's or a formula's tree, by
    :mod:`thalweg.analysis.curvature_rules`; a function that cannot be read has none. A witness is a
    chord that the function rises above, ``f(t x1 + (1-t) x2) > t f(x1) + (1-t) f(x2)``, or else a
    direction of negative curvature. It counts only beyond what rounding may do, which is measured
    on the function itself (:mod:`thalweg.analysis.rounding`, with a margin of 64): 1e-15 for
    ``x^2``, 1e-6 for ``(1e8 + x^2) - 1e8``.

    Args:
        f: a landscape, a formula's text, or a function of a tensor [d] to one number.
        domain: d pairs, lower and upper end for each variable; None: the landscape's own.
        tries: how many chords and points to look at, at least 1: three chords to a point. The
            points close in on those that bend the most the wrong way.
        seed: of the search. No global generator is touched.
        concave: ask for concave instead.

    Returns:
        A :class:`Convexity`, whose verdict is "convex (proved)", "not convex (witness)" or
        "no counter-example in N tries", which is no proof.

    Raises:
        ValueError: f is NaN or infinite at one of the points looked at, those of the search and,
            on top of the tries, ends, middle and zero of the intervals.
    """
    f, box = batched.function(f, domain)
    batched.whole("tries", tries)
    kind: Literal["convex", "concave"] = "concave" if concave else "convex"
    if isinstance(f, Landscape) and (proof := prove(f, box, concave)):
        return Convexity(kind, box, 0, None, proof)
    raw = batched.values(f)
    g: Points = (lambda x: -raw(x)) if concave else raw
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        marks = batched.marks(box, torch.Generator().manual_seed(seed))
        batched.need_finite(marks, raw(marks))
    coarsest = batched.coarsest(f, box)
    points = max(1, min(tries // 4, ROUNDS * batched.room(len(box))))
    witness: Chord | Curvature | None = None
    if tries > points:
        witness = broken(g, *chords(box, tries - points, generator), coarsest)
    if witness is None:
        x, v = bends(g, box, points, generator)
        with torch.no_grad():  # derivatives may be finite where values are not: log(-1)
            batched.need_finite(x, g(x))
        witness = broken(g, *along(x, v, box), coarsest)
        if witness is None and not hidden.on_box(f, box, coarsest):
            witness = bent(g, x, v, box, coarsest)
    if concave and isinstance(witness, Curvature):
        witness = Curvature(witness.x, witness.direction, -witness.value, witness.bound)
    return Convexity(kind, box, tries, witness, "")


def concavity(
    f: Function | str, domain: Any = None, tries: int = 10_000, seed: int = 0
) -> Convexity:
    """As :func:`convexity`, for concave functions."""
    return convexity(f, domain, tries, seed, concave=True)
