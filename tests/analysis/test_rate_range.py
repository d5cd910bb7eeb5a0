"""The range test: what it answers, that it leaves no trace, and what it refuses."""

from __future__ import annotations

import copy
import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg import optim
from thalweg.analysis import RateRange, rate_range_test
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems import PROBLEMS
from thalweg.problems.digits import data as digits

CRITERION = nn.CrossEntropyLoss()
SHORT = {"steps": 40, "seeds": 2}


def problem(make, generator=None):
    """A model with dropout and BatchNorm, an optimizer and a loader that shuffles."""
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    x = torch.randn(90, 6)
    loader = DataLoader(
        TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()),
        batch_size=16,
        shuffle=True,
        generator=generator,
    )
    return model, make(model), loader


def train(model, optimizer, loader, steps):
    while steps:
        for x, y in loader:

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = CRITERION(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
            steps -= 1
            if not steps:
                return


def of(cls, link=False, **options):
    def make(model):
        return cls(model.parameters(), **({"model": model} if link else {}), **options)

    return make


TRAINED = {
    "torch SGD": of(torch.optim.SGD, lr=0.05, momentum=0.9),
    "torch AdamW": of(torch.optim.AdamW, lr=0.01),
    "SGD": of(optim.SGD, lr=0.05),
    "AdamW": of(optim.AdamW, lr=0.01, weight_decay=0.1),
    "Adan": of(optim.Adan, lr=0.01),
    "Muon": of(optim.Muon, lr=0.02),
    "SAM": of(optim.SAM, lr=0.05, link=True),
    "Schedule-Free": of(optim.ScheduleFreeAdamW, lr=0.01, link=True),
}


def tensors(x, name=""):
    """Every tensor and number in nested dictionaries and lists, by where it is."""
    if isinstance(x, dict):
        items = x.items()
    elif isinstance(x, list | tuple):
        items = enumerate(x)
    else:
        return {name: x.clone() if isinstance(x, torch.Tensor) else x}
    found = {}
    for key, value in items:
        found |= tensors(value, f"{name}.{key}")
    return found


def different(before, now):
    """Names of what is not the same bit by bit."""
    assert before.keys() == now.keys()
    return [
        k
        for k, x in before.items()
        if not (torch.equal(x, now[k]) if isinstance(x, torch.Tensor) else x == now[k])
    ]


def after(make, between, before=3, steps=20):
    """Weights, buffers and state after training with something in between."""
    model, optimizer, loader = problem(make)
    train(model, optimizer, loader, before)
    between(model, optimizer, loader)
    train(model, optimizer, loader, steps)
    return tensors([model.state_dict(), optimizer.state_dict()])


def nothing(model, optimizer, loader):
    del model, optimizer, loader


def ours(model, optimizer, loader):
    rate_range_test(model, optimizer, CRITERION, loader, **SHORT)


def known(model, optimizer, loader, with_optimizer):
    """What the finders that people install do: train the model itself, then load what it was."""
    weights = {k: x.clone() for k, x in model.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    for rate in np.geomspace(1e-6, 1.0, 40):
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        train(model, optimizer, loader, 1)
    model.load_state_dict(weights)
    if with_optimizer:
        optimizer.load_state_dict(state)
    else:
        for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
            group["lr"] = saved["lr"]


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("name", TRAINED)
def test_later_training_is_the_same_bit_by_bit(name, before):
    untested = after(TRAINED[name], nothing, before)
    assert different(untested, after(TRAINED[name], ours, before)) == []


@pytest.mark.parametrize("with_optimizer", [False, True])
@pytest.mark.parametrize("name", ["torch SGD", "torch AdamW", "SGD", "AdamW"])
def test_the_known_way_changes_later_training(name, with_optimizer):
    naive = partial(known, with_optimizer=with_optimizer)
    untested = after(TRAINED[name], nothing)
    weights = {k for k in untested if k.startswith(".0.") and k.endswith("weight")}
    assert len(weights) == 5
    assert weights <= set(different(untested, after(TRAINED[name], naive)))


class Noisy(TensorDataset):
    """A dataset that draws from generators of its own and from all global ones."""

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.numpy, self.python = np.random.default_rng(3), random.Random(3)
        self.legacy = np.random.RandomState(3)

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        draws = (self.numpy.normal(), self.python.random(), self.legacy.normal(),
                 random.random(), np.random.normal())  # noqa: NPY002  # fmt: skip
        return x + 0.01 * sum(draws), y


def everything(model, optimizer, loader):
    """All that must stay: values, and which objects they are."""
    params = list(model.parameters())
    d = loader.dataset
    return tensors({
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "lr": [id(g["lr"]) for g in optimizer.param_groups],
        "gradients": [p.grad for p in params],
        "same gradients": [id(p.grad) for p in params],
        "same state": [id(s) for s in optimizer.state.values()],
        "requires_grad": [p.requires_grad for p in params],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_pre_hooks) for m in model.modules()],
        "counters": [getattr(optimizer, n, None) for n in ("_opt_called", "_step_count")],
        "attributes": sorted(vars(optimizer)),
        "global hooks": len(nn.modules.module._global_forward_pre_hooks),
        "torch": torch.get_rng_state(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "loader": loader.generator.get_state(),
        "its data": (repr(d.numpy.bit_generator.state), d.python.getstate(),
                     repr(d.legacy.get_state())),
        "iterator": id(loader._iterator),
        "gradient mode": torch.is_grad_enabled(),
    })  # fmt: skip


class Failing:
    """A criterion that raises in the middle."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def __call__(self, outputs, targets):
        self.calls += 1
        if self.calls == 15:
            raise self.error
        return CRITERION(outputs, targets)


def noisy(make, **options):
    model, optimizer, loader = problem(make)
    loader = DataLoader(Noisy(*loader.dataset.tensors), batch_size=16, shuffle=True,
                        generator=torch.Generator().manual_seed(5), **options)  # fmt: skip
    return model, optimizer, loader


@pytest.mark.parametrize("error", [None, RuntimeError("in the middle"), KeyboardInterrupt()])
def test_everything_stays_as_it_is(error):
    model, optimizer, loader = noisy(TRAINED["AdamW"])
    torch.optim.lr_scheduler.StepLR(optimizer, 10)  # which counts the optimizer's steps
    train(model, optimizer, loader, 4)
    model[0].weight.grad = None
    model[4].bias.requires_grad_(False)
    model[5].eval()
    before = everything(model, optimizer, loader)
    if error is None:
        rate_range_test(model, optimizer, CRITERION, loader, **SHORT)
    else:
        with pytest.raises(type(error)):
            rate_range_test(model, optimizer, Failing(error), loader, **SHORT)
    assert different(before, everything(model, optimizer, loader)) == []


def test_workers_and_their_loader_stay_as_they_are():
    model, optimizer, loader = noisy(TRAINED["SGD"], num_workers=1, persistent_workers=True)
    before = everything(model, optimizer, loader)
    rate_range_test(model, optimizer, CRITERION, loader, steps=20, seeds=1)
    assert different(before, everything(model, optimizer, loader)) == []


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_of_ours_can_be_tested(name):
    a = ALGORITHMS[name]
    model, optimizer, loader = noisy(lambda m: a.build(m.parameters(), a.lr))
    for steps in (0, 2):
        train(model, optimizer, loader, steps)
        before = everything(model, optimizer, loader)
        result = rate_range_test(model, optimizer, CRITERION, loader, steps=20, seeds=1)
        assert len(set(result.sweeps[0].losses)) > 5
        assert different(before, everything(model, optimizer, loader)) == []


TORCH = ("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop",
         "Rprop")  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_every_algorithm_of_torchs_can_be_tested(name):
    model, optimizer, loader = noisy(of(getattr(torch.optim, name)))
    train(model, optimizer, loader, 2)
    before = everything(model, optimizer, loader)
    rate_range_test(model, optimizer, CRITERION, loader, steps=20, seeds=1)
    assert different(before, everything(model, optimizer, loader)) == []


def test_evaluation_mode_and_averaged_weights_stay():
    model, optimizer, loader = noisy(TRAINED["Schedule-Free"])
    train(model, optimizer, loader, 4)
    model.eval()
    before = everything(model, optimizer, loader)
    rate_range_test(model, optimizer, CRITERION, loader, **SHORT)
    assert not optimizer.training
    assert different(before, everything(model, optimizer, loader)) == []


# ---- what it answers


def line(λ=4.0, w=1.0):
    """A quadratic λ w² / 2 in one weight, on the one batch that there is."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, w)
    x = torch.ones(1, 1, dtype=torch.float64)
    return model, [(x, None)], lambda outputs, _: 0.5 * λ * outputs.square().mean()


@pytest.mark.parametrize("lrs", [(0.1,), (0.02, 0.1), (0.0, 0.0)])
def test_losses_are_those_after_the_step_with_their_rate(lrs):
    """Against a loop that is written down here. Groups keep their proportions."""
    g = torch.Generator().manual_seed(0)
    start = torch.randn(len(lrs), generator=g, dtype=torch.float64)
    targets = torch.randn(len(lrs), generator=g, dtype=torch.float64)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.ParameterList(nn.Parameter(x.clone()) for x in start)

        def forward(self, x):
            return torch.stack([w * x for w in self.w])

    model = Model()
    groups = [{"params": [w], "lr": lr} for w, lr in zip(model.w, lrs, strict=True)]
    result = rate_range_test(
        model, torch.optim.SGD(groups), lambda out, y: (out - y).square().sum(),
        [(torch.tensor(1.0, dtype=torch.float64), targets)], start=1e-4, stop=0.1, steps=20,
        seeds=1,
    )  # fmt: skip
    w, share = start.clone(), torch.tensor(lrs, dtype=torch.float64) / (max(lrs) or 1)
    share = share if max(lrs) else torch.ones(len(lrs), dtype=torch.float64)
    losses, smoothed, s = [], [], 0.1 * (w - targets).square().sum()
    for k in range(20):
        w = w - 1e-4 * 1000 ** (k / 19) * share * 2 * (w - targets)
        losses.append(float((w - targets).square().sum()))
        s = 0.9 * s + 0.1 * losses[-1]
        smoothed.append(float(s / (1 - 0.9 ** (k + 2))))
    (sweep,) = result.sweeps
    np.testing.assert_allclose(sweep.rates, 1e-4 * 1000 ** (np.arange(20) / 19), rtol=1e-12)
    np.testing.assert_allclose(sweep.losses, losses, rtol=1e-12)
    np.testing.assert_allclose(sweep.smoothed, smoothed, rtol=1e-12)


def test_a_rate_in_a_tensor_is_swept_and_stays():
    model, batches, loss = line()
    lr = torch.tensor(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    result = rate_range_test(model, optimizer, loss, batches, seeds=1)
    assert result.rate is not None
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr == torch.tensor(0.1)


@pytest.mark.parametrize("λ", [0.01, 1.0, 100.0])
def test_the_stability_limit_of_gradient_descent_is_found(λ):
    """Above 2 / λ every step is one up. The loss, close to zero by then, needs some time to show
    it, but no decade."""
    model, batches, loss = line(λ)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    result = rate_range_test(model, optimizer, loss, batches, stop=1e4, steps=400, seeds=1)
    assert 2 / λ < result.largest < 20 / λ
    assert result.rate < 2 / λ


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_digits_train_best_at_the_suggested_rate(name):
    """Better than at rates 30 times as large or small, from another start and in another order."""
    task = PROBLEMS["digits"].start(0)
    a = ALGORITHMS[name]
    batches = list(task.batches())
    optimizer = a.build(task.model.parameters(), a.lr)
    result = rate_range_test(task.model, optimizer, CRITERION, batches)
    assert result.interval[0] < result.rate < result.interval[1] < 10 * result.interval[0]
    assert result.rate < result.largest

    def accuracy(rate):
        fresh = PROBLEMS["digits"].start(1)
        optimizer = a.build(fresh.model.parameters(), rate)
        for _ in range(5):
            for batch in fresh.batches():
                optimizer.zero_grad()
                fresh.loss(batch).backward()
                optimizer.step()
        return fresh.evaluate("validation")[1]

    best = accuracy(result.rate)
    assert best > 90
    assert best > accuracy(result.rate / 30) + 2
    assert best > accuracy(result.rate * 30) + 2


def classification(make=None, **options):
    model, optimizer, loader = problem(make or TRAINED["torch AdamW"])
    return rate_range_test(model, optimizer, CRITERION, loader, **{"seeds": 2, **options})


@pytest.mark.parametrize(
    ("why", "options"),
    [
        ("does not fall by more than chance", {"start": 1e-12, "stop": 1e-9}),
        ("still falls at the largest rate, 0.003", {"stop": 0.003}),
        ("within a decade of the smallest rate, 0.02", {"start": 0.02}),
    ],
)
def test_it_says_when_it_cannot_tell(why, options):
    result = classification(**options)
    assert why in result.why
    assert result.rate is result.interval is None
    assert "cannot tell" in repr(result)
    assert result.sentence().startswith("No learning rate can be told: ")


def test_a_loss_that_only_rises_has_no_rate():
    result = classification(TRAINED["SGD"], start=100.0, stop=1e6)
    assert result.rate is result.largest is None
    assert all(s.diverged and len(s.losses) < 100 for s in result.sweeps)


def test_one_sentence():
    result = classification(seeds=3)
    low, high = result.interval
    assert result.sentence() == (
        f"A learning rate of about {result.rate:.2g} suits (95 % interval over 3 seeds: {low:.2g} "
        f"to {high:.2g}); the sweeps diverged above about {result.largest:.2g}."
    )
    assert repr(result) == (
        f"<RateRange: rate {result.rate:.2g} ({low:.2g} to {high:.2g}); "
        f"largest {result.largest:.2g}; 3 seeds>"
    )
    alone = classification(seeds=1)
    assert alone.interval == (0, math.inf)
    assert "how sure that is, one seed cannot tell" in alone.sentence()


def test_answers_do_not_depend_on_where_generators_are():
    one = classification()
    torch.manual_seed(99)
    two = classification()
    assert [s.losses for s in one.sweeps] == [s.losses for s in two.sweeps]


def still(model):
    """The same model without dropout: only the order of the batches is left to chance."""
    model[3].p = 0.0
    return TRAINED["torch AdamW"](model)


@pytest.mark.parametrize("how", ["generator", "global", "list", "function", "lambda"])
def test_seeds_see_the_batches_in_different_orders(how):
    held = torch.Generator().manual_seed(5)
    model, optimizer, loader = problem(still, held if how in ("generator", "lambda") else None)
    batches = list(loader)

    def shuffled():
        order = torch.randperm(len(batches), generator=held).tolist()
        return iter([batches[i] for i in order])

    data = {"list": batches, "function": shuffled, "lambda": lambda: iter(loader)}.get(how, loader)
    before = held.get_state()
    one, two = rate_range_test(model, optimizer, CRITERION, data, **SHORT).sweeps
    assert one.losses != two.losses
    assert torch.equal(held.get_state(), before)


def test_loss_may_be_told_everything():
    """A penalty on the weights needs the model; forward gives it."""
    model, optimizer, loader = problem(TRAINED["SGD"])

    def loss(m, batch):
        penalty = sum(p.square().sum() for p in m.parameters())
        return CRITERION(m(batch[0]), batch[1]) + 1e-3 * penalty

    whole = rate_range_test(model, optimizer, loss, loader, forward=lambda m, b: (m, b), **SHORT)
    plain = rate_range_test(model, optimizer, CRITERION, loader, **SHORT)
    assert whole.sweeps[0].losses[0] > plain.sweeps[0].losses[0]


def test_a_loss_with_parameters_is_copied_too():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs, targets):
            return CRITERION(self.scale * outputs, targets)

    model, _, loader = problem(TRAINED["SGD"])
    loss = Scaled()
    optimizer = optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    rate_range_test(model, optimizer, loss, loader, **SHORT)
    assert loss.scale == 1
    assert loss.scale.grad is None


def test_the_interval_is_students_of_the_logarithms():
    from scipy import stats

    result = classification(seeds=4, steps=150)
    step = 8 / 149
    for value, (low, high), found in [
        (result.rate, result.interval, [s.rate for s in result.sweeps]),
        (result.largest, result.largest_interval, [s.largest for s in result.sweeps]),
    ]:
        logs = np.log10(found)
        error = math.sqrt((logs.var(ddof=1) + step**2 / 12) / 4)
        expected = stats.t.interval(0.95, 3, logs.mean(), error)
        assert value == pytest.approx(stats.gmean(found), rel=1e-12)
        assert (low, high) == pytest.approx(tuple(10 ** np.array(expected)), rel=1e-9)


def test_the_picture():
    from matplotlib.figure import Figure

    result = classification()
    figure = result.plot()
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.texts] == [
        f"{result.rate:.2g}",
        f"largest {result.largest:.2g}",
    ]
    for sweep, drawn in zip(result.sweeps, axes.lines[2:], strict=False):
        np.testing.assert_array_equal(drawn.get_ydata(), sweep.smoothed)
    given = Figure().add_subplot()
    unsure = classification(start=1e-12, stop=1e-9)
    assert unsure.plot(given) is given.figure
    assert given.get_title(loc="left").replace("\n", " ") == f"cannot tell: {unsure.why}"


