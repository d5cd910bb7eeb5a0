"""torch.distributed.checkpoint, which compares groups key by key: its files here and there."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint import state_dict as distributed

from optim.training import assert_same, contents
from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer

SHARED = [n for n in torch.optim.__all__ if isinstance(getattr(optim, n), type)]
SHARED = [n for n in SHARED if issubclass(getattr(optim, n), RuleOptimizer)]
OPTIONS = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.5}}


def made(cls, **options):
    """A model without biases, which torch's Muon would not take, and its optimizer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))
    first, second = model.parameters()
    groups = [{"params": [first], "lr": 0.03}, {"params": [second]}]
    return model, cls(groups, **{"lr": 0.01, **options})


def train(model, optimizer, steps=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 3, generator=g)).square().sum().backward()
        optimizer.step()


def handed_over(path, give, take, flat=False):
    """What one pair of model and optimizer holds, by way of a file, into the other."""
    how = distributed.StateDictOptions(flatten_optimizer_state_dict=flat)
    with warnings.catch_warnings():  # of torch's own: there is one process, and what it stores with
        warnings.simplefilter("ignore")
        saved = distributed.get_state_dict(*give, options=how)
        checkpoint.save(dict(zip(("model", "optim"), saved, strict=True)), checkpoint_id=path)
        there = distributed.get_state_dict(*take, options=how)
        target = dict(zip(("model", "optim"), there, strict=True))
        checkpoint.load(target, checkpoint_id=path)
        distributed.set_state_dict(
            *take, model_state_dict=target["model"], optim_state_dict=target["optim"], options=how
        )


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
@pytest.mark.parametrize("way", ["torch's here", "ours there", "ours here"])
@pytest.mark.parametrize("name", SHARED)
def test_a_file_is_loaded_and_gone_on_from(name, way, flat, tmp_path):
    ours, theirs = getattr(optim, name), getattr(torch.optim, name)
    give = made(theirs if way == "torch's here" else ours, **OPTIONS.get(name, {}))
    take = made(theirs if way == "ours there" else ours, **{**OPTIONS.get(name, {}), "lr": 0.5})
    train(*give)
    handed_over(tmp_path, give, take, flat)
    assert [g["lr"] for g in take[1].param_groups] == [0.03, 0.01]
    train(*give, seed=2)
    train(*take, seed=2)
    for p, q in zip(give[0].parameters(), take[0].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_what_torchs_file_does_not_hold_stays_as_constructed(tmp_path):
    give = made(torch.optim.AdamW)
    take = made(optim.AdamW, max_grad_norm=0.5, engine="plain", cautious=True)
    train(*give)
    handed_over(tmp_path, give, take)
    for group in take[1].param_groups:
        assert (group["max_grad_norm"], group["engine"], group["cautious"]) == (0.5, "plain", True)


def test_a_file_of_torchs_velocities_is_not_taken_for_classical_ones(tmp_path):
    give = made(torch.optim.SGD, momentum=0.9)
    take = made(optim.SGD, momentum=0.9, convention="classical")
    train(*give)
    with pytest.raises(checkpoint.CheckpointException, match="convention"):
        handed_over(tmp_path, give, take)
    again = made(optim.SGD, momentum=0.9, convention="classical")
    train(*take)
    handed_over(tmp_path / "own", take, again)
    assert_same(contents(take[1]), contents(again[1]))


@pytest.mark.parametrize("name", ["ScheduleFreeAdamW", "SOAP", "MADGRAD", "Adan", "Lion", "SGD"])
def test_those_that_torch_lacks_are_handed_over_among_themselves(name, tmp_path):
    cls = getattr(optim, name)  # and SGD without momentum, which keeps nothing
    give, take = made(cls), made(cls, lr=0.5)
    train(*give)
    handed_over(tmp_path, give, take)
    train(*give, seed=2)
    train(*take, seed=2)
    assert_same(contents(give[1]), contents(take[1]))


def test_one_that_looks_ahead_is_handed_over(tmp_path):
    options = {"momentum": 0.9, "nesterov": "lookahead"}
    (m, give), (n, take) = made(optim.SGD, **options), made(optim.SGD, **options)

    def go(model, optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            with optimizer.ahead():
                model(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()

    go(m, give)
    handed_over(tmp_path, (m, give), (n, take))
    go(m, give)
    go(n, take)
    assert_same(contents(give), contents(take))


@pytest.mark.parametrize("mode", [True, False])
def test_averaged_weights_are_handed_over_to_a_model_in_either_mode(mode, tmp_path):
    (m, give), (n, take) = made(optim.ScheduleFreeAdamW), made(optim.ScheduleFreeAdamW)
    train(m, give)
    if not mode:
        take.eval()
    handed_over(tmp_path, (m, give), (n, take))
    assert take.training  # as it was saved
    train(m, give)
    train(n, take)
    assert_same(contents(give), contents(take))


@pytest.mark.parametrize("base", [optim.AdamW, torch.optim.AdamW], ids=["ours", "torch's"])
def test_sam_is_handed_over(base, tmp_path):
    (m, give), (n, take) = (made(optim.SAM, base_optimizer=base, rho=r) for r in (0.1, 0.2))

    def go(model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = model(torch.ones(2, 3)).square().sum()
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)

    go(m, give)
    handed_over(tmp_path, (m, give), (n, take))
    assert take.param_groups[0]["rho"] == 0.1
    go(m, give)
    go(n, take)
    assert_same(contents(give), contents(take))


# ---- groups that list torch's options only


@pytest.mark.parametrize("name", SHARED)
def test_a_group_lists_what_torchs_does(name):
    group = made(getattr(optim, name))[1].param_groups[0]
    theirs = made(getattr(torch.optim, name))[1].param_groups[0]
    assert [*sorted(group)] == [*sorted(theirs)]
    assert len(group) == len(theirs)
    assert {**group}.keys() == dict(group.items()).keys() == theirs.keys()
    assert len(list(group.values())) == len(theirs)


def test_options_that_are_not_listed_are_options():
    o = made(optim.AdamW)[1]
    group = o.param_groups[0]
    ours = [line for line in repr(o).splitlines() if "max_grad_norm" not in line]
    assert len(ours) == len(repr(o).splitlines()) - 2
    theirs = repr(made(torch.optim.AdamW)[1]).splitlines()
    assert {*theirs} <= {*ours}
    assert group["max_grad_norm"] is None
    assert "max_grad_norm" in group
    assert "max_grad_norm" in repr(group)
    group["max_grad_norm"] = 1.0
    for twin in (copy.copy(group), group.copy(), pickle.loads(pickle.dumps(group))):
        assert twin["max_grad_norm"] == 1.0
        assert twin.keys() == group.keys()
        assert twin is not group
    assert copy.deepcopy(group)["lr"] == 0.03
    kept = dict(group)
    group.clear()
    group.update(kept)
    assert group["max_grad_norm"] == 1.0


@pytest.mark.parametrize("put", [dict.__setitem__, lambda g, k, x: g.update({k: x})])
def test_a_convention_set_by_hand_is_listed_while_it_is_not_the_usual_one(put):
    model, o = made(optim.SGD, momentum=0.9)
    for group in o.param_groups:
        put(group, "convention", "classical")
        assert "convention" in [*group]
        assert [*reversed(group)] == [*group][::-1]
        assert "convention" not in group.unlisted()
        assert "convention" in [*copy.copy(group)]
    train(model, o)
    twin = made(optim.SGD, momentum=0.9)[1]
    twin.load_state_dict(o.state_dict())
    assert {g["convention"] for g in twin.param_groups} == {"classical"}
    for group in twin.param_groups:
        put(group, "convention", "torch")
        assert "convention" not in [*group]


def test_a_plain_checkpoint_holds_them_beside_the_groups():
    model, o = made(optim.AdamW, max_grad_norm=0.5)
    train(model, o)
    saved = o.state_dict()
    assert [x["max_grad_norm"] for x in saved["thalweg"]] == [0.5, 0.5]
    assert "engine" not in saved["thalweg"][0]
    twin = made(optim.AdamW, max_grad_norm=9.0)[1]
    twin.load_state_dict(saved)
    assert [g["max_grad_norm"] for g in twin.param_groups] == [0.5, 0.5]
    # torch's, and one that has been cut to torch's keys, leave it as it was constructed
    theirs = made(torch.optim.AdamW)
    train(*theirs)
    twin.load_state_dict(theirs[1].state_dict())
    assert [g["max_grad_norm"] for g in twin.param_groups] == [0.5, 0.5]
    made(torch.optim.AdamW)[1].load_state_dict(saved)
    # what is written into a group's own options counts more
    for group in saved["param_groups"]:
        group["max_grad_norm"] = 0.7
    twin.load_state_dict(saved)
    assert [g["max_grad_norm"] for g in twin.param_groups] == [0.7, 0.7]


def test_a_group_that_was_put_there_by_hand_is_saved_as_it_is():
    model, o = made(optim.AdamW, max_grad_norm=0.5)
    o.param_groups[1] = {"params": [*model.parameters()][1:], **o.defaults}
    saved = o.state_dict()
    assert [x.get("max_grad_norm") for x in saved["thalweg"]] == [0.5, None]
    twin = made(optim.AdamW)[1]
    twin.load_state_dict(saved)
    assert [g["max_grad_norm"] for g in twin.param_groups] == [0.5, 0.5]


def test_a_rule_of_ones_own_may_be_called_as_one_of_torchs():
    from thalweg.rule import rule

    @rule(state=("m",))
    def SGD(g, m, *, momentum=0.5):
        m = momentum * m + g
        return m, {"m": m}

    group = optim.from_rule(SGD)([torch.ones(2, requires_grad=True)]).param_groups[0]
    assert "max_grad_norm" in [*group]


def test_what_is_not_listed_is_handed_from_one_optimizer_to_another():
    model = made(optim.SGD)[0]
    first, second = model.parameters()
    muon = optim.Muon([{"params": [first], "use_muon": False}, {"params": [second]}])
    assert [g["use_muon"] for g in optim.Muon(muon.param_groups).param_groups] == [False, None]
    # and is listed as the other's class has it
    rprop = optim.Rprop(model.parameters(), weight_decay=0.1, max_grad_norm=0.5)
    sgd = optim.SGD(rprop.param_groups).param_groups[0]
    assert "weight_decay" in [*sgd]
    assert "max_grad_norm" not in [*sgd]
    assert (sgd["weight_decay"], sgd["max_grad_norm"]) == (0.1, 0.5)
    lion = optim.Lion(rprop.param_groups).param_groups[0]
    assert {"weight_decay", "max_grad_norm"} <= {*lion}


def test_a_group_is_put_back_from_a_copy_of_it():
    group = made(optim.AdamW, max_grad_norm=0.5)[1].param_groups[0]
    kept = copy.copy(group)
    puts = (
        lambda: group.update(kept), lambda: group.__ior__(kept),
        lambda: group.update(group | kept), lambda: group.update([("max_grad_norm", 0.5)]),
        lambda: group.update(max_grad_norm=0.5),
    )  # fmt: skip
    for put in puts:
        group["max_grad_norm"] = 2.0
        put()
        assert group["max_grad_norm"] == 0.5


@pytest.mark.parametrize("stepped", [False, True])
def test_a_copy_made_key_by_key_and_put_in_a_groups_place_keeps_what_is_not_listed(stepped):
    model = made(optim.AdamW)[0]
    first, second = model.parameters()
    o = optim.AdamW([{"params": [first], "bounds": (-0.125, 0.125)}, {"params": [second]}], lr=0.1)
    if stepped:
        train(model, o)
    o.param_groups[1]["bounds"] = (-0.25, None)
    o.param_groups = [{**group, "lr": 0.2} for group in reversed(o.param_groups)]
    train(model, o)
    assert [g["bounds"] for g in o.param_groups] == [(-0.25, None), (-0.125, 0.125)]
    assert float(first.detach().abs().max()) <= 0.125
    assert float(second.detach().min()) >= -0.25
    # what has not all that was listed is no copy
    o.param_groups[0] = {"params": [second], "lr": 0.1}
    with pytest.raises(ValueError, match="group 0, put there by hand, has no 'betas'"):
        train(model, o)


def test_a_copy_of_a_group_that_was_taken_away_keeps_what_is_not_listed():
    first, second = made(optim.AdamW)[0].parameters()
    o = optim.AdamW([{"params": [first]}, {"params": [second], "bounds": (-0.25, None)}])
    group = o.param_groups.pop()
    o.add_param_group({**group, "lr": 0.2})
    assert o.param_groups[1]["bounds"] == (-0.25, None)
    assert "bounds" not in [*o.param_groups[1]]
    del o.param_groups[1]
    o.add_param_group({"params": [second], "lr": 0.2})  # no copy
    assert o.param_groups[1]["bounds"] is None


def test_a_group_is_rebuilt_as_a_dictionary_is():
    group = made(optim.AdamW)[1].param_groups[0]
    assert {**type(group)(group.items())} == {**type(group)({**group})} == {**group}
    assert [*type(group).fromkeys(group)] == [*group]


def test_a_given_group_is_left_as_it_was():
    x = torch.ones(2, requires_grad=True)
    for name in (*SHARED, "ScheduleFreeSGD"):
        optimizer = getattr(optim, name)([torch.ones(2, 2, requires_grad=True)])
        given = {"params": [x]}
        if name == "ScheduleFreeSGD":  # has a mode, which is not the given group's
            optimizer.eval()
        optimizer.add_param_group(given)
        assert [*given] == ["params"]
