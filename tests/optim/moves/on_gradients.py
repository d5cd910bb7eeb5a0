"""Moves on gradients. What they leave is the gradient of the next step."""

from __future__ import annotations

import torch

from optim.moves.kept import Skip, move
from optim.moves.memory import home, overlaps_itself, readable, release

MOVES = {}
must, may = (move(MOVES, m) for m in (False, True))
# Torch decays weights before it reads a gradient, which may be what it has just written.
without_torch = move(MOVES, False, torch=False)


def fresh(actor, label):
    """A parameter that is sound and numbers of its shape and dtype."""
    p = actor.params[label]
    if not readable(p) or overlaps_itself(p):
        raise Skip
    return p, torch.randn(p.shape, dtype=torch.complex128 if p.is_complex() else None).to(p.dtype)


def give(actor, label, g):
    """Make this the gradient of the next step."""
    p = actor.params[label]
    p.grad = None
    p.grad = g
    actor.pinned.add(label)
    return p.grad


@must
def gradient_missing(actor, label, pick):
    give(actor, label, None)


@must
def gradient_with_gaps(actor, label, pick):
    _, g = fresh(actor, label)
    give(actor, label, home(torch.stack([g, g], -1)[..., 1], actor.way))


@must
def gradient_transposed(actor, label, pick):
    _, g = fresh(actor, label)
    if g.dim() < 2:
        raise Skip
    give(actor, label, home(g.mT.contiguous().mT, actor.way))


@must
def gradient_in_reverse_order(actor, label, pick):
    _, g = fresh(actor, label)
    order = tuple(reversed(range(g.dim())))
    give(actor, label, home(g.permute(order).contiguous().permute(order), actor.way))


@must
def gradient_expanded(actor, label, pick):
    _, g = fresh(actor, label)
    give(actor, label, home(g.flatten()[:1].sum().expand(g.shape), actor.way))


@must
def gradient_expanded_in_one_dimension(actor, label, pick):
    _, g = fresh(actor, label)
    if g.dim() == 0 or g.shape[0] == 0:
        raise Skip
    give(actor, label, home(g[:1].expand(g.shape), actor.way))


@must
def gradient_negated(actor, label, pick):
    _, g = fresh(actor, label)
    give(actor, label, torch._neg_view(home(g, actor.way)))


@must
def gradient_conjugated(actor, label, pick):
    _, g = fresh(actor, label)
    if not g.is_complex():
        raise Skip
    give(actor, label, home(g, actor.way).conj())


@must
def gradient_inside_a_tensor(actor, label, pick):
    p, g = fresh(actor, label)
    before = pick.randrange(1, 9)
    whole = home(torch.ones(before + g.numel() + 3, dtype=g.dtype), actor.way)
    give(actor, label, whole[before : before + g.numel()].view(g.shape))
    p.grad.copy_(g)


@must
def gradients_that_share(actor, label, pick):
    p, g = fresh(actor, label)
    others = [
        i
        for i, q in actor.params.items()
        if i != label and readable(q) and q.dtype is p.dtype and 0 < q.numel() <= p.numel()
    ]
    if not others:
        raise Skip
    other = pick.choice(others)
    q = actor.params[other]
    give(actor, label, home(g, actor.way))
    give(actor, other, p.grad if q.shape == p.shape else p.grad.view(-1)[: q.numel()].view(q.shape))


@without_torch
def gradient_that_is_the_parameter(actor, label, pick):
    p, _ = fresh(actor, label)
    give(actor, label, p.detach())


@must
def gradient_that_is_frozen(actor, label, pick):
    p, g = fresh(actor, label)
    give(actor, label, home(g, actor.way))
    p.requires_grad_(False)


@may
def gradient_of_another_shape(actor, label, pick):
    p, g = fresh(actor, label)
    if g.numel() < 2:
        raise Skip
    give(actor, label, home(g, actor.way))
    p.grad.data = home(g.reshape(1, -1) if g.dim() == 1 else g.flatten(), actor.way)


@may
def gradient_of_another_length(actor, label, pick):
    p, g = fresh(actor, label)
    give(actor, label, home(g, actor.way))
    p.grad.data = home(g.flatten()[: g.numel() // 2], actor.way)


@may
def gradient_of_another_dtype(actor, label, pick):
    p, g = fresh(actor, label)
    if p.is_complex():
        raise Skip
    give(actor, label, home(g, actor.way))
    same = {2: (torch.float16, torch.bfloat16), 4: (torch.int32,), 8: (torch.int64,)}
    dtype = pick.choice((*same[g.itemsize], torch.float64, torch.float32, torch.bfloat16))
    p.grad.data = home((4 * g).to(dtype), actor.way)


@may
def gradient_of_as_many_bytes(actor, label, pick):
    """Half as wide, twice as long."""
    p, g = fresh(actor, label)
    if g.dim() == 0 or g.itemsize == 2 or g.is_complex():
        raise Skip
    give(actor, label, home(g, actor.way))
    dtype = torch.bfloat16 if g.itemsize == 4 else torch.float32
    p.grad.data = home(torch.cat([g, g]).to(dtype), actor.way)


@may
def gradient_loses_its_memory(actor, label, pick):
    p, g = fresh(actor, label)
    if g.numel() == 0:
        raise Skip
    give(actor, label, g.clone())
    release(p.grad)


@must
def gradients_none(actor, label, pick):
    actor.optimizer.zero_grad()
    actor.pinned.clear()


@must
def gradients_zero(actor, label, pick):
    if any(p.grad is not None and not readable(p.grad) for p in actor.stepped()):
        raise Skip
    actor.optimizer.zero_grad(set_to_none=False)
    actor.pinned.update(i for i, p in actor.params.items() if p.grad is not None)
