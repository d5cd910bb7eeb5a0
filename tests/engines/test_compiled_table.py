"""Every algorithm on the compiled engine. Its programs are the same whatever torch.compile makes of
them: here a backend that traces and functionalises them but generates no code, in a quarter of the
time; test_compiled.py has some with code."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from optim.training import Close
from thalweg.engines import compiled
from thalweg.optim.registry import ALGORITHMS

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
SHAPES = ((4, 3), (5,), ())
# Words on whole matrices are torch's own operations already; what has none of them is compiled.
MATRICES = {"muon": 1, "adafactor": 1, "soap": 3}  # and how many of the shapes are refused
MORE = {
    "bounds": replace(ALGORITHMS["adamw"], options={"bounds": (-0.3, 0.4)}),
    "lookahead": replace(
        ALGORITHMS["nesterov"], options={"momentum": 0.9, "nesterov": "lookahead"}
    ),
}
ALL = {**ALGORITHMS, **MORE}


@pytest.fixture(autouse=True)
def no_code_is_generated(monkeypatch):
    compiled.compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    compiled.compiled.cache_clear()


def start(shapes):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=g).double().requires_grad_() for s in shapes]


def slope(params, step):
    def closure():
        g = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=g).double() + p.detach() ** 3
        return 0.0

    return closure


@pytest.mark.parametrize("algorithm", ALL.values(), ids=ALL)
def test_every_algorithm_equals_the_plain_engine(algorithm):
    refused = MATRICES.get(algorithm.name, 0)
    for shape in SHAPES[:refused]:
        with pytest.raises(ValueError, match=r'engine="compiled" cannot step .* matrix words'):
            algorithm.build(start([shape]), lr=algorithm.lr, engine="compiled")
    if not (shapes := SHAPES[refused:]):
        return
    a, b = start(shapes), start(shapes)
    plain = algorithm.build(a, lr=algorithm.lr, engine="plain")
    ours = algorithm.build(b, lr=algorithm.lr, engine="compiled")
    close = Close(1e-11)
    for step in range(4):
        plain.step(slope(a, step))
        ours.step(slope(b, step))
        close(ours, plain)
