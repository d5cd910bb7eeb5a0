"""What the tests train: tensors, gradients that do not depend on them, and comparisons."""

from __future__ import annotations

from functools import cache

import torch

SHAPES = ((), (7,), (3, 5), (0, 4))


def tensors(dtype=torch.float64, shapes=SHAPES, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
            for s in shapes]  # fmt: skip


@cache
def gradients(steps, dtype=torch.float64, shapes=SHAPES, decades=(-4, 2), seed=0):
    """For every step a gradient per tensor. Each element has a size of its own, from 1e-4 to 100,
    and every fifth element is zero half of the time."""
    g = torch.Generator().manual_seed(1000 + seed)
    low, high = decades
    sizes = [10 ** (low + (high - low) * torch.rand(s, generator=g).double()) for s in shapes]
    made = []
    for _ in range(steps):
        now = []
        for size in sizes:
            x = size * torch.randn(size.shape, generator=g, dtype=torch.float64)
            rare = torch.arange(x.numel()).view(x.shape) % 5 == 3
            x = torch.where(rare & (torch.rand(x.shape, generator=g) < 0.5), 0.0, x)
            now.append(x.to(dtype))
        made.append(tuple(now))
    return made


def params(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def step(optimizer, grads):
    """One step on these gradients; None where a parameter gets none."""
    for p, g in zip(params(optimizer), grads, strict=True):
        p.grad = g
    optimizer.step()
    return optimizer


def train(optimizer, steps):
    for grads in steps:
        step(optimizer, grads)
    return optimizer


def contents(optimizer):
    """Weights and state by (parameter, name); a complex tensor as pairs of real ones. The step
    comes as a number: torch keeps it in float32."""
    found = {}
    for i, p in enumerate(params(optimizer)):
        found[i, "w"] = p.detach()
        for name, value in optimizer.state.get(p, {}).items():
            if value is not None:
                x = torch.as_tensor(value).detach()
                found[i, name] = x.to_dense() if x.is_sparse else x
                if name == "step":
                    found[i, name] = found[i, name].double()
    return {k: torch.view_as_real(x) if x.is_complex() else x for k, x in found.items()}


def snapshot(optimizer):
    """Everything a failed call must leave as it was, copied."""
    groups = [
        {k: v for k, v in group.items() if k != "params"}
        | {"params": list(map(id, group["params"]))}
        for group in optimizer.param_groups
    ]
    tensors = {k: x.clone() for k, x in contents(optimizer).items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in params(optimizer)]
    return groups, tensors, gradients


def bits(x):
    """A tensor's bits as integers, so that NaN equals itself and 0 differs from -0."""
    x = torch.view_as_real(x) if x.is_complex() else x
    return x.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.itemsize])


def assert_same(before, now):
    """Two snapshots, or two dicts of tensors, are equal bit for bit."""
    if isinstance(before, dict):
        assert before.keys() == now.keys()
        for key, x in before.items():
            assert x.dtype is now[key].dtype, key
            assert torch.equal(bits(x), bits(now[key])), key
        return
    (groups, tensors, grads), (groups_now, tensors_now, grads_now) = before, now
    assert groups == groups_now
    assert_same(tensors, tensors_now)
    for g, h in zip(grads, grads_now, strict=True):
        assert (g is None and h is None) or torch.equal(bits(g), bits(h))


class Close:
    """Equality of two runs to rounding: each element within ``tolerance`` of the largest value that
    this very element has had in the run so far.

    Weights are sums of steps: when one crosses zero, an error relative to what it is at that moment
    says nothing, while relative to what it has been it is still that of each single element, and
    not of the largest in its tensor.
    """

    def __init__(self, tolerance=1e-12):
        self.tolerance, self.peak = tolerance, {}

    def __call__(self, ours, theirs):
        ours, theirs = contents(ours), contents(theirs)
        assert ours.keys() >= theirs.keys()
        for key, there in theirs.items():
            peak = torch.maximum(there.abs(), self.peak.get(key, torch.zeros_like(there)))
            self.peak[key] = peak
            here = ours[key]
            off = (here - there).abs()
            same = (off <= self.tolerance * peak) | (here == there) | (here.isnan() & there.isnan())
            assert same.all(), f"{key}: off by {(off / peak)[~same]} of {peak[~same]}"
