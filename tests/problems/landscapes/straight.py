"""The landscapes written out from the literature in NumPy, one coordinate per argument. They take
complex numbers, so that an imaginary step gives their slope to the last digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import cos, exp, pi, sin, sqrt, tanh


def branin(x, y):
    a, b, c, r, s, t = 1, 5.1 / (4 * pi**2), 5 / pi, 6, 10, 1 / (8 * pi)
    return a * (y - b * x**2 + c * x - r) ** 2 + s * (1 - t) * cos(x) + s


def ackley(*x):
    x = np.stack(x)
    mean_square, mean_cosine = (x**2).mean(0), cos(2 * pi * x).mean(0)
    return -20 * exp(-0.2 * sqrt(mean_square)) - exp(mean_cosine) + 20 + np.e


def rastrigin(*x):
    return sum(t**2 - 10 * cos(2 * pi * t) + 10 for t in x)


def styblinski_tang(*x):
    return sum(t**4 - 16 * t**2 + 5 * t for t in x) / 2


def six_hump_camel(x, y):
    return 4 * x**2 - 2.1 * x**4 + x**6 / 3 + x * y - 4 * y**2 + 4 * y**4


def well(x, y, depth, centre, width):
    return depth * exp(-((x - centre) ** 2 + y**2) / width)


def beale(x, y):
    return sum((c - x * (1 - y**i)) ** 2 for i, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def powell_singular(a, b, c, d):
    r = (a + 10 * b, sqrt(5) * (c - d), (b - 2 * c) ** 2, sqrt(10) * (a - d) ** 2)
    return sum(t**2 for t in r)


def helical_valley(x, y, z):
    theta = np.arctan(y / x) / (2 * pi) + np.where(np.real(x) > 0, 0, 0.5)
    r = (10 * (z - 10 * theta), 10 * (sqrt(x**2 + y**2) - 1), z)
    return sum(t**2 for t in r)


STRAIGHT: dict[str, Callable] = {
    "quadratic": lambda x, y: 0.5 * x**2 + 50 * y**2,
    "booth": lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    "matyas": lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y,
    "rosenbrock": lambda x, y: 100 * (y - x**2) ** 2 + (1 - x) ** 2,
    "narrow-valley": lambda x, y: 10 * (y - sin(x)) ** 2 + 0.02 * x**2,
    "cliff": lambda x, y: 1 - tanh(10 * x) + 0.02 * (x - 2) ** 2 + y**2 / 2,
    "powell-singular": powell_singular,
    "helical-valley": helical_valley,
    "beale": beale,
    "himmelblau": lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    "branin": branin,
    "two-wells": lambda x, y: 1 - well(x, y, 0.7, -1, 1.5) - well(x, y, 1, 1.5, 0.3),
    "powell-badly-scaled": lambda x, y: (1e4 * x * y - 1) ** 2 + (exp(-x) + exp(-y) - 1.0001) ** 2,
    "ackley": ackley,
    "rastrigin": rastrigin,
    "styblinski-tang": styblinski_tang,
    "six-hump-camel": six_hump_camel,
    "saddle": lambda x, y: x**2 - y**2,
    "monkey-saddle": lambda x, y: x**3 - 3 * x * y**2,
    "peano": lambda x, y: x * y * (x**2 - y**2) / (x**2 + y**2),
}


def gradient(f: Callable, x: np.ndarray) -> np.ndarray:
    """Slopes of f at points of shape (n, d), by a step into the complex plane."""
    step = 1e-30
    towards = 1j * step * np.eye(x.shape[1])
    return np.stack([f(*(x + e).T).imag / step for e in towards], -1)


def hessian(f: Callable, x: np.ndarray) -> np.ndarray:
    """Differences of these slopes, of error O(step^4)."""
    step = 1e-3
    near, far = (
        (x[:, None] + s * np.eye(x.shape[1])).reshape(-1, x.shape[1]) for s in (step, -step)
    )
    near2, far2 = (
        (x[:, None] + 2 * s * np.eye(x.shape[1])).reshape(-1, x.shape[1]) for s in (step, -step)
    )
    g = [gradient(f, p).reshape(len(x), x.shape[1], x.shape[1]) for p in (near, far, near2, far2)]
    columns = (8 * (g[0] - g[1]) - (g[2] - g[3])) / (12 * step)
    return columns.swapaxes(1, 2)  # columns[n, j, i] is d/dx_j of slope i
