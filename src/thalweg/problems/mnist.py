"""The lecture's network: a 784-100-10 perceptron on MNIST, in batches of 100.

The images come from OpenML by way of scikit-learn when they are first asked for, are checked, and
are kept in ``~/.cache/thalweg`` (``XDG_CACHE_HOME`` is heeded). The last 10,000 training images are
for validation, which the lecture has not: it watches the test set.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg.problems.perceptron import Perceptron
from thalweg.problems.problem import Batch, Split, Unavailable

BATCH = 100
TRAIN, TEST, VALIDATION = 60_000, 10_000, 10_000
# How often each digit occurs in the training and the test images.
COUNTS = (
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
)


def place() -> Path:
    """Where the images are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "thalweg" / "mnist.npz"


def prepare() -> None:
    """Fetch and keep the images unless they are there; raises :class:`Unavailable`."""
    if not place().is_file():
        _keep(*_fetched())


@cache
def data() -> dict[Split, Batch]:
    """Images as (n, 784) float32 in [0, 1] and labels as (n,) int64, by part: 50,000, 10,000 and
    10,000.

    Raises:
        Unavailable: they are not here and cannot be fetched, or are not MNIST.
    """
    prepare()
    try:
        with place().open("rb") as file, np.load(file) as kept:
            images, labels = kept["images"], kept["labels"]
    except Exception as e:  # cut short, or something else altogether
        raise Unavailable(f"{place()} cannot be read ({e}): delete it") from None
    return parts(images, labels)


def parts(images: Any, labels: Any) -> dict[Split, Batch]:
    """The three parts of (70000, 784) pixels of 0 to 255 and (70000,) digits, in MNIST's order."""
    shapes = np.shape(images), np.shape(labels)
    if shapes != ((TRAIN + TEST, 784), (TRAIN + TEST,)):
        raise Unavailable(f"these are not MNIST's images: shapes are {shapes[0]} and {shapes[1]}")
    y = torch.tensor(np.asarray(labels).astype(np.int64))
    for said, found in zip(COUNTS, (y[:TRAIN], y[TRAIN:]), strict=True):
        if found.bincount(minlength=10).tolist() != said:
            raise Unavailable("these are not MNIST's labels: digits occur at other counts")
    x = torch.tensor(np.asarray(images).astype(np.uint8)).float() / 255
    sizes = [TRAIN - VALIDATION, VALIDATION, TEST]
    splits: tuple[Split, ...] = ("train", "validation", "test")
    pairs = zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)
    return dict(zip(splits, pairs, strict=True))


def _fetched() -> tuple[Any, Any]:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # that it tries again; what came of it is told below
            images, labels = fetch_openml(
                "mnist_784",
                version=1,
                as_frame=False,
                return_X_y=True,
                parser="liac-arff",  # the others need pandas
                data_home=folder,
                n_retries=1,
            )
    except Exception as e:
        why = f"{type(e).__name__}: {' '.join(str(e).split())}"
        raise Unavailable(
            f"MNIST is not on this machine and cannot be fetched from OpenML ({why[:120]}); the "
            "problem digits needs no network"
        ) from None
    return images, labels


def _keep(images: Any, labels: Any) -> None:
    """Written into another folder first: what bears the right one is whole."""
    parts(images, labels)
    target = place()
    pixels, digits = np.asarray(images).astype(np.uint8), np.asarray(labels).astype(np.int64)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            unfinished = Path(folder) / target.name
            with unfinished.open("wb") as file:
                np.savez_compressed(file, images=pixels, labels=digits)
            unfinished.replace(target)
    except OSError as e:
        raise Unavailable(f"MNIST cannot be kept in {target.parent}: {e.strerror}") from None


def start(seed: int) -> Perceptron:
    return Perceptron(data(), BATCH, seed)
