"""The words a rule may speak beside arithmetic.

Each word looks at what it was given and hands over to that kind's dialect: plain numbers are
answered here (in double precision, with NaN instead of an exception), torch tensors in
``engines.plain``, symbols of a trace in ``rule.trace``. A rule that uses only these words and
``+ - * / ** < > == abs`` therefore runs on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

Scope = Literal["tensor", "all"]


class Dialect(Protocol):
    """What a kind of operand must be able to answer for a rule to run on it."""

    def sqrt(self, x: Any) -> Any: ...
    def sign(self, x: Any) -> Any: ...
    def cbrt(self, x: Any) -> Any: ...
    def exp(self, x: Any) -> Any: ...
    def log(self, x: Any) -> Any: ...
    def where(self, condition: Any, a: Any, b: Any) -> Any: ...
    def maximum(self, a: Any, b: Any) -> Any: ...
    def minimum(self, a: Any, b: Any) -> Any: ...
    def named(self, name: str, x: Any) -> Any: ...
    def total(self, x: Any, scope: Scope) -> Any: ...
    def count(self, x: Any, scope: Scope) -> Any: ...
    def matrix(self, word: Matrix, *x: Any) -> Any: ...


_dialects: list[tuple[type, Dialect]] = []


def register(kind: type, dialect: Dialect) -> None:
    """Let every word accept operands of ``kind``."""
    _dialects.append((kind, dialect))


def _dialect(*operands: Any) -> Dialect:
    for x in operands:
        for kind, dialect in _dialects:
            if isinstance(x, kind):
                return dialect
    return _NUMBERS


def sqrt(x: Any) -> Any:
    """Square root; NaN below zero."""
    return _dialect(x).sqrt(x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN."""
    return _dialect(x).sign(x)


def cbrt(x: Any) -> Any:
    """Real cube root, of negative numbers too."""
    return _dialect(x).cbrt(x)


def exp(x: Any) -> Any:
    """Exponential function; meant for scalars, where it is taken once a step."""
    return _dialect(x).exp(x)


def log(x: Any) -> Any:
    """Natural logarithm; -infinity at zero, NaN below. Meant for scalars, as :func:`exp`."""
    return _dialect(x).log(x)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``; both sides are evaluated."""
    return _dialect(condition, a, b).where(condition, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger one; NaN if either is NaN, whatever the order."""
    return _dialect(a, b).maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller one; NaN if either is NaN, whatever the order."""
    return _dialect(a, b).minimum(a, b)


def named(name: str, x: Any) -> Any:
    """``x`` itself; a printed formula gives it a line of its own, under this name."""
    return _dialect(x).named(name, x)


def total(x: Any, scope: Scope = "tensor") -> Any:
    """Sum over the elements of one parameter (``"tensor"``) or of all of them (``"all"``)."""
    if scope not in ("tensor", "all"):
        raise ValueError(f'scope must be "tensor" or "all", not {scope!r}')
    return _dialect(x).total(x, scope)


def mean(x: Any, scope: Scope = "tensor") -> Any:
    """Mean over the elements of one parameter or of all of them."""
    return total(x, scope) / _dialect(x).count(x, scope)


def norm(x: Any, scope: Scope = "tensor") -> Any:
    """Euclidean norm over the elements of one parameter or of all of them."""
    return sqrt(total(x * x, scope))


@dataclass(frozen=True)
class Matrix:
    """A word of a rule's own that needs more than elements: a function of whole torch tensors.

    Operands are tensors of the parameter's shape, *shaped* states (``Rule.shaped``), whose elements
    do not belong to weights, and scalars, which come as floats. What is passed by keyword, options
    and scalars, is not shown in formulas. The result has the parameter's shape, unless ``shaped``.
    No operand may be written to; one may be given back.
    """

    function: Callable[..., Any]
    shaped: bool = False
    name: str = ""
    keywords: tuple[str, ...] = ()  # of the last operands

    def __call__(self, *x: Any, **options: Any) -> Any:
        fixed = {k: v for k, v in options.items() if v is None or isinstance(v, bool | str)}
        scalars = {k: v for k, v in options.items() if k not in fixed}
        function = partial(self.function, **fixed)
        word = replace(self, function=function, keywords=tuple(scalars))
        return _dialect(*x).matrix(word, *x, *scalars.values())

    @property
    def meaning(self) -> str:
        """The function's docstring, on one line."""
        return " ".join((getattr(self.function, "func", self.function).__doc__ or "").split())

    def run(self, *x: Any) -> Any:
        """What the function makes of the operands."""
        count = len(x) - len(self.keywords)
        return self.function(*x[:count], **dict(zip(self.keywords, x[count:], strict=True)))


