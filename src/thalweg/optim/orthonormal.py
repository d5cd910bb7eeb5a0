"""The orthonormal factor of a QR decomposition, almost all of it in products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.engines.products import product

BLOCK = 128  # columns whose reflections are found together, and applied together to the others
SMALL = 512  # columns below which LAPACK alone is as fast


def orthonormal(a: Tensor) -> Tensor:
    """Q of ``a = QR`` for a square matrix, R's diagonal signed as LAPACK does.

    Householder's reflections block by block, ``H = I - V T V'`` for each (Schreiber & Van Loan
    1989, compact WY): LAPACK finds those of a panel, all else is :func:`product`. Rows here are
    the columns of ``a``, which makes panels contiguous.
    """
    n = len(a)
    if n < SMALL:
        found: Tensor = torch.linalg.householder_product(*torch.geqrf(a))
        return found
    columns = a.mT.clone(memory_format=torch.contiguous_format)  # written to below
    blocks = []
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        v, tau = torch.geqrf(columns[start:end, start:].mT)
        v = v.tril(-1)
        v.diagonal().fill_(1)
        v, vt = v.contiguous(), v.mT.contiguous()
        # T's inverse; a reflection that there is no need for has tau = 0 and drops out.
        t = product(vt, v).triu(1) + torch.diag(1 / tau)
        blocks.append((start, v, vt, t))
        if end < n:
            rest = columns[end:, start:]
            solved = torch.linalg.solve_triangular(t, product(rest, v), upper=True, left=False)
            rest -= product(solved, vt)
    q = torch.eye(n, dtype=a.dtype, device=a.device)
    for start, v, vt, t in reversed(blocks):
        rest = q[start:, start:]
        rest -= product(v, torch.linalg.solve_triangular(t, product(vt, rest), upper=True))
    return q
