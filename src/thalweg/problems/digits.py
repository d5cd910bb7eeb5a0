"""A 64-100-10 perceptron on the 8×8 digits that scikit-learn ships."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from thalweg.problems.perceptron import Perceptron
from thalweg.problems.problem import Batch, Split

BATCH = 32
SPLIT_SEED = 0  # one split for all trainings: they differ in start and order, not in data


@cache
def data() -> dict[Split, Batch]:
    """Images as (n, 64) float32 in [0, 1] and labels as (n,) int64, by part; classes are spread
    evenly over the parts."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    rest_x, test_x, rest_y, test_y = train_test_split(
        x, y, test_size=0.2, random_state=SPLIT_SEED, stratify=y
    )
    train_x, val_x, train_y, val_y = train_test_split(
        rest_x, rest_y, test_size=0.25, random_state=SPLIT_SEED, stratify=rest_y
    )
    parts: dict[Split, Any] = {
        "train": (train_x, train_y),
        "validation": (val_x, val_y),
        "test": (test_x, test_y),
    }
    return {
        split: (torch.tensor(a / 16, dtype=torch.float32), torch.tensor(b, dtype=torch.int64))
        for split, (a, b) in parts.items()
    }


def start(seed: int) -> Perceptron:
    return Perceptron(data(), BATCH, seed)
