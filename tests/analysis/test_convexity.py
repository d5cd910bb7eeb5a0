"""Convexity: witnesses hold in 50 digits, convex functions get none, proofs agree with both."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.analysis import Chord, Curvature, concavity, convexity
from thalweg.analysis.batched import uniform
from thalweg.analysis.curvature_rules import prove
from thalweg.analysis.intervals import power
from thalweg.analysis.quadratics import Quadratic, semidefinite
from thalweg.problems.landscapes import LANDSCAPES, landscape, parse, quadratic
from thalweg.problems.landscapes.expression import Apply, Number, Variable

SEEDS = range(20)
NOT_CONVEX = [n for n, f in LANDSCAPES.items() if not f.convex]
CONVEX_BOXES = {n: (f, f.convex_on) for n, f in LANDSCAPES.items() if f.convex_on is not None}

EXACT = {
    "+": lambda *a: mpmath.fsum(a),
    "*": lambda *a: mpmath.fprod(a),
    "neg": lambda a: -a,
    "inv": lambda a: 1 / a,
    "^": lambda a, b: a**b,
    "max": lambda *a: reduce(max, a),
    "min": lambda *a: reduce(min, a),
    "where": lambda c, a, b: a if c else b,
    "==": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "abs": abs,
    **{w: getattr(mpmath, w) for w in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "atan",
                                       "atan2")},
}  # fmt: skip


def exactly(f, x):
    """A landscape's value in 50 digits."""
    at = dict(zip(f.variables, map(mpmath.mpf, x), strict=True))

    def value(tree):
        match tree:
            case Number(value=v):
                return mpmath.mpf(v)
            case Variable(name=name):
                return at[name]
            case Apply(word="where", args=(condition, a, b)):
                return value(a if value(condition) else b)
            case Apply(word=word, args=args):
                return EXACT[word](*map(value, args))

    with mpmath.workdps(50):
        return value(f.expression)


def check(f, witness, sign=1):
    """That the inequality is broken, by what is said, to what is said of rounding."""
    assert isinstance(witness, Chord)
    t = mpmath.mpf(witness.t)
    with mpmath.workdps(50):
        pairs = zip(witness.x1, witness.x2, strict=True)
        middle = [t * a + (1 - t) * b for a, b in pairs]
        at_x1, at_x2 = exactly(f, witness.x1), exactly(f, witness.x2)
        excess = sign * (exactly(f, middle) - t * at_x1 - (1 - t) * at_x2)
        assert excess > 0
        assert abs(excess - witness.excess) <= witness.bound
    assert witness.excess > witness.bound


@pytest.mark.parametrize("name", NOT_CONVEX)
def test_every_landscape_that_is_not_convex_has_a_witness(name):
    f = LANDSCAPES[name]
    for seed in SEEDS:
        found = convexity(f, seed=seed)
        assert found.verdict == "not convex (witness)"
        assert found.holds is False
        check(f, found.witness)
        for x in (found.witness.x1, found.witness.x2):
            assert all(low <= c <= high for c, (low, high) in zip(x, f.domain, strict=True))


@pytest.mark.parametrize("name", CONVEX_BOXES)
def test_no_convex_landscape_has_a_witness(name):
    f, box = CONVEX_BOXES[name]
    for seed in SEEDS:
        # As a function that cannot be read, so that nothing but the search speaks.
        found = convexity(lambda x: f(x), box, seed=seed)
        assert (found.verdict, found.holds) == ("no counter-example in 10000 tries", None)


