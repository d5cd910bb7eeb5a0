"""Landscapes of which the saddle is the interest: none of them has a minimum."""

from __future__ import annotations

from thalweg.problems.landscapes.landscape import Landscape, Point

BOX = ((-2.0, 2.0), (-2.0, 2.0))

SADDLES = (
    Landscape(
        name="saddle",
        title="Saddle x² − y²",
        about="up along x, down along y: who starts on the ridge must find the way down",
        formula="x^2 - y^2",
        variables=("x", "y"),
        domain=BOX,
        points=(Point("saddle", (0.0, 0.0), 0.0),),
        starts=((-1.5, 1e-3), (1.0, 1e-6)),
        complete=True,
        source="the seed lecture's saddle race",
    ),
    Landscape(
        name="monkey-saddle",
        title="Monkey saddle",
        about="three ways down, one for the tail; the Hessian at the saddle is zero",
        formula="x^3 - 3*x*y^2",
        variables=("x", "y"),
        domain=BOX,
        points=(Point("saddle", (0.0, 0.0), 0.0, degenerate=True),),
        starts=((1.0, 1e-3), (0.5, 0.5)),
        complete=True,
        source="Hilbert & Cohn-Vossen 1932, Anschauliche Geometrie",
    ),
    Landscape(
        name="peano",
        title="Peano's example",
        about="its mixed derivatives at the origin are -1 and 1: not continuous there, they need "
        "not agree (Schwarz), and the Hessian is not symmetric",
        formula="where(x^2 + y^2 == 0, 0, x*y*(x^2 - y^2)/(x^2 + y^2))",
        variables=("x", "y"),
        domain=BOX,
        points=(
            Point(
                "saddle",
                (0.0, 0.0),
                0.0,
                degenerate=True,
                hessian=((0.0, -1.0), (1.0, 0.0)),
            ),
        ),
        starts=((1.0, 1.0), (1.5, 0.5)),
        complete=True,
        source="Peano 1884, in Genocchi, Calcolo differenziale",
    ),
)
