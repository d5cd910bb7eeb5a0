"""Extreme eigenvalues by Lanczos against dense eigendecompositions, and what is left untouched."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.func import functional_call

from thalweg.analysis import extreme_eigenvalues, hessian_vector_product

EIGENVALUES: dict[str, Callable[[int, torch.Generator], torch.Tensor]] = {
    "normal": lambda n, g: torch.randn(n, generator=g, dtype=torch.float64),
    "positive": lambda n, g: torch.rand(n, generator=g, dtype=torch.float64) + 0.1,
    "negative": lambda n, g: -torch.rand(n, generator=g, dtype=torch.float64) - 0.1,
    "wide": lambda n, g: 10 ** (8 * torch.rand(n, generator=g, dtype=torch.float64) - 4),
    "low rank": lambda n, g: torch.cat([torch.tensor([-1.0, 2, 5]).double(), torch.zeros(n - 3)]),
    "clusters": lambda n, g: (
        torch.randint(-2, 4, (n,), generator=g)
        + 1e-5 * torch.randn(n, generator=g, dtype=torch.float64)
    ),
    "equal": lambda n, g: torch.randint(-2, 4, (n,), generator=g).double(),
    "all equal": lambda n, g: torch.full((n,), 7.0, dtype=torch.float64),
    "equal ends": lambda n, g: torch.cat(
        [torch.tensor([-3.0, -3, -3, 9, 9, 9]).double(), torch.linspace(-1, 1, n - 6)]
    ),
    "all zero": lambda n, g: torch.zeros(n, dtype=torch.float64),
    "tiny": lambda n, g: 1e-30 * torch.randn(n, generator=g, dtype=torch.float64),
    "huge": lambda n, g: 1e30 * torch.randn(n, generator=g, dtype=torch.float64),
}
SIZES = [(name, n) for i, name in enumerate(EIGENVALUES) for n in (7 + i, 40 + i, 150 + i)]


def quadratic(eigenvalues, g):
    """A loss with this Hessian's spectrum, and its weights as three tensors of different shapes."""
    n = len(eigenvalues)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    a = q * eigenvalues @ q.T
    a = (a + a.T) / 2
    sizes = [1, 4, n - 5]
    weights = [
        torch.randn(s, generator=g, dtype=torch.float64).reshape(shape).requires_grad_()
        for s, shape in zip(sizes, [(), (2, 2), (1, n - 5)], strict=True)
    ]

    def loss():
        w = torch.cat([p.reshape(-1) for p in weights])
        return w @ a @ w / 2 + w.sum()

    return loss, weights, a


def network(seed, dtype):
    """A loss of a small network, its weights, and its dense Hessian in float64."""
    g = torch.Generator().manual_seed(seed)
    activation = [nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid][seed % 4]
    model = nn.Sequential(nn.Linear(6, 9), activation(), nn.Linear(9, 4)).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (0.3 + seed % 3))
    x = torch.randn(50, 6, generator=g).to(dtype)
    y = torch.randint(0, 4, (50,), generator=g)
    score = nn.functional.cross_entropy
    if seed % 3 == 0:
        y, score = nn.functional.one_hot(y).to(dtype), nn.functional.mse_loss

    exact = copy.deepcopy(model).double()
    names, shapes = zip(*[(k, p.shape) for k, p in exact.named_parameters()], strict=True)
    target = y.double() if y.is_floating_point() else y

    def flat(w):
        parts = w.split([s.numel() for s in shapes])
        named = {k: v.view(s) for k, v, s in zip(names, parts, shapes, strict=True)}
        return score(functional_call(exact, named, (x.double(),)), target)

    w = torch.cat([p.detach().reshape(-1) for p in exact.parameters()])
    return (
        lambda: score(model(x), y),
        list(model.parameters()),
        torch.autograd.functional.hessian(flat, w),
    )


