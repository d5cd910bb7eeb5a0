"""State that is rounded to bfloat16 at random: right on average, and the same whenever and wherever
the same run is repeated."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from thalweg import optim
from thalweg.engines import rounding
from thalweg.rule import rule

# torch.compile itself uses what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
BFLOAT16 = torch.bfloat16
ENGINES = ("plain", "fused")
MAX = float(torch.finfo(BFLOAT16).max)
every_engine = pytest.mark.parametrize("engine", ENGINES)


@rule(state=("m",))
def kept(g, m):
    """The state is what the gradient is, rounded."""
    return g, {"m": 0 * m + g}


Kept = optim.from_rule(kept, lr=0.0)


def stored(values, engine, steps=1, memory=BFLOAT16):
    """What the state is after each step on a gradient of these values."""
    p = torch.zeros_like(values).requires_grad_()
    o = Kept([p], engine=engine, state_dtype=memory)
    found = []
    for _ in range(steps):
        p.grad = values.clone()
        o.state[p].get("m", torch.zeros(0)).zero_()  # 0 * infinity would be NaN
        o.step()
        found.append(o.state[p]["m"].float())
    return torch.stack(found)


@every_engine
def test_rounding_is_right_on_average(engine):
    # Every share of the distance between two neighbours, both signs, three exponents.
    x = torch.linspace(1, 2, 1001)[:-1].repeat(3, 2) * torch.tensor([[1.0], [1e-30], [-3e5]])
    found = stored(x, engine, steps=400)
    apart = torch.nextafter(x.abs().to(BFLOAT16), torch.tensor(math.inf, dtype=BFLOAT16)).float()
    apart = apart - x.abs().to(BFLOAT16).float()
    off = (found - x).double() / apart
    assert off.abs().max() < 1
    # The standard deviation of one rounding is at most 0.5, of 400 at most 0.025.
    assert off.mean(0).abs().max() < 5.5 * 0.025
    assert off.mean().abs() < 5 * 0.5 / math.sqrt(off.numel())


@every_engine
def test_what_bfloat16_holds_stays_as_it_is(engine):
    exact = torch.tensor([0.0, -0.0, 1.0, -1.5, 2.0**-133, -(2.0**-126), MAX, -MAX])
    assert stored(exact, engine, 50).eq(exact).all()
    infinite = torch.tensor([math.inf, -math.inf])
    assert stored(infinite, engine, 50).eq(infinite).all()
    assert stored(torch.tensor([math.nan]), engine, 5).isnan().all()


@every_engine
def test_nothing_finite_becomes_infinite_and_no_sign_changes(engine):
    largest = torch.finfo(torch.float32).max
    x = torch.tensor([largest, -largest, MAX * (1 + 2**-9), 1e-45, -1e-45, 1e-40]).repeat(50)
    found = stored(x, engine, 20)
    assert found.isfinite().all()
    assert (found * x.sign() >= 0).all()


def trained(engine, steps, size=20_000, weights=torch.float32, cls=optim.AdamW, o=None, **options):
    """An optimizer after some steps; with ``o``, that one, from where it is."""
    if o is None:
        seed = torch.Generator().manual_seed(0)
        shapes = (size,), (5,), (4, 3, 2, 2)
        params = [torch.randn(s, generator=seed).to(weights) for s in shapes]
        params[2] = params[2].to(memory_format=torch.channels_last)
        o = cls([p.requires_grad_() for p in params], engine=engine, **options)
    params = o.param_groups[0]["params"]
    for t in steps:
        for k, p in enumerate(params):
            if k == 1 and t < 2:  # comes late
                continue
            seed = torch.Generator().manual_seed(10 * t + k)
            p.grad = torch.randn(p.shape, generator=seed).to(p.dtype)
        o.step()
    return o


def everything(o):
    params = o.param_groups[0]["params"]
    return [x for p in params for x in (p.detach(), *o.state[p].values())]


OPTIMIZERS = [
    (optim.AdamW, {"amsgrad": True}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.1}),  # keeps no step of its own
    (optim.AdEMAMix, {}),
    (optim.Prodigy, {}),
    (optim.Lion, {}),
    (optim.ScheduleFreeAdamW, {}),
]
every_optimizer = pytest.mark.parametrize(("cls", "options"), OPTIMIZERS)


@every_engine
@every_optimizer
def test_a_run_repeats_also_from_a_checkpoint(cls, options, engine):
    options = {"state_dtype": BFLOAT16, **options}
    whole = trained(engine, range(8), cls=cls, **options)
    again = trained(engine, range(8), cls=cls, **options)
    half = trained(engine, range(5), cls=cls, **options)
    copies = [p.detach().clone().requires_grad_() for p in half.param_groups[0]["params"]]
    resumed = cls(copies, engine=engine, **options)
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    trained(engine, range(5, 8), o=resumed)
    for x, y, z in zip(everything(whole), everything(again), everything(resumed), strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x, z)


def test_any_number_of_threads_rounds_alike():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(everything(trained("fused", range(3), 70_000, state_dtype=BFLOAT16)))
    finally:
        torch.set_num_threads(before)
    for x, y, z in zip(*found, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x, z)


@pytest.mark.parametrize("weights", [torch.float32, BFLOAT16], ids=str)
def test_engines_round_alike(weights):
    # One product and one sum: on both engines the same float32 is to be rounded.
    options = {"cls": optim.SGD, "momentum": 0.875, "lr": 0.0, "weights": weights}
    plain, fused = (trained(e, range(6), state_dtype=BFLOAT16, **options) for e in ENGINES)
    for x, y in zip(everything(plain), everything(fused), strict=True):
        assert torch.equal(x, y)


def test_the_compiled_engine_rounds_as_the_others():
    found = {}
    for engine in ("plain", "compiled"):
        params = [torch.zeros(4, 3, 2, 2).to(memory_format=torch.channels_last), torch.zeros(50)]
        # Products and sums are exact in float32: a multiply-add makes no difference.
        o = optim.SGD([p.requires_grad_() for p in params], 0.0, momentum=0.5, engine=engine,
                      state_dtype=BFLOAT16)  # fmt: skip
        for t in range(4):
            for p in params:
                seed = torch.Generator().manual_seed(t)
                p.grad = torch.randint(-2000, 2000, p.shape, generator=seed) / 1024
            o.step()
        found[engine] = everything(o)
    for x, y in zip(*found.values(), strict=True):
        assert torch.equal(x, y)


def test_parameters_and_steps_do_not_share_their_noise():
    x = torch.full((20_000,), 1 + 2**-8)  # half way
    params = [torch.zeros_like(x).requires_grad_() for _ in range(2)]
    o = Kept(params, engine="fused", state_dtype=BFLOAT16)
    up = []
    for _ in range(3):
        for p in params:
            p.grad = x
        o.step()
        up += [(o.state[p]["m"] > x).float() for p in params]
    shares = torch.stack(up)
    assert (shares.mean(1) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(20_000)
    assert (torch.corrcoef(shares) - torch.eye(6)).abs().max() < 5 / math.sqrt(20_000)


DECAYING = [
    (optim.AdamW, {}, "exp_avg_sq"),
    (optim.RMSprop, {"alpha": 0.999}, "square_avg"),
    (optim.AdaBelief, {"eps": 1e-20}, "exp_avg_var"),
    (optim.AdEMAMix, {"betas": (0.9, 0.999, 0.999)}, "exp_avg_slow"),
    (optim.Adamax, {}, "exp_inf"),
    (optim.Adagrad, {}, "sum"),
]


@pytest.mark.parametrize(("cls", "options", "key"), DECAYING)
def test_averages_do_not_stand_still(cls, options, key):
    """After large gradients come small ones: averages follow those of float32. Rounded to nearest,
    AdamW's would be 0.25 for ever."""
    found = {}
    for dtype in (torch.float32, BFLOAT16):
        p = torch.zeros(4096, requires_grad=True)
        o = cls([p], lr=1e-6, engine="fused", state_dtype=dtype, **options)
        for t in range(5000):
            p.grad = torch.full_like(p, 1.0 if t < 1000 else 0.01)
            o.step()
        found[dtype] = o.state[p][key].double().mean()
        assert (o.state[p][key] >= 0).all()
    torch.testing.assert_close(found[BFLOAT16], found[torch.float32], rtol=0.03, atol=0)