# ---- what it refuses


def strange(model):
    return optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(2))], lr=0.1)


def without_lr(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    del optimizer.param_groups[0]["lr"]
    return optimizer


def climbed(model):
    optimizer = optim.SAM(model.parameters(), lr=0.1)
    model(torch.randn(4, 6)).sum().backward()
    optimizer.first_step()
    return optimizer


def uncopyable(model):
    model.cached = model[0].weight * 2
    return TRAINED["SGD"](model)


def once():
    yield from ()


SGD = TRAINED["SGD"]
BAD = {
    "start >= stop": (SGD, {"start": 1.0, "stop": 1.0}, ValueError, "start must be below stop"),
    "start is zero": (SGD, {"start": 0.0}, ValueError, "start must be finite and above 0"),
    "start is text": (SGD, {"start": "1e-6"}, TypeError, "start must be a number"),
    "stop is negative": (SGD, {"stop": -1.0}, ValueError, "stop must be finite and above 0"),
    "stop is infinite": (SGD, {"stop": math.inf}, ValueError, "stop must be finite"),
    "smoothing is 1": (SGD, {"smoothing": 1.0}, ValueError, "smoothing must be"),
    "no seeds": (SGD, {"seeds": 0}, ValueError, "seeds must be at least 1, not 0"),
    "seeds in a list": (SGD, {"seeds": [1, 2]}, TypeError, "seeds must be a whole number"),
    "few steps": (SGD, {"steps": 19}, ValueError, "steps must be at least 20"),
    "half a step": (SGD, {"steps": 50.5}, TypeError, "steps must be a whole number"),
    "no model": (SGD, {"model": print}, TypeError, "model must be a torch.nn.Module"),
    "no optimizer": (SGD, {"optimizer": print}, TypeError, "optimizer must be a torch.optim"),
    "another's optimizer": (strange, {}, ValueError, "1 of its 11 are none of them"),
    "no lr": (without_lr, {}, ValueError, "must have a learning rate, lr, in all groups"),
    "LBFGS": (of(torch.optim.LBFGS), {}, ValueError, "optimizer cannot be LBFGS"),
    "between SAM's steps": (climbed, {}, ValueError, "can copy them.*first_step"),
    "uncopyable": (uncopyable, {}, ValueError, "can copy them"),
    "an iterator": (SGD, {"data": once()}, TypeError, "data would be used up"),
    "no data": (SGD, {"data": []}, ValueError, "data must give at least one batch"),
    "nothing given": (SGD, {"data": lambda: iter(())}, ValueError, "gave none at all"),
    "a number": (SGD, {"data": 3}, TypeError, "data must be a DataLoader"),
    "no pairs": (SGD, {"data": [torch.ones(2, 6)]}, ValueError, "data must give pairs"),
    "no loss": (SGD, {"loss": None}, TypeError, "loss must be a function"),
    "no forward": (SGD, {"forward": 1}, TypeError, "forward must be a function"),
    "no tuple": (SGD, {"forward": lambda m, b: m(b[0])}, TypeError, "forward must give a tuple"),
    "many losses": (SGD, {"loss": nn.CrossEntropyLoss(reduction="none")}, ValueError,
                    r"loss must give one real number, not a torch.float32 of shape \(16,\)"),
    "a float": (SGD, {"loss": lambda out, y: 1.0}, TypeError, "loss must give a tensor"),
    "no gradient": (SGD, {"loss": lambda out, y: out.detach().sum()}, ValueError,
                    "loss must depend on the optimizer's parameters"),
    "NaN": (SGD, {"loss": lambda out, y: out.sum() * math.nan}, ValueError,
            "loss must be finite at the smallest rate, start=1e-06, but is nan"),
}  # fmt: skip


def trace(model):
    """What a mistake could leave behind."""
    gradients = [p.grad for p in model.parameters()]
    return tensors([dict(model.state_dict()), torch.get_rng_state(), gradients])


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_done_is_refused(case):
    make, options, error, message = BAD[case]
    model, optimizer, loader = problem(make)
    before = trace(model)
    given = {"model": model, "optimizer": optimizer, "loss": CRITERION, "data": loader, **options}
    with pytest.raises(error, match=message):
        rate_range_test(**given)
    assert different(before, trace(model)) == []


def test_a_function_that_gives_the_same_iterator_again_is_refused():
    model, optimizer, loader = problem(SGD)
    used = iter(list(loader))
    with pytest.raises(ValueError, match="gave none the second time"):
        rate_range_test(model, optimizer, CRITERION, lambda: used, **SHORT)


@pytest.mark.parametrize("where", ["module", "parameters"])
def test_the_original_may_not_be_used_by_mistake(where):
    model, optimizer, loader = problem(SGD)
    ways = {
        "module": {"forward": lambda m, b: (model[:5](b[0]), b[1])},
        "parameters": {"loss": lambda out, y: CRITERION(out, y) + model[0].weight.square().sum()},
    }
    before = trace(model)
    given = {"model": model, "optimizer": optimizer, "loss": CRITERION, "data": loader}
    with pytest.raises(ValueError, match="forward and loss must not"):
        rate_range_test(**{**given, **ways[where]})
    assert different(before, trace(model)) == []
    model(digits()["train"][0][:4, :6])  # it can be run again
    assert isinstance(rate_range_test(**given, **SHORT), RateRange)