def matrix(function: Callable[..., Any]) -> Matrix:
    """Make a word of a torch function whose result has the parameter's shape."""
    return Matrix(function, name=function.__name__)


def shaped(function: Callable[..., Any]) -> Matrix:
    """Make a word of a torch function whose result is the next value of a shaped state."""
    return Matrix(function, shaped=True, name=function.__name__)


class Number(float):
    """A double that divides and raises to powers as IEEE 754 says, without Python's exceptions.

    Both sides of a ``where`` are evaluated, so ``1 / (step - 1)`` must give infinity at step 1.
    """

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return _numeric(other, lambda y: float(self) + y)

    def __sub__(self, other: Any) -> Any:
        return _numeric(other, lambda y: float(self) - y)

    def __rsub__(self, other: Any) -> Any:
        return _numeric(other, lambda y: y - float(self))

    def __mul__(self, other: Any) -> Any:
        return _numeric(other, lambda y: float(self) * y)

    def __truediv__(self, other: Any) -> Any:
        return _numeric(other, lambda y: _divide(float(self), y))

    def __rtruediv__(self, other: Any) -> Any:
        return _numeric(other, lambda y: _divide(y, float(self)))

    def __pow__(self, other: Any, modulus: None = None) -> Any:
        return _numeric(other, lambda y: _power(float(self), y))

    def __rpow__(self, other: Any, modulus: None = None) -> Any:
        return _numeric(other, lambda y: _power(y, float(self)))

    def __neg__(self) -> Number:
        return Number(-float(self))

    def __abs__(self) -> Number:
        return Number(abs(float(self)))

    __radd__ = __add__
    __rmul__ = __mul__


def _numeric(other: Any, f: Callable[[float], float]) -> Any:
    # A tensor or a symbol answers for itself, through its reflected operator.
    return Number(f(float(other))) if isinstance(other, int | float) else NotImplemented


def _divide(x: float, y: float) -> float:
    if y != 0:
        return x / y
    if x == 0 or math.isnan(x):
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return math.inf if x > 0 or y % 2 == 0 else -math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan  # 0 ** -1, or a negative base's root


class _Numbers:
    def sqrt(self, x: float) -> Number:
        return Number(math.sqrt(x) if x >= 0 else math.nan)

    def sign(self, x: float) -> Number:
        return Number(x if math.isnan(x) or x == 0 else math.copysign(1.0, x))

    def cbrt(self, x: float) -> Number:
        return Number(math.cbrt(x))

    def exp(self, x: float) -> Number:
        return Number(math.exp(x) if x < 709.8 or math.isnan(x) else math.inf)

    def log(self, x: float) -> Number:
        return Number(math.log(x) if x > 0 else -math.inf if x == 0 else math.nan)

    def where(self, condition: bool, a: float, b: float) -> Number:
        return Number(a if condition else b)

    def maximum(self, a: float, b: float) -> Number:
        return Number(math.nan if math.isnan(a) or math.isnan(b) else max(a, b))

    def minimum(self, a: float, b: float) -> Number:
        return Number(math.nan if math.isnan(a) or math.isnan(b) else min(a, b))

    def named(self, name: str, x: float) -> float:
        del name
        return x

    def total(self, x: float, scope: Scope) -> Number:
        # Not a sum of one: a rule that reduces a hyperparameter has mistaken it for a tensor.
        raise TypeError(f"total, mean and norm take a tensor, not the number {x!r}")

    count = total

    def matrix(self, word: Matrix, *x: Any) -> Number:
        raise TypeError(f"{word.name} takes at least one tensor, not numbers only: {x!r}")


_NUMBERS: Dialect = _Numbers()
