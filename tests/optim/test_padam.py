"""Padam's power: by square roots where they give it, and the kernel changes with the option."""

from __future__ import annotations

import pytest
import torch

from optim.training import gradients, step, tensors
from thalweg import optim
from thalweg.rule.graph import walk


def powers(partial):
    """How many powers are taken of every weight."""
    o = optim.Padam(tensors(), partial=partial)
    graph = o.rule.trace(o.hyperparameters(o.param_groups[0]))
    return sum(n.op == "pow" and n.elementwise for n in walk(*graph.outputs.values()))


@pytest.mark.parametrize("partial", [1 / 2, 1 / 4, 1 / 8, 1 / 16])
def test_these_take_square_roots_only(partial):
    assert powers(partial) == 0


@pytest.mark.parametrize("partial", [0.3, 0.0])
def test_any_other_takes_one_power(partial):
    assert powers(partial) == 1


@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_the_power_may_change_between_steps(engine):
    """At 1/4 by roots or nearly 1/4 by a power: the same steps."""
    ours, near = (optim.Padam(tensors(), engine=engine) for _ in range(2))
    for i, grads in enumerate(gradients(6)):
        for o, off in ((ours, 0.0), (near, 1e-14)):
            o.param_groups[0]["partial"] = 0.5 if i % 2 else 0.25 + off
            step(o, grads)
    for p, q in zip(ours.param_groups[0]["params"], near.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=0)
