"""What is particular to optimizers that torch lacks: Adan's restarts, checkpoints of the official
code, and options that it would ignore."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from adabelief_pytorch import AdaBelief
from madgrad import MADGRAD

from optim.table import every_engine
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train
from reference.adan import Adan
from thalweg import optim

COURSE = gradients(60)
RESTARTS = {"lr": 0.02, "restart_radius": 0.3, "weight_decay": 0.1}
conventions = pytest.mark.parametrize("convention", ["official", "paper"])


def split(params, *engines):
    return [{"params": params[:2], "lr": 0.03, **engines[0]}, {"params": params[2:], **engines[1]}]


@pytest.mark.parametrize("second", ["plain", "fused"])
@every_engine
@conventions
def test_the_condition_speaks_of_all_parameters(convention, engine, second):
    groups = split(tensors(), {"engine": engine}, {"engine": second})
    ours = optim.Adan(groups, convention=convention, max_grad_norm=1e3, **RESTARTS)
    theirs = Adan(split(tensors(), {}, {}), convention=convention, **RESTARTS)
    close = Close()
    for grads in COURSE:
        close(step(ours, grads), step(theirs, grads))
    assert 3 * len(params(ours)) < theirs.restarts < 30 * len(params(ours))


@every_engine
@conventions
@pytest.mark.parametrize("at", [0, 1, 13, 29])
def test_resuming_between_restarts_changes_no_bit(convention, engine, at):
    options = {"convention": convention, "engine": engine, **RESTARTS}
    whole = train(optim.Adan(tensors(), **options), COURSE[:at])
    copies = [p.detach().clone().requires_grad_() for p in params(whole)]
    resumed, file = optim.Adan(copies, **options), io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    assert_same(contents(train(whole, COURSE[at:])), contents(train(resumed, COURSE[at:])))


@every_engine
@conventions
def test_restarted_by_hand_it_is_new(convention, engine):
    options = {"convention": convention, "engine": engine, "lr": 0.02}
    ours = train(optim.Adan(tensors(), **options), COURSE[:7])
    fresh = optim.Adan([p.detach().clone().requires_grad_() for p in params(ours)], **options)
    ours.restart()
    assert not ours.state
    assert_same(contents(train(fresh, COURSE[7:])), contents(train(ours, COURSE[7:])))


@pytest.mark.parametrize(
    ("cls", "options", "says"),
    [
        (optim.Adan, {"cautious": True, "restart_radius": 1.0}, "cautious=True needs restart_rad"),
        (optim.AdaBelief, {"amsgrad": True}, "amsgrad=True needs rectify=False"),
        (
            optim.AdaBelief,
            {"fixed_decay": True, "weight_decouple": False},
            "fixed_decay=True needs weight_decouple=True",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(cls, options, says):
    with pytest.raises(ValueError, match=says):
        cls(tensors(), **options)


def test_groups_cannot_differ_in_their_radius():
    groups = split(tensors(), {"restart_radius": 1.0}, {})
    with pytest.raises(ValueError, match="restart_radius speaks of all parameters"):
        optim.Adan(groups)


def twins(optimizer):
    return [p.detach().clone().requires_grad_() for p in params(optimizer)]


OFFICIAL = {
    "adabelief": (
        optim.AdaBelief,
        lambda p, **o: AdaBelief(p, print_change_log=False, rectify=False, **o),
        {"rectify": False},
    ),
    "madgrad": (optim.MADGRAD, MADGRAD, {}),
}


@every_engine
@pytest.mark.parametrize(("cls", "official", "ours_only"), OFFICIAL.values(), ids=OFFICIAL)
def test_official_checkpoints_are_read(cls, official, ours_only, engine):
    theirs = train(official(tensors(), lr=0.02), [[g.clone() for g in s] for s in COURSE[:5]])
    ours = cls(twins(theirs), engine=engine, **ours_only)
    ours.load_state_dict(theirs.state_dict())
    again = cls(twins(theirs), engine=engine, **ours_only)
    again.load_state_dict(ours.state_dict())  # what was translated stays so
    close = Close()
    for grads in COURSE[5:12]:
        step(theirs, [g.clone() for g in grads])
        close(step(ours, grads), theirs)
        step(again, grads)
    assert_same(contents(ours), contents(again))


@every_engine
def test_adans_official_checkpoints_are_read(engine):
    """They count steps by group, and 0 is no clipping."""
    whole = train(optim.Adan(tensors(), lr=0.02, engine=engine), COURSE[:5])
    official = copy.deepcopy(whole.state_dict())
    for state in official["state"].values():
        del state["step"]
    (group,) = official["param_groups"]
    keys = ("lr", "betas", "eps", "weight_decay", "no_prox", "params")
    group = {k: group[k] for k in keys} | {"max_grad_norm": 0.0, "foreach": True, "fused": False}
    resumed = optim.Adan(twins(whole), engine=engine)
    resumed.load_state_dict({**official, "param_groups": [{**group, "step": 5}]})
    again = optim.Adan(twins(whole), engine=engine)
    again.load_state_dict(resumed.state_dict())
    for o in (whole, resumed, again):
        train(o, COURSE[5:12])
    assert_same(contents(whole), contents(resumed))
    assert_same(contents(whole), contents(again))
