"""The blocked QR decomposition against LAPACK's."""

from __future__ import annotations

import pytest
import torch

from thalweg.optim import orthonormal as module
from thalweg.optim.orthonormal import orthonormal


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 300, 512, 700])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_lapack(n, dtype, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 1)
    for layout in (lambda x: x, lambda x: x.mT):
        a = layout(torch.randn(n, n, dtype=dtype))
        given = a.clone()
        q, expected = orthonormal(a), torch.linalg.qr(a)[0]
        assert torch.equal(a, given)
        eps = torch.finfo(dtype).eps
        error, r = q.mT @ q - torch.eye(n, dtype=dtype), q.mT @ a
        if n:
            assert error.abs().max() <= 2 * eps * max(4, n**0.5)
            assert r.tril(-1).abs().max() <= 4 * eps * max(4, n)
        assert torch.equal(r.diagonal().sign(), (expected.mT @ a).diagonal().sign())


SINGULAR = {
    "zeros": torch.zeros(300, 300),
    "ones": torch.ones(300, 300),
    "unit": torch.eye(300),
    "low rank": torch.randn(300, 5) @ torch.randn(5, 300),
    "graded": torch.diag(torch.logspace(0, -30, 300)),
    "zero columns": torch.randn(300, 300) * (torch.arange(300) % 3 > 0),
    "tiny": torch.randn(300, 300) * 1e-36,
    "huge": torch.randn(300, 300) * 1e35,
}


@pytest.mark.parametrize("a", SINGULAR.values(), ids=SINGULAR)
def test_singular_matrices_have_a_basis_too(a, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 1)
    q = orthonormal(a)
    assert (q.mT @ q - torch.eye(300)).abs().max() < 3e-5
    assert (q.mT @ a).tril(-1).abs().max() <= 1e-5 * a.abs().max() * 300**0.5


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_not_finite_spreads(bad, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 1)
    a = torch.randn(300, 300)
    a[3, 5] = bad
    assert not orthonormal(a).isfinite().all()
