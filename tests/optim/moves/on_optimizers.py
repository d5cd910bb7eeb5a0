"""Moves on the optimizer as a whole: copies, checkpoints, threads."""

from __future__ import annotations

import copy
import io
import pickle
import threading

import torch

from optim.moves.kept import Skip, move
from optim.moves.memory import readable

MOVES = {}
must, may = (move(MOVES, m) for m in (False, True))


def whole(actor):
    """Skips where something has no memory, of which there can be no copy."""
    for p in {id(p): p for p in (*actor.params.values(), *actor.stepped())}.values():
        tensors = [p, *(v for v in actor.state(p).values() if isinstance(v, torch.Tensor))]
        if not all(map(readable, tensors)) or (p.grad is not None and not readable(p.grad)):
            raise Skip


def saveable(actor):
    """Skips also where there is state of parameters in no group, which torch cannot save."""
    whole(actor)
    known = set(map(id, actor.stepped()))
    if any(id(p) not in known for p in actor.optimizer.state):
        raise Skip
    if actor.ours:
        kept = {*actor.optimizer.rule.state.values(), "step", "y"}
        if any(key not in kept for s in actor.optimizer.state.values() for key in s):
            raise Skip  # what the rule does not keep is refused when it is loaded


def renewed(actor, function):
    whole(actor)
    make, actor.make = actor.make, None
    actor.params, actor.optimizer, actor.counts = function(
        (actor.params, actor.optimizer, actor.counts)
    )
    actor.make = make


@must
def deepcopied(actor, label, pick):
    renewed(actor, copy.deepcopy)


@must
def pickled(actor, label, pick):
    # Gradients do not come through pickle, and a view's negative bit not either.
    renewed(actor, lambda x: pickle.loads(pickle.dumps(x)))
    for p in actor.params.values():
        p.grad = None
    actor.pinned.clear()


@must
def saved_and_loaded(actor, label, pick):
    saveable(actor)
    actor.optimizer.load_state_dict(copy.deepcopy(actor.optimizer.state_dict()))
    actor.counts.clear()


@must
def saved_to_a_file_and_loaded(actor, label, pick):
    saveable(actor)
    file = io.BytesIO()
    torch.save(actor.optimizer.state_dict(), file)
    file.seek(0)
    actor.optimizer.load_state_dict(torch.load(file, weights_only=True))
    actor.counts.clear()


@must
def loaded_by_another(actor, label, pick):
    saveable(actor)
    if len(actor.stepped()) != sum(len(g["params"]) for g in actor.optimizer.param_groups):
        raise Skip  # a parameter twice, which a constructor warns of
    groups = [{"params": list(g["params"])} for g in actor.optimizer.param_groups]
    if not all(g["params"] for g in groups):
        raise Skip
    other = actor.make(groups)
    other.load_state_dict(actor.optimizer.state_dict())
    actor.optimizer = other
    actor.counts.clear()


@must
def threads(actor, label, pick):
    torch.set_num_threads(pick.randrange(1, 5))


def two_threads(world, seed):
    """Both step the same optimizer: neither crashes, and the steps add up."""
    if world.irregular or world.plan.algorithm == "sam":
        return
    for actor in world.actors:
        if any(
            len(set(map(id, g["params"]))) < len(g["params"]) for g in actor.optimizer.param_groups
        ):
            return
    refused = world.refusals
    world.step(seed)  # compiled, and everything where it is to be
    if world.refusals > refused:
        return
    for actor in world.actors:
        if any(p.grad is not None and not readable(p.grad) for p in actor.stepped()):
            return
    first, *others = world.actors

    def steps():
        for _ in range(3):
            first.optimizer.step()

    first.look()
    started = [threading.Thread(target=first.outcome, args=(steps,)) for _ in range(2)]
    for t in started:
        t.start()
    for t in started:
        t.join()
    wrong = first.written()
    for other in others:
        for _ in range(6):
            other.optimizer.step()
    world.counts_agree(wrong)
    world.align()
