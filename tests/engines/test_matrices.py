"""Matrix words: functions of whole tensors between elementwise parts, and shaped states."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import clip_global_norm, matrix, maximum, mean, norm, rule, shaped, sqrt
from thalweg.rule.formula import latex, text
from thalweg.validation import NON_NEGATIVE

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}


@matrix
def cube(u):
    x = u.flatten(1)
    return ((x @ x.mT) @ x).view_as(u) / u.numel()


@shaped
def outer(factor, g, beta, step):
    x = g.flatten(1)
    return beta * factor + (1 - beta) * x @ x.mT if step > 1 else x @ x.mT


@matrix
def left(factor, u, *, transposed=False):
    return ((factor.mT if transposed else factor) @ u.flatten(1)).view_as(u)


@shaped
def counted(n, u):
    return n + u.shape[1]


FACTOR = {"f": lambda shape, h: (shape[0], shape[0])}


@rule(state=("m",))
def alone(g, m):
    """A word of an elementwise operand; its result takes part in arithmetic."""
    m = 0.9 * m + g
    return 0.1 * cube(m) + m, {"m": m}


@rule()
def raw(w, g):
    """Nothing is given but gradient and weights as they are."""
    return cube(g) + 0.1 * cube(w), {}


@rule(state=("m", "f"), shaped=FACTOR)
def factored(w, g, m, f, *, beta, step):
    """Words of words, a state of another shape, scalars and options among the operands."""
    f = outer(f, 2 * g, maximum(1 - 1 / sqrt(step), beta) ** 2, step)
    m = 0.9 * m + left(f, cube(g), transposed=True)
    return left(f, m / 10) + 0.1 * w, {"m": m, "f": f}


@rule(state=("v", "f", "n"), shaped={**FACTOR, "n": lambda shape, h: ()}, scalar=("v",))
def reduced(w, g, v, f, n, *, beta, step):
    """Reductions of what a word gave, before and after it, and a state with one value."""
    d = cube(g / (norm(g) + 1))
    v = beta * v + norm(d)
    d = left(f, d) + d / (1 + sqrt(mean(d * d, "all"))) / v
    return d, {"v": v, "f": outer(f, g, beta, step), "n": counted(n, g)}


@rule(state=("a", "b"), shaped={"a": FACTOR["f"], "b": FACTOR["f"]})
def passed_on(g, a, b, *, beta, step):
    """What one shaped state was, another becomes."""
    return left(b, g), {"a": outer(a, g, beta, step), "b": a}


RULES = (alone, raw, factored, reduced, passed_on, clip_global_norm(factored))
every_rule = pytest.mark.parametrize("r", RULES, ids=lambda r: r.name)
every_engine = pytest.mark.parametrize("engine", ["plain", "fused"])
SHAPES = ((12, 5), (3, 40), (2, 3, 2, 2), (1, 1), (4, 4))


def optimizer(r, params, engine="auto", **common):
    class Made(RuleOptimizer):
        rule = r
        lr: float = option(default=0.05, domain=NON_NEGATIVE, doc="")
        beta: float = option(default=0.9, domain=NON_NEGATIVE, doc="")

    if "max_grad_norm" in r.scalars:
        common.setdefault("max_grad_norm", 0.5)
    return Made(params, engine=engine, **common)


def made(seed, dtype, shapes=SHAPES):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for s in shapes]


def start(dtype, shapes=SHAPES):
    return [x.requires_grad_() for x in made(0, dtype, shapes)]


def give(params, step):
    for p, g in zip(params, made(100 + step, params[0].dtype, [p.shape for p in params]),
                    strict=True):  # fmt: skip
        p.grad = g


def train(o, params, steps):
    for i in steps:
        give(params, i)
        o.step()
    return o


def close(a, b, dtype):
    for x, y in zip(a, b, strict=True):
        x, y = x.detach().double(), y.detach().double()
        assert (x - y).abs().max() <= TOLERANCE[dtype] * x.abs().max()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_rule
def test_plain_and_fused_agree(r, dtype):
    a, b = start(dtype), start(dtype)
    one, two = optimizer(r, a, "plain"), optimizer(r, b, "fused")
    train(one, a, range(8))
    train(two, b, range(8))
    assert not torch.equal(a[0].detach(), made(0, dtype)[0])
    close(a, b, dtype)
    for p, q in zip(a, b, strict=True):
        assert one.state[p].keys() == two.state[q].keys()
        for name, x in one.state[p].items():
            assert two.state[q][name].dtype is x.dtype
            close([x], [two.state[q][name]], dtype)


LAYOUTS = {
    "transposed": ((6, 4), lambda x: x.mT.contiguous().mT),
    "channels last": ((2, 3, 4, 5), lambda x: x.to(memory_format=torch.channels_last)),
}


@pytest.mark.parametrize(("shape", "laid"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("gradient_too", [False, True])
@every_engine
@every_rule
def test_layouts(r, engine, shape, laid, gradient_too):
    (flat,) = start(torch.float64, (shape,))
    bent = laid(flat.detach().clone()).requires_grad_()
    one, two = optimizer(r, [flat], engine), optimizer(r, [bent], engine)
    for i in range(4):
        give([flat], i)
        bent.grad = laid(flat.grad.clone()) if gradient_too else flat.grad.clone()
        kept = bent.grad.clone()
        one.step()
        two.step()
        assert torch.equal(kept, bent.grad)
    close([flat], [bent], torch.float64)
    assert bent.stride() == laid(flat).stride()


@every_engine
def test_a_negated_gradient(engine):
    a, b = start(torch.float64), start(torch.float64)
    one, two = optimizer(raw, a, engine), optimizer(raw, b, engine)
    give(a, 0)
    for p, q in zip(a, b, strict=True):
        q.grad = torch._neg_view(-p.grad)
    one.step()
    two.step()
    close(a, b, torch.float64)


@pytest.mark.parametrize("copied", ["loaded", "deepcopy"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_engine
@every_rule
def test_shaped_states_are_saved_and_copied(r, engine, dtype, copied):
    a = start(dtype)
    one = train(optimizer(r, a, engine), a, range(3))
    if copied == "deepcopy":
        two = copy.deepcopy(one)
        b = two.param_groups[0]["params"]
    else:
        b = [p.detach().clone().requires_grad_() for p in a]
        two = optimizer(r, b, engine)
        file = io.BytesIO()
        torch.save(one.state_dict(), file)
        file.seek(0)
        two.load_state_dict(torch.load(file, weights_only=True))
    train(one, a, range(3, 6))
    train(two, b, range(3, 6))
    assert all(map(torch.equal, a, b))
    for p, q in zip(a, b, strict=True):
        assert all(torch.equal(x, two.state[q][k]) for k, x in one.state[p].items())


@every_engine
def test_a_shaped_state_is_kept_wide_and_checked_against_its_own_shape(engine):
    p = start(torch.bfloat16, ((3, 5),))
    o = train(optimizer(factored, p, engine), p, range(2))
    assert o.state[p[0]]["f"].dtype is torch.float32
    assert o.state[p[0]]["f"].shape == (3, 3)
    bad = copy.deepcopy(o.state_dict())
    bad["state"][0]["f"] = torch.ones(3, 5)
    with pytest.raises(ValueError, match=r"checkpoint's f has shape \(3, 5\)"):
        o.load_state_dict(bad)


@every_engine
@pytest.mark.parametrize("r", [alone, raw, factored, passed_on], ids=lambda r: r.name)
def test_a_late_first_gradient_is_a_first_step(r, engine):
    a, b = start(torch.float64), start(torch.float64)[1:2]
    one, two = optimizer(r, a, engine), optimizer(r, b, engine)
    for i in range(8):
        give(a, i)
        if i < 3 or i == 5:
            a[1].grad = None
        else:
            b[0].grad = a[1].grad.clone()
            two.step()
        one.step()
    assert torch.equal(a[1], b[0])


@every_engine
def test_the_gradient_is_clipped_before_a_word_sees_it(engine):
    a, b = start(torch.float64), start(torch.float64)
    clipped = optimizer(clip_global_norm(factored), a, engine, max_grad_norm=0.5)
    plain = optimizer(factored, b, engine)
    for i in range(4):
        give(a, i)
        give(b, i)
        torch.nn.utils.clip_grad_norm_(b, 0.5)
        kept = [p.grad.clone() for p in a]
        clipped.step()
        plain.step()
        assert all(torch.equal(g, p.grad) for g, p in zip(kept, a, strict=True))
    close(a, b, torch.float64)


def test_engines_may_be_mixed():
    a, b = start(torch.float64), start(torch.float64)
    groups = [{"params": b[:2], "engine": "plain"}, {"params": b[2:]}]
    one, two = optimizer(reduced, a, "plain"), optimizer(reduced, groups, "fused")
    train(one, a, range(4))
    train(two, b, range(4))
    close(a, b, torch.float64)


def test_temporaries_are_gone_after_the_step():
    p = start(torch.float32)
    o = train(optimizer(factored, p, "fused"), p, range(2))
    (batch,) = o.batches
    assert not batch.matrices.found
    assert set(o.state[p[0]]) == {"step", "m", "f"}


@matrix
def too_small(u):
    return u[:1]


@matrix
def nothing(u):
    return None


@matrix
def halved(f, u):
    return u / 2


@shaped
def spread(f, g):
    return g[:1, :1]


@every_engine
@pytest.mark.parametrize(
    ("word", "says"),
    [
        (too_small, r"matrix word too_small gave \(1, 5\) for a parameter of shape \(12, 5\)"),
        (nothing, "matrix word nothing gave NoneType for a parameter of shape"),
    ],
    ids=["too_small", "nothing"],
)
def test_a_result_of_another_shape_is_an_error(engine, word, says):
    @rule(state=("m",))
    def wrong(g, m):
        return word(2 * g), {"m": m}

    p = start(torch.float64)
    give(p, 0)
    with pytest.raises(ValueError, match=says):
        optimizer(wrong, p, engine).step()


@every_engine
def test_a_shaped_state_of_another_shape_is_an_error(engine):
    @rule(state=("f",), shaped=FACTOR)
    def wrong(g, f):
        return g, {"f": spread(f, g)}

    p = start(torch.float64)
    give(p, 0)
    with pytest.raises(ValueError, match=r"state 'f' has shape \(12, 12\); its word gave \(1, 1\)"):
        optimizer(wrong, p, engine).step()


def test_arithmetic_with_a_shaped_state_is_refused():
    @rule(state=("f",), shaped=FACTOR)
    def wrong(g, f):
        return g + f, {"f": f}

    with pytest.raises(TypeError, match="add: arithmetic with a shaped state"):
        wrong.trace({"lr": 0.1})


def test_a_shaped_state_must_come_from_a_word():
    @rule(state=("f",), shaped=FACTOR)
    def wrong(g, f):
        del f
        return g, {"f": 2 * g}

    with pytest.raises(ValueError, match="'f' has a shape of its own: a word must give it"):
        wrong.trace({"lr": 0.1})


def test_a_shaped_state_is_no_state_of_weights():
    @rule(state=("m", "f"), shaped=FACTOR)
    def wrong(g, m, f):
        del m
        return g, {"m": f, "f": f}

    with pytest.raises(ValueError, match="'m' has one value per weight, not a shape of its own"):
        wrong.trace({"lr": 0.1})


def test_a_word_takes_no_reductions_nor_numbers_alone():
    @rule()
    def wrong(g):
        return left(norm(g), g), {}

    with pytest.raises(TypeError, match=r"left takes .*, not the reduction sqrt"):
        wrong.trace({"lr": 0.1})
    with pytest.raises(TypeError, match="cube takes at least one tensor"):
        cube(1.0)


def test_shaped_must_be_a_state():
    with pytest.raises(ValueError, match="shaped="):

        @rule(state=("m",), shaped=FACTOR)
        def wrong(g, m):
            return g, {"m": m}


def test_formulas_name_the_words():
    h = {"lr": 0.1, "beta": 0.9}
    assert "f ← outer(f, 2·g, max(1 − 1 / √t, β)², t)" in str(text(factored, h))
    assert r"\operatorname{left}\left(f," in str(latex(factored, h))
