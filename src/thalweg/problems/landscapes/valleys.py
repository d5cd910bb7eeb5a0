"""Bowls and valleys: landscapes with one point of gradient zero, the minimum."""

from __future__ import annotations

import math

from thalweg.problems.landscapes.landscape import Landscape, Point

MORE = "Moré, Garbow & Hillstrom 1981, ACM TOMS 7(1)"
JAMIL = "Jamil & Yang 2013, arXiv:1308.4008"


def _spelt(value: float) -> str:
    """A number as a formula has it: every digit that counts, and no more."""
    return repr(float(value)).removesuffix(".0")


def quadratic(condition: float = 100.0, dim: int = 2, angle: float = 0.0) -> Landscape:
    """Half the sum of squares along the axes, the curvatures rising geometrically from 1.

    Args:
        condition: the Hessian's largest eigenvalue by its smallest, which is 1; at least 1.
        dim: the number of variables, from 2 to 100.
        angle: by how much the first axis is turned towards the last, in radians.
    """
    if not 1 <= condition < math.inf:
        raise ValueError(f"condition must be finite and at least 1, got {condition}")
    if dim not in range(2, 101):
        raise ValueError(f"dim must be a whole number from 2 to 100, got {dim}")
    if not math.isfinite(angle):
        raise ValueError(f"angle must be finite, got {angle}")
    names = ("x", "y", "z")[:dim] if dim <= 3 else tuple(f"x{i + 1}" for i in range(dim))
    axes = [f"{n}^2" for n in names]
    if angle:
        c, s = _spelt(math.cos(angle)), _spelt(math.sin(angle))
        axes[0] = f"({c}*{names[0]} + {s}*{names[-1]})^2"
        axes[-1] = f"({c}*{names[-1]} - {s}*{names[0]})^2"
    curvatures = [condition ** (i / (dim - 1)) for i in range(dim)]
    terms = [f"{_spelt(k)}*{a}" if k != 1 else a for k, a in zip(curvatures, axes, strict=True)]
    box = ((-10.0, 10.0),) * dim
    return Landscape(
        name="quadratic",
        title=f"Quadratic bowl, condition number {condition:g}",
        about="curvatures from 1 to the condition number: how far they lie apart decides how fast "
        "gradient descent can be",
        formula=f"({' + '.join(terms)})/2",
        variables=names,
        domain=box,
        points=(Point("minimum", (0.0,) * dim, 0.0, is_global=True),),
        starts=((9.0,) * dim,),
        complete=True,
        convex_on=box,
        unimodal_on=box,
        source="the bound ((κ-1)/(κ+1)) of every textbook",
    )


def rosenbrock(b: float = 100.0) -> Landscape:
    """Rosenbrock's banana.

    Args:
        b: how steep the valley's walls are, above 0.
    """
    if not 0 < b < math.inf:
        raise ValueError(f"b must be finite and above 0, got {b}")
    box = ((-2.0, 2.0), (-1.0, 3.0))
    return Landscape(
        name="rosenbrock",
        title="Rosenbrock's banana",
        about="a bent valley along y = x²: to get into it is easy, to follow it is slow",
        formula=f"(1-x)^2 + {_spelt(b)}*(y-x^2)^2",
        variables=("x", "y"),
        domain=box,
        points=(Point("minimum", (1.0, 1.0), 0.0, is_global=True),),
        starts=((-1.2, 1.0),),
        complete=True,
        # Convex where y <= x² + 1/(2b).
        convex_on=((1.0, 2.0), (-1.0, 1.0)),
        unimodal_on=box,
        source=f"Rosenbrock 1960, The Computer Journal 3(3); {MORE}, problem 1",
    )


