"""SAM around every optimizer: two gradients a step, of a function whose gradient is no constant."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from optim.table import ROWS, every_engine, fullest
from optim.training import Close, assert_same, bits, contents, params
from reference.sam import top
from thalweg import optim
from thalweg.optim import SAM

SHAPES = ((), (7,), (3, 5), (0, 4))
WAYS = ({}, {"rho": 0.3}, {"rho": 0.5, "adaptive": True}, {"rho": 0.0})


def start(dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = [torch.randn(s, generator=g, dtype=torch.float64) for s in SHAPES]
    return [p.to(dtype).requires_grad_() for p in made]


def loss(ps, t=0):
    """Neither quadratic nor separable, and never near a minimum, where a climb's direction would
    hang on rounding: another slope at every step."""
    flat = torch.cat([p.reshape(-1) for p in ps])
    slope = torch.randn(flat.shape, generator=torch.Generator().manual_seed(t), dtype=flat.dtype)
    return (
        flat.pow(4).sum() / 40 + flat.sin().sum() + flat.sum() ** 2 / 20 + 3 * (flat * slope).sum()
    )


def closure(optimizer, t):
    def evaluate():
        optimizer.zero_grad()
        value = loss(params(optimizer), t)
        value.backward()
        return value

    return evaluate


def by_hand(optimizer, t, **how):
    """One step of the reference: climb on arrays, gradient there, base optimizer's step from where
    the weights were."""
    ps = params(optimizer)
    closure(optimizer, t)()
    before = [p.detach().clone() for p in ps]
    above = top([w.numpy() for w in before], [p.grad.numpy() for p in ps], **how)
    with torch.no_grad():
        for p, w in zip(ps, above, strict=True):
            p.copy_(torch.as_tensor(w))
    closure(optimizer, t)()
    with torch.no_grad():
        for p, w in zip(ps, before, strict=True):
            p.copy_(w)
    optimizer.step()


@every_engine
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("how", WAYS, ids=str)
def test_equals_its_reference(how, maximize, engine):
    base = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01, "maximize": maximize}
    # Up this function there is no end: a shorter way.
    steps = 3 if maximize else 200
    ours = SAM(start(), engine=engine, **how, **base)
    theirs, close = torch.optim.SGD(start(), foreach=False, **base), Close(1e-10)
    for t in range(steps):
        assert ours.step(closure(ours, t)).item() == pytest.approx(loss(params(theirs), t).item())
        by_hand(theirs, t, maximize=maximize, **how)
        close(ours, theirs)


BASES = [row for row in ROWS if "rho" not in row.ours.domains]


@every_engine
@pytest.mark.parametrize("row", BASES, ids=lambda row: row.name)
def test_any_optimizer_may_be_the_base(row, engine):
    options = {**row.always, **fullest(row), "maximize": False}
    ours = SAM(start(), row.ours, engine=engine, **options)
    base = row.ours(start(), engine=engine, **options)
    close = Close(1e-9)
    for t in range(5):
        ours.step(closure(ours, t))
        by_hand(base, t)
        close(ours, base)


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW], ids=lambda c: c.__name__)
def test_torchs_optimizers_may_be_the_base(cls):
    ours, base = (
        SAM(start(), cls, lr=0.01, weight_decay=0.1),
        cls(start(), lr=0.01, weight_decay=0.1),
    )
    close = Close()
    for t in range(5):
        ours.step(closure(ours, t))
        by_hand(base, t)
        close(ours, base)
    with pytest.raises(TypeError, match="max_grad_norm"):
        SAM(start(), cls, max_grad_norm=1.0)
    with pytest.raises(TypeError, match="torch's, which does not tell"):
        ours.memory()


@pytest.mark.parametrize("cls", [optim.Adadelta, torch.optim.Adadelta])
def test_a_base_with_a_rho_of_its_own_is_refused(cls):
    with pytest.raises(ValueError, match=r"Adadelta cannot be the base .* 'rho' of its own"):
        SAM(start(), cls)


@every_engine
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_way_back_is_exact(dtype, engine):
    o = SAM(start(dtype), rho=1e3, lr=0.0, engine=engine)
    before = [p.detach().clone() for p in params(o)]
    closure(o, 0)()
    o.first_step(zero_grad=True)
    assert any((p != w).any() for p, w in zip(params(o), before, strict=True))
    assert all(p.grad is None for p in params(o))
    o.second_step()
    for p, w in zip(params(o), before, strict=True):
        assert torch.equal(bits(p.detach()), bits(w))


@every_engine
def test_two_calls_are_one_step(engine):
    one, two = (SAM(start(), lr=0.01, momentum=0.9, engine=engine) for _ in range(2))
    for t in range(4):
        one.step(closure(one, t))
        closure(two, t)()
        two.first_step(zero_grad=True)
        loss(params(two), t).backward()
        two.second_step(zero_grad=True)
        assert all(p.grad is None for p in params(two))
    assert_same(contents(one), contents(two))


@every_engine
def test_gradients_may_be_accumulated(engine):
    whole, parts = (SAM(start(), lr=0.01, engine=engine) for _ in range(2))
    for t in range(3):
        for o, pieces in ((whole, 1), (parts, 4)):
            o.zero_grad()
            for second in (False, True):
                for _ in range(pieces):
                    (loss(params(o), t) / pieces).backward()
                (o.second_step if second else o.first_step)(zero_grad=True)
    Close(1e-14)(whole, parts)


def test_scripts_made_for_the_official_code_still_work():
    ours, official = SAM(start(), lr=0.01), SAM(start(), lr=0.01)
    for t in range(3):
        ours.step(closure(ours, t))
        loss(params(official), t).backward()  # once before, and a closure that zeroes nothing

        def again(t=t):
            value = loss(params(official), t)
            value.backward()
            return value

        official.step(again)
        official.zero_grad()
    Close(1e-14)(ours, official)


def test_calls_out_of_order_are_refused():
    o = SAM(start(), lr=0.01)
    with pytest.raises(RuntimeError, match="evaluates twice"):
        o.step()
    with pytest.raises(RuntimeError, match="evaluates twice"):
        o.second_step()
    closure(o, 0)()
    o.first_step()
    for call in (o.first_step, o.state_dict, lambda: copy.deepcopy(o)):
        with pytest.raises(RuntimeError, match="first_step"):
            call()
    o.second_step()
    o.state_dict()


@every_engine
def test_an_exception_above_leads_back(engine):
    o = SAM(start(), lr=0.01, engine=engine)
    before = [p.detach().clone() for p in params(o)]
    calls = []

    def fails():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return closure(o, 0)()

    with pytest.raises(KeyboardInterrupt):
        o.step(fails)
    assert all(map(torch.equal, before, params(o)))
    o.step(closure(o, 0))


@every_engine
def test_gradients_that_are_missing_above_or_below(engine):
    o = SAM(start(), lr=0.5, engine=engine)
    a, b, c, _ = params(o)
    before = [p.detach().clone() for p in (a, b, c)]
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    o.first_step(zero_grad=True)
    b.grad, c.grad = torch.ones_like(b), torch.ones_like(c)
    o.second_step()
    assert torch.equal(a, before[0])  # climbed, and came back without a step
    assert torch.equal(b, before[1] - 0.5)
    assert torch.equal(c, before[2] - 0.5)


def saved(o):
    file = io.BytesIO()
    torch.save(o.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_engine
@pytest.mark.parametrize("base", [optim.AdamW, torch.optim.AdamW], ids=["ours", "torch's"])
def test_checkpoints_hold_the_base_optimizers_state(base, engine):
    flags = {"engine": engine} if base is optim.AdamW else {}
    whole = SAM(start(), base, rho=0.2, lr=0.01, **flags)
    for t in range(3):
        whole.step(closure(whole, t))
    copies = [p.detach().clone().requires_grad_() for p in params(whole)]
    resumed = SAM(copies, base, lr=0.5, **flags)
    resumed.load_state_dict(saved(whole))
    assert resumed.param_groups is resumed.base_optimizer.param_groups
    assert resumed.param_groups[0]["rho"] == 0.2
    for copied in (resumed, copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        again = SAM([p.detach().clone().requires_grad_() for p in params(whole)], base, **flags)
        again.load_state_dict(saved(whole))
        for t in range(3, 6):
            copied.step(closure(copied, t))
            again.step(closure(again, t))
        assert_same(contents(again), contents(copied))
    # The base optimizer's own checkpoints, too: its options, our rho.
    alone = base([p.detach().clone().requires_grad_() for p in copies], lr=0.25)
    around = SAM([p.detach().clone().requires_grad_() for p in copies], base, rho=0.3)
    around.load_state_dict(alone.state_dict())
    assert (around.param_groups[0]["lr"], around.param_groups[0]["rho"]) == (0.25, 0.3)


@every_engine
def test_a_bad_checkpoint_changes_nothing(engine):
    o = SAM(start(), lr=0.01, momentum=0.9, engine=engine)
    o.step(closure(o, 0))
    before = {k: x.clone() for k, x in contents(o).items()}
    for change in ({"rho": -1.0}, {"lr": -1.0}, {"adaptive": "yes"}):
        state_dict = copy.deepcopy(o.state_dict())
        state_dict["param_groups"][0].update(change)
        with pytest.raises(ValueError, match=next(iter(change))):
            o.load_state_dict(state_dict)
        assert_same(before, contents(o))
        assert o.param_groups[0]["rho"] == 0.05
    o.step(closure(o, 1))


def test_groups_and_schedules_are_shared_with_the_base():
    a, b, c, _ = start()
    o = SAM([{"params": [a], "rho": 0.1}, {"params": [b], "lr": 0.2}], optim.Adam, lr=0.1)
    assert [g["rho"] for g in o.param_groups] == [0.1, 0.05]
    o.add_param_group({"params": [c], "rho": 0.7})
    assert [g["lr"] for g in o.param_groups] == [0.1, 0.2, 0.1]
    for bad in ({"rho": -1.0}, {"lr": -1.0}, {"rho": "1"}):
        with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
            o.add_param_group({"params": start()[:1], **bad})
    assert len(o.param_groups) == len(o.base_optimizer.param_groups) == 3
    schedule = torch.optim.lr_scheduler.ExponentialLR(o, 0.5)
    for t in range(2):
        for p in (a, b, c):
            p.grad = torch.ones_like(p)
        o.first_step()
        o.second_step()
        schedule.step()  # without a warning: it has seen the optimizer's step
        assert o.base_optimizer.param_groups[1]["lr"] == 0.2 * 0.5 ** (t + 1)
    torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"rho": -0.1}, ValueError, "rho must be .*-0.1"),
        ({"rho": torch.nan}, ValueError, "rho must be .*nan"),
        ({"rho": "1"}, TypeError, "rho must be a number"),
        ({"adaptive": 1}, ValueError, "adaptive must be one of .*1"),
        ({"momentun": 0.9}, TypeError, "SGD has no option 'momentun'; did you mean 'momentum'"),
        ({"lr": -1.0}, ValueError, "lr must be"),
    ],
    ids=str,
)
def test_bad_options_are_refused_by_name(options, error, says):
    with pytest.raises(error, match=says):
        SAM(start(), **options)


@every_engine
def test_a_gradient_scaler_unscales_skips_and_leads_back(engine):
    def train(scaled, o):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
        for t in range(5):
            before = [p.detach().clone() for p in params(o)]
            scale = scaler.scale if scaled else lambda x: x
            scale(loss(params(o), t)).backward()
            o.first_step(zero_grad=True)
            scale(loss(params(o), t)).backward()
            if scaled:
                if t == 2:
                    params(o)[1].grad[0] = torch.inf
                scaler.step(o)
                scaler.update()
            elif t != 2:
                o.second_step()
            else:
                o.zero_grad()
                o.second_step()
            if t == 2:
                assert all(map(torch.equal, before, params(o)))
            o.zero_grad()
        return scaler.get_scale()

    ours, plain = (SAM(start(), lr=0.01, momentum=0.9, engine=engine) for _ in range(2))
    assert train(True, ours) == 512.0
    train(False, plain)
    Close(1e-13)(ours, plain)


@every_engine
def test_batch_norm_statistics_see_the_first_pass_only(engine):
    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))

    held, free = model(), model()
    o = SAM(held.parameters(), rho=2.0, lr=0.0, model=held, engine=engine)
    x = torch.randn(32, 4)

    def evaluate():
        o.zero_grad()
        value = held(x).square().mean()
        value.backward()
        return value

    for _ in range(3):
        o.step(evaluate)
        free(x)
        assert held[1].track_running_stats
    for mine, once in zip(held.buffers(), free.buffers(), strict=True):
        assert torch.equal(mine, once)
    # As in training, the second pass normalises by the batch's own statistics.
    evaluate()
    o.first_step()
    norm, inside = held[1], held[0](x)
    own = nn.functional.batch_norm(inside, None, None, norm.weight, norm.bias, training=True)
    assert torch.equal(norm(inside), own)
    o.second_step()


@every_engine
def test_memory_is_the_bases_and_the_kept_weights(engine):
    ps = start(torch.float32)
    o = SAM(ps, optim.Adam, engine=engine, state_dtype=torch.bfloat16)
    told = o.memory()
    o.step(closure(o, 0))
    there = sum(x.nbytes for p in ps for x in (*o.state[p].values(), *o._climb.state[p].values()))
    assert told.total == there
    assert told.states["old_p"] == 4 * sum(p.numel() for p in ps)


def test_check_finite_skips_the_whole_step():
    o = SAM(start(), lr=0.01, check_finite="skip")
    o.step(closure(o, 0))
    before = [p.detach().clone() for p in params(o)]
    for _ in range(2):
        for p in params(o):
            p.grad = torch.full_like(p, torch.nan)
        o.first_step()
        o.second_step()
    assert all(map(torch.equal, before, params(o)))


def test_averaged_weights_are_the_bases():
    o = SAM(start(), lr=0.01)
    with o.averaged():
        o.step(closure(o, 0))


@pytest.mark.parametrize("base", ["sgd", optim.SGD([torch.ones(1, requires_grad=True)])])
def test_a_base_that_is_no_class_is_refused(base):
    with pytest.raises(TypeError, match="base_optimizer must be a class"):
        optim.SAM([torch.ones(1, requires_grad=True)], base)


@every_engine
@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_closure_that_never_goes_backward_is_noticed(evaluation, engine):
    o = SAM(start(), lr=0.01, engine=engine)
    before = [p.detach().clone() for p in params(o)]
    calls = []

    def forgets():
        calls.append(1)
        o.zero_grad()
        return loss(params(o)) if len(calls) == evaluation else closure(o, 0)()

    with pytest.raises(RuntimeError, match="closure has left no gradients: it must go backward"):
        o.step(forgets)
    assert len(calls) == evaluation
    assert all(map(torch.equal, before, params(o)))
    o.step(closure(o, 0))


def test_batches_are_those_of_the_climb_and_of_the_step():
    p = torch.nn.Parameter(torch.ones(3))
    o = optim.SAM([p], base_optimizer=optim.AdamW)
    assert o.batches == []
    o.step(lambda: (p.square().sum()).backward() or 1.0)
    assert len(o.batches) == 2
    assert o.batches[1] is o.base_optimizer.batches[0]


@pytest.mark.parametrize("base", [optim.SGD, torch.optim.SGD])
def test_what_a_checkpoint_of_the_base_does_not_hold_stays_as_constructed(base):
    def groups():
        a, b = start()[:2]
        return [{"params": [a], "rho": 0.3, "adaptive": True}, {"params": [b]}]

    bare = base([{"params": g["params"]} for g in groups()], lr=0.2)
    o = SAM(groups(), base, lr=0.1, rho=0.07)
    o.load_state_dict(bare.state_dict())
    assert [g["rho"] for g in o.param_groups] == [0.3, 0.07]
    assert [g["adaptive"] for g in o.param_groups] == [True, False]
    assert [g["lr"] for g in o.param_groups] == [0.2, 0.2]


@pytest.mark.parametrize("base", [optim.SGD, torch.optim.SGD])
@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (lambda o: torch.nn.Linear(1, 1).state_dict(), ValueError, "looks like a model's"),
        (lambda o: {"opt": o.state_dict()}, ValueError, r"did you mean its \['opt'\]"),
        (lambda o: None, TypeError, "must be what an optimizer's state_dict"),
    ],
)
def test_what_is_no_checkpoint_is_refused(base, given, error, says):
    o = SAM(start(), base, lr=0.1)
    with pytest.raises(error, match=says):
        o.load_state_dict(given(o))
    o.step(closure(o, 0))


def test_a_hook_that_changes_what_is_loaded_leaves_the_callers_alone():
    o = SAM(start(), lr=0.1)
    saved = o.state_dict()

    def halve(_, given):
        given["param_groups"] = [{**g, "lr": g["lr"] / 2} for g in given["param_groups"]]

    o.register_load_state_dict_pre_hook(halve)
    o.load_state_dict(saved)
    assert o.param_groups[0]["lr"] == 0.05
    assert saved["param_groups"][0]["lr"] == 0.1
