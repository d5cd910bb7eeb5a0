"""What a landscape takes, gives and refuses."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch

from thalweg.problems import landscapes
from thalweg.problems.landscapes import LANDSCAPES, landscape, parse, quadratic, rosenbrock
from thalweg.problems.landscapes.expression import FUNCTIONS, Apply, Number, Variable

ALL = LANDSCAPES.values()


def name(f):
    return f.name


@pytest.mark.parametrize("f", ALL, ids=name)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 1, 4)])
def test_shapes(f, shape):
    x = torch.rand(*shape, f.dim, dtype=torch.float64) + 0.5
    values, slopes, curvatures = f(x), f.gradient(x), f.hessian(x)
    assert values.shape == shape
    assert slopes.shape == (*shape, f.dim)
    assert curvatures.shape == (*shape, f.dim, f.dim)
    rows = x.reshape(-1, f.dim)
    for i, row in enumerate(rows):
        assert torch.allclose(values.reshape(-1)[i], f(row), rtol=1e-14)
        assert torch.allclose(slopes.reshape(-1, f.dim)[i], f.gradient(row), rtol=1e-13)


@pytest.mark.parametrize("f", ALL, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(f, dtype):
    x = torch.tensor(f.starts[0], dtype=dtype)
    assert {f(x).dtype, f.gradient(x).dtype, f.hessian(x).dtype} == {dtype}
    assert torch.allclose(f(x).double(), f(f.starts[0]), rtol=1e-4)


@pytest.mark.parametrize("word", FUNCTIONS)
def test_every_function_keeps_float32(word):
    args = {"where": "x > 1, x, 2", "max": "x, 2, y", "min": "1, x", "atan2": "1, x"}.get(word, "x")
    f = parse(f"{word}({args}) + 0*y", ["x", "y"])
    assert f(torch.ones(2)).dtype == torch.float32
    assert f.gradient(torch.ones(2)).dtype == torch.float32


def test_lists_and_arrays_become_float64():
    f = rosenbrock()
    read_only = np.array([1, 2])
    read_only.flags.writeable = False
    for x in (
        [1, 2],
        (1.0, 2.0),
        read_only,
        np.array([1, 2], dtype=np.float32),
        [np.float32(1), 2],
    ):
        assert f(x).dtype == torch.float64
        assert f(x) == 100


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_derivatives_in_every_mode(mode):
    f = rosenbrock()
    with mode():
        x = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        slope, curvature = f.gradient(x), f.hessian(x)
    assert slope.tolist() == pytest.approx([-215.6, -88.0], rel=1e-14)
    assert curvature.flatten().tolist() == pytest.approx([1330, 480, 480, 200], rel=1e-14)
    assert not slope.requires_grad


def test_x_is_left_alone():
    x = torch.tensor([1.0, 3.0], requires_grad=True)
    rosenbrock().gradient(x)
    rosenbrock().hessian(x)
    assert x.grad is None


@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        ([1.0, 2.0, 3.0], ValueError, r"shape \(\.\.\., 2\), got \(3,\)"),
        (1.0, ValueError, r"got \(\)"),
        (torch.tensor([1, 2]), TypeError, "int64"),
        (torch.tensor([1j, 2]), TypeError, "complex64"),
    ],
)
def test_bad_x(x, error, says):
    for method in (rosenbrock(), rosenbrock().gradient, rosenbrock().hessian):
        with pytest.raises(error, match=says):
            method(x)


def test_unused_variables_and_constants():
    f = parse("3*x", ["x", "y"])
    assert f.gradient([[1.0, 5.0]]).tolist() == [[3, 0]]
    assert f.hessian([1.0, 5.0]).tolist() == [[0, 0], [0, 0]]
    g = parse("2^3 - 1", ["x"])
    assert g([[1.0], [2.0]]).tolist() == [7, 7]
    assert g.gradient([1.0]).tolist() == [0]
    assert g.hessian([1.0]).tolist() == [[0]]


def test_no_derivative_is_nan():
    assert parse("sqrt(x^2 + y^2)").gradient([0.0, 0.0]).isnan().all()
    assert parse("abs(x)").gradient([0.0]).tolist() == [0]  # torch's subgradient


@pytest.mark.parametrize("dim", [2, 3, 7, 100])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.5])
@pytest.mark.parametrize("condition", [1.0, 10, 1e6])
def test_condition_number(condition, dim, angle):
    f = quadratic(condition, dim, angle)
    values = torch.linalg.eigvalsh(f.hessian([0.0] * dim))
    expected = torch.logspace(0, np.log10(condition), dim, dtype=torch.float64)
    assert torch.allclose(values, expected, rtol=0, atol=1e-13 * condition)
    first = [np.cos(angle), *[0.0] * (dim - 2), np.sin(angle)]
    assert f(first) == pytest.approx(0.5, rel=1e-9)  # the flattest axis
    assert f.convex
    assert f.unimodal


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (quadratic, {"condition": 0.5}, "condition must be .*, got 0.5"),
        (quadratic, {"condition": float("nan")}, "condition"),
        (quadratic, {"dim": 1}, "dim must be .* from 2 to 100, got 1"),
        (quadratic, {"dim": 2.5}, "dim must be .*, got 2.5"),
        (quadratic, {"dim": 101}, "dim"),
        (quadratic, {"angle": float("inf")}, "angle"),
        (rosenbrock, {"b": 0}, "b must be .*, got 0"),
        (rosenbrock, {"b": float("inf")}, "b must"),
        (landscape, {"name": "rosenbrok"}, "'rosenbrok'; did you mean rosenbrock"),
        (landscape, {"name": "saddel"}, "did you mean saddle"),
        (landscape, {"name": "?"}, "there are quadratic, .*peano"),
        (parse, {"text": "x", "domain": [(1, 1)]}, r"domain: \(1, 1\) is no interval"),
        (parse, {"text": "x", "domain": [(0, float("inf"))]}, "domain"),
        (parse, {"text": "x*y", "domain": [(0, 1)]}, "domain: 2 coordinates are wanted"),
        (parse, {"text": "x*y", "starts": [(0, 1, 2)]}, "starts: 2 coordinates are wanted"),
        (parse, {"text": "x", "variables": ["x", "x"]}, "variables: a name occurs twice"),
        (parse, {"text": "x", "variables": ["sin"]}, "variables: 'sin' cannot name a variable"),
        (parse, {"text": "x", "variables": ["x y"]}, "variables: 'x y'"),
    ],
)
def test_bad_arguments(make, options, says):
    with pytest.raises(ValueError, match=says):
        make(**options)


def test_rosenbrock_b():
    assert rosenbrock(0.1).formula == "(1-x)^2 + 0.1*(y-x^2)^2"
    assert rosenbrock(0.1)([0.0, 2.0]) == 1 + 0.1 * 4


def test_parse():
    f = parse("y^2 + x", domain=[(-1, 1), (0, 3)], starts=[[0.5, 1]])
    assert f.variables == ("x", "y")
    assert f.domain == ((-1, 1), (0, 3))
    assert f.starts == ((0.5, 1),)
    assert not f.convex
    assert not f.complete
    assert parse("y^2 + x", ["y", "x"])([3.0, 1.0]) == 10


@pytest.mark.parametrize("f", ALL, ids=name)
def test_travels(f):
    """Formula and tree survive a pickle; the tree has three kinds of node, each word known."""
    assert pickle.loads(pickle.dumps(f)) == f
    assert hash(f) == hash(pickle.loads(pickle.dumps(f)))
    stack = [f.expression]
    while stack:
        match stack.pop():
            case Apply(args=args):
                stack += args
            case Variable(name=n):
                assert n in f.variables
            case Number(value=v):
                assert isinstance(v, float)
    assert f.title
    assert f.about
    assert f.source
    assert landscape(f.name) is f


LATEX = {
    "(1-x)^2 + 100*(y-x^2)^2": r"\left(1 - x\right)^{2} + 100 \, \left(y - x^{2}\right)^{2}",
    "x - (y - z)": r"x - \left(y - z\right)",
    "-x^2": r"-x^{2}",
    "(-x)^2": r"\left(-x\right)^{2}",
    "(x^y)^z": r"\left(x^{y}\right)^{z}",
    "x^y^z": r"x^{y^{z}}",
    "x*y/z*2": r"\frac{x \, y \cdot 2}{z}",
    "x/2/y": r"\frac{x}{2 \, y}",
    "1/(x + y)": r"\frac{1}{x + y}",
    "(x/y)^2": r"\left(\frac{x}{y}\right)^{2}",
    "2*3*x": r"2 \cdot 3 \, x",
    "2*(-x)": r"2 \, \left(-x\right)",
    "x + -y": r"x - y",
    "x - (-y)": r"x - \left(-y\right)",
    "2^3*4^x": r"2^{3} \cdot 4^{x}",
    "1e-3*x + 2.5E+04*pi + e": r"10^{-3} \, x + 2.5 \cdot 10^{4} \, \pi + e",
    "1e6^x": r"\left(10^{6}\right)^{x}",
    "x1 + x12": r"x_{1} + x_{12}",
    "sqrt(x)*abs(y)": r"\sqrt{x} \, \left|y\right|",
    "sin(x)^2": r"\sin\left(x\right)^{2}",
    "atan(x) + atan2(y, x)": (r"\arctan\left(x\right) + \operatorname{atan2}\left(y, x\right)"),
    "max(x, y, 0)": r"\max\left(x, y, 0\right)",
    "where(x >= 0, x, -x)": (
        r"\begin{cases} x & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}"
    ),
}


@pytest.mark.parametrize("text", LATEX)
def test_latex(text):
    assert parse(text).latex() == LATEX[text]


@pytest.mark.parametrize("f", ALL, ids=name)
def test_latex_is_readable(f):
    """Matplotlib's reader takes it, but for the cases that it does not know."""
    from matplotlib.mathtext import MathTextParser

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if "cases" not in f.latex():
            MathTextParser("path").parse(f"${f.latex()}$")


def test_names():
    assert all(hasattr(landscapes, n) for n in landscapes.__all__)
