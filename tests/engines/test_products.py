"""Products of matrices by oneDNN, where that is the faster one, equal torch's."""

from __future__ import annotations

import pytest
import torch

from thalweg.engines import products
from thalweg.engines.products import gram, product

LAYOUTS = {
    "rows": lambda x: x,
    "columns": lambda x: x.mT.contiguous().mT,
    "gaps": lambda x: torch.stack([x, x], 2)[..., 0],
    "expanded": lambda x: x[:, :1].expand(x.shape),
    "negated lazily": lambda x: torch._neg_view(x),
}
SHAPES = ((200, 300, 100), (9, 9, 30_000), (1, 2000, 2000), (2000, 1, 2000), (5, 0, 7), (0, 4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("right", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS.values(), ids=LAYOUTS)
def test_equals_the_product_in_double(left, right, dtype):
    for m, k, n in SHAPES:
        a, b = left(torch.randn(m, k).to(dtype)), right(torch.randn(k, n).to(dtype))
        found, true = product(a, b), a.double() @ b.double()
        size = a.double().abs() @ b.double().abs()  # what rounding is relative to
        assert found.dtype is dtype
        assert found.shape == (m, n)
        assert ((found - true).abs() <= torch.finfo(dtype).eps * (k**0.5 + 1) * size + 1e-30).all()


def test_other_layouts_than_matrices_are_torchs():
    a, b = torch.randn(3, 200, 200), torch.randn(200, 200)
    assert torch.equal(product(a, b), a @ b)
    assert torch.equal(product(b, b[0]), b @ b[0])
    with pytest.raises(RuntimeError):
        product(torch.randn(300, 200), torch.randn(300, 200))


def test_gradients_flow():
    a, b = (torch.randn(200, 200, requires_grad=True) for _ in range(2))
    product(a, b).sum().backward()
    assert torch.allclose(a.grad, torch.ones(200, 200) @ b.mT)


def test_not_finite_stays_where_it_belongs():
    a, b = torch.randn(200, 200), torch.randn(200, 200)
    a[3, 4], b[7, 9] = torch.nan, torch.inf
    assert torch.equal(product(a, b).isfinite(), (a @ b).isfinite())


def test_onednn_is_taken_where_it_is_faster_and_not_switched_off(monkeypatch):
    taken = []
    monkeypatch.setattr(products, "_linear", lambda: lambda a, w, *_: taken.append(1) or a @ w.mT)
    big, small = torch.randn(200, 200), torch.randn(20, 20)
    product(big, big), product(small, small), product(big.double(), big.double())
    assert len(taken) == 1
    monkeypatch.setattr(torch._C, "_get_mkldnn_enabled", lambda: False)
    product(big, big)
    assert len(taken) == 1


def test_where_there_is_none_torch_multiplies(monkeypatch):
    monkeypatch.setattr(products, "_linear", lambda: None)
    a = torch.randn(200, 200)
    assert torch.equal(product(a, a), a @ a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [0, 3, 128, 511, 512, 700])
def test_gram(n, dtype):
    x = torch.randn(n, 70).to(dtype)
    for rows in (x, x.mT.contiguous().mT):
        found = gram(rows)
        if n >= 512:
            assert torch.equal(found[:128, 128:], found[128:, :128].mT)
        assert torch.allclose(found, rows @ rows.mT, rtol=10 * torch.finfo(dtype).eps, atol=1e-4)
