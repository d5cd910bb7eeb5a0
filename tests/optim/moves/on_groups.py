"""Moves on parameter groups, by hand or by the methods made for it."""

from __future__ import annotations

import torch

from optim.moves.kept import Skip, move

MOVES = {}
must, may = (move(MOVES, m) for m in (False, True))


def several(actor):
    groups = actor.optimizer.param_groups
    if len(groups) < 2:
        raise Skip
    return groups


def options(group):
    """A group's options without its parameters."""
    return {k: v for k, v in group.items() if k not in ("params", "param_names")}


@must
def group_popped(actor, label, pick):
    several(actor).pop(pick.choice((0, -1)))


@must
def groups_reversed(actor, label, pick):
    several(actor).reverse()


@must
def group_list_replaced(actor, label, pick):
    o = actor.optimizer
    if not actor.ours or len(o.phases()) == 1:  # SAM shares its list with two others
        o.param_groups = list(o.param_groups)


@must
def groups_swap_their_parameters(actor, label, pick):
    a, b = several(actor)[:2]
    for name in {"params", "param_names"} & a.keys():
        a[name], b[name] = b[name], a[name]


@must
def parameters_reversed(actor, label, pick):
    for group in actor.optimizer.param_groups:
        group["params"].reverse()


@must
def parameter_moves_to_another_group(actor, label, pick):
    a, b = several(actor)[:2]
    if not a["params"]:
        raise Skip
    b["params"].append(a["params"].pop())


@must
def parameter_taken_out(actor, label, pick):
    group = pick.choice(actor.optimizer.param_groups)
    if len(group["params"]) < 2:
        raise Skip
    group["params"].pop(0)


@must
def group_inserted(actor, label, pick):
    o = actor.optimizer
    i = len(actor.params)
    actor.shapes[i] = pick.choice(((3, 2), (9,), (4, 4)))
    new = actor.params[i] = actor.fresh(i)
    group = {"params": [new], **options(o.param_groups[0]), "lr": 0.02}
    if "param_names" in o.param_groups[0]:
        group["param_names"] = [f"p{i}"]
    o.param_groups.insert(pick.choice((0, len(o.param_groups))), group)


@must
def group_added(actor, label, pick):
    o = actor.optimizer
    i = len(actor.params)
    actor.shapes[i] = pick.choice(((3, 2), (9,), (4, 4)))
    new = actor.fresh(i)
    named = any("param_names" in g for g in o.param_groups)
    o.add_param_group({"params": [(f"p{i}", new) if named else new], "lr": 0.02})
    actor.params[i] = new


@must
def parameter_twice(actor, label, pick):
    """Of which torch only warns: it steps it twice."""
    group = pick.choice(actor.optimizer.param_groups)
    if not group["params"]:
        raise Skip
    group["params"].append(group["params"][0])


@must
def rate_changes(actor, label, pick):
    pick.choice(actor.optimizer.param_groups)["lr"] = pick.choice((0.01, 0.1, 0.0))


@must
def rate_is_a_tensor_of_all(actor, label, pick):
    lr = torch.tensor(0.03, dtype=torch.float64)  # torch computes in its precision
    for group in actor.optimizer.param_groups:
        group["lr"] = lr


@must
def rate_written_in_place(actor, label, pick):
    for group in actor.optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].mul_(0.5)


@must
def betas_change(actor, label, pick):
    group = pick.choice(actor.optimizer.param_groups)
    if "betas" not in group:
        raise Skip
    group["betas"] = (*(0.5 * b for b in group["betas"][:1]), *group["betas"][1:])


@must
def decay_changes(actor, label, pick):
    group = pick.choice(actor.optimizer.param_groups)
    if "weight_decay" not in group:
        raise Skip
    group["weight_decay"] = pick.choice((0.0, 0.1, 0.2))


@must
def momentum_changes(actor, label, pick):
    group = pick.choice(actor.optimizer.param_groups)
    if not group.get("momentum") or group.get("nesterov"):
        raise Skip
    group["momentum"] = pick.choice((0.5, 0.8))
