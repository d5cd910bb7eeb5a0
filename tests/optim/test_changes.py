"""Options that change between steps: what is done for them, and that nothing else is."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from optim.table import ROWS, TABLE, every_engine, every_row, rows
from optim.training import assert_same, contents, gradients, params, step, tensors, train
from thalweg import optim
from thalweg.optim import groups, moving
from thalweg.rule import Rule

COURSE = gradients(12)
RATES = (0.02, 0.05, 1, 0.003, 0.04)


def in_groups(seed=0):
    a, b, c, d = tensors(seed=seed)
    return [{"params": [a, b]}, {"params": [c, d]}]


def put(o, **options):
    for group in o.param_groups:
        group.update(options)


@every_engine
@every_row
def test_a_rate_that_changes_is_that_of_the_step(row, options, engine):
    """As if an optimizer had been made for this step alone."""
    o = row.make(in_groups(), engine=engine, **{**options, "lr": 0.01})
    for lr, grads in zip(RATES, COURSE, strict=False):
        alone = row.make(in_groups(), engine=engine, **{**options, "lr": lr})
        alone.load_state_dict(o.state_dict())
        with torch.no_grad():
            for p, q in zip(params(alone), params(o), strict=True):
                p.copy_(q)
        put(alone, lr=lr)
        put(o, lr=lr)
        assert_same(contents(step(alone, grads)), contents(step(o, grads)))


def others(value):
    """Further values for an option, in or out of its range: smaller, one, zero, and back."""
    if isinstance(value, tuple):
        smaller = tuple(x if x is None else 0.9 * x for x in value)
        changed = [(*value[:i], x, *value[i + 1 :]) for i in range(len(value)) for x in (0.0, 1)]
        return smaller, *changed, value[::-1], value
    return math.floor(0.9 * value) if isinstance(value, int) else 0.9 * value, 1, 0.0, value


def refusal(o, grads):
    """Why a step is refused, None if it is made."""
    try:
        step(o, grads)
    except (ValueError, TypeError) as e:
        return str(e)
    return None


@every_engine
@pytest.mark.parametrize(
    ("row", "options"),
    [
        *rows(),
        *(pytest.param(row, {}, id=f"{row.name}-defaults") for row in ROWS),
        pytest.param(TABLE["muon"], {"use_muon": False}, id="muon-unused"),
    ],
)
def test_any_number_may_change_and_what_hangs_on_it_follows(row, options, engine):
    """An optimizer goes on as its copy does, which derives everything from its options anew; what
    the one refuses, the other does."""
    start = train(row.make(in_groups(), engine=engine, **options), COURSE[:2])
    numbers = {
        name: value
        for name, value in start.param_groups[0].items()
        if isinstance(value, int | float | tuple) and not isinstance(value, bool)
        and name not in ("max_precond_dim", "params")  # the state's shape, which cannot change
    }  # fmt: skip
    assert "lr" in numbers
    for name, value in numbers.items():
        o = train(copy.deepcopy(start), COURSE[2:3])
        for now, grads in zip(others(value), COURSE[3:], strict=False):
            put(o, **{name: now})
            anew = copy.deepcopy(o)
            assert refusal(anew, grads) == refusal(o, grads)
            assert_same(contents(anew), contents(o))


@pytest.fixture
def counted(monkeypatch):
    """How often rules were traced, groups looked at as a whole and batches made for a move."""
    calls = {"trace": 0, "check_common": 0, "batches": 0}
    for owner, name in ((Rule, "trace"), (groups, "check_common"), (moving, "batches")):
        function = getattr(owner, name)

        def counting(*args, function=function, name=name):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(owner, name, counting)
    return calls


@every_engine
def test_a_schedule_has_nothing_else_looked_at(engine, counted):
    o = train(optim.AdamW(in_groups(), engine=engine), COURSE[:2])
    before = dict(counted)
    for i, grads in enumerate(COURSE[2:]):
        put(o, lr=0.01 / (1 + i), betas=(0.9 - 0.01 * i, 0.99), weight_decay=0.1 + i)
        step(o, grads)
    assert counted == before
    put(o, betas=(0.0, 0.99))  # needs no average: another graph
    step(o, COURSE[0])
    assert counted["trace"] > before["trace"]
    assert counted["check_common"] > before["check_common"]


def ahead(o, grads):
    """One step whose gradient is that of the point where the closure finds the weights."""

    def closure():
        for p, g in zip(params(o), grads, strict=True):
            p.grad = g * p.detach()
        return 0.0

    o.step(closure)


def looking_ahead(engine):
    return optim.SGD(in_groups(), lr=0.01, momentum=0.9, nesterov="lookahead", engine=engine)


@every_engine
def test_a_move_keeps_its_batches(engine, counted):
    o, same = looking_ahead(engine), looking_ahead(engine)
    for i, grads in enumerate(COURSE):
        for x in (o, same):
            put(x, lr=0.01 / (1 + i))
        if i == 5:  # nothing may be kept for memory that is another's now
            for p in params(same):
                p.data = p.data.clone()
        ahead(same, grads)
        made = counted["batches"]
        ahead(o, grads)
        assert i < 2 or counted["batches"] == made  # in the first step nothing moves
        assert_same(contents(same), contents(o))


@every_engine
def test_what_a_move_refuses_leaves_everything_where_it_was(engine):
    o, same = looking_ahead(engine), looking_ahead(engine)
    for i, grads in enumerate(COURSE):
        if i == 3:
            put(o, lr=-1.0)
            with pytest.raises(ValueError, match="lr must be"):
                ahead(o, grads)
            put(o, lr=0.01)
        ahead(o, grads)
        ahead(same, grads)
        assert_same(contents(same), contents(o))


@every_engine
def test_averages_move_to_parameters_put_in_others_place(engine):
    """As code that prunes or clones weights does, with their state."""
    o = optim.ScheduleFreeSGD(in_groups(), lr=0.1, engine=engine)
    same = copy.deepcopy(train(o, COURSE[:3]))
    for group in o.param_groups:
        for k, p in enumerate(group["params"]):
            group["params"][k] = new = p.detach().clone().requires_grad_()
            o.state[new] = o.state.pop(p)
    for x in (o, same):
        x.eval()
    assert_same(contents(same), contents(o))
    for x in (o, same):
        x.train()
        train(x, COURSE[3:5])
    assert_same(contents(same), contents(o))


def spoilt_gradient(o):
    params(o)[2].grad = torch.ones(3, 5, dtype=torch.float64).to_sparse()


def spoilt_rate(o):
    o.param_groups[1]["lr"] = -1.0


@every_engine
@pytest.mark.parametrize("spoil", [spoilt_gradient, spoilt_rate], ids=lambda f: f.__name__)
def test_a_change_is_not_forgotten_where_something_else_fails(spoil, engine):
    """A step that is refused has looked at a new option; the next one must still do as it says."""
    make = lambda: train(optim.AdamW(in_groups(), engine=engine), COURSE[:2])  # noqa: E731
    o, same = make(), make()
    for x in (o, same):
        x.param_groups[0]["amsgrad"] = True
    for p, g in zip(params(o), COURSE[2], strict=True):
        p.grad = g
    spoil(o)
    with pytest.raises((ValueError, RuntimeError)):
        o.step()
    o.param_groups[1]["lr"] = 1e-3
    for grads in COURSE[2:]:
        assert_same(contents(step(same, grads)), contents(step(o, grads)))
    assert "max_exp_avg_sq" in o.state[params(o)[0]]
