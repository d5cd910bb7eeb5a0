"""The lecture's example: mean perimeter from mean radius and mean area, by least squares.

The Wisconsin breast-cancer data come with scikit-learn. The loss is the *sum* of squared errors
over a batch, so that the stable learning rates depend on the batch's size; every epoch goes through
the same permutation, in 57 batches of which the last has 9 rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.problems.problem import Batch, Split

BATCH = 10
ORDER_SEED = 0


@cache
def data() -> Batch:
    """Features (569, 2) and target (569, 1) in float64, standardised by the population's
    deviation."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    names = list(table.feature_names)
    columns = [names.index(n) for n in ("mean radius", "mean area", "mean perimeter")]
    values = table.data[:, columns]
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    return torch.tensor(values[:, :2]), torch.tensor(values[:, 2:])


def solution() -> Tensor:
    """The weights (2, 1) with the smallest error, in closed form."""
    # Not torch.linalg.lstsq: its last bits depend on where in memory its arguments happen to lie.
    x, y = data()
    (a, b), (_, c) = (x[:, :, None] * x[:, None, :]).sum(0).tolist()
    d, e = (x * y).sum(0).tolist()
    det = a * c - b * b
    return torch.tensor([[(c * d - b * e) / det], [(a * e - b * d) / det]], dtype=x.dtype)


def batches() -> Iterator[Batch]:
    """One epoch, in the lecture's order."""
    x, y = data()
    rows = torch.from_numpy(np.random.RandomState(ORDER_SEED).permutation(len(x)))
    for part in torch.split(rows, BATCH):
        yield x[part], y[part]


class Line(nn.Module):
    """x ↦ x w, with w of shape (2, 1)."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class LeastSquares:
    """One training, from a random point (the lecture starts at zero: ``w=torch.zeros(2, 1)``)."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.model: nn.Module = Line(torch.randn(2, 1, generator=g, dtype=torch.float64))

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(data()[0]) // BATCH)

    def batches(self) -> Iterator[Batch]:
        return batches()

    def loss(self, batch: Batch) -> Tensor:
        x, y = batch
        error: Tensor = self.model(x) - y
        return error.square().sum()

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[float, float]:
        del split  # an optimisation problem: all data are training data
        x, y = data()
        (w,) = self.model.parameters()
        return float((self.model(x) - y).square().mean()), float((w - solution()).norm())


def start(seed: int) -> LeastSquares:
    return LeastSquares(seed)
