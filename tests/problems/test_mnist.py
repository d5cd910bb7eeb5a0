"""MNIST without MNIST: what is kept, checked and refused. The images themselves need a network."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.problems import PROBLEMS, mnist
from thalweg.problems.problem import Unavailable


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mnist.data.cache_clear()
    yield tmp_path / "thalweg" / "mnist.npz"
    mnist.data.cache_clear()


def stand_in():
    """Arrays like MNIST's: as many of each digit, each image one grey, its digit times 20."""
    labels = np.concatenate([np.repeat(np.arange(10), n) for n in mnist.COUNTS])
    return np.repeat(20 * labels[:, None], 784, axis=1), labels.astype(str)


def test_three_parts_in_mnists_order(kept, monkeypatch):
    monkeypatch.setattr(mnist, "_fetched", stand_in)
    task = PROBLEMS["mnist"].start(0)
    assert kept.is_file()
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]
    monkeypatch.setattr(mnist, "_fetched", None)  # not fetched twice
    mnist.data.cache_clear()
    sizes = {"train": 50_000, "validation": 10_000, "test": 10_000}
    for part, (x, y) in mnist.data().items():
        assert x.shape == (sizes[part], 784)
        assert (x * 255 == 20 * y[:, None]).all()
    assert mnist.data()["test"][1].bincount().tolist() == mnist.COUNTS[1]
    assert task.steps_per_epoch == 500
    assert sum(p.numel() for p in task.model.parameters()) == 784 * 100 + 100 + 100 * 10 + 10


def test_what_is_not_mnist_is_refused(kept, monkeypatch):
    images, labels = stand_in()
    for wrong in ((images[:-1], labels[:-1]), (images, labels[::-1])):
        monkeypatch.setattr(mnist, "_fetched", lambda wrong=wrong: wrong)
        with pytest.raises(Unavailable, match="these are not MNIST's"):
            mnist.prepare()
        assert not kept.exists()


def test_a_file_cut_short_is_refused(kept):
    kept.parent.mkdir()
    kept.write_bytes(b"PK\x03\x04")
    with pytest.raises(Unavailable, match="delete it"):
        mnist.data()


def test_without_a_network_one_line_says_so(kept, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", no_network)
    with pytest.raises(Unavailable, match=r"OSError: no network.*digits needs no network"):
        PROBLEMS["mnist"].prepare()
    assert not kept.exists()