UNIT, RIGHT = ((-1.0, 1.0),) * 2, ((1e-3, 3.0),) * 2
RANDOM = torch.randn(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
# Where rounding, kinks and flatness invite mistakes.
CONVEX = {
    "cancellation": (lambda x: (1e8 + x[0] ** 2) - 1e8, UNIT),
    "less than rounding": (lambda x: (1e16 + x[0] ** 2) - 1e16, UNIT),
    "a large constant": (lambda x: 1e12 + x.square().sum(), UNIT),
    "an affine function": (lambda x: 3e7 * x[0] - 1e-7 * x[1] + 0.1, UNIT),
    "no function of x": (lambda x: 0.1 + 0 * x[0], UNIT),
    "singular": (lambda x: (0.1 * x[0] + 0.3 * x[1] - 0.7) ** 2, UNIT),
    "nearly flat": (lambda x: (x[0] - x[1]) ** 8, UNIT),
    "least squares": (lambda x: (RANDOM @ x - 1).square().sum(), ((-1e3, 1e3),) * 10),
    "a norm": (lambda x: torch.linalg.vector_norm(x), UNIT),
    "absolute values": (lambda x: x.abs().sum() + (x[0] - x[1]).abs(), UNIT),
    "pieces that meet": (lambda x: torch.maximum(x[0] ** 2, -3 * x[0] ** 2), UNIT),
    "a Python if": (lambda x: x[0] ** 2 if x[0] > 0 else -x[0], UNIT),
    "log-sum-exp": (lambda x: torch.logsumexp(50 * x, 0), UNIT),
    "softplus": (lambda x: torch.log1p(torch.exp(30 * x)).sum(), UNIT),
    "entropy": (lambda x: (x * torch.log(x)).sum(), RIGHT),
    "a barrier": (lambda x: -torch.log(x).sum(), RIGHT),
    "up to where it is defined": (lambda x: -torch.sqrt(x[0]), ((0.0, 1.0),) * 2),
    "steep": (lambda x: torch.exp(300 * x[0]) + x[1] ** 2, UNIT),
    "a maximum of lines": (lambda x: torch.amax(RANDOM[:, :2] @ x), UNIT),
}


@pytest.mark.parametrize("name", CONVEX)
def test_no_convex_function_has_a_witness(name):
    f, box = CONVEX[name]
    for seed in SEEDS:
        found = convexity(f, box, 400, seed)
        assert found.witness is None, found
    assert concavity(lambda x: -f(x), box, 400).witness is None


NOT_CONVEX_AT_ALL = {
    "everywhere": (lambda x: -(x[0] ** 2), UNIT),
    "under a large constant": (lambda x: 1e10 - x[0] ** 2, UNIT),
    "in a corner": (lambda x: torch.relu(x[0] + x[1] - 1.8).neg() + x[0] ** 2 / 10, UNIT),
    "a shallow wave": (lambda x: x.square().sum() + 1e-3 * torch.cos(100 * x[0]), UNIT),
    "one direction in ten": (lambda x: x.square().sum() - 12 * x.mean() ** 2, UNIT * 5),
}


@pytest.mark.parametrize("name", NOT_CONVEX_AT_ALL)
def test_a_little_is_enough(name):
    f, box = NOT_CONVEX_AT_ALL[name]
    assert all(convexity(f, box, seed=seed).holds is False for seed in SEEDS)


def test_torch_softplus_is_not_quite_convex():
    """From 20 on torch gives x itself, which is less by exp(-20) = 2e-9."""
    found = convexity(lambda x: torch.nn.functional.softplus(20 * x).sum(), ((0.9, 1.1),))
    assert found.holds is False
    assert found.witness.bound < found.witness.excess < 2.1e-9


def test_a_direction_of_negative_curvature_where_values_show_nothing():
    found = convexity(lambda x: 1e17 + x[0] ** 4 - x[0] ** 2 + x[1] ** 2, UNIT)
    w = found.witness
    assert isinstance(w, Curvature)
    h = torch.tensor([12 * w.x[0] ** 2 - 2, 2.0], dtype=torch.float64)
    assert (h * torch.tensor(w.direction, dtype=h.dtype) ** 2).sum() == pytest.approx(
        w.value, rel=1e-12
    )
    assert w.value < -w.bound
    assert "second derivative" in repr(found)
    up = concavity(lambda x: 1e17 - x[0] ** 4 + x[0] ** 2 - x[1] ** 2, UNIT).witness
    assert up.value == pytest.approx(2, rel=1e-6)
    assert up.value > up.bound


def test_concave_functions_and_witnesses_against_them():
    f = parse("log(x) + min(y, 2) - (x-y)^2", domain=((0.1, 3), (0, 4)))
    assert concavity(f).verdict == "concave (proved)"
    g = parse("x^3 + y^2")
    found = concavity(g)
    assert found.verdict == "not concave (witness)"
    check(g, found.witness, sign=-1)
    assert found == convexity(g, concave=True)


BOX, ABOVE, BELOW = ((-2.0, 2.0),), ((0.5, 2.0),), ((-2.0, -0.5),)
PROOFS = (  # formula, box of every variable, convex, concave
    ("3", BOX, 1, 1), ("x/2 - 3", BOX, 1, 1), ("x*x", BOX, 1, 0), ("(x-y)^2", BOX, 1, 0),
    ("x^2 - y^2", BOX, 0, 0), ("x*y", BOX, 0, 0), ("-(x*x) - y*y + x*y", BOX, 0, 1),
    ("x^2 - x*y + y^2 + exp(x)", BOX, 1, 0), ("x^2 - 3*x*y + y^2 + exp(x)", BOX, 0, 0),
    ("x^2 + y^2 + 0*x*y", BOX, 1, 0), ("y^2 + 0*log(x)", BOX, 0, 0),
    ("x^2 + 2*x*y + y^2", BOX, 1, 0), ("x^2 + 2.0000000000000004*x*y + y^2", BOX, 0, 0),
    ("(x+y)^4 - x", BOX, 1, 0), ("(x^2+1)^2", BOX, 1, 0), ("(x^2-1)^2", BOX, 0, 0),
    ("(x^2)^2", BOX, 1, 0), ("x^3", BOX, 0, 0), ("x^3", ABOVE, 1, 0), ("x^3", BELOW, 0, 1),
    ("x^-1", ABOVE, 1, 0), ("1/x", BELOW, 0, 1), ("1/x", BOX, 0, 0), ("x^-2", BELOW, 1, 0),
    ("1/log(x+1)", ABOVE, 1, 0), ("x^1.5", ABOVE, 1, 0), ("x^0.5", ABOVE, 0, 1),
    ("x^1.5", BOX, 0, 0), ("sqrt(x)", ABOVE, 0, 1), ("sqrt(x)", BOX, 0, 0),
    ("log(x)", ABOVE, 0, 1), ("log(x)", ((0.0, 1.0),), 0, 0), ("exp(x)^2", BOX, 1, 0),
    ("exp(x^2)", BOX, 1, 0), ("exp(-x^2)", BOX, 0, 0), ("e^(x+y)", BOX, 1, 0),
    ("0.5^x", BOX, 1, 0), ("0.5^(-(x^2))", BOX, 1, 0), ("0.5^(x^2)", BOX, 0, 0),
    ("abs(x-y)", BOX, 1, 0), ("abs(abs(x)+1)", BOX, 1, 0), ("abs(x^2-1)", BOX, 0, 0),
    ("max(x, y^2, 3)", BOX, 1, 0), ("min(x, -abs(y))", BOX, 0, 1), ("max(x, -(y^2))", BOX, 0, 0),
    ("sqrt(x^2+y^2)", BOX, 1, 0), ("sqrt((x-1)^2+4)", BOX, 1, 0), ("sqrt(x^2+y)", ABOVE, 0, 0),
    ("log(exp(x)+2*exp(y)+1)", BOX, 1, 0), ("log(exp(x^2)+1)", BOX, 1, 0),
    ("log(exp(-x^2)+1)", BOX, 0, 0), ("log(exp(x)-1)", ABOVE, 0, 0),
    ("sin(x)", ((0.0, math.pi),), 0, 1), ("sin(x)", ((0.0, 3.2),), 0, 0),
    ("sin(x)", ((-3.1, 0.0),), 1, 0), ("cos(x)", ((-1.5, 1.5),), 0, 1),
    ("cos(x)", ((1.6, 4.7),), 1, 0), ("tan(x)", ((0.0, 1.5),), 1, 0),
    ("tan(x)^2", ((0.0, 1.5),), 1, 0),
    ("tanh(x)", ABOVE, 0, 1), ("tanh(x)", BELOW, 1, 0), ("atan(x)", BOX, 0, 0),
    ("atan(x)", ABOVE, 0, 1), ("2 - 3*abs(x)", BOX, 0, 1), ("x*exp(x)", ABOVE, 0, 0),
    ("where(x > 0, x^2, 0)", BOX, 0, 0), ("0*log(x)", BOX, 0, 0), ("1e200*x*x*1e200", BOX, 0, 0),
)  # fmt: skip


@pytest.mark.parametrize(("text", "box", "convex", "concave"), PROOFS)
def test_what_can_be_proved(text, box, convex, concave):
    f = parse(text, variables=("x", "y"), domain=box * 2)
    assert bool(prove(f, f.domain)) == bool(convex)
    assert bool(prove(f, f.domain, concave=True)) == bool(concave)


def test_proofs_say_why():
    assert "eigenvalues of its Hessian are 1 to 100, none negative" in convexity(quadratic()).proof
    found = convexity("abs(x) + (x-y)^2")
    assert found.holds is True
    assert found.tries == 0
    assert found.verdict == "convex (proved)"
    assert repr(found) == f"<convex (proved): {found.proof}>"
    assert "a sum of convex terms" in found.proof
    assert convexity(landscape("powell-singular")).holds is True


def formulas():
    leaves = st.sampled_from(["x", "y", "1", "2", "0.5", "3"])
    signs = st.sampled_from("+-*/")
    words = st.sampled_from(["exp", "abs", "-", "tanh", "sqrt", "log", "cos", "1/"])
    powers = st.sampled_from(["2", "3", "-1", "0.5"])

    def grow(inside):
        return st.one_of(
            st.builds("({}{}{})".format, inside, signs, inside),
            st.builds("({}({}))".format, words, inside),
            st.builds("({}^{})".format, inside, powers),
            st.builds("{}({},{})".format, st.sampled_from(["max", "min"]), inside, inside),
        )

    return st.recursive(leaves, grow, max_leaves=6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(formulas(), st.booleans())
def test_a_proof_and_a_witness_never_meet(text, positive):
    f = parse(text, variables=("x", "y"), domain=ABOVE * 2 if positive else BOX * 2)
    for concave in (False, True):
        if prove(f, f.domain, concave):
            found = convexity(lambda x: f(x), f.domain, 400, concave=concave)
            assert found.witness is None, (text, found)
            x = uniform(f.domain, 50, torch.Generator().manual_seed(0))
            assert not f(x).isnan().any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 6))
