"""Landscapes of many minima, whose points follow from a few by symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from thalweg.problems.landscapes.landscape import Kind, Landscape, Point


def _sums(critical: Sequence[tuple[Kind, float, float]]) -> tuple[Point, ...]:
    """The points of g(x) + g(y), from kind, place and value of those of g; the first is the global
    minimum."""
    return tuple(
        Point(
            kind=kind if kind == other else "saddle",
            x=(x, y),
            value=value + another,
            is_global=(kind, x) == (other, y) == critical[0][:2],
        )
        for (kind, x, value), (other, y, another) in product(critical, repeat=2)
    )


def _mirrored(kind: Kind, x: float, y: float, value: float) -> tuple[Point, ...]:
    """A point and its images, where signs and order of the coordinates make no difference."""
    places = {(s * a, t * b) for a, b in ((x, y), (y, x)) for s in (1, -1) for t in (1, -1)}
    return tuple(Point(kind, (a + 0.0, b + 0.0), value) for a, b in sorted(places))


def _both(kind: Kind, x: float, y: float, value: float, is_global: bool = False) -> list[Point]:
    """A point and its image in the origin."""
    return [Point(kind, (s * x, s * y), value, is_global) for s in (1, -1)]


RUGGED = (
    Landscape(
        name="ackley",
        title="Ackley",
        about="a funnel full of small pits; the global minimum is a cusp, where no gradient "
        "exists, and the points listed are those nearest to it out of very many",
        formula="-20*exp(-0.2*sqrt((x^2 + y^2)/2)) - exp((cos(2*pi*x) + cos(2*pi*y))/2) + e + 20",
        variables=("x", "y"),
        domain=((-5.0, 5.0), (-5.0, 5.0)),
        points=(
            Point("cusp", (0.0, 0.0), 0.0, is_global=True, degenerate=True),
            *_mirrored("minimum", 0.9521665459501717, 0.0, 2.579927557029872),
            *_mirrored("minimum", 0.9684776587077244, 0.9684776587077244, 3.57445187725768),
            *_mirrored("saddle", 0.6257806168564638, 0.0, 3.2524692451131805),
            *_mirrored("saddle", 0.8747620388753442, 0.5774125352782147, 4.5587771352999855),
            *_mirrored("maximum", 0.6730965201107377, 0.6730965201107377, 4.608932401890219),
        ),
        starts=((4.0, 3.0), (-2.5, 1.5)),
        convex_on=((-0.1, 0.1), (-0.1, 0.1)),
        unimodal_on=((-0.4, 0.4), (-0.4, 0.4)),
        source="Ackley 1987, A Connectionist Machine for Genetic Hillclimbing",
    ),
    Landscape(
        name="rastrigin",
        title="Rastrigin",
        about="a bowl under an egg box: 121 minima in the domain, of which the inner 9 are listed",
        formula="20 + x^2 + y^2 - 10*(cos(2*pi*x) + cos(2*pi*y))",
        variables=("x", "y"),
        domain=((-5.12, 5.12), (-5.12, 5.12)),
        points=_sums(
            (
                ("minimum", 0.0, 0.0),
                ("minimum", 0.9949586376523348, 0.9949590570932914),
                ("minimum", -0.9949586376523348, 0.9949590570932914),
                ("maximum", 0.5025460365546747, 20.251272990990113),
                ("maximum", -0.5025460365546747, 20.251272990990113),
            )
        ),
        starts=((4.2, 3.3), (-1.7, 2.6)),
        convex_on=((-0.25, 0.25), (-0.25, 0.25)),
        unimodal_on=((-0.5, 0.5), (-0.5, 0.5)),
        source="Rastrigin 1974, Systems of Extremal Control (in Russian)",
    ),
    Landscape(
        name="styblinski-tang",
        title="Styblinski–Tang",
        about="four wells of different depth, a sum of two quartics in one variable",
        formula="(x^4 - 16*x^2 + 5*x + y^4 - 16*y^2 + 5*y)/2",
        variables=("x", "y"),
        domain=((-5.0, 5.0), (-5.0, 5.0)),
        points=_sums(
            (
                ("minimum", -2.903534027771177, -39.16616570377141),
                ("minimum", 2.746802770990837, -25.02944665528394),
                ("maximum", 0.1567312567803401, 0.19561235905535806),
            )
        ),
        starts=((4.0, 4.0), (0.0, 0.0)),
        complete=True,
        convex_on=((-5.0, -1.64), (-5.0, -1.64)),  # where both |x| and |y| are above sqrt(8/3)
        unimodal_on=((-5.0, 0.0), (-5.0, 0.0)),
        source="Styblinski & Tang 1990, Neural Networks 3(4)",
    ),
    Landscape(
        name="six-hump-camel",
        title="Six-hump camel",
        about="six minima in three pairs, of which one pair is the lowest",
        formula="(4 - 2.1*x^2 + x^4/3)*x^2 + x*y + (-4 + 4*y^2)*y^2",
        variables=("x", "y"),
        domain=((-3.0, 3.0), (-2.0, 2.0)),
        points=(
            *_both("minimum", 0.08984201310031806, -0.7126564030207396, -1.0316284534898774, True),
            *_both("minimum", 1.703606714969981, -0.7960835686726251, -0.21546382438371764),
            *_both("minimum", 1.6071047529201972, 0.5686514548841314, 2.1042503103112584),
            Point("saddle", (0.0, 0.0), 0.0),
            *_both("saddle", 1.1092053368047865, -0.7682680925095399, 0.5437186009781851),
            *_both("saddle", 1.6380679841897785, 0.22867406904439408, 2.2293571975307147),
            *_both("saddle", 1.2960702671671092, 0.6050843880386585, 2.22947081802986),
            *_both("maximum", 1.2302298765166526, 0.16233458445899496, 2.496295351023577),
        ),
        starts=((-2.0, 1.5), (2.0, 1.0)),
        complete=True,
        convex_on=((-0.3, 0.5), (-1.5, -0.45)),
        unimodal_on=((-0.3, 0.5), (-1.5, -0.45)),
        source="Dixon & Szegő 1978, Towards Global Optimisation 2",
    ),
)
