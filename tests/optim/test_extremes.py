"""Gradients from the smallest to the largest number of their dtype: what becomes infinite or NaN is
the same on every engine, and so is all else, to rounding."""

from __future__ import annotations

import pytest
import torch

from optim.table import ROWS, every_engine, every_row
from optim.training import contents, step, tensors
from thalweg import optim
from thalweg.rule import rule

SIZES = [0.0, 1e-45, 1e-40, 1e-38, 1e-30, 1e-23, 1e-20, 1e-15, 1e-10, 1e-7, 1e-5, 1e-3, 1.0, 30.0,
         1e3, 6e4, 1e10, 1e15, 1e18, 2e19, 1e20, 1e25, 1e30, 1e35, 1e38, 3e38]  # fmt: skip
FORMATS = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2**-10}


def extreme(dtype):
    """A tensor for each size, so that none spoils another's norm."""
    sizes = [x for x in SIZES if x <= torch.finfo(dtype).max]
    if dtype is torch.float64:
        sizes += [1e-320, 1e-200, 1e-155, 1e150, 1e155, 1e300]
    return [torch.tensor([x, -x, x, 0.0], dtype=torch.float64).to(dtype) for x in sizes]


def kinds(x):
    """0 where finite, ±1 where infinite, 2 where NaN."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))


def alike(plain, fused, tolerance):
    for key, x in contents(plain).items():
        y = contents(fused)[key]
        assert torch.equal(kinds(x), kinds(y)), (key, x, y)
        finite = x.isfinite()
        # What is below the smallest normal number has fewer digits.
        tiny = 8 * torch.finfo(x.dtype).smallest_normal
        torch.testing.assert_close(x[finite], y[finite], rtol=tolerance, atol=tiny)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@every_row
def test_engines_agree_on_gradients_of_every_size(row, options, dtype):
    grads = extreme(dtype)
    # From zero, so that no step hides in the rounding of its weight.
    plain, fused = (
        row.make([torch.zeros_like(g).requires_grad_() for g in grads], engine=e, **options)
        for e in ("plain", "fused")
    )
    for course in (grads, grads, [torch.zeros_like(g) for g in grads]):
        step(plain, course)
        step(fused, course)
        alike(plain, fused, FORMATS[dtype])


@rule()
def divided(g, *, scale):
    return g / scale, {}


@pytest.mark.parametrize("scale", [1e-44, 1e-39, 1e-20, 1.0, 1e20, 1e38])
def test_a_divisor_whose_reciprocal_has_no_place_in_float32(scale):
    grads = extreme(torch.float32)
    made = optim.from_rule(divided, lr=1.0, scale=1.0)
    plain, fused = (
        made([torch.zeros_like(g).requires_grad_() for g in grads], engine=e, scale=scale)
        for e in ("plain", "fused")
    )
    for o in (plain, fused):
        step(o, grads)
    alike(plain, fused, 1e-5 if scale > 1e-38 else 0.1)  # the float32 of 1e-44 is 3 % off


# As small as papers have it; its square is zero in float32. Adai's is a share of 1 that is kept.
TINY = 1e-30
DIVIDING = [row for row in ROWS if row.name != "adai"]


def tiny(row):
    """Options of an optimizer that make each of its eps as small as that."""
    (group,) = row.make(tensors(shapes=((1,),))).param_groups
    given = {name: group[name] for name in ("eps", "adamw_eps") if name in group}
    return {k: (TINY, *x[1:]) if isinstance(x, tuple) else TINY for k, x in given.items()}


@every_engine
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("row", DIVIDING, ids=lambda row: row.name)
def test_a_tiny_eps_still_keeps_the_quotient_finite(row, dtype, engine):
    shapes = ((3,), (4, 3))
    o = row.make(tensors(dtype, shapes), engine=engine, **tiny(row))
    for _ in range(3):
        step(o, [torch.zeros(s, dtype=dtype) for s in shapes])
        assert all(x.isfinite().all() for x in contents(o).values()), contents(o)
