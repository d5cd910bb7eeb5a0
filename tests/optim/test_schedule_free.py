"""Schedule-Free: two points, which of them the parameters hold, and that neither gets lost."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import schedulefree
import torch
from torch import nn

from optim.table import ROWS, every_engine
from optim.test_checkpoints import saved, twins
from optim.training import (
    assert_same,
    bits,
    contents,
    gradients,
    params,
    snapshot,
    step,
    tensors,
    train,
)
from thalweg import optim
from thalweg.lab.plan import Trial
from thalweg.lab.trial import train as run_trial
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems import PROBLEMS

OFFICIAL = {
    "schedule-free-sgd": schedulefree.SGDScheduleFree,
    "schedule-free-adamw": schedulefree.AdamWScheduleFree,
    "schedule-free-radam": schedulefree.RAdamScheduleFree,
}
FREE = [row for row in ROWS if row.name in OFFICIAL]
every_free = pytest.mark.parametrize("row", FREE, ids=lambda row: row.name)
COURSE = gradients(12)
CLASSES = (optim.ScheduleFreeSGD, optim.ScheduleFreeAdamW, optim.ScheduleFreeRAdam)
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def started(cls, engine="fused", dtype=torch.float32, **options):
    return train(cls(tensors(dtype), lr=0.5, engine=engine, **options), gradients(8, dtype))


def official(row, weights, options):
    """The official optimizer over all parameters, on copies of gradients of the right sign."""
    options = dict(options)
    sign = -1 if options.pop("maximize", False) else 1
    theirs = OFFICIAL[row.name](weights, **options)
    theirs.train()
    return theirs, lambda grads: step(theirs, [sign * g.clone() for g in grads])


def weights(optimizer):
    return [p.detach().clone() for p in params(optimizer)]


def close(ours, theirs, tolerance=1e-12):
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


# ---- both points are the official ones


@pytest.mark.parametrize(
    ("row", "options"),
    [pytest.param(r, o, id=f"{r.name}-{i}") for r in FREE for i, o in enumerate(r.options)
     if o.get("eps") != 0.0],
)  # fmt: skip
@every_engine
def test_both_points_are_the_official_ones(row, options, engine):
    ours = row.make(tensors(), engine=engine, **options)
    theirs, step_theirs = official(row, tensors(), options)
    for i, grads in enumerate(gradients(60, decades=(-2, 0))):
        step(ours, grads)
        step_theirs(grads)
        if i in (0, 4, 30, 59):
            close(weights(ours), weights(theirs))
            theirs.eval()
            with ours.averaged():
                close(weights(ours), weights(theirs))
            theirs.train()


@every_free
@every_engine
@pytest.mark.parametrize("schedule", ["cosine", "one cycle", "tensor"])
def test_schedules_move_both_as_the_official_ones(row, schedule, engine):
    """A rate that falls: then weights by the largest rate are not those by the present one."""
    steps = gradients(20, decades=(-2, 0))
    rate = 0.05 if schedule != "tensor" else torch.tensor(0.05, dtype=torch.float64)
    ours = row.make([{"params": p} for p in tensors()], lr=rate, engine=engine)
    theirs, step_theirs = official(row, [{"params": p} for p in tensors()], {"lr": 0.05})
    make = {
        "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 15),
        "one cycle": lambda o: optim.lr_scheduler.OneCycleLR(
            o, 0.1, total_steps=25, cycle_momentum=False
        ),
        "tensor": lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
    }[schedule]
    here, there = make(ours), make(theirs)
    for grads in steps:
        step(ours, grads)
        step_theirs(grads)
        here.step()
        there.step()
        close(weights(ours), weights(theirs))
    theirs.eval()
    ours.eval()
    close(weights(ours), weights(theirs))


@every_engine
def test_by_the_largest_rate_or_by_the_steps_own(engine):
    def after(averaging, fall):
        o = optim.ScheduleFreeSGD(tensors(), lr=0.1, averaging=averaging, engine=engine)
        for grads in COURSE:
            step(o, grads)
            o.param_groups[0]["lr"] *= fall
        o.eval()
        return weights(o)

    close(after("lr", 1.0), after("lr_max", 1.0))
    close(after("lr", 1.1), after("lr_max", 1.1))
    assert not torch.allclose(after("lr", 0.5)[1], after("lr_max", 0.5)[1], rtol=1e-3)


@every_engine
@every_class
def test_a_mean_of_all_z(cls, engine):
    """The definition: with a constant rate and r = 0, x is the mean of z over the steps so far."""
    more = {"silent_sgd_phase": False, "weight_lr_power": 0.0} if "RAdam" in cls.__name__ else {}
    o = cls(tensors(), lr=0.05, engine=engine, **more)
    z = []
    for grads in COURSE:
        step(o, grads)
        z.append([o.state[p]["z"].clone() for p in params(o)])
    with o.averaged():
        close(weights(o), [torch.stack(zs).mean(0) for zs in zip(*z, strict=True)], 1e-11)


# ---- modes


@every_engine
@every_class
def test_starts_in_training_and_comes_back_bit_for_bit(cls, engine):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        o = started(cls, engine, dtype)
        assert o.training
        before = contents(o)
        before = {k: x.clone() for k, x in before.items()}
        for _ in range(3):
            o.eval()
            o.eval()
            assert not o.training
            assert not torch.equal(params(o)[1].detach(), before[1, "w"])
            o.train()
            o.train()
            assert_same(before, contents(o))


@every_engine
@every_class
def test_looking_changes_nothing_in_training(cls, engine):
    looked, plain = (cls(tensors(), lr=0.05, engine=engine) for _ in range(2))
    looked.eval()  # before any step both points are one
    assert_same(contents(plain), contents(looked))
    looked.train()
    for i, grads in enumerate(COURSE):
        # A gradient that comes late: its parameter has no state to look from.
        grads = [None if k == 1 and i < 4 else g for k, g in enumerate(grads)]
        step(looked, grads)
        step(plain, grads)
        with looked.averaged():
            pass
        looked.eval()
        looked.train()
    assert_same(contents(plain), contents(looked))


@every_engine
@every_class
def test_a_step_in_evaluation_mode_is_refused(cls, engine):
    o = started(cls, engine)
    o.eval()
    for p, g in zip(params(o), COURSE[0], strict=True):
        p.grad = g.float()
    before = snapshot(o)
    with pytest.raises(RuntimeError, match=r"averaged weights.*call optimizer\.train\(\)"):
        o.step()
    with pytest.raises(RuntimeError, match=r"call optimizer\.train\(\)"):
        o.step(lambda: pytest.fail("the closure was called"))
    o.register_step_post_hook(lambda *_: None)  # by torch's way of stepping, too
    with pytest.raises(RuntimeError, match=r"call optimizer\.train\(\)"):
        o.step()
    assert_same(before, snapshot(o))
    o.train()
    o.step()


@every_engine
@every_class
def test_a_context_leaves_what_it_found(cls, engine):
    o = started(cls, engine)
    y = {k: x.clone() for k, x in contents(o).items()}
    with o.averaged():
        x = {k: v.clone() for k, v in contents(o).items()}
        with o.averaged():
            assert_same(x, contents(o))
        assert_same(x, contents(o))
        assert not o.training
    assert_same(y, contents(o))
    with pytest.raises(ZeroDivisionError), o.averaged(), o.averaged():
        1 / 0  # noqa: B018
    assert_same(y, contents(o))
    assert o.training
    with o.averaged(), torch.no_grad():
        for p in params(o):
            p.mul_(0).add_(7)
    assert_same(y, contents(o))
    o.eval()
    with o.averaged():
        o.train()
        assert_same(y, contents(o))
    assert_same(x, contents(o))
    with o.averaged():
        assert_same(x, contents(o))
    assert not o.training
    o.train()
    with o.averaged():
        o.train()
        step(o, [g.float() for g in COURSE[0]])
        stepped = {k: v.clone() for k, v in contents(o).items()}
    assert_same(stepped, contents(o))


def test_every_optimizer_has_the_context():
    p = torch.ones(3, requires_grad=True)
    for algorithm in ALGORITHMS.values():
        o = algorithm.build([p], algorithm.lr)
        with o.averaged():
            assert torch.equal(p.detach(), torch.ones(3))


@every_engine
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@every_class
def test_looks_in_any_mode_of_autograd(cls, mode, engine):
    o = started(cls, engine)
    y = weights(o)
    with mode(), o.averaged():
        x = weights(o)
    assert_same(dict(enumerate(y)), dict(enumerate(weights(o))))
    with mode():
        o.eval()
    assert_same(dict(enumerate(x)), dict(enumerate(weights(o))))
    o.train()
    assert all(p.is_leaf and p.requires_grad for p in params(o))
    step(o, [g.float() for g in COURSE[0]])


@every_engine
@every_class
def test_weights_written_while_averaged_are_not_lost(cls, engine):
    """``train()`` gives the training weights that belong to them; the untouched ones are exact."""
    o = started(cls, engine, torch.float64)
    (a, b, *_), y = params(o), weights(o)
    beta = o.hyperparameters(o.param_groups[0])[
        "momentum" if cls is optim.ScheduleFreeSGD else "beta1"
    ]
    o.eval()
    with torch.no_grad():
        b.add_(1.0)
    x = b.detach().clone()
    o.train()
    assert torch.equal(a.detach(), y[0])
    torch.testing.assert_close(b.detach(), beta * x + (1 - beta) * o.state[b]["z"])
    torch.testing.assert_close(b.detach(), y[1] + beta)


@every_engine
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@every_class
def test_both_points_to_rounding(cls, dtype, engine):
    """Large enough for several chunks; in every storage format, short state as well."""
    shapes = ((40_000,), (3, 5))
    for stored in (None, torch.bfloat16):
        o = cls(tensors(dtype, shapes), lr=0.05, engine=engine, state_dtype=stored)
        train(o, gradients(6, dtype, shapes, decades=(-2, 0)))
        h = o.hyperparameters(o.param_groups[0])
        beta = h.get("momentum", h.get("beta1"))
        ys = weights(o)
        o.eval()
        for p, y in zip(params(o), ys, strict=True):
            z = o.state[p]["z"].double()
            x = y.double() / beta + (1 - 1 / beta) * z
            size = y.double().abs() / beta + (1 / beta - 1) * z.abs()
            slack = size * (1e-14 if dtype is torch.float64 else 1e-6)
            assert ((x - slack).to(dtype) <= p).all()
            assert (p <= (x + slack).to(dtype)).all()


@every_engine
@every_class
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(3, 4, dtype=torch.complex128),
        lambda: torch.randn(6, 4, dtype=torch.float64).T,
        lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ],
    ids=["complex", "transposed", "channels last"],
)
def test_looks_at_any_layout(cls, make, engine):
    torch.manual_seed(0)
    p = make().requires_grad_()
    o = cls([p], lr=0.05, engine=engine)
    for _ in range(7):
        p.grad = torch.randn_like(p)
        o.step()
    y, z, stride = p.detach().clone(), o.state[p]["z"], p.stride()
    with o.averaged():
        torch.testing.assert_close(p.detach(), y / 0.9 + (1 - 1 / 0.9) * z)
    assert torch.equal(torch.view_as_real(p.detach()) if p.is_complex() else p.detach(),
                       torch.view_as_real(y) if y.is_complex() else y)  # fmt: skip
    assert p.stride() == stride


def test_gaps_and_groups_on_both_engines():
    whole = torch.randn(8, 6)
    before = whole.clone()
    params_ = [whole[:, 2:4].requires_grad_(), torch.randn(5).requires_grad_()]
    o = optim.ScheduleFreeAdamW(
        [{"params": params_[:1], "betas": (0.5, 0.9)}, {"params": params_[1:], "lr": 0.1}], lr=0.05
    )
    for _ in range(4):
        step(o, [torch.randn_like(p) for p in params_])
    y = weights(o)
    with o.averaged():
        for p, y_, beta in zip(params_, y, (0.5, 0.9), strict=True):
            expected = y_ / beta + (1 - 1 / beta) * o.state[p]["z"]
            torch.testing.assert_close(p.detach(), expected)
        assert torch.equal(whole[:, :2], before[:, :2])
    close(weights(o), y, 0)


# ---- misuse


@every_class
@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, 1.5])
def test_a_beta_that_hides_the_average_is_refused(cls, beta):
    options = {"momentum": beta} if cls is optim.ScheduleFreeSGD else {"betas": (beta, 0.9)}
    with pytest.raises(ValueError, match=r"(momentum|betas\[0\]) must be above 0 and below 1, not"):
        cls(tensors(), **options)


@every_class
def test_options_that_make_no_sense_are_refused(cls):
    with pytest.raises(ValueError, match=r"averaging must be one of 'lr_max', 'lr', not 'lr_mix'"):
        cls(tensors(), averaging="lr_mix")
    with pytest.raises(ValueError, match=r"cautious=True cannot be honoured .*between z and the"):
        cls(tensors(), cautious=True)
    with pytest.raises(TypeError, match="has no option 'train_mode'"):
        cls(tensors(), train_mode=False)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not 'net'"):
        cls(tensors(), model="net")
    with pytest.raises(ValueError, match="model has none of this optimizer's parameters"):
        cls(tensors(), model=nn.Linear(2, 2))
    a, b, *_ = tensors()
    with pytest.raises(ValueError, match="train_mode speaks of all parameters"):
        cls([{"params": [a]}, {"params": [b], "train_mode": False}])
    with pytest.raises(TypeError, match="must be a dict"):
        cls([a]).add_param_group([b])


@every_engine
@every_class
def test_a_group_added_in_either_mode_is_averaged(cls, engine):
    def trained(mode):
        o = cls(tensors(), lr=0.05, engine=engine)
        train(o, COURSE[:3])
        getattr(o, mode)()
        o.add_param_group({"params": tensors(seed=3), "lr": 0.1})
        o.train()
        train(o, [(*g, *g) for g in COURSE[3:]])
        o.eval()
        o.train()
        o.eval()
        return o

    assert_same(contents(trained("train")), contents(trained("eval")))


# ---- checkpoints


@every_engine
@every_class
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("found", ["train", "eval"])
@pytest.mark.parametrize("order", ["weights first", "optimizer first"])
def test_resuming_in_either_mode_changes_no_bit(cls, mode, found, order, engine):
    whole = train(cls(tensors(), lr=0.05, engine=engine), COURSE[:6])
    getattr(whole, mode)()
    checkpoint, weights_ = saved(whole.state_dict()), weights(whole)
    resumed = train(cls(tensors(seed=5), lr=0.5, engine=engine), COURSE[6:9])
    getattr(resumed, found)()

    def load_weights():
        with torch.no_grad():
            for p, w in zip(params(resumed), weights_, strict=True):
                p.copy_(w)

    loads = [load_weights, lambda: resumed.load_state_dict(checkpoint)]
    for load in loads if order == "weights first" else reversed(loads):
        load()
    assert resumed.training == (mode == "train")
    assert_same(contents(whole), contents(resumed))
    for o in (whole, resumed):
        o.train()
        train(o, COURSE[6:])
        o.eval()
    assert_same(contents(whole), contents(resumed))


@every_engine
@every_class
def test_what_is_loaded_is_a_copy(cls, engine):
    o = started(cls, engine)
    o.eval()
    checkpoint = o.state_dict()
    other = cls(twins(o), engine=engine)
    other.load_state_dict(checkpoint)
    before = {k: x.clone() for k, x in contents(o).items()}
    other.train()
    step(other, [g.float() for g in COURSE[0]])
    assert_same(before, contents(o))


@every_engine
@every_class
def test_without_y_a_checkpoint_resumes_to_rounding(cls, engine):
    """Whoever leaves y out of a checkpoint, to save space, has it computed from x and z."""
    whole = started(cls, engine, torch.float64)
    y = weights(whole)
    whole.eval()
    checkpoint = whole.state_dict()
    for state in checkpoint["state"].values():
        state.pop("y")
    resumed = cls(twins(whole), engine=engine)
    resumed.load_state_dict(checkpoint)
    resumed.train()
    close(weights(resumed), y, 1e-14)


@every_class
def test_a_checkpoint_of_the_wrong_shape_or_mode_is_refused(cls):
    o = started(cls)
    o.eval()
    good = o.state_dict()
    before = snapshot(o)
    bad = copy.deepcopy(good)
    bad["state"][2]["y"] = torch.ones(5)
    with pytest.raises(ValueError, match=r"y has shape \(5,\), which does not fit parameter 2"):
        o.load_state_dict(bad)
    bad = copy.deepcopy(good)
    bad["param_groups"][0]["train_mode"] = "yes"
    with pytest.raises(ValueError, match="train_mode must be one of"):
        o.load_state_dict(bad)
    assert_same(before, snapshot(o))
    o.train()


@every_engine
@every_free
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_checkpoints_of_the_official_package_are_read(row, mode, engine):
    options = {"lr": 0.05, "weight_decay": 0.03, "r": 0.5}
    theirs, step_theirs = official(row, tensors(), options)
    steps = gradients(20, decades=(-2, 0))
    for grads in steps[:12]:
        step_theirs(grads)
    getattr(theirs, mode)()
    ours = row.make(twins(theirs), engine=engine)
    ours.load_state_dict(saved(theirs.state_dict()))
    assert not {"k", "weight_sum", "lr_max", "scheduled_lr"} & ours.param_groups[0].keys()
    for o in (ours, theirs):
        o.train()
    for grads in steps[12:]:
        step(ours, grads)
        step_theirs(grads)
    close(weights(ours), weights(theirs))
    for o in (ours, theirs):
        o.eval()
    close(weights(ours), weights(theirs))


@every_class
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_made_while_averaged_goes_on_alone(cls, copied):
    o = started(cls, dtype=torch.float64)
    with o.averaged():
        other = copied(o)
    assert not other.training
    other.train()
    assert_same(contents(o), contents(other))
    assert_same(contents(train(o, COURSE)), contents(train(other, COURSE)))


# ---- a model's mode


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def fit(model, optimizer, steps=4):
    for i in range(steps):
        g = torch.Generator().manual_seed(i)
        optimizer.zero_grad()
        x = torch.randn(16, 4, generator=g)
        (model(x) - x[:, :2].sin()).square().mean().backward()
        optimizer.step()


def parameters_of(model):
    return {k: p.detach().clone() for k, p in model.named_parameters()}


@every_class
def test_a_models_mode_is_followed(cls):
    model = net()
    o = cls(model.parameters(), lr=0.1, model=model)
    fit(model, o, 8)
    y = parameters_of(model)
    assert model.eval() is model
    assert not o.training
    assert not model.training
    assert not model[1].training
    x = parameters_of(model)
    with pytest.raises(RuntimeError, match=r"model\.train\(\)"):
        o.step()
    assert model.train() is model
    assert o.training
    assert model[1].training
    assert_same(y, parameters_of(model))
    model[1].eval()  # a part's mode is its own
    assert o.training
    o.eval()
    assert_same(x, parameters_of(model))
    o.train()
    fit(model, o)
    outer = nn.Sequential(model, nn.ReLU())  # a wrapper's reaches it
    outer.eval()
    assert not o.training
    outer.train()
    assert o.training


def test_no_mode_is_followed_inside_the_context():
    model = net()
    o = optim.ScheduleFreeAdamW(model.parameters(), lr=0.1, model=model)
    fit(model, o)
    y = parameters_of(model)
    with o.averaged():
        x = parameters_of(model)
        model.eval()
        model.train()
        assert_same(x, parameters_of(model))
        model.eval()
    assert_same(y, parameters_of(model))
    assert o.training
    model.train()
    fit(model, o)


def test_neither_keeps_the_other_alive():
    gc.collect()
    gc.disable()
    try:
        model = net()
        o = optim.ScheduleFreeSGD(model.parameters(), model=model)
        fit(model, o)
        gone = weakref.ref(o)
        del o
        assert gone() is None
        model.eval()
        second = optim.ScheduleFreeSGD(model.parameters(), model=model)
        third = optim.ScheduleFreeSGD(model[0].parameters(), model=model)
        model.eval()
        assert not second.training
        assert not third.training
        gone = weakref.ref(model)
        del model
        assert gone() is None
        second.train()
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_copies_made_together_belong_together(copied, first):
    model = net()
    o = optim.ScheduleFreeAdamW(model.parameters(), lr=0.1, model=model)
    fit(model, o)
    pair = copied((model, o) if first == "model" else (o, model))
    other, its = pair if first == "model" else reversed(pair)
    assert {id(p) for p in other.parameters()} == {id(p) for p in params(its)}
    other.eval()
    assert (its.training, o.training) == (False, True)
    x = parameters_of(other)
    model.eval()
    assert_same(x, parameters_of(model))
    for m, m_o in ((model, o), (other, its)):
        m.train()
        fit(m, m_o)
    assert_same(parameters_of(model), parameters_of(other))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_of_one_alone_is_on_its_own(copied):
    model = net()
    o = optim.ScheduleFreeAdamW(model.parameters(), lr=0.1, model=model)
    fit(model, o)
    other = copied(model)
    y = parameters_of(other)
    other.eval()
    assert o.training
    assert not other.training
    assert_same(y, parameters_of(other))
    its = copied(o)
    model.eval()
    assert its.training
    assert len(pickle.dumps(model)) < len(pickle.dumps((model, o)))


def test_a_model_whose_train_was_replaced_is_refused():
    model = net()
    model.train = lambda mode=True: model
    with pytest.raises(ValueError, match="train\\(\\) has been replaced on this instance"):
        optim.ScheduleFreeSGD(model.parameters(), model=model)


@pytest.mark.parametrize("given", [False, True])
def test_batch_statistics_at_the_averaged_weights(given):
    model = net()
    o = optim.ScheduleFreeAdamW(model.parameters(), lr=0.3, **({"model": model} if given else {}))
    fit(model, o, 10)
    loader = [torch.randn(16, 4) for _ in range(5)]
    y = parameters_of(model)
    o.update_bn(((x, None) for x in loader), model)
    assert_same(y, parameters_of(model))
    assert o.training
    assert model.training
    assert model[1].momentum == 0.1
    with o.averaged():
        inside = torch.stack([model[0](x) for x in loader])
    torch.testing.assert_close(model[1].running_mean, inside.mean((0, 1)))
    torch.testing.assert_close(model[1].running_var, inside.var(1).mean(0))
    with pytest.raises(ZeroDivisionError):
        o.update_bn((1 / 0 for _ in range(1)), model)
    assert_same(y, parameters_of(model))


# ---- elsewhere


def test_a_race_is_judged_at_the_averaged_weights():
    outcome = run_trial(Trial("digits", "schedule-free-sgd", "{}", 1.0, 0, 1))
    task = PROBLEMS["digits"].start(0)
    o = optim.ScheduleFreeSGD(task.model.parameters(), lr=1.0)
    for batch in task.batches():
        o.zero_grad()
        task.loss(batch).backward()
        o.step()
    at_y = task.evaluate("validation")
    o.eval()
    assert outcome.validation == task.evaluate("validation")[1]
    assert outcome.validation_curve[-1] == task.evaluate("validation")[0] != at_y[0]


def test_gradients_still_flow_where_a_step_is_differentiated():
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    q = p * 1
    o = optim.ScheduleFreeSGD([q], lr=0.1, differentiable=True)
    q.grad = torch.full((3,), 0.5, dtype=torch.float64)
    o.step()
    with o.averaged():
        pass
    (g,) = torch.autograd.grad(q.sum(), p)
    assert torch.equal(g, torch.ones(3, dtype=torch.float64))


def test_y_is_bit_for_bit_also_where_it_is_not_finite():
    p = torch.tensor([1.0, torch.nan, torch.inf, -0.0], requires_grad=True)
    o = optim.ScheduleFreeAdamW([p], engine="fused")
    p.grad = torch.tensor([1.0, 1.0, 1.0, 0.0])
    o.step()
    y = bits(p.detach()).clone()
    with o.averaged():
        pass
    assert torch.equal(bits(p.detach()), y)
