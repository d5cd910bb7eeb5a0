"""A perceptron with one hidden layer that is trained to classify: what digits and MNIST share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from thalweg.problems.problem import Batch, Split


class Perceptron:
    """One training of an ``inputs``-100-10 perceptron with ReLU under cross-entropy.

    Args:
        data: inputs (n, inputs) float32 and classes (n,) int64, by part.
        batch: examples in one; the last of an epoch may be smaller.
        seed: decides the first weights and the order of the examples.
    """

    def __init__(self, data: Mapping[Split, Batch], batch: int, seed: int) -> None:
        self.data, self.batch = data, batch
        inputs = data["train"][0].shape[1]
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator
            torch.manual_seed(seed)
            self.model: nn.Module = nn.Sequential(
                nn.Linear(inputs, 100), nn.ReLU(), nn.Linear(100, 10)
            )
        self.order = torch.Generator().manual_seed(seed)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data["train"][0]) // self.batch)

    def batches(self) -> Iterator[Batch]:
        x, y = self.data["train"]
        for rows in torch.split(torch.randperm(len(x), generator=self.order), self.batch):
            yield x[rows], y[rows]

    def loss(self, batch: Batch) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.model(x), y)

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[float, float]:
        x, y = self.data[split]
        logits = self.model(x)
        right = (logits.argmax(1) == y).double().mean()
        return float(nn.functional.cross_entropy(logits, y)), 100 * float(right)
