"""How exact a result can be asked to be: a rule run on numbers that know what they are made of.

A :class:`Sum` is a value in double precision and its *size*: the sum of the absolute values of the
terms that it is made of. ``1.0 - 0.999`` has the value 0.001 and the size 1.999, and float32 can
give it only to 1.999 units of 6e-8. A product's terms are the products of terms, so sizes multiply;
where a value is not linear in an operand, the operand counts by its relative error, size / |value|.
Nothing here knows any algorithm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.rule import words
from thalweg.rule.words import Number


class Sum:
    def __init__(self, value: Tensor, size: Tensor | None = None) -> None:
        self.value, self.size = value, value.abs() if size is None else size

    @property
    def loss(self):
        """How many times more uncertain than its own rounding; 1 for an exact zero."""
        return torch.where(self.size == self.value.abs(), 1.0, self.size / self.value.abs())

    def _from(self, value, loss):
        return Sum(value, value.abs() * loss)

    def __add__(self, other):
        other = lift(other, self)
        return Sum(self.value + other.value, self.size + other.size)

    def __neg__(self):
        return Sum(-self.value, self.size)

    def __sub__(self, other):
        return self + -lift(other, self)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        other = lift(other, self)
        return Sum(self.value * other.value, self.size * other.size)

    def __truediv__(self, other):
        other = lift(other, self)
        return Sum(self.value / other.value, self.size / other.value.abs() * other.loss)

    def __rtruediv__(self, other):
        return lift(other, self) / self

    def __pow__(self, other):
        return self._from(self.value ** float(other), self.loss ** max(1.0, abs(float(other))))

    def __abs__(self):
        return Sum(self.value.abs(), self.size)

    def __lt__(self, other):
        return Truth(self.value < lift(other, self).value)

    def __gt__(self, other):
        return Truth(self.value > lift(other, self).value)

    def __ne__(self, other):
        return Truth(self.value != lift(other, self).value)

    __radd__, __rmul__ = __add__, __mul__


class Truth:
    """Where a comparison holds, element by element."""

    def __init__(self, holds: Tensor) -> None:
        self.holds = holds

    def __and__(self, other):
        return Truth(self.holds & other.holds)


def lift(x, like):
    """Numbers are one for all elements, and exact beside float32."""
    return x if isinstance(x, Sum) else Sum(torch.full_like(like.value, float(x)))


class _Sums:
    def sqrt(self, x):
        return x._from(x.value.sqrt(), x.loss)

    def sign(self, x):
        return Sum(x.value.sign())

    def cbrt(self, x):
        return x._from(x.value.sign() * x.value.abs() ** (1 / 3), x.loss)

    def exp(self, x):
        return x._from(x.value.exp(), 1 + x.size)

    def log(self, x):
        return Sum(x.value.log(), x.value.log().abs() + x.loss)

    def where(self, condition, a, b):
        if not isinstance(condition, Truth):
            return a if condition else b
        holds = condition.holds
        a, b = (lift(x, Sum(torch.zeros(holds.shape, dtype=torch.float64))) for x in (a, b))
        return Sum(torch.where(holds, a.value, b.value), torch.where(holds, a.size, b.size))

    def maximum(self, a, b):
        return self._one_of(torch.maximum, a, b)

    def minimum(self, a, b):
        return self._one_of(torch.minimum, a, b)

    def _one_of(self, pick, a, b):
        like = a if isinstance(a, Sum) else b
        a, b = lift(a, like), lift(b, like)
        value, larger = pick(a.value, b.value), torch.maximum(a.size, b.size)
        # Either may be picked when they are about equal.
        near = (a.value - b.value).abs() <= 1e-5 * larger
        return Sum(value, torch.where(near, larger, torch.where(value == a.value, a.size, b.size)))

    def named(self, name, x):
        del name
        return x

    def matrix(self, word, *x):
        # Each element is made of as many terms as rows and columns have, some as large as the
        # largest: only that can be its measure.
        found = word.run(*(a.value if isinstance(a, Sum) else float(a) for a in x))
        same = [a for a in x if isinstance(a, Sum) and a.value is found]
        largest = found.abs().max() if found.numel() else 0.0
        return same[0] if same else Sum(found, torch.zeros_like(found) + largest)

    def total(self, x, scope):
        # All that is known at once is one tensor; an optimizer with several must be asked singly.
        del scope
        return Sum(x.value.sum(), x.size.sum())

    def count(self, x, scope):
        del scope
        return Number(x.value.numel())


for kind in (Sum, Truth):
    words.register(kind, _Sums())


def exactly(optimizer, p):
    """What the coming step makes of a parameter: ``{"w": Sum, state's key: Sum}`` in double
    precision, from weights, gradient and state as they are stored now."""
    rule, stored = optimizer.rule, optimizer.state.get(p, {})
    (group,) = (g for g in optimizer.param_groups if any(q is p for q in g["params"]))
    values = optimizer.values(p, group)
    h = {k: Number(v) if type(v) in (int, float) else v for k, v in values.items()}
    # Where `step` is not kept, a rule asks only whether this is the first.
    h["step"] = Number(stored.get("step", bool(stored)) + 1)
    w, state = p.detach().double(), {}
    for symbol, key in rule.state.items():
        first = rule.start.get(symbol, 0.0)
        if first == "w":
            first = p.detach()
        elif isinstance(first, str):
            first = group[first]
        if symbol in rule.scalar:
            state[symbol] = Number(stored.get(key, first))
        elif key in stored:
            state[symbol] = Sum(stored[key].double())
        elif symbol in rule.shaped:
            state[symbol] = Sum(w.new_zeros(rule.shaped[symbol](tuple(p.shape), values)))
        else:
            as_stored = (torch.zeros_like(w) + first).to(group["state_dtype"] or p.dtype)
            state[symbol] = Sum(as_stored.double())
    w, new = rule.update(Sum(w), Sum(p.grad.double()), state, h)
    return {"w": w, **{rule.state[s]: _as_sum(x) for s, x in new.items()}}


def _as_sum(x):
    return x if isinstance(x, Sum) else Sum(torch.tensor(float(x), dtype=torch.float64))