def test_exact_elimination_agrees_with_eigenvalues(seed, size, rank):
    g = torch.Generator().manual_seed(seed)
    half = torch.randint(-3, 4, (rank, size), generator=g).double()
    signs = torch.where(torch.rand(rank, generator=g) < 0.9, 1.0, -1.0).double()
    matrix = half.T @ (signs[:, None] * half)
    least = torch.linalg.eigvalsh(matrix)[0]
    assert semidefinite([[Fraction(int(v)) for v in row] for row in matrix]) == bool(least > -1e-9)


def test_quadratics_are_exact():
    x, y, one = (Quadratic({m: Fraction(1)}) for m in ((0,), (1,), ()))
    square = (x + y.scaled(Fraction(2)) + one).times(x + y.scaled(Fraction(2)) + one)
    assert square.terms == {(0, 0): 1, (0, 1): 4, (1, 1): 4, (0,): 2, (1,): 4, (): 1}
    assert square.convex()
    assert square.sum_of_squares()
    assert not (square + one.scaled(Fraction(-1))).sum_of_squares()
    assert square.times(x) is None
    assert (x + x.scaled(Fraction(-1))).terms == {}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.tuples(st.floats(-4, 4), st.floats(-4, 4)).map(sorted),
    st.floats(0, 1),
    st.sampled_from([2, 3, 4, 7, -1, -2, -3, 0.5, 1.5, -0.5]),
)
def test_a_power_stays_in_its_range(ends, share, p):
    x = min(max(ends[0] + share * (ends[1] - ends[0]), ends[0]), ends[1])
    if (x == 0 and p < 0) or (x < 0 and p != int(p)):
        return
    low, high = power(tuple(ends), float(p))
    with mpmath.workdps(50):
        assert low <= mpmath.mpf(x) ** p <= high


