"""What cannot be taken is refused by name and value, before anything is written."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch

from optim.table import ROWS, TABLE, every_engine, every_row
from optim.training import assert_same, contents, gradients, params, snapshot, step, tensors, train
from thalweg import optim
from thalweg.validation import DECAY

COURSE = gradients(4)
NO_NUMBERS = ("0.1", None, True, [0.1], 1j, torch.tensor([0.1, 0.2]), torch.tensor(1j))
OUTSIDE = (-0.5, -1e-300, math.nan, math.inf, -math.inf, torch.tensor(math.nan))


def hyperparameters():
    """Every number that a row takes: how a message calls it, what it may be, and the options that
    set it."""
    for row in ROWS:
        defaults, domains = row.make(tensors()).defaults, row.ours.domains
        for name in domains:
            if name in defaults:
                change = lambda v, n=name: {n: v}  # noqa: E731
                yield pytest.param(row, name, domains[name], change, id=f"{row.name}-{name}")
        for name, several in defaults.items():
            parts = row.ours.parts.get(name, ())
            for i in range(len(several) if isinstance(several, tuple) else 0):
                change = lambda v, i=i, n=name, s=several: {n: (*s[:i], v, *s[i + 1 :])}  # noqa: E731
                domain = domains[parts[i]] if parts else DECAY  # betas are not named one by one
                called = f"{name}[{i}]"
                yield pytest.param(row, called, domain, change, id=f"{row.name}-{called}")


every_number = pytest.mark.parametrize(("row", "name", "domain", "set_"), list(hyperparameters()))


@every_number
def test_what_is_no_number_is_refused(row, name, domain, set_):
    for value in NO_NUMBERS:
        if value is None and domain.optional:
            is_taken(row, set_(value))
            continue
        with pytest.raises((TypeError, ValueError), match=f"{re.escape(name)} must be "):
            row.make(tensors(), **set_(value))


@every_number
def test_what_is_out_of_range_is_refused(row, name, domain, set_):
    for value in OUTSIDE:
        if float(value) in domain:  # a bound that may be infinite, a number of either sign
            is_taken(row, set_(value))
            continue
        shown = re.escape(repr(float(value)))
        with pytest.raises(ValueError, match=f"{re.escape(name)} must be .*not {shown}"):
            row.make(tensors(), **set_(value))


def is_taken(row, options):
    ((option, expected),) = options.items()
    assert row.make(tensors(), **options).defaults[option] == expected


@pytest.mark.parametrize(
    "row", [r for r in ROWS if "beta1" in r.ours.domains], ids=lambda r: r.name
)
@pytest.mark.parametrize(
    "betas", [0.9, (0.9,), (0.9, 0.9, 0.9, 0.9), None, "0.9", (0.9, 1.0)], ids=repr
)
def test_wrong_betas(row, betas):
    with pytest.raises(ValueError, match=r"betas(\[1\])? must be .*not"):
        row.make(tensors(), betas=betas)


CONTRADICTIONS = [
    ("muon", {"use_muon": True}, r"use_muon=True: parameter 0 of group 0 \(shape \(\)\) is not"),
    ("muon", {"ns_steps": 2.5}, "ns_steps must be a whole number, at least 0 and at most 99"),
    ("adafactor", {"beta2_decay": 0.1}, "beta2_decay must be finite and at most 0, not 0.1"),
    ("soap", {"precondition_frequency": 0}, "precondition_frequency must be a whole number, at"),
    ("soap", {"shampoo_beta": 1.0}, "shampoo_beta must be finite and below 1, not 1.0"),
    ("sgd", {"nesterov": True}, "nesterov=True needs momentum"),
    ("rprop", {"etas": (0.0, 1.2)}, r"etas must be above 0 .*not \(0.0, 1.2\)"),
    ("rprop", {"etas": (0.5, 1.0)}, r"etas must be .* above 1, not \(0.5, 1.0\)"),
    ("rprop", {"step_sizes": (2.0, 1.0)}, r"step_sizes must be in order, not \(2.0, 1.0\)"),
    ("rprop", {"etas": 0.5}, "etas must be 2 numbers, not 0.5"),
]


@pytest.mark.parametrize(("name", "options", "says"), CONTRADICTIONS, ids=str)
def test_numbers_that_do_not_go_together_are_refused(name, options, says):
    with pytest.raises(ValueError, match=says):
        TABLE[name].make(tensors(), **options)


@pytest.mark.parametrize(
    ("unknown", "near"),
    [("engin", "engine"), ("weight_decai", "weight_decay"), ("max_norm", "max_grad_norm"),
     ("qqq", None)],
)  # fmt: skip
@every_row
def test_an_unknown_option_is_refused_and_the_nearest_named(row, options, unknown, near):
    hint = f"; did you mean '{near}'" if near else "$"
    with pytest.raises(TypeError, match=f"{row.ours.__name__} has no option '{unknown}'{hint}"):
        row.make(tensors(), **options, **{unknown: 1})


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8], ids=str)
@every_row
def test_parameters_of_whole_numbers_are_refused(row, options, dtype):
    with pytest.raises(ValueError, match=rf"parameter 'n' .*dtype {dtype}"):
        row.make([("n", torch.ones(3, dtype=dtype))], **options)


@every_engine
@every_row
def test_a_models_frozen_weights_of_whole_numbers_are_left_alone(row, options, engine):
    """As by torch's: quantized weights stand among a model's parameters, which are given all."""
    frozen = [
        torch.nn.Parameter(torch.ones(2, 3, dtype=dtype), requires_grad=False)
        for dtype in (torch.int8, torch.uint8, torch.bool)
    ]
    o = row.make([*frozen, *tensors()], engine=engine, **options)
    alone = row.make(tensors(), engine=engine, **options)
    for grads in COURSE[:3]:
        step(o, [None, None, None, *grads])
        step(alone, grads)
    o.load_state_dict(o.state_dict())
    assert all(map(torch.equal, params(o)[3:], params(alone)))
    assert all(p.bool().all() and p not in o.state for p in frozen)
    assert [*o.memory().parameters.values()][:3] == [{}, {}, {}]


@every_row
def test_no_parameters_is_torchs_error(row, options):
    with pytest.raises(ValueError, match="empty parameter list"):
        row.make([], **options)


def started(row, options, engine):
    o = row.make(tensors(), engine=engine, **options)
    return train(o, COURSE[:2])


def goes_on(row, options, engine, o):
    """As if the failed call had not been."""
    same = started(row, options, engine)
    train(o, COURSE[2:])
    assert_same(contents(train(same, COURSE[2:])), contents(o))


@pytest.mark.parametrize("value", [-1.0, math.nan, "1", None, True], ids=repr)
@every_engine
@every_row
def test_an_option_spoilt_later_is_refused_at_the_step(row, options, engine, value):
    o = started(row, options, engine)
    lr = o.param_groups[0]["lr"]
    o.param_groups[0]["lr"] = value
    with pytest.raises((TypeError, ValueError), match=r"lr must be .*not"):
        o.step()
    o.param_groups[0]["lr"] = lr
    goes_on(row, options, engine, o)


BAD_GROUPS = {
    "rate": ({"lr": -1.0}, "lr must be"),
    "flag": ({"engine": "fuzed"}, "engine must be"),
    "dtype": ({"params": [torch.ones(2, dtype=torch.int32)]}, "dtype torch.int32"),
    "clipping": ({"max_grad_norm": 3.0}, "max_grad_norm speaks of"),
    "layout": ({"params": [torch.ones(4, 6)[:, ::2]], "engine": "fused"}, "gaps"),
    "state": ({"state_dtype": torch.int8}, "state_dtype must be"),
}


@pytest.mark.parametrize(("bad", "says"), BAD_GROUPS.values(), ids=BAD_GROUPS)
@every_engine
@every_row
def test_a_bad_group_is_not_added(row, options, engine, bad, says):
    o = started(row, options, engine)
    before = snapshot(o)
    with pytest.raises(ValueError, match=says):
        o.add_param_group({"params": tensors(shapes=((3,),), seed=4), **bad})
    assert_same(before, snapshot(o))
    assert len(o.state) <= 4
    goes_on(row, options, engine, o)


def spoilt(state_dict):
    """Checkpoints that must not be loaded, by what is wrong with them."""

    def change(f):
        d = copy.deepcopy(state_dict)
        f(d)
        return d

    key = next((k for k in state_dict["state"][2] if state_dict["state"][2][k].dim()), None)
    yield "a rate", change(lambda d: d["param_groups"][0].update(lr=-1.0))
    yield "a group too many", change(lambda d: d["param_groups"].append(d["param_groups"][0]))
    yield "a parameter too few", change(lambda d: d["param_groups"][0]["params"].pop())
    yield "clipping", change(lambda d: d["param_groups"][0].update(max_grad_norm="x"))
    yield "no groups", change(lambda d: d.pop("param_groups"))
    yield "options of more groups", change(lambda d: d.update(thalweg=[{}, {}]))
    if key is not None:
        yield "a shape", change(lambda d: d["state"][2].update({key: torch.ones(4, 4)}))
        yield "a shape that spreads", change(lambda d: d["state"][2].update({key: torch.ones(5)}))


@every_engine
@every_row
def test_a_bad_checkpoint_changes_nothing(row, options, engine):
    o = started(row, options, engine)
    before = snapshot(o)
    for what, state_dict in spoilt(o.state_dict()):
        with pytest.raises((ValueError, TypeError, RuntimeError, KeyError)):
            pytest.fail(f"loaded {what}: {o.load_state_dict(state_dict)}")
        assert_same(before, snapshot(o))
    goes_on(row, options, engine, o)


@every_engine
@every_row
@pytest.mark.parametrize("first", [True, False])
def test_a_gradient_of_another_shape_is_refused_by_name(row, options, engine, first):
    names = ["a", "b", "c", "d"]
    make = lambda: row.make(zip(names, tensors(), strict=True), engine=engine, **options)  # noqa: E731
    o, same = make(), make()
    for x in (o, same):
        train(x, COURSE[: 0 if first else 2])
    for p, g in zip(params(o), COURSE[2], strict=True):
        p.grad = g
    c = params(o)[2]
    kept = c.data
    c.data = torch.ones(4, 3, 5, dtype=torch.float64)  # to which the gradient's (3, 5) would spread
    before = snapshot(o)
    with pytest.raises(ValueError, match=r"gradient of parameter 'c' .*\(3, 5\)"):
        o.step()
    assert_same(before, snapshot(o))
    c.data = kept
    train(o, COURSE[2:])
    assert_same(contents(train(same, COURSE[2:])), contents(o))


def test_what_is_no_optimizers_state_is_refused_with_a_guess():
    model = torch.nn.Linear(2, 1)
    o = optim.AdamW(model.parameters())
    with pytest.raises(ValueError, match=r"has 'weight', 'bias': this looks like a model's, which"):
        o.load_state_dict(model.state_dict())
    whole = {"epoch": 3, "model": model.state_dict(), "optimizer": o.state_dict()}
    with pytest.raises(ValueError, match=r"'optimizer'; did you mean its \['optimizer'\]\?"):
        o.load_state_dict(whole)
    with pytest.raises(ValueError, match="this one has nothing"):
        o.load_state_dict({})
    with pytest.raises(TypeError, match=r"state_dict must be what .* not 'checkpoint\.pt'"):
        o.load_state_dict("checkpoint.pt")
    with pytest.raises(ValueError, match="1 param_groups, but options of 2 groups under 'thalweg'"):
        o.load_state_dict({**o.state_dict(), "thalweg": [{}, {}]})
