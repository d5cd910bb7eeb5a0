"""What kind of point one stands on, what a function looks like, and how a method descends it."""

from thalweg.analysis.convexity import Convexity, concavity, convexity
from thalweg.analysis.critical_point import CriticalPoint, critical_point
from thalweg.analysis.descend import descend
from thalweg.analysis.descent import Descent
from thalweg.analysis.hessian_product import hessian_vector_product
from thalweg.analysis.rate_range import rate_range_test
from thalweg.analysis.rate_range_result import RateRange
from thalweg.analysis.schwarz import mixed_derivatives
from thalweg.analysis.spectrum import Spectrum, extreme_eigenvalues
from thalweg.analysis.stability import Setting, Stability, contraction, stability
from thalweg.analysis.unimodality import Basins, Minimum, Unimodality, basins, unimodality
from thalweg.analysis.witnesses import Chord, Curvature

__all__ = [
    "Basins",
    "Chord",
    "Convexity",
    "CriticalPoint",
    "Curvature",
    "Descent",
    "Minimum",
    "RateRange",
    "Setting",
    "Spectrum",
    "Stability",
    "Unimodality",
    "basins",
    "concavity",
    "contraction",
    "convexity",
    "critical_point",
    "descend",
    "extreme_eigenvalues",
    "hessian_vector_product",
    "mixed_derivatives",
    "rate_range_test",
    "stability",
    "unimodality",
]
