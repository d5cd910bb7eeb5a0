"""The compiled engine: the same passes through torch.compile, on the CPU here."""

from __future__ import annotations

import pytest
import torch

from thalweg import optim
from thalweg.engines.compiled import CompiledBatch
from thalweg.engines.fused import FusedBatch

# torch.compile itself uses what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
SHAPES = ((6, 5), (), (3,))
WAYS = {
    "adamw": (optim.AdamW, {}),
    "adam, clipped": (optim.Adam, {"amsgrad": True, "max_grad_norm": 0.5, "weight_decay": 0.1}),
    "nadam": (optim.NAdam, {}),
    "madgrad": (optim.MADGRAD, {}),
    "lamb": (optim.LAMB, {}),
    "prodigy": (optim.Prodigy, {}),
    "rprop": (optim.Rprop, {}),
}


def start(dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=g).to(dtype).requires_grad_() for s in SHAPES]


def give_gradients(params, step, late=False):
    g = torch.Generator().manual_seed(100 + step)
    for k, p in enumerate(params):
        grad = torch.randn(p.shape, generator=g).to(p.dtype)
        p.grad = None if late and k == 1 and step < 2 else grad


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(("cls", "options"), WAYS.values(), ids=WAYS)
def test_it_equals_the_plain_engine_and_compiles_each_pass_once(cls, options):
    a, b = start(), start()
    plain, compiled = cls(a, engine="plain", **options), cls(b, engine="compiled", **options)
    torch._dynamo.utils.counters.clear()
    for i in range(6):
        for o in (plain, compiled):
            o.param_groups[0]["lr"] *= 0.9
            if i == 3 and "betas" in o.param_groups[0]:
                o.param_groups[0]["betas"] = tuple(0.9 * x for x in o.param_groups[0]["betas"])
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        compiled.step()
    (batch,) = compiled.batches
    assert isinstance(batch, CompiledBatch)
    assert graphs() == len(batch.work.graph.passes)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)
        for key, value in plain.state[x].items():
            torch.testing.assert_close(value, compiled.state[y][key], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_storage_formats(dtype):
    a, b = start(dtype), start(dtype)
    plain = optim.AdamW(a, engine="plain", state_dtype=torch.bfloat16)
    compiled = optim.AdamW(b, engine="compiled", state_dtype=torch.bfloat16)
    for i in range(3):
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        compiled.step()
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=2e-2 if dtype is torch.bfloat16 else 1e-4, atol=1e-6)


def test_late_gradients_count_their_own_steps_and_checkpoints_move_on():
    a, b = start(), start()
    plain, compiled = optim.AdamW(a, engine="plain"), optim.AdamW(b, engine="compiled")
    for i in range(5):
        if i == 3:
            compiled.load_state_dict(plain.state_dict())
        give_gradients(a, i, late=True)
        give_gradients(b, i, late=True)
        plain.step()
        compiled.step()
    assert float(compiled.state[b[1]]["step"]) == 3
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)


def test_engines_agree_on_a_total_over_all_parameters():
    a, b = start(), start()
    plain = optim.SGD(a, lr=0.1, max_grad_norm=0.1, engine="plain")
    groups = [{"params": b[:1], "engine": "compiled"}, {"params": b[1:], "engine": "fused"}]
    mixed = optim.SGD(groups, lr=0.1, max_grad_norm=0.1)
    for i in range(3):
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        mixed.step()
    assert {type(batch) for batch in mixed.batches} == {CompiledBatch, FusedBatch}
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_schedule_free_evaluates_at_the_average():
    a, b = start(), start()
    plain = optim.ScheduleFreeSGD(a, lr=0.1, engine="plain")
    compiled = optim.ScheduleFreeSGD(b, lr=0.1, engine="compiled")
    for i in range(3):
        give_gradients(a, i)
        give_gradients(b, i)
        plain.step()
        compiled.step()
    before = [x.detach().clone() for x in b]
    with plain.averaged(), compiled.averaged():
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-13)
    assert all(map(torch.equal, before, b))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: optim.SGD([("w", p.to(torch.complex64).detach().requires_grad_())],
                             engine="compiled"), "complex"),
        (lambda p: optim.Muon([("w", p)], engine="compiled"), "matrix words"),
        (lambda p: optim.SGD([("w", p)], engine="compiled", foreach=False), "contradict"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_with_the_reason(make, reason):
    with pytest.raises(ValueError, match=reason):
        make(torch.randn(3, 4, requires_grad=True))