BAD = (
    ({"f": 3}, TypeError, "f must be a landscape, a formula or a function"),
    ({"f": "x +"}, ValueError, "ends too early"),
    ({"f": lambda x: x.sum()}, TypeError, "domain must be given"),
    ({"f": lambda x: 1.0, "domain": UNIT}, TypeError, "f must give a tensor"),
    ({"f": lambda x: x, "domain": UNIT}, ValueError, "f must give one number"),
    ({"domain": ((2, -2), (0, 1))}, ValueError, r"low must be below high, not \(2, -2\)"),
    ({"domain": (-2, 2)}, ValueError, r"domain must be a pair .* not \(-2, 2\)"),
    ({"domain": "all"}, ValueError, "domain must be a pair .* not 'all'"),
    ({"domain": ((0, math.inf), (0, 1))}, ValueError, "finite intervals"),
    ({"domain": ((0, 1),)}, ValueError, "domain must have 2 pairs"),
    ({"tries": 0}, ValueError, "tries must be at least 1"),
    ({"tries": 1.0}, TypeError, "tries must be a whole number"),
)


@pytest.mark.parametrize(("change", "error", "says"), BAD)
def test_bad_arguments_are_named(change, error, says):
    with pytest.raises(error, match=says):
        convexity(**{"f": "x^2 - y^2", **change})