def holds(found, dense, k, tolerance):
    """Every value has an eigenvalue within its bound. The eigenvalue of the same rank is within the
    tolerance, and none is farther out than is said."""
    true = torch.linalg.eigvalsh(dense)
    size = true.abs().max()
    rounding = 1e-14 * len(true) * size  # of the dense decomposition
    assert found.converged
    assert found.bounds.max() <= tolerance * size + rounding
    assert ((found.values[:, None] - true).abs().amin(1) <= found.bounds + rounding).all()
    off = (found.values - torch.cat([true[:k], true[-k:]])).abs()
    assert off.max() <= tolerance * size + rounding
    assert max(off[0], off[-1]) <= found.beyond + rounding
    assert found.smallest == found.values[:k].tolist()
    assert found.largest == found.values[-k:].tolist()[::-1]
    return bool((off <= found.bounds + rounding).all())


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("name", "n"), SIZES)
def test_bounds_hold_on_quadratics(name, n, k):
    g = torch.Generator().manual_seed(n)
    loss, weights, a = quadratic(EIGENVALUES[name](n, g), g)
    for tolerance in (1e-3, 1e-10):
        found = extreme_eigenvalues(loss, weights, k, k, tolerance, steps=2 * n)
        assert found.steps <= n
        ranked = holds(found, a, k, tolerance)
    # Where clusters are resolved, the eigenvalues of the same rank are within the bounds too.
    assert ranked


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(10))
def test_bounds_hold_on_networks(seed, dtype):
    loss, weights, dense = network(seed, dtype)
    for tolerance in (1e-2, 1e-4):
        found = extreme_eigenvalues(loss, weights, 2, 2, tolerance)
        assert found.values.dtype == torch.float64
        holds(found, dense, 2, tolerance)


@pytest.mark.parametrize("steps", [2, 5, 12, 15])
def test_bounds_hold_when_steps_are_too_few(steps):
    missed = 0
    for seed in range(10):
        g = torch.Generator().manual_seed(seed)
        loss, weights, a = quadratic(EIGENVALUES["normal"](80, g), g)
        found = extreme_eigenvalues(loss, weights, tolerance=1e-6, steps=steps, seed=seed)
        true = torch.linalg.eigvalsh(a)
        assert ((found.values[:, None] - true).abs().amin(1) <= found.bounds).all()
        assert max(found.values[0] - true[0], true[-1] - found.values[1]) <= found.beyond
        assert (found.beyond < math.inf) == (steps > 7)
        assert found.steps == steps
        missed += not found.converged
        # From inside.
        assert true[0] <= found.values[0] + 1e-12
        assert found.values[1] <= true[-1] + 1e-12
    assert missed == 10


def test_residuals_are_those_of_the_vectors():
    g = torch.Generator().manual_seed(3)
    loss, weights, a = quadratic(EIGENVALUES["equal ends"](60, g), g)
    found = extreme_eigenvalues(loss, weights, 3, 2, 1e-10, vectors=True)
    flat = [torch.cat([t.reshape(-1) for t in v]) for v in found.vectors]
    for v, value, bound, shaped in zip(
        flat, found.values, found.bounds, found.vectors, strict=True
    ):
        assert [t.shape for t in shaped] == [p.shape for p in weights]
        assert float(v.norm()) == pytest.approx(1, abs=1e-12)
        assert (a @ v - value * v).norm() <= bound <= 2e-10 * 9
    # Three equal eigenvalues have three different vectors.
    gram = torch.stack(flat) @ torch.stack(flat).T
    assert torch.allclose(gram, torch.eye(5, dtype=gram.dtype), atol=1e-8)
    assert found.largest == pytest.approx([9, 9, 9], abs=1e-9)
    assert found.smallest == pytest.approx([-3, -3], abs=1e-9)
    assert extreme_eigenvalues(loss, weights).vectors is None


