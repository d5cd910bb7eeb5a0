"""Moves on state and on step counts."""

from __future__ import annotations

import collections

import torch

from optim.moves.kept import Skip, move
from optim.moves.memory import home, overlaps_itself, readable, regain, release

MOVES = {}
must, may = (move(MOVES, m) for m in (False, True))
# Torch adds one to a number that is not the state's, and rounds counts of few bits.
uncounted = move(MOVES, True, torch=False)


def chosen(actor, label, pick):
    """A parameter's state, and the key and value of one of its tensors with memory."""
    p = actor.params[label]
    found = sorted(actor.tensors(p).items())
    found = [(k, v) for k, v in found if readable(v)]
    if not found:
        raise Skip
    return actor.state(p), *pick.choice(found)


@must
def state_gets_canaries(actor, label, pick):
    for p in actor.params.values():
        for k, v in actor.tensors(p).items():
            if readable(v):
                actor.state(p)[k] = home(v, actor.way)


@must
def state_moves(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    v.data = home(v, actor.way)


@must
def state_moves_to_torch_memory(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    v.data = v.data.clone()


@must
def state_cloned(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    state[k] = home(v, actor.way)


@must
def state_written(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    if overlaps_itself(v):
        raise Skip
    v.mul_(0.5)


@must
def state_permuted(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    if v.dim() < 2:
        raise Skip
    v.data = home(v.mT.contiguous().mT, actor.way)


@must
def state_shared(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    v.share_memory_()


@must
def state_loses_its_memory_and_regains_it(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    if v.numel() == 0:
        raise Skip
    try:
        kept = release(v)
    except RuntimeError:
        raise Skip from None
    other = torch.empty_like(kept)  # noqa: F841  takes the place, perhaps
    regain(v, kept)


@must
def state_in_another_dict(actor, label, pick):
    p = actor.params[label]
    if not actor.state(p):
        raise Skip
    actor.optimizer.state[p] = dict(actor.state(p))


@must
def all_state_in_another_dict(actor, label, pick):
    actor.optimizer.state = collections.defaultdict(dict, actor.optimizer.state)


@must
def state_cleared(actor, label, pick):
    actor.optimizer.state.clear()
    actor.counts.clear()


@must
def state_of_one_deleted(actor, label, pick):
    actor.optimizer.state.pop(actor.params[label], None)
    actor.counts.pop(label, None)


@may
def state_with_gaps(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    gaps = home(torch.stack([v, v], -1)[..., 0], actor.way)
    if pick.random() < 0.5:
        v.data = gaps
    else:
        state[k] = gaps


@may
def state_set_to_nothing(actor, label, pick):
    _, _, v = chosen(actor, label, pick)
    v.set_()


@may
def state_sliced(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    if v.dim() == 0:
        raise Skip
    if pick.random() < 0.5:
        v.data = v.data[: len(v) // 2]
    else:
        state[k] = v[: len(v) // 2]


@may
def state_expanded(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    if v.dim() == 0 or v.shape[0] < 2:
        raise Skip
    state[k] = home(v[:1].expand(v.shape), actor.way)


@may
def state_without_data(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    if pick.random() < 0.5:
        state[k] = v.to("meta")
        return
    if v.numel() == 0:
        raise Skip
    try:
        release(v)
    except RuntimeError:
        raise Skip from None


@may
def state_of_another_dtype(actor, label, pick):
    state, k, v = chosen(actor, label, pick)
    if v.is_complex():
        raise Skip
    dtype = pick.choice((torch.float64, torch.float32, torch.bfloat16, torch.int32))
    if pick.random() < 0.5:
        v.data = home(v.to(dtype), actor.way)
    else:
        state[k] = home(v.to(dtype), actor.way)


@may
def state_that_is_a_number(actor, label, pick):
    state, k, _ = chosen(actor, label, pick)
    state[k] = 0.5


@may
def state_that_is_none(actor, label, pick):
    state, k, _ = chosen(actor, label, pick)
    state[k] = None


@may
def state_without_a_key(actor, label, pick):
    state, k, _ = chosen(actor, label, pick)
    del state[k]


@must
def state_under_another_key(actor, label, pick):
    """The values stay as they are, in their order."""
    state, k, _ = chosen(actor, label, pick)
    for key in list(state):
        state["old " * (key == k) + key] = state.pop(key)


# ---- step counts


def counted(actor, label):
    state = actor.state(actor.params[label])
    if not isinstance(state.get("step"), torch.Tensor) or state["step"].numel() != 1:
        raise Skip
    return state, int(state["step"])


def put(actor, label, step):
    actor.state(actor.params[label])["step"] = step
    actor.counts[label] = step


@must
def step_is_a_tensor_of_the_user(actor, label, pick):
    _, n = counted(actor, label)
    put(actor, label, torch.tensor(float(n), dtype=pick.choice((torch.float32, torch.float64))))


@must
def step_is_shared(actor, label, pick):
    _, n = counted(actor, label)
    put(actor, label, torch.tensor(float(n)).share_memory_())


@must
def step_becomes_shared(actor, label, pick):
    state, _ = counted(actor, label)
    state["step"].share_memory_()


@must
def step_written(actor, label, pick):
    state, _ = counted(actor, label)
    state["step"].fill_(pick.randrange(1, 20))


@uncounted
def step_of_another_dtype(actor, label, pick):
    _, n = counted(actor, label)
    put(actor, label, torch.tensor(n).to(pick.choice((torch.int64, torch.int32, torch.bfloat16))))


@uncounted
def step_in_a_list(actor, label, pick):
    _, n = counted(actor, label)
    put(actor, label, torch.tensor([float(n)]))


@uncounted
def step_is_a_number(actor, label, pick):
    state, n = counted(actor, label)
    state["step"] = pick.choice((n, float(n)))
    actor.counts.pop(label, None)


@must
def numbers_cloned(actor, label, pick):
    p = actor.params[label]
    for k, v in actor.numbers(p).items():
        if isinstance(v, torch.Tensor):
            actor.state(p)[k] = v.clone()
    actor.counts.pop(label, None)
