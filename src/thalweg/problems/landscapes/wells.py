"""Hilly landscapes: a few minima, or saddles beside the only one."""

from __future__ import annotations

from math import pi

from thalweg.problems.landscapes.landscape import Landscape, Point
from thalweg.problems.landscapes.valleys import JAMIL, MORE

WELLS = (
    Landscape(
        name="beale",
        title="Beale",
        about="one minimum inside, steep corners, and a valley that leads out of the domain",
        formula="(1.5 - x + x*y)^2 + (2.25 - x + x*y^2)^2 + (2.625 - x + x*y^3)^2",
        variables=("x", "y"),
        domain=((-4.5, 4.5), (-4.5, 4.5)),
        points=(
            Point("minimum", (3.0, 0.5), 0.0, is_global=True),
            Point("saddle", (0.10053793732415836, -2.644513585023125), 9.86451228475556),
            Point("saddle", (0.0, 1.0), 14.203125),
        ),
        starts=((1.0, 1.0),),
        complete=True,
        convex_on=((2.95, 3.05), (0.49, 0.51)),
        unimodal_on=((0.5, 4.5), (-1.0, 0.9)),
        source=f"Beale 1958, Princeton technical report 25; {MORE}, problem 5",
    ),
    Landscape(
        name="himmelblau",
        title="Himmelblau",
        about="four minima, all of value 0: which one is found depends on start and method",
        formula="(x^2 + y - 11)^2 + (x + y^2 - 7)^2",
        variables=("x", "y"),
        domain=((-6.0, 6.0), (-6.0, 6.0)),
        points=(
            Point("minimum", (3.0, 2.0), 0.0, is_global=True),
            Point("minimum", (-2.805118086952745, 3.131312518250573), 0.0, is_global=True),
            Point("minimum", (3.5844283403304917, -1.8481265269644036), 0.0, is_global=True),
            Point("minimum", (-3.779310253377747, -3.2831859912861696), 0.0, is_global=True),
            Point("saddle", (3.385154183607021, 0.07385187983774928), 13.31192627040559),
            Point("saddle", (0.08667750455539636, 2.884254701174776), 67.71915008752615),
            Point("saddle", (-3.0730257507643897, -0.08135304428796751), 104.0151629175581),
            Point("saddle", (-0.12796134673068008, -1.9537149802445763), 178.33723920192747),
            Point("maximum", (-0.2708445906673476, -0.9230385564799815), 181.6165215225827),
        ),
        starts=((0.0, 0.0), (-1.0, 5.0)),
        complete=True,
        convex_on=((2.5, 5.0), (1.5, 5.0)),
        unimodal_on=((2.5, 5.0), (1.5, 5.0)),
        source=f"Himmelblau 1972, Applied Nonlinear Programming; {JAMIL}",
    ),
    Landscape(
        name="branin",
        title="Branin",
        about="three minima of the same value in wells of different shape",
        formula="(y - 5.1/(4*pi^2)*x^2 + 5/pi*x - 6)^2 + 10*(1 - 1/(8*pi))*cos(x) + 10",
        variables=("x", "y"),
        domain=((-5.0, 10.0), (0.0, 15.0)),
        points=(
            *(
                Point("minimum", (x, y), 10 / (8 * pi), is_global=True)
                for x, y in ((-pi, 12.275), (pi, 2.275), (3 * pi, 2.475))
            ),
            Point("saddle", (0.0, 6.0), 20 - 10 / (8 * pi)),
            Point("saddle", (2 * pi, 1.1), 20 - 10 / (8 * pi)),
        ),
        starts=((0.0, 10.0), (6.0, 12.0)),
        complete=True,
        convex_on=((1.8, 4.5), (0.0, 5.0)),
        unimodal_on=((1.8, 4.5), (0.0, 5.0)),
        source="Branin 1972, IBM Journal of Research and Development 16(5)",
    ),
    Landscape(
        name="two-wells",
        title="Two Gaussian wells",
        about="a deep narrow well beside a shallow wide one, in a plain where the gradient dies "
        "out: which one holds a noisy method?",
        formula="1 - 0.7*exp(-((x + 1)^2 + y^2)/1.5) - exp(-((x - 1.5)^2 + y^2)/0.3)",
        variables=("x", "y"),
        domain=((-3.0, 3.0), (-2.0, 2.0)),
        points=(
            Point("minimum", (1.494484714960016, 0.0), -0.01095244829984122, is_global=True),
            Point("minimum", (-0.9999999840040374, 0.0), 0.2999999991042262),
            Point("saddle", (0.5396192609954655, 0.0), 0.809642883810377),
        ),
        starts=((0.3, 1.0), (0.9, -0.8)),
        complete=True,
        convex_on=((1.25, 1.75), (-0.25, 0.25)),
        unimodal_on=((1.0, 3.0), (-1.0, 1.0)),
        source="thalweg's own",
    ),
    Landscape(
        name="powell-badly-scaled",
        title="Powell's badly scaled function",
        about="at the minimum one coordinate is a million times the other, and so is the best rate",
        formula="(10^4*x*y - 1)^2 + (exp(-x) + exp(-y) - 1.0001)^2",
        variables=("x", "y"),
        domain=((-1.0, 10.0), (-1.0, 10.0)),
        points=(
            Point("minimum", (1.0981593296998175e-05, 9.106146739866524), 0.0, is_global=True),
            Point("minimum", (9.106146739866524, 1.0981593296998175e-05), 0.0, is_global=True),
            Point("minimum", (-0.009948091925800946, -0.009948091925800946), 1.0402940039616395),
            Point("saddle", (0.010048156947108327, 0.010048156947108327), 0.9603056759863952),
            Point("saddle", (-0.00010003002051701593, -0.00010003002051701593), 2.0000000400206805),
        ),
        starts=((0.0, 1.0),),
        complete=True,
        source="Powell 1970, in Rabinowitz, Numerical Methods for Nonlinear Algebraic Equations; "
        f"{MORE}, problem 3",
    ),
)
