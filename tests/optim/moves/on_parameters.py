"""Moves on parameters: their memory, shape, strides, dtype and identity."""

from __future__ import annotations

import torch

from optim.moves.kept import Skip, move
from optim.moves.memory import home, overlaps_itself, readable, regain, release

MOVES = {}
must, may, auto = (move(MOVES, m) for m in (False, True, None))


def sound(actor, label):
    """The parameter, if it has memory to work with."""
    p = actor.params[label]
    if not readable(p) or overlaps_itself(p):
        raise Skip
    return p


@must
def clone(actor, label, pick):
    p = sound(actor, label)
    p.data = home(p, actor.way)


@must
def clone_of_torch(actor, label, pick):
    p = sound(actor, label)
    p.data = p.data.clone()


@must
def transpose_a_square(actor, label, pick):
    p = sound(actor, label)
    if p.dim() != 2 or p.shape[0] != p.shape[1]:
        raise Skip
    p.data = p.data.t()


@must
def permute_memory(actor, label, pick):
    p = sound(actor, label)
    if p.dim() < 2:
        raise Skip
    p.data = home(p.detach().mT.contiguous().mT, actor.way)


@must
def channels_last(actor, label, pick):
    p = sound(actor, label)
    if p.dim() != 4:
        raise Skip
    p.data = home(p.detach().to(memory_format=torch.channels_last), actor.way)


@must
def contiguous(actor, label, pick):
    p = sound(actor, label)
    p.data = home(p.detach().contiguous(), actor.way)


@may
def transpose(actor, label, pick):
    p = sound(actor, label)
    if p.dim() != 2:
        raise Skip
    p.data = p.data.t()


@auto
def gaps(actor, label, pick):
    p = sound(actor, label)
    p.data = home(torch.stack([p.detach(), p.detach()], -1)[..., 0], actor.way)


@may
def expand(actor, label, pick):
    p = sound(actor, label)
    if p.dim() == 0 or p.shape[0] < 2:
        raise Skip
    p.data = home(p.detach()[:1].expand(p.shape), actor.way)


def resized(actor, label, change):
    """A parameter of another length, its gradient and state alike."""
    p = sound(actor, label)
    if p.dim() == 0 or p.shape[0] < 2:
        raise Skip
    elementwise, shaped, _ = actor.kinds() if actor.ours else ({*actor.tensors(p)}, set(), set())
    state = actor.state(p)
    if shaped & state.keys():
        raise Skip
    like = {k: v for k, v in state.items() if k in elementwise and isinstance(v, torch.Tensor)}
    for x in (*like.values(), *([p.grad] if p.grad is not None else [])):
        if x.shape != p.shape or not readable(x) or x.layout is not torch.strided:
            raise Skip
    grad, p.grad = p.grad, None
    p.data = home(change(p.detach()), actor.way)
    if grad is not None and grad.dtype is p.dtype:
        p.grad = home(change(grad), actor.way)
    for k, v in like.items():
        state[k] = home(change(v), actor.way)


@must
def grow(actor, label, pick):
    if actor.params[label].numel() > 5000:
        raise Skip
    resized(actor, label, lambda x: torch.cat([x, 0.5 * x]))


@must
def prune(actor, label, pick):
    resized(actor, label, lambda x: x[: len(x) // 2].clone())  # without gaps


@may
def grow_alone(actor, label, pick):
    p = sound(actor, label)
    if p.dim() == 0 or p.numel() > 5000:
        raise Skip
    p.data = home(torch.cat([p.detach(), p.detach()]), actor.way)


@may
def prune_alone(actor, label, pick):
    p = sound(actor, label)
    if p.dim() == 0:
        raise Skip
    p.data = p.data[: len(p) // 2]


@must
def set_the_same(actor, label, pick):
    p = sound(actor, label)
    with torch.no_grad():
        p.set_(home(2 * p, actor.way))


@may
def set_another(actor, label, pick):
    p = sound(actor, label)
    n = max(0, p.numel() + pick.choice((-3, 2, 1000)))
    with torch.no_grad():
        p.set_(home(torch.ones(n, dtype=p.dtype), actor.way))


@may
def to_dtype(actor, label, pick):
    p = sound(actor, label)
    dtype = pick.choice((torch.float64, torch.float32, torch.bfloat16, torch.float16))
    if p.is_complex():
        raise Skip
    grad = p.grad
    if grad is not None and not readable(grad):
        raise Skip  # there is nothing to convert
    p.data = home(p.detach().to(dtype), actor.way)
    if grad is not None:
        grad.data = grad.data.to(dtype)


@must
def share(actor, label, pick):
    p = sound(actor, label)
    p.data.share_memory_() if pick.random() < 0.5 else p.share_memory_()


@may
def lose_memory(actor, label, pick):
    p = sound(actor, label)
    if p.numel() == 0:
        raise Skip
    try:
        release(p.data)
    except RuntimeError:  # memory that is a mapping of ours cannot be resized
        raise Skip from None


@must
def lose_memory_and_regain_it(actor, label, pick):
    p = sound(actor, label)
    if p.numel() == 0:
        raise Skip
    try:
        kept = release(p.data)
    except RuntimeError:
        raise Skip from None
    other = torch.empty_like(kept)  # noqa: F841  takes the place, perhaps
    regain(p.data, kept)


@must
def write(actor, label, pick):
    p = sound(actor, label)
    with torch.no_grad():
        p.mul_(0.9) if pick.random() < 0.5 else p.data.add_(0.1)


@must
def freeze(actor, label, pick):
    actor.params[label].requires_grad_(not actor.params[label].requires_grad)


def replaced(actor, label):
    """A new parameter object in all groups in place of one."""
    p = sound(actor, label)
    new = home(p, actor.way).requires_grad_()
    found = False
    for group in actor.optimizer.param_groups:
        for k, q in enumerate(group["params"]):
            if q is p:
                group["params"][k], found = new, True
    if not found:
        raise Skip
    actor.params[label] = new
    actor.pinned.discard(label)
    return p, new


@must
def replace_with_its_state(actor, label, pick):
    p, new = replaced(actor, label)
    if p in actor.optimizer.state:
        actor.optimizer.state[new] = actor.optimizer.state.pop(p)


@must
def replace_without_state(actor, label, pick):
    p, _ = replaced(actor, label)
    actor.counts.pop(label, None)
    if pick.random() < 0.5:
        actor.optimizer.state.pop(p, None)
