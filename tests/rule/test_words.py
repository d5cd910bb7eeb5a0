"""Every word says the same on numbers, tensors and in kernels; NaN, infinity and zero included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import maximum, mean, minimum, norm, rule, sign, sqrt, total, where
from thalweg.rule.words import Number
from thalweg.validation import NON_NEGATIVE

SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -3.5, 1e-30, 1e30, math.inf, -math.inf, math.nan]
PAIRS = [(a, b) for a in SPECIAL for b in SPECIAL]

ONE = {
    "sqrt": (sqrt, np.sqrt),
    "sign": (sign, np.sign),
    "abs": (abs, np.abs),
    "neg": (lambda x: -x, np.negative),
    "square": (lambda x: x**2, np.square),
}
TWO = {
    "add": (lambda a, b: a + b, np.add),
    "sub": (lambda a, b: a - b, np.subtract),
    "mul": (lambda a, b: a * b, np.multiply),
    "div": (lambda a, b: a / b, np.divide),
    "maximum": (maximum, np.maximum),
    "minimum": (minimum, np.minimum),
    "less": (lambda a, b: where(a < b, 1.0, 0.0), lambda a, b: (a < b) * 1.0),
    "equal": (lambda a, b: where(a == b, 1.0, 0.0), lambda a, b: (a == b) * 1.0),
    "unequal": (lambda a, b: where(a != b, 1.0, 0.0), lambda a, b: (a != b) * 1.0),
    "at least": (lambda a, b: where(a >= b, a, b), lambda a, b: np.where(a >= b, a, b)),
}


def run(word, g, w=None, engine="plain", dtype=torch.float64):
    """The word applied elementwise to (w, g) by an engine."""

    @rule(apply=lambda w, direction, h: direction)
    def applied(w, g):
        return word(w, g), {}

    class Applied(RuleOptimizer):
        rule = applied
        lr: float = option(default=1.0, domain=NON_NEGATIVE, doc="")

    p = torch.tensor(g if w is None else w, dtype=dtype, requires_grad=True)
    p.grad = torch.tensor(g, dtype=dtype)
    Applied([p], engine=engine).step()
    return p.detach().double().numpy()


@pytest.mark.parametrize("engine", ["plain", "fused"])
@pytest.mark.parametrize("name", ONE)
def test_words_of_one_operand(name, engine):
    ours, theirs = ONE[name]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            run(lambda w, g: ours(g), SPECIAL, engine=engine), theirs(np.array(SPECIAL))
        )


@pytest.mark.parametrize("engine", ["plain", "fused"])
@pytest.mark.parametrize("name", TWO)
def test_words_of_two_operands(name, engine):
    ours, theirs = TWO[name]
    a, b = np.array(PAIRS).T
    with np.errstate(all="ignore"):
        found = run(ours, b.tolist(), a.tolist(), engine)
        np.testing.assert_array_equal(found, theirs(a, b))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_numbers_follow_ieee(name):
    ours, theirs = TWO[name]
    for a, b in PAIRS:
        with np.errstate(all="ignore"):
            wanted = float(theirs(np.float64(a), np.float64(b)))
        for x, y in ((Number(a), Number(b)), (Number(a), b), (a, Number(b))):
            found = ours(x, y)
            assert isinstance(found, Number)
            np.testing.assert_array_equal(float(found), wanted)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_powers_follow_ieee(a, b):
    with np.errstate(all="ignore"):
        wanted = float(np.power(np.float64(a), np.float64(b)))
    # NumPy's pow and the C library's may differ in the last bit.
    np.testing.assert_allclose(abs(float(Number(a) ** Number(b))), abs(wanted), rtol=2.3e-16)


def test_scalar_words_do_not_raise():
    assert math.isnan(sqrt(Number(-1.0)))
    assert Number(1.0) / (Number(1.0) - 1) == math.inf
    assert Number(10.0) ** 1000 == math.inf
    assert math.isnan(sign(Number(math.nan)))
    assert where(Number(3.0) == 3, 1, 2) == 1


def test_number_leaves_tensors_their_dtype():
    x = torch.ones(3, dtype=torch.float32)
    for y in (Number(2.0) * x, x * Number(2.0), Number(2.0) - x, Number(2.0) / x, Number(2.0) ** x):
        assert isinstance(y, torch.Tensor)
        assert y.dtype is torch.float32


@pytest.mark.parametrize("word", [total, mean, norm])
def test_reductions_refuse_numbers(word):
    with pytest.raises(TypeError, match="take a tensor"):
        word(Number(1.0))


def test_scope_is_checked():
    with pytest.raises(ValueError, match="'group'"):
        total(torch.ones(2), "group")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_to_storage_is_torchs(dtype):
    values = [0.0, -0.0, 1.0, 65504.0, 65519.0, 65520.0, 3.4e38, 1e-8, 5.9e-8, math.inf, -math.inf]
    values += torch.randn(1000, generator=torch.Generator().manual_seed(0)).tolist()
    stored = torch.tensor(values, dtype=dtype).double()
    third = torch.tensor(1 / 3, dtype=torch.float32)
    wanted = (stored.float() * third).to(dtype).double().numpy()
    for engine in ("plain", "fused"):
        found = run(lambda w, g: g * (1 / 3), stored.tolist(), engine=engine, dtype=dtype)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_every_nan_stays_nan_in_storage(dtype):
    width = {4: torch.int32, 2: torch.int16, 8: torch.int64}[dtype.itemsize]
    full = torch.tensor([-1, torch.iinfo(width).max], dtype=width).view(dtype)  # full mantissa
    assert full.isnan().all()
    assert np.isnan(run(lambda w, g: g * 1.5, full.tolist(), engine="fused", dtype=dtype)).all()
