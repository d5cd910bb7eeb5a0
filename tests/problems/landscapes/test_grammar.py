"""What formulas mean, and where a bad one is said to go wrong."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from thalweg.problems.landscapes import FormulaError, parse

X, Y = 1.7, -0.6
sin, cos, exp, log, sqrt = math.sin, math.cos, math.exp, math.log, math.sqrt

MEANS = {
    "x + y*2": X + Y * 2,
    "x - y - 2 + 1": X - Y - 2 + 1,
    "x - (y - 2)": X - (Y - 2),
    "x/2/4*3": X / 2 / 4 * 3,
    "x/(2/4)": X / (2 / 4),
    "6/2*(1 + 2)*x": 9 * X,
    "-x^2": -(X**2),
    "(-x)^2": X**2,
    "-x^2*3 + 1": -(X**2) * 3 + 1,
    "2^-1*x": X / 2,
    "2^-x^2": 2 ** -(X**2),
    "2^3^2 + x": 512 + X,
    "(2^3)^2 + x": 64 + X,
    "x**2": X**2,
    "x^(1/2)": X**0.5,
    "2^x^2": 2 ** (X**2),
    "--x": X,
    "-+-x": X,
    "x*-y": X * -Y,
    "x - -y": X + Y,
    "x/-2": -X / 2,
    "1e-3*x + 1.5E+2 + .5 + 2.": 1e-3 * X + 150 + 2.5,
    "e*x + pi": math.e * X + math.pi,
    "e^x": exp(X),
    "\tx +\r\n y ": X + Y,
    "sin(x)*cos(y) + tan(x)": sin(X) * cos(Y) + math.tan(X),
    "exp(-x^2)": exp(-(X**2)),
    "log(x) + sqrt(x) + abs(y)": log(X) + sqrt(X) + 0.6,
    "tanh(x) + atan(y) + atan2(y, -x)": math.tanh(X) + math.atan(Y) + math.atan2(Y, -X),
    "min(x, y) + max(x, y, 9)": Y + 9,
    "where(x > 1, 10, 20) + where(x <= y, x, y)": 10 + Y,
    "where(x == x, where(y != y, 1, 2), 3)*x": 2 * X,
    "where(1 < 2, x, log(-1))": X,
    "max(2, 3)*x + sqrt(4)": 3 * X + 2,
    "1/0*x": math.inf,
    "9^9^9^9*x": math.inf,
    "1/9^9^9^9*x": 0.0,
}


@pytest.mark.parametrize("text", MEANS)
def test_meaning(text):
    f = parse(text, ["x", "y"])
    assert float(f([X, Y])) == pytest.approx(MEANS[text], rel=1e-14)


def test_undefined_is_nan():
    for text in ("sqrt(-1)*x", "(-8)^(1/3)*x", "log(-2)*x", "0/0*x", "9^9^9^9*x - 9^9^9^9*x"):
        assert parse(text)([1.0]).isnan()


def test_numbers_keep_double_precision():
    f = parse("sqrt(2)*x")
    # Torch's root: on some processors it is a rounding off the nearest.
    assert float(f([1.0])) == float(torch.tensor(2.0, dtype=torch.float64).sqrt())
    assert abs(float(f([1.0])) - sqrt(2)) <= 2**-52


def test_order_of_variables():
    assert parse("z + y*x").variables == ("x", "y", "z")
    assert parse("x10 + x9 + x1 + w").variables == ("w", "x1", "x9", "x10")
    assert parse("x + x1").variables == ("x", "x1")
    assert parse("speed*dt_2", ["speed", "dt_2"]).variables == ("speed", "dt_2")


# A formula, the place (counted from 0) and part of the reason.
WRONG = [
    ("", 0, "ends too early"),
    ("   ", 3, "ends too early"),
    ("x +", 3, "ends too early"),
    ("(x + y", 6, r'"\)" is missing for the "\(" at 1'),
    ("sin(x", 5, r'"\)" is missing for the "\(" at 4'),
    ("x)", 1, r"'\)' does not belong here"),
    ("x + *y", 4, r"'\*' does not belong here"),
    ("()", 1, r"'\)' does not belong here"),
    ("x^", 2, "ends too early"),
    ("x^*", 2, "does not belong"),
    ("2x", 1, r"write \* to multiply"),
    ("x y", 2, r"write \* to multiply"),
    ("(x)(y)", 3, r"write \* to multiply"),
    ("3 4", 2, r"write \* to multiply"),
    ("x(y)", 1, r"'x' is no function: write x\*\("),
    ("pi(x)", 2, "'pi' is no function"),
    ("xy + 1", 0, r"'xy' is no name that is known here; write x\*y to multiply"),
    ("x + sine(x)", 4, r"'sine' .* did you mean sin\?"),
    ("x + Sin(x)", 4, "'Sin'"),
    ("x + sin", 7, r'sin is a function: "\(" must follow'),
    ("sin x", 4, r'sin is a function: "\(" must follow'),
    ("1 + ln(x)", 4, r"'ln' is no name that is known here; did you mean log\?"),
    ("sin()", 4, "does not belong"),
    ("x + sin(x, 2)", 4, r"sin takes 1 argument\(s\), got 2"),
    ("atan2(x)", 0, r"atan2 takes 2 argument\(s\), got 1"),
    ("max(x)", 0, "max takes two or more arguments, got 1"),
    ("x, y", 1, "',' does not belong"),
    ("x < 1", 2, "'<' may only stand in the first argument of where"),
    ("where(x, 1, 2)", 7, "where needs a comparison first"),
    ("where(x < 1 < 2, 1, 2)", 12, "may only stand in the first argument"),
    ("where(x < 1, 1)", 0, r"where takes 3 argument\(s\), got 2"),
    ("x = 1", 2, "'=' has no meaning"),
    ("x; y", 1, "';' has no meaning"),
    ("x.y", 1, r"'\.' has no meaning"),
    ("x − y", 2, "'−' has no meaning in a formula; write -"),
    ("x²", 1, r"'²' has no meaning in a formula; write \^2"),
    ("2·x", 1, r"write \*"),
    ("x + \x00", 4, r"'\\x00' has no meaning"),
    ("'x'", 0, "has no meaning"),
    ("x + __import__('os')", 4, "'__import__' is no name"),
    ("1e999*x", 0, "too large"),
    ("9^9", 0, "the formula has no variable"),
    ("-" * 50 + "x", 25, "nested more than 25 deep"),
    ("(" * 50 + "x" + ")" * 50, 25, "nested more than 25 deep"),
    ("x^" * 50 + "x", 50, "nested more than 25 deep"),
    ("x + " * 3000 + "x", 10_000, "12001 characters; at most 10000"),
]


@pytest.mark.parametrize(("text", "place", "says"), WRONG, ids=[t[:20] for t, *_ in WRONG])
def test_error_shows_the_place(text, place, says):
    with pytest.raises(FormulaError, match=says) as caught:
        parse(text)
    assert isinstance(caught.value, ValueError)
    assert caught.value.place == place
    reason, shown, caret = str(caught.value).split("\n")
    assert reason == caught.value.reason
    column = caret.index("^")
    if place < len(text) and text[place].isprintable():
        assert shown[column] == text[place]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.place) == (str(caught.value), place)


def test_only_announced_variables():
    with pytest.raises(FormulaError, match=r"'speeed' .* did you mean speed\?"):
        parse("speeed^2", ["speed"])
    with pytest.raises(FormulaError, match="'y' is no name"):
        parse("x + y", ["x"])


def test_only_text():
    with pytest.raises(TypeError, match="text must be a string, got bytes"):
        parse(b"x")


def test_long_flat_formulas_are_read():
    f = parse(" + ".join(["x"] * 2000))
    assert f([1.0]) == 2000
    g = parse("*".join(["x"] * 2000) + "/x" * 1000)
    assert g([1.0]) == 1
    assert g.gradient([1.0]) == 1000


def test_the_deepest_formula_travels():
    """What is read can be evaluated, printed, compared and copied within Python's own limit."""
    deep = "x"
    for _ in range(23):
        deep = f"where(1 - 2/{deep}^2 < x, 1, 2)"
    f = parse(deep)
    assert f([0.7]).isfinite()
    assert f.gradient([0.7]).isfinite()
    assert f.latex()
    assert repr(f.expression)
    again = pickle.loads(pickle.dumps(f))
    assert again.expression == parse(deep).expression
