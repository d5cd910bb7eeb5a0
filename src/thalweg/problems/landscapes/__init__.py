"""Functions of a few variables: formulas as data, with their derivatives and their known points."""

from thalweg.problems.landscapes.catalogue import LANDSCAPES, landscape
from thalweg.problems.landscapes.landscape import Landscape, Point, parse
from thalweg.problems.landscapes.noise import GradientNoise
from thalweg.problems.landscapes.tokens import FormulaError
from thalweg.problems.landscapes.valleys import quadratic, rosenbrock

__all__ = [
    "LANDSCAPES",
    "FormulaError",
    "GradientNoise",
    "Landscape",
    "Point",
    "landscape",
    "parse",
    "quadratic",
    "rosenbrock",
]