@every_engine
def test_a_difference_of_two_averages_stays_positive(engine):
    """Centred RMSprop: with noise in both averages a third of the variances would be negative."""
    seed = torch.Generator().manual_seed(0)
    p = torch.zeros(500, requires_grad=True)
    o = optim.RMSprop([p], lr=1e-3, centered=True, engine=engine, state_dtype=BFLOAT16)
    for _ in range(400):
        p.grad = 1 + 0.03 * torch.randn(500, generator=seed)
        o.step()
    assert p.isfinite().all()


def test_a_checkpoint_without_steps_goes_on_as_one_that_has_made_some():
    """SGD's of torch counts none: its first gradient is not to come again."""
    p, q = (torch.ones(3, dtype=BFLOAT16, requires_grad=True) for _ in range(2))
    theirs = torch.optim.SGD([p], momentum=0.5, dampening=0.5)
    p.grad = torch.ones_like(p)
    theirs.step()
    ours = optim.SGD([q], momentum=0.5, dampening=0.5)
    ours.load_state_dict(theirs.state_dict())
    q.grad = torch.ones_like(q)
    ours.step()
    assert ours.state[q]["momentum_buffer"].eq(1).all()  # 0.5 + 0.5; a first one alone would be 1
    q.grad = torch.zeros_like(q)
    ours.step()
    assert ours.state[q]["momentum_buffer"].eq(0.5).all()


def test_the_key_has_all_its_parts():
    keys = {rounding.key(n, t, k) for n in range(9) for t in range(99) for k in range(3)}
    assert len(keys) == 9 * 99 * 3