VALLEYS = (
    quadratic(),
    Landscape(
        name="booth",
        title="Booth",
        about="a quadratic in disguise: two equations in two unknowns, by least squares",
        formula="(x + 2*y - 7)^2 + (2*x + y - 5)^2",
        variables=("x", "y"),
        domain=((-10.0, 10.0), (-10.0, 10.0)),
        points=(Point("minimum", (1.0, 3.0), 0.0, is_global=True),),
        starts=((-8.0, 8.0), (8.0, -8.0)),
        complete=True,
        convex_on=((-10.0, 10.0), (-10.0, 10.0)),
        unimodal_on=((-10.0, 10.0), (-10.0, 10.0)),
        source=JAMIL,
    ),
    Landscape(
        name="matyas",
        title="Matyas",
        about="a quadratic plate, its axes turned by 45° and its condition number 25",
        formula="0.26*(x^2 + y^2) - 0.48*x*y",
        variables=("x", "y"),
        domain=((-10.0, 10.0), (-10.0, 10.0)),
        points=(Point("minimum", (0.0, 0.0), 0.0, is_global=True),),
        starts=((-9.0, 4.0), (9.0, 7.0)),
        complete=True,
        convex_on=((-10.0, 10.0), (-10.0, 10.0)),
        unimodal_on=((-10.0, 10.0), (-10.0, 10.0)),
        source=JAMIL,
    ),
    rosenbrock(),
    Landscape(
        name="narrow-valley",
        title="Long narrow valley",
        about="a valley that winds along y = sin x, 2000 times as steep across as along: small "
        "steps creep, large ones bounce off its walls",
        formula="10*(y - sin(x))^2 + 0.02*x^2",
        variables=("x", "y"),
        domain=((-8.0, 8.0), (-3.0, 3.0)),
        points=(Point("minimum", (0.0, 0.0), 0.0, is_global=True),),
        starts=((-7.0, 2.0), (7.0, -2.0)),
        complete=True,
        # Convex where sin x (sin x - y) <= 0.002.
        convex_on=((-0.04, 0.04), (-0.01, 0.01)),
        unimodal_on=((-8.0, 8.0), (-3.0, 3.0)),
        source="thalweg's own",
    ),
    Landscape(
        name="cliff",
        title="Plateau with a cliff",
        about="a plateau on which the gradient is small, then a drop on which it is hundreds of "
        "times as large and throws a method far",
        formula="1 - tanh(10*x) + 0.02*(x - 2)^2 + 0.5*y^2",
        variables=("x", "y"),
        domain=((-4.0, 4.0), (-3.0, 3.0)),
        points=(
            Point("minimum", (2.0000000000000044, 0.0), 8.496708510582817e-18, is_global=True),
        ),
        starts=((-3.0, 1.0), (-0.5, 2.0)),
        complete=True,
        convex_on=((0.0, 4.0), (-3.0, 3.0)),  # -tanh is convex above 0
        unimodal_on=((-4.0, 4.0), (-3.0, 3.0)),
        source="thalweg's own, after Pascanu, Mikolov & Bengio 2013, ICML, figure 6",
    ),
    Landscape(
        name="powell-singular",
        title="Powell's singular function",
        about="convex in four variables, its Hessian singular at the minimum: every method slows "
        "down on the way there",
        formula="(x1 + 10*x2)^2 + 5*(x3 - x4)^2 + (x2 - 2*x3)^4 + 10*(x1 - x4)^4",
        variables=("x1", "x2", "x3", "x4"),
        domain=((-4.0, 5.0),) * 4,
        points=(Point("minimum", (0.0,) * 4, 0.0, is_global=True, degenerate=True),),
        starts=((3.0, -1.0, 0.0, 1.0),),
        complete=True,
        convex_on=((-4.0, 5.0),) * 4,
        unimodal_on=((-4.0, 5.0),) * 4,
        source=f"Powell 1962, The Computer Journal 5(2); {MORE}, problem 13",
    ),
    Landscape(
        name="helical-valley",
        title="Helical valley",
        about="a valley that climbs round the z axis; not continuous at x = 0, y <= 0",
        # More's theta in turns, from -1/4 to 3/4, with its cut where he has it.
        formula="100*((z - 10*(1/4 - atan2(x, y)/(2*pi)))^2 + (sqrt(x^2 + y^2) - 1)^2) + z^2",
        variables=("x", "y", "z"),
        domain=((-2.0, 2.0), (-2.0, 2.0), (-3.0, 8.0)),
        points=(Point("minimum", (1.0, 0.0, 0.0), 0.0, is_global=True),),
        starts=((-1.0, 0.0, 0.0),),
        complete=True,
        source=f"Fletcher & Powell 1963, The Computer Journal 6(2); {MORE}, problem 7",
    ),
)