@pytest.mark.parametrize(("largest", "smallest"), [(1, 0), (0, 1), (4, 0), (0, 7), (3, 4)])
def test_either_end_alone(largest, smallest):
    g = torch.Generator().manual_seed(5)
    loss, weights, a = quadratic(EIGENVALUES["normal"](7, g), g)
    found = extreme_eigenvalues(loss, weights, largest, smallest)
    true = torch.linalg.eigvalsh(a).tolist()
    assert found.smallest == pytest.approx(true[:smallest], abs=float(found.bounds.max()))
    assert found.largest == pytest.approx(
        true[::-1][:largest], abs=float(found.bounds.max())
    )  # fmt: skip
    assert len(found.values) == len(found.bounds) == largest + smallest


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(4))
def test_a_product_with_the_hessian(seed, dtype):
    loss, weights, dense = network(seed, dtype)
    g = torch.Generator().manual_seed(seed)
    v = [torch.randn(p.shape, generator=g).to(dtype) for p in weights]
    found = hessian_vector_product(loss, weights, v)
    assert [t.shape for t in found] == [p.shape for p in weights]
    assert {t.dtype for t in found} == {dtype}
    got, wanted = (torch.cat([t.double().reshape(-1) for t in ts]) for ts in (found, v))
    wanted = dense @ wanted
    assert (got - wanted).norm() <= 30 * torch.finfo(dtype).eps * wanted.norm()


def test_nothing_given_is_changed_and_the_seed_decides():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))
    x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
    model(x).sum().backward()
    weights = [p.detach().clone() for p in model.parameters()]
    gradients = [p.grad.clone() for p in model.parameters()]
    versions = [p._version for p in model.parameters()]
    state, calls = torch.get_rng_state(), []

    def loss():
        calls.append(1)
        return nn.functional.cross_entropy(model(x), y)

    with torch.no_grad():
        one, again, other = (
            extreme_eigenvalues(loss, model.parameters(), seed=s) for s in (0, 0, 1)
        )
        hessian_vector_product(loss, model.parameters(), weights)
    assert len(calls) == 4  # dropout's mask is drawn once for each
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.values, again.values)
    assert torch.equal(one.bounds, again.bounds)
    # Another start, the same Hessian (the mask comes from the global state, which is the same).
    assert not torch.equal(one.values, other.values)
    assert ((one.values - other.values).abs() <= one.bounds + other.bounds).all()
    for i, p in enumerate(model.parameters()):
        assert torch.equal(p, weights[i])
        assert torch.equal(p.grad, gradients[i])
        assert p._version == versions[i]
        assert p.requires_grad


def test_parameters_that_the_loss_does_not_bend_in():
    a, b, c = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(3))

    def loss():  # quadratic in a, linear in b, without c
        return (a**2).sum() + b.sum()

    found = extreme_eigenvalues(loss, [a, b, c], 3, 3)
    assert found.values.tolist() == pytest.approx([0, 0, 0, 0, 2, 2], abs=1e-12)
    assert [t.tolist() for t in hessian_vector_product(loss, [a, b, c], [a, b, c])] == [
        [2, 2],
        [0, 0],
        [0, 0],
    ]
    assert extreme_eigenvalues(lambda: b.sum() + c.sum(), [b, c], 2, 2).values.tolist() == [0] * 4


def test_print():
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    found = extreme_eigenvalues(lambda: w[0] ** 2 - 3 * w[1] ** 2, [w])
    assert repr(found) == "<Spectrum -6 ± 9e-14, 2 ± 9e-14 after 2 steps>"


