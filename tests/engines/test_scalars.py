"""State that has one value per parameter, and the words that only scalars and roots need."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import cbrt, exp, log, maximum, norm, rule
from thalweg.validation import NON_NEGATIVE


@rule(state=("m", "product"), scalar=("product",), start={"product": 1.0})
def own(g, m, product, *, step):
    """A product of its own for each parameter, as NAdam has."""
    new = product * (0.9 - 0.45 * 0.96 ** (step * 0.004))
    m = 0.9 * m + 0.1 * g
    return cbrt(m) * exp(-log(step)) / (1 - new), {"m": m, "product": new}


@rule(state=("m", "d"), scalar=("d",), start={"d": "first"})
def common(g, m, d, *, first):
    """A distance that all parameters agree on, as Prodigy has; it is known after the pass."""
    m = 0.9 * m + 0.1 * d * g
    return d * m, {"m": m, "d": maximum(d, norm(m, "all") / 50)}


def optimizer(r, params, engine):
    class Made(RuleOptimizer):
        rule = r
        lr: float = option(default=0.1, domain=NON_NEGATIVE, doc="")
        first: float = option(default=1e-3, domain=NON_NEGATIVE, doc="")

    return Made(params, engine=engine)


def give_gradients(params, step):
    for k, p in enumerate(params):
        seed = torch.Generator().manual_seed(100 + 7 * step + k)
        late = k == 1 and step < 2
        p.grad = None if late else torch.randn(p.shape, generator=seed, dtype=p.dtype)


def start(dtype):
    seed = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=seed, dtype=dtype).requires_grad_() for n in (900, 3, 20_000)]


@pytest.mark.parametrize("r", [own, common], ids=lambda r: r.name)
def test_both_engines_keep_the_same_scalars(r):
    a, b = start(torch.float64), start(torch.float64)
    plain, fused = optimizer(r, a, "plain"), optimizer(r, b, "fused")
    for i in range(30):
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        fused.step()
    key = next(iter(r.scalar))
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)
        here, there = plain.state[x][key], fused.state[y][key]
        assert here.shape == ()
        assert here.dtype is torch.float64
        torch.testing.assert_close(here, there, rtol=1e-12, atol=0)
    assert float(plain.state[a[0]][key]) != r.start.get(key)


@pytest.mark.parametrize("r", [own, common], ids=lambda r: r.name)
@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_they_are_saved_and_copied(r, engine):
    a, b = start(torch.float32), start(torch.float32)
    one, two = optimizer(r, a, engine), optimizer(r, b, engine)
    for i in range(8):
        if i == 3:
            two.load_state_dict(copy.deepcopy(one.state_dict()))
        for ps, o in ((a, one), (b, two)):
            if ps is b and i < 3:
                for p, q in zip(b, a, strict=True):
                    p.data.copy_(q)
                continue
            give_gradients(ps, i)
            o.step()
        if i == 2:
            for p, q in zip(b, a, strict=True):
                p.data.copy_(q)
    assert all(map(torch.equal, a, b))


def test_they_agree_over_groups_on_different_engines():
    params = start(torch.float64)
    o = optimizer(
        common, [{"params": params[:2], "engine": "plain"}, {"params": params[2:]}], "fused"
    )
    for i in range(5):
        give_gradients(params, i)
        o.step()
    assert len({float(o.state[p]["d"]) for p in (params[0], params[2])}) == 1


def test_a_weight_is_no_scalar():
    @rule(state=("s",), scalar=("s",))
    def wrong(g, s):
        return g, {"s": s + g}

    with pytest.raises(ValueError, match="'s' has one value per parameter"):
        wrong.trace({"lr": 0.1})


def test_what_is_no_state_cannot_be_scalar():
    with pytest.raises(ValueError, match="scalar="):

        @rule(state=("s",), scalar=("t",))
        def wrong(g, s):
            return g, {"s": s}


@rule(state=("c",))
def root(g, c):
    del c
    return g, {"c": cbrt(g)}


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float32", -44, 38.5), ("float64", -320, 308.2)]
)
@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_cube_roots_are_right_to_rounding(dtype, low, high, engine):
    random = np.random.default_rng(0)
    x = 10.0 ** random.uniform(low, high, 50_000) * random.choice([-1, 1], 50_000)
    x = np.concatenate([x, [0.0, -0.0, np.inf, -np.inf, np.nan]])
    p = torch.zeros(len(x), dtype=getattr(torch, dtype), requires_grad=True)
    p.grad = torch.tensor(x).to(p.dtype)
    o = optimizer(root, [p], engine)
    o.step()
    found, wanted = o.state[p]["c"].double().numpy(), np.cbrt(p.grad.double().numpy())
    np.testing.assert_allclose(found, wanted, rtol=2.1 * torch.finfo(p.dtype).eps, atol=0)
    assert (np.signbit(found) == np.signbit(wanted))[:-1].all()  # a NaN's sign says nothing
