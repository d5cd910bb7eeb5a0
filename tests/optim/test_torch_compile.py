"""torch.compile around optimizers: it must neither trace into them nor change a bit."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from optim.training import contents, gradients, params, step, tensors
from thalweg import optim
from thalweg.optim.registry import ALGORITHMS

# torch.compile itself uses what torch has deprecated, and looks at the gradient of every tensor.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]
SHAPES = ((8, 16), (8,), (3, 2, 4), ())


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def counting():
    """A backend that runs graphs as they are, and the number of nodes of each."""
    found = []

    def backend(graph, example):
        found.append(len(graph.graph.nodes))
        return graph.forward

    return backend, found


def trained(algorithm, wrap, **options):
    """Six steps: some gradients are missing in two of them, a group is added before the last."""
    *first, late = tensors(torch.float32, SHAPES)
    o = algorithm.build(first, algorithm.lr, **options)
    steps = gradients(12, torch.float32, SHAPES, decades=(-2, 0))
    turn = iter(range(12))

    def backward():
        i = next(turn)
        for k, (p, g) in enumerate(zip(params(o), steps[i], strict=False)):
            p.grad = None if i in (2, 4) and k == i // 2 else g
        return 1.0

    twice = len(o.phases()) > 1
    one = wrap((lambda: o.step(backward)) if twice else (lambda: o.step()))
    for i in range(6):
        if i == 5:
            o.add_param_group({"params": [late]})
        if not twice:
            backward()
        one()
    return contents(o)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_compiled_step_is_the_step_bit_for_bit(name):
    backend, graphs = counting()
    for options in ({"max_grad_norm": 1.0}, {"max_grad_norm": 1.0, "engine": "plain"}):
        alone = trained(ALGORITHMS[name], lambda f: f, **options)
        found = trained(ALGORITHMS[name], lambda f: torch.compile(f, backend=backend), **options)
        for key, x in found.items():
            torch.testing.assert_close(x, alone[key], rtol=0, atol=0, equal_nan=True)
    assert graphs == []  # one would be a part of the step that has been traced


def test_a_compiled_training_step_has_no_more_graphs_than_with_torch_and_is_not_compiled_again():
    def graphs(cls):
        torch.compiler.reset()
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
        o = cls(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.LinearLR(o, total_iters=20)
        backend, found = counting()

        @torch.compile(backend=backend)
        def train(x, y):
            o.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            o.step()
            return loss.detach()

        for _ in range(5):
            loss = train(torch.ones(4, 8), torch.ones(4, 1))
            scheduler.step()
        return len(found), float(loss)

    theirs, ours = graphs(torch.optim.AdamW), graphs(optim.AdamW)
    assert ours[0] <= theirs[0]
    assert ours[1] == pytest.approx(theirs[1], rel=1e-5)


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(8, 1)


@pytest.mark.parametrize("cls", [optim.AdamW, optim.SAM])
def test_a_model_that_is_compiled_stays_so_inside_a_closure(cls):
    model, (backend, graphs), (outer, none) = linear(), counting(), counting()
    compiled, o = torch.compile(model, backend=backend), cls(model.parameters(), lr=0.1)

    def closure():
        o.zero_grad()
        loss = compiled(torch.ones(4, 8)).square().mean()
        loss.backward()
        return loss

    o.step(closure)
    assert len(graphs) == 1
    around = torch.compile(lambda: o.step(closure), backend=outer)
    around()
    around()
    assert len(graphs) == 1
    assert none == []


def moves_of_schedule_free(o, grads):
    step(o, grads)
    o.eval()
    o.train()
    with o.averaged():
        pass
    o.load_state_dict(o.state_dict())
    assert o.memory().parameters.keys() == o.state.keys()


def moves_of_lookahead(o, grads):
    with o.ahead():
        o.zero_grad()
        for p, g in zip(params(o), grads, strict=True):
            p.grad = g
    o.step()


@torch.compiler.disable  # its tracer takes groups for plain dictionaries: docs/torch-differences.md
def give(o, grads):
    for p, g in zip(params(o), grads, strict=True):
        p.grad = g


def moves_of_sam(o, grads):
    give(o, grads)
    o.first_step()
    o.second_step(zero_grad=True)


@pytest.mark.parametrize(
    ("moves", "make"),
    [
        (moves_of_schedule_free, lambda p: optim.ScheduleFreeAdamW(p, lr=0.1)),
        (moves_of_lookahead, lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov="lookahead")),
        (moves_of_sam, lambda p: optim.SAM(p, lr=0.1)),
    ],
)
def test_what_else_an_optimizer_does_is_opaque_too(moves, make):
    backend, graphs = counting()
    alone, compiled = make(tensors(torch.float32)), make(tensors(torch.float32))
    moves_compiled = torch.compile(moves, backend=backend)
    for grads in gradients(4, torch.float32):
        moves(alone, grads)
        moves_compiled(compiled, grads)
    for key, x in contents(compiled).items():
        torch.testing.assert_close(x, contents(alone)[key], rtol=0, atol=0)
    assert graphs == []


def test_an_optimizer_may_be_made_inside_what_is_compiled():
    p, q = tensors(torch.float32)[1:3]

    @torch.compile(backend="eager")
    def make():
        o = optim.Muon([p], lr=0.1)
        o.add_param_group({"params": [q]})
        return o

    o = make()
    o = step(o, gradients(1, torch.float32)[0][1:3])
    assert [len(g["params"]) for g in o.param_groups] == [1, 1]
    assert "momentum_buffer" in o.state[q]


def test_a_subclass_with_a_step_of_its_own_is_opaque_too():
    class Twice(optim.AdamW):
        def step(self, closure=None):
            super().step(closure)
            super().step()

    backend, graphs = counting()
    (p,) = tensors(torch.float32, ((3,),))
    o = Twice([p])
    p.grad = torch.ones(3)
    twice = torch.compile(lambda: o.step(), backend=backend)
    twice()
    twice()
    assert float(o.state[p]["step"]) == 4
    assert graphs == []


def test_fullgraph_says_why_not():
    o = optim.AdamW(tensors(torch.float32))
    with pytest.raises(Exception, match="kernels cannot be traced"):
        torch.compile(lambda: o.step(), fullgraph=True)()


def test_the_marks_touch_nobody_elses_code():
    """The code of contextlib's and torch's decorators is shared by all that they decorate."""

    @contextmanager
    def doubled():
        yield 2

    @torch.no_grad()
    def f(x):
        with doubled() as two:
            return x * two

    backend, graphs = counting()
    assert torch.equal(torch.compile(f, backend=backend)(torch.ones(2)), torch.full((2,), 2.0))
    assert len(graphs) == 1