def test_many_weights():
    """200,000 weights: the dense Hessian would have 320 GB."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 250), nn.Tanh(), nn.Linear(250, 10))
    x, y = torch.rand(64, 784), torch.randint(0, 10, (64,))
    weights = list(model.parameters())

    def loss():
        return nn.functional.cross_entropy(model(x), y)

    found = extreme_eigenvalues(loss, weights, vectors=True)
    assert found.converged
    for v, value, bound in zip(found.vectors, found.values, found.bounds, strict=True):
        hv = hessian_vector_product(loss, weights, v)
        residual = sum(float((a - value * b).square().sum()) for a, b in zip(hv, v, strict=True))
        assert math.sqrt(residual) <= bound


W = torch.ones(3, requires_grad=True)


@pytest.mark.parametrize(
    ("loss", "parameters", "options", "error", "says"),
    [
        (W.sum, W, {}, TypeError, "parameters must be an iterable"),
        (W.sum, [], {}, ValueError, "parameters must hold at least one"),
        (W.sum, [1.0], {}, TypeError, r"parameters\[0\] must be a tensor"),
        (W.sum, [W.bfloat16()], {}, TypeError, r"parameters\[0\] must be float32 or float64"),
        (W.sum, [W, torch.ones(2)], {}, ValueError, r"parameters\[1\] must require a gradient"),
        (W.sum, [W, W], {}, ValueError, "parameters must hold no tensor twice"),
        (lambda: 1.0, [W], {}, TypeError, "loss must give a tensor"),
        (lambda: W, [W], {}, TypeError, "loss must give a tensor"),
        (lambda: torch.ones(()), [W], {}, ValueError, "loss must depend on"),
        (lambda: W.sum() / 0, [W], {}, ValueError, "loss must be finite"),
        (lambda: ((W - 1) ** 2).sum().sqrt(), [W], {}, ValueError, "finite second derivatives"),
        (W.sum, [W], {"largest": -1}, ValueError, "largest must be at least 0, not -1"),
        (W.sum, [W], {"smallest": 1.5}, TypeError, "smallest must be a whole number, not 1.5"),
        (W.sum, [W], {"largest": 0, "smallest": 0}, ValueError, "from 1 to steps"),
        (W.sum, [W], {"steps": 1}, ValueError, "from 1 to steps, 1, not 2"),
        (W.sum, [W], {"largest": 3}, ValueError, "at most 3 weights, not 4"),
        (W.sum, [W], {"tolerance": 0}, ValueError, "tolerance must be"),
    ],
)
def test_refusals(loss, parameters, options, error, says):
    with pytest.raises(error, match=says):
        extreme_eigenvalues(loss, parameters, **options)


def test_vectors_must_fit():
    with pytest.raises(ValueError, match="vector must have the parameters' shapes"):
        hessian_vector_product(W.sum, [W], [torch.ones(2)])


def coarse(w, dtype):
    return (w.to(dtype) ** 2).sum().float()


def autocast(w, dtype):
    with torch.autocast("cpu", dtype=dtype):
        return (torch.eye(3) @ w).float().square().sum()


@pytest.mark.parametrize("loss", [coarse, autocast])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_bounds_know_what_is_computed_in_16_bits(loss, dtype):
    w = torch.tensor([1.0, 0.3, -0.7], requires_grad=True)
    found = extreme_eigenvalues(lambda: loss(w, dtype), [w])
    assert ((found.values - 2).abs() <= found.bounds).all()
    assert (found.bounds > torch.finfo(dtype).eps).all()


@pytest.mark.parametrize("loss", [lambda w: (w > 0).sum(), lambda w: (w * 1j).sum()])
def test_losses_that_are_no_floating_numbers(loss):
    w = torch.ones(3, requires_grad=True)
    with pytest.raises(TypeError, match="loss must be a real number of a floating dtype"):
        extreme_eigenvalues(lambda: loss(w), [w])


@pytest.mark.parametrize("scale", [1e-290, 1e-200, 1e200, 1e290])
def test_bounds_hold_at_any_scale(scale):
    p = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    true = torch.linspace(-1, 2, 10, dtype=torch.float64)
    found = extreme_eigenvalues(lambda: scale * (true * p * p).sum() / 2, [p])
    assert found.converged
    for value, bound, exact in zip(found.values, found.bounds, (-1.0, 2.0), strict=True):
        assert abs(value - exact * scale) <= bound <= 1e-2 * scale


@pytest.mark.parametrize("seed", range(8))
def test_a_start_in_few_dimensions_is_found_in_16_bits(seed):
    p = torch.randn(2, dtype=torch.float64, requires_grad=True)
    found = extreme_eigenvalues(lambda: (p.bfloat16() ** 2).sum(), [p], seed=seed)
    for value, bound in zip(found.values, found.bounds, strict=True):
        assert abs(value - 2) <= bound
