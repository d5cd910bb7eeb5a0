"""The fused engine: passes, threads, layouts, memory that moves, machines that cannot compile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from thalweg import optim
from thalweg.engines import sweep, threads
from thalweg.engines.kernel import machine
from thalweg.optim.declared import option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import mean, norm, rule, sqrt, total, where
from thalweg.rule.graph import storing_last
from thalweg.rule.rule import Rule
from thalweg.validation import NON_NEGATIVE

SIZES = ((), (5,), (0, 3), (3, 7), (2 * sweep.CHUNK + 3,))


def tensors(dtype=torch.float64, seed=0, sizes=SIZES):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g, dtype=dtype).requires_grad_() for s in sizes]


def give_gradients(params, seed):
    g = torch.Generator().manual_seed(1000 + seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=g, dtype=p.dtype)


def optimizer(r: Rule, params, **common):
    class Made(RuleOptimizer):
        rule = r
        lr: float = option(default=0.01, domain=NON_NEGATIVE, doc="")
        betas: tuple[float] = option(default=(0.9,), domain=(NON_NEGATIVE,), doc="")

    return Made(params, **common)


@rule(state=("m", "v"))
def lamb(w, g, m, v, *, beta1, step):
    m = beta1 * m + (1 - beta1) * g
    v = beta1 * v + (1 - beta1) * g * g
    u = m / (1 - beta1**step) / (sqrt(v) + 1e-6)
    trust = where((norm(w) > 0) & (norm(u) > 0), norm(w) / norm(u), 1)
    return u * trust, {"m": m, "v": v}


@rule(state=("m",))
def levels(w, g, m, *, beta1):
    """Totals of two levels, named out of order, over one parameter and over all."""
    a = norm(g, "all")
    b = total(g / a, "all")
    c = mean(w, "all") + mean(w)
    m = beta1 * m + g / a + b * c
    return m + norm(m, "all"), {"m": m}


@pytest.mark.parametrize("r", [lamb, levels], ids=lambda r: r.name)
@pytest.mark.parametrize("split", ["fused", "half plain"])
def test_reductions_agree_with_the_plain_engine(r, split):
    a, b = tensors(), tensors()
    plain = optimizer(r, a, engine="plain")
    groups = [{"params": b[:2], "engine": "plain"}, {"params": b[2:], "engine": "fused"}]
    other = optimizer(r, groups if split == "half plain" else b)
    for i in range(20):
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        other.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


def test_storing_state_early_changes_nothing_but_bytes():
    (first, second) = lamb.trace({"lr": 0.1, "beta1": 0.9}).passes
    assert set(first.stores) == {"m", "v"}
    assert set(second.stores) == {"w"}


def test_state_that_is_rounded_when_stored_is_stored_last():
    """Otherwise the second pass would compute with less than the first has computed."""
    graph = lamb.trace({"lr": 0.1, "beta1": 0.9})
    first, second = storing_last(graph, frozenset({"v"})).passes
    assert set(first.stores) == {"m"} or not first.stores
    assert {"v", "w"} <= set(second.stores)
    assert storing_last(graph, frozenset()) is graph
    a, b = tensors(torch.float32), tensors(torch.float32)
    plain, short = (
        optimizer(lamb, ps, engine=e, state_dtype=torch.float16)
        for ps, e in ((a, "plain"), (b, "fused"))
    )
    for ps, o in ((a, plain), (b, short)):
        give_gradients(ps, 0)
        for p in ps:
            p.grad *= 1e-3  # whose squares float16 cannot hold
        o.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


def test_same_bits_on_any_number_of_threads():
    before = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3, 7):
            torch.set_num_threads(n)
            params = tensors(torch.float32, sizes=((300_000,), (7,), (40_001,)))
            o = optimizer(levels, params)
            for i in range(5):
                give_gradients(params, i)
                o.step()
            results.append(params)
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_threads_of_python_serve_where_openmp_does_not(monkeypatch):
    one, two = (tensors(torch.float32, sizes=((300_000,),)) for _ in range(2))
    for params in (one, two):
        o = optimizer(lamb, params)
        for i in range(3):
            give_gradients(params, i)
            o.step()
        monkeypatch.setattr(threads, "_forked", True)
    assert threads.team() == 0
    assert torch.equal(one[0], two[0])


def test_several_optimizers_may_step_at_once():
    failures = []

    def work(seed):
        params = tensors(torch.float32, seed, ((200_000,),))
        alone = [p.detach().clone().requires_grad_() for p in params]
        for ps in (params, alone):
            o = optim.AdamW(ps, engine="fused" if ps is params else "plain")
            for i in range(20):
                give_gradients(ps, i)
                o.step()
        if not torch.allclose(params[0], alone[0], rtol=1e-4, atol=1e-6):
            failures.append(seed)

    running = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in running:
        t.start()
    for t in running:
        t.join(60)
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_steps_after_its_parent():
    params = tensors(torch.float32, sizes=((300_000,),))
    o = optim.AdamW(params, engine="fused")
    give_gradients(params, 0)
    o.step()
    child = os.fork()
    if child == 0:
        give_gradients(params, 1)
        o.step()
        os._exit(0 if float(o.state[params[0]]["step"]) == 2 else 1)
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_gradients_that_come_and_go_keep_their_own_steps():
    a, b = tensors(), tensors()
    ours, theirs = optim.Adam(a, engine="fused"), torch.optim.Adam(b, foreach=False)
    for i in range(12):
        for ps in (a, b):
            give_gradients(ps, i)
            for k, p in enumerate(ps):
                if (i + k) % 3 == 0 and i > 0:
                    p.grad = None
        ours.step()
        theirs.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_memory_that_moved_is_found():
    a, b = tensors(), tensors()
    ours, theirs = optim.Adam(a, engine="fused"), torch.optim.Adam(b, foreach=False)
    for i in range(6):
        for ps, o in ((a, ours), (b, theirs)):
            if i == 2:
                ps[3].data = ps[3].data.clone()
            if i == 3:
                o.state[ps[1]]["exp_avg"] = torch.ones_like(ps[1])
            if i == 4:
                o.state[ps[3]]["step"] = torch.tensor(1.0)
            give_gradients(ps, i)
            o.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_a_parameter_that_shrank_in_place_is_not_overrun():
    p = torch.ones(100_000, requires_grad=True)
    o = optim.SGD([p], lr=1.0, engine="fused")
    p.grad = torch.ones(100_000)
    o.step()
    whole = p.data
    p.grad = None
    p.data = whole[:10]
    p.grad = torch.ones(10)
    o.step()
    assert whole[:10].eq(-1).all()
    assert whole[10:].eq(0).all()


@pytest.mark.parametrize(
    ("param", "reason"),
    [
        (torch.randn(4, 6)[:, ::2], "gaps"),
        (torch.randn(3, 1).expand(3, 4), "gaps"),
        (torch.randn(3, device="meta"), "meta"),
    ],
)
def test_what_cannot_be_fused_is_refused_by_name(param, reason):
    with pytest.raises(ValueError, match=reason) as e:
        optim.SGD([("layer.weight", param.requires_grad_())], engine="fused")
    assert "layer.weight" in str(e.value)


WITHOUT = """
import sys, warnings
sys.modules["llvmlite"] = None
import torch
from thalweg import optim
p = torch.ones(3, requires_grad=True); p.grad = torch.ones(3)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        optim.SGD([p], lr=0.5).step()
assert len(seen) == 1 and "llvmlite" in str(seen[0].message), seen
assert p.tolist() == [-0.5] * 3
try:
    optim.SGD([p], engine="fused")
except ValueError as e:
    assert "llvmlite" in str(e)
else:
    raise AssertionError("not refused")
"""


def test_without_llvmlite_the_plain_engine_serves_and_says_so_once():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, timeout=120)


def test_importing_the_optimizers_loads_nothing_heavy():
    code = (
        "import sys, thalweg.optim\n"
        "print([m for m in ('llvmlite', 'numba', 'matplotlib', 'sklearn', 'rich', 'jinja2',"
        " 'sqlite3') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert out.stdout.strip() == "[]"


def test_kernels_are_vectorised():
    if machine.triple().split("-")[0] != "x86_64":
        pytest.skip("looks for x86 registers")
    p = tensors(torch.float32, sizes=((64,),))
    o = optim.AdamW(p, engine="fused")
    give_gradients(p, 0)
    o.step()
    assembly = machine.assembly(o.batches[0].kernel.ir)
    wide = ("ymm", "zmm") if "avx" in Path("/proc/cpuinfo").read_text() else ("xmm",)
    assert any(w in line for line in assembly.splitlines() if "sqrtps" in line for w in wide)