UNDEFINED = (
    ("log(x)", BELOW, r"f is nan at \(-2,\): choose a domain in which it is defined"),
    ("-log(x)", BELOW, "f is nan at"),
    ("x^-1", UNIT[:1], r"f is infinite at \(0,\): choose a domain"),
    ("1/x", ((0.0, 2.0),), r"f is infinite at \(0,\)"),
    ("-sqrt(x) + y^2", UNIT, r"f is nan at \(-1, -1\)"),
    ("sqrt((x-0.3)^2 - 0.01) + 1/y", ((0.0, 1.0), (1.0, 2.0)), "f is nan at"),  # but not at a mark
)


@pytest.mark.parametrize(("text", "box", "says"), UNDEFINED)
def test_where_f_is_not_finite_there_is_no_verdict(text, box, says):
    for search in (convexity, concavity):
        for f in (text, parse(text).__call__):
            with pytest.raises(ValueError, match=says):
                search(f, box)


def test_a_gradient_that_is_nan_is_no_reason_to_raise():
    f = landscape("ackley")
    assert f([0.0, 0.0]).isfinite()
    assert f.gradient([0.0, 0.0]).isnan().any()
    assert convexity(f).holds is False
    assert convexity(landscape("peano")).holds is False


def test_too_many_variables_for_second_derivatives():
    with pytest.raises(ValueError, match="domain must have at most 5000 variables"):
        convexity(lambda x: x.sum(), ((-1.0, 1.0),) * 100_000)


@pytest.mark.parametrize("f", [lambda x: (x > 0).sum(), lambda x: x.sum() * 1j])
def test_values_that_are_no_floating_numbers(f):
    with pytest.raises(TypeError, match="f must give a real number of a floating dtype"):
        convexity(f, UNIT)


def test_few_tries_are_all_that_is_made_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    assert convexity(lambda x: x.square().sum(), UNIT, 1).verdict.endswith("in 1 tries")
    assert convexity("x^2 - y^2", seed=3) == convexity("x^2 - y^2", seed=3)
    assert convexity("x^2 - y^2", seed=3) != convexity("x^2 - y^2", seed=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sum_of_what_is_affine_only_on_the_box_is_both():
    box = ((1.0, 2.0),)
    assert convexity("x + abs(x)", box).holds is True
    assert concavity("(2 + abs(x))^(-1)", box).holds is not True
    assert convexity("(2 + abs(x))^(-1)", box).holds is True


def test_below_the_smallest_normal_number_the_bound_is_not_zero():
    found = concavity("(1e-160*x^4)^2", ((0.9, 1.1),), tries=200)
    if found.holds is False and isinstance(found.witness, Chord):
        w = found.witness
        with mpmath.workdps(50):
            a, b, t = mpmath.mpf(w.x1[0]), mpmath.mpf(w.x2[0]), mpmath.mpf(w.t)
            ends = t * a**8 + (1 - t) * b**8
            excess = (ends - (t * a + (1 - t) * b) ** 8) * mpmath.mpf("1e-320")
            assert abs(excess - w.excess) <= w.bound
