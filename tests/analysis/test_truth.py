"""Random functions of which everything is known by hand, in float64 and float32: whatever is said
of them is true, or that it is not known. What can be told is told often enough."""

from __future__ import annotations

import random
from collections import Counter

import mpmath
import pytest
import torch

from thalweg.analysis import concavity, convexity, critical_point, unimodality

# s(y) with s'' = 1 at 0, and whether s'' is positive everywhere.
SHAPES = {
    "square": (lambda y: y * y / 2, lambda y: y * y / 2, True),
    "cosine": (lambda y: 1 - torch.cos(y), lambda y: 1 - mpmath.cos(y), False),
    "log cosh": (lambda y: torch.log(torch.cosh(y)), lambda y: mpmath.log(mpmath.cosh(y)), True),
    "root": (lambda y: torch.sqrt(1 + y * y), lambda y: mpmath.sqrt(1 + y * y), True),
    "exponential": (lambda y: torch.exp(y) - y, lambda y: mpmath.exp(y) - y, True),
}
PRECISIONS = {
    "float64": lambda f: f,
    "float32": lambda f: lambda x: f(x.float()),
    "float32 and back": lambda f: lambda x: f(x.float().double()),
    "float32 given back": lambda f: lambda x: f(x).float(),
}


class Sum:
    """``amp sum(k s(y)) + off`` with y = Q'(x - c): critical at c, with eigenvalues amp k."""

    def __init__(self, seed: int) -> None:
        r = random.Random(seed)
        d = r.choice([1, 2, 3])
        generator = torch.Generator().manual_seed(seed)
        self.shape = r.choice(list(SHAPES))
        self.precision = r.choice(list(PRECISIONS))
        self.q = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
        signs = r.choice([(1,), (-1,), (1, 1, -1, 0)])
        self.k = [r.choice(signs) * 10 ** r.uniform(-6, 4) for _ in range(d)]
        # Numbers of float32, so that rounding the argument does not move the critical point.
        places = [r.choice([0, 1, 1e-3, 1e3]) * r.uniform(-1, 1) for _ in range(d)]
        self.c = torch.tensor(places).double()
        self.amp = r.choice([1, 1, 10 ** r.uniform(-12, 12)])
        self.off = r.choice([0, 1, 1e6])
        self.f = PRECISIONS[self.precision](self.value)
        self.box = [(c - 1.0, c + 1.5) for c in self.c.tolist()]

    def value(self, x):
        y = self.q.to(x.dtype).T @ (x - self.c.to(x.dtype))
        k = torch.tensor(self.k, dtype=x.dtype)
        return self.amp * (k * SHAPES[self.shape][0](y)).sum() + self.off

    def exactly(self, x):
        q, c = self.q.tolist(), self.c.tolist()
        d = range(len(c))
        y = [mpmath.fsum(q[i][j] * (x[i] - mpmath.mpf(c[i])) for i in d) for j in d]
        shape = SHAPES[self.shape][1]
        return self.amp * mpmath.fsum(k * shape(v) for k, v in zip(self.k, y, strict=True))


def kind(eigenvalues) -> set[str]:
    """What may be said."""
    up, down = any(v > 0 for v in eigenvalues), any(v < 0 for v in eigenvalues)
    if up and down:
        return {"saddle", "degenerate"}
    if 0 in eigenvalues:
        return {"degenerate"}
    return {"minimum" if up else "maximum", "degenerate"}


SEEDS = [*range(60), 1299]


@pytest.mark.parametrize("part", range(4))
def test_critical_points(part):
    told = Counter()
    for seed in SEEDS[part::4]:
        s = Sum(seed)
        here = critical_point(s.f, s.c)
        true = sorted(s.amp * k for k in s.k)
        assert here.verdict in kind(true), (seed, here)
        off = max(abs(a - b) for a, b in zip(here.eigenvalues.tolist(), true, strict=True))
        assert off <= here.error_bound, (seed, here)
        told[here.verdict != "degenerate"] += 1
        there = critical_point(s.f, s.c + torch.tensor([0.7, -0.4, 0.9]).double()[: len(s.c)])
        assert there.verdict != "not differentiable", (seed, there)
    assert told[True] > told[False] / 2


@pytest.mark.parametrize("part", range(4))
def test_convexity(part):
    told = Counter()
    for seed in SEEDS[part::4]:
        s = Sum(seed)
        always = SHAPES[s.shape][2]
        for sign, ask in ((1, convexity), (-1, concavity)):
            found = ask(s.f, s.box, tries=200, seed=seed)
            if found.holds is None:
                continue
            w = found.witness
            assert not (always and all(sign * k >= 0 for k in s.k)), (seed, found)
            told[type(w).__name__] += 1
            if type(w).__name__ == "Chord":
                with mpmath.workdps(50):
                    t, pairs = mpmath.mpf(w.t), zip(w.x1, w.x2, strict=True)
                    middle = [t * a + (1 - t) * b for a, b in pairs]
                    ends = t * s.exactly(w.x1) + (1 - t) * s.exactly(w.x2)
                    excess = sign * (s.exactly(middle) - ends)
                assert excess > 0, (seed, found)
                assert abs(excess - w.excess) <= w.bound, (seed, found)
    assert told["Chord"] > 5


def test_one_minimum_is_never_called_several():
    found = Counter()
    for seed in SEEDS:
        s = Sum(seed)
        if SHAPES[s.shape][2] and all(k > 0 for k in s.k) and len(s.c) < 3:
            u = unimodality(s.f, s.box, starts=10, seed=seed)
            assert u.unimodal is None, (seed, u)
            assert all(m.kind != "cusp" for m in u.minima), (seed, u)
            found[len(u.minima)] += 1
    assert found[1] > 5
