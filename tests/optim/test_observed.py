"""Steps that somebody records, counts or fakes: the whole update must be there to be seen."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from optim.training import contents, gradients, params, step, tensors
from thalweg import optim
from thalweg.optim.registry import ALGORITHMS

SHAPES = ((8, 6), (8,), (3, 2, 4), ())
CLIPPED = {"max_grad_norm": 1.0}


class Written(TorchDispatchMode):
    """Which tensors were written to, as a mode sees it."""

    def __init__(self):
        super().__init__()
        self.addresses = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.copy_.default:
            self.addresses.add(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


def after(algorithm, weights, grads, steps=2, **options):
    """An optimizer that has made some steps on the same gradients."""
    o = algorithm.build(list(weights), algorithm.lr, **options)

    def closure():
        for p, g in zip(params(o), grads, strict=True):
            p.grad = g
        return 1.0

    for _ in range(steps):
        if len(o.phases()) > 1:
            o.step(closure)
        else:
            closure()
            o.step()
    return o


def weights(algorithm, given, grads, **options):
    o = after(algorithm, [w.detach().clone() for w in given], grads, **options)
    return [p.detach() for p in params(o)]


def problem(seed):
    (grads,) = gradients(1, torch.float32, SHAPES, decades=(-2, 0), seed=seed)
    return [w.detach() for w in tensors(torch.float32, SHAPES, seed)], grads


def close(a, b):
    """SOAP's directions are eigenvectors of what one gradient has made, beyond its own any."""
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_make_fx_records_the_update(name):
    algorithm, n = ALGORITHMS[name], len(SHAPES)
    steps = 6 if name == "schedule-free-radam" else 2  # the first that moves anything
    options = {**CLIPPED, **({"max_precond_dim": 0} if name == "soap" else {})}

    def f(*x):
        return weights(algorithm, x[:n], x[n:], steps=steps, **options)

    (ws, gs), (others, them) = problem(0), problem(1)
    program = make_fx(f)(*ws, *gs)
    found = program(*others, *them)
    close(found, f(*others, *them))
    assert not any(torch.equal(x, w) for x, w in zip(found, others, strict=True))


@pytest.mark.parametrize("how", [{"tracing_mode": "symbolic"}, {"pre_dispatch": True}])
@pytest.mark.parametrize("name", ["adamw", "lamb", "soap"])
def test_make_fx_records_it_in_every_mode(name, how):
    def f(w, g):
        return weights(ALGORITHMS[name], [w], [g])

    (w, *_), (g, *_) = problem(0)
    program = make_fx(f, **how)(w, g)
    close(program(w, g), f(w, g))


def test_an_optimizer_from_outside_is_recorded_and_goes_on_behind():
    """A batch of kernels, built before, must not serve inside, nor the other way round."""
    a, b = (tensors(torch.float32, SHAPES) for _ in range(2))
    alone, seen = optim.AdamW(a, **CLIPPED), optim.AdamW(b, **CLIPPED)
    for i, grads in enumerate(gradients(4, torch.float32, SHAPES)):
        step(alone, grads)
        if i == 2:
            with Written() as written:
                step(seen, grads)
            assert {p.data_ptr() for p in b if p.numel()} <= written.addresses
        else:
            step(seen, grads)
    one, two = contents(alone), contents(seen)
    for key, x in one.items():
        torch.testing.assert_close(two[key], x, rtol=1e-5, atol=1e-7)
    assert type(seen.batches[0]) is type(alone.batches[0])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_fake_tensors_are_stepped(name):
    with FakeTensorMode():
        o = after(
            ALGORITHMS[name], [torch.ones(s) for s in SHAPES], [torch.ones(s) for s in SHAPES]
        )
        if isinstance(o, optim.ScheduleFreeAdamW):
            o.eval()
            o.train()
    for x in contents(o).values():
        assert x.dim() >= 0
    if len(o.phases()) == 1:  # a fake tensor is as fake outside of its mode
        step(o, [p.detach() for p in params(o)])


def test_memory_of_a_model_that_is_not_there():
    with FakeTensorMode():
        model = torch.nn.Linear(10_000, 10_000)
        o = optim.AdamW(model.parameters())
        model(torch.ones(2, 10_000)).sum().backward()
        o.step()
        found = sum(x.nbytes for s in o.state.values() for k, x in s.items() if k != "step")
    assert found == 2 * 4 * 10_000 * 10_001


@pytest.mark.parametrize("name", ["adamw", "lamb", "schedule-free-adamw", "sam", "muon"])
def test_a_mode_sees_every_weight_written(name):
    ws, gs = problem(0)
    alone = weights(ALGORITHMS[name], ws, gs)
    with Written() as written:
        o = after(ALGORITHMS[name], [w.clone() for w in ws], gs)
    assert {p.data_ptr() for p in params(o)} <= written.addresses
    close([p.detach() for p in params(o)], alone)


@pytest.mark.parametrize("inner", ["adamw", "lamb", "prodigy"])
def test_trials_under_vmap(inner):
    (w, *_), (g, *_) = problem(0)
    (v, *_), (h, *_) = problem(1)
    algorithm = ALGORITHMS[inner]

    def f(w, g):
        return weights(algorithm, [w], [g])[0]

    found = torch.func.vmap(f)(torch.stack([w, v]), torch.stack([g, h]))
    close(found, [f(w, g), f(v, h)])


def test_check_finite_says_that_there_is_nothing_to_look_at():
    with FakeTensorMode(), pytest.raises(ValueError, match="check_finite"):
        after(ALGORITHMS["adamw"], [torch.ones(3)], [torch.ones(3)], check_finite=True)


def test_the_step_is_counted_on_the_host_whatever_the_default_device():
    given, (first, second) = tensors(torch.float32), gradients(2, torch.float32)
    alone = step(step(optim.Prodigy(tensors(torch.float32)), first), second)
    with torch.device("meta"):
        o = step(step(optim.Prodigy(given), first), second)
    assert {float(s["step"]) for s in o.state.values()} == {2.0}
    one, two = contents(alone), contents(o)
    for key, x in one.items():
        torch.testing.assert_close(two[key], x, rtol=0, atol=0)
