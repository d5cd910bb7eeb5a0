"""Faults that are no sequence of moves on twins: functions that raise where a promise is broken."""

from __future__ import annotations

import copy
import gc
import os
import threading
import time
import warnings
import weakref
from collections import UserDict
from functools import partial

import numpy as np
import pytest
import torch

from optim.moves.memory import home
from thalweg import optim, schedules
from thalweg.engines.fused import FusedBatch
from thalweg.engines.plain import PlainBatch
from thalweg.optim.registry import ALGORITHMS

FAULTS = {}


def fault(function):
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


def weights(*shapes):
    torch.manual_seed(0)
    return [torch.randn(s).requires_grad_() for s in shapes]


def stepped(o, seed=0):
    """A step with gradients that depend on the seed alone."""
    torch.manual_seed(seed)
    for group in o.param_groups:
        for p in group["params"]:
            p.grad = torch.randn(p.shape)
    o.step()
    return o


def same(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach(), q.detach())


@fault
def replaced_weights_are_freed():
    for engine in ("auto", "plain"):
        ps = weights((40, 40))
        o = optim.AdamW(ps, engine=engine)
        del ps
        seen = []
        for k in range(30):
            stepped(o, k)
            group = o.param_groups[0]
            old = group["params"][0]
            seen.append(weakref.ref(old))
            group["params"][0] = new = old.detach().clone().requires_grad_()
            o.state[new] = o.state.pop(old)
            del old, new, group
        stepped(o)
        gc.collect()
        alive = sum(r() is not None for r in seen)
        assert alive <= 2, f"{engine}: {alive} of 30 replaced parameters are alive"


@fault
def replaced_data_is_freed():
    for engine in ("auto", "plain"):
        (p,) = weights((40, 40))
        o = optim.AdamW([p], engine=engine)
        seen = []
        for k in range(30):
            stepped(o, k)
            storage = p.untyped_storage()
            seen.append(weakref.ref(storage))
            p.data = p.data.clone()
            del storage
        stepped(o)
        gc.collect()
        alive = sum(r() is not None for r in seen)
        assert alive <= 2, f"{engine}: {alive} of 30 replaced storages are alive"


@fault
def state_is_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        for name in ("muon", "soap", "adafactor", "adamw", "lamb", "sam", "schedule-free-adamw"):
            for engine in ("auto", "plain"):
                ps = weights((20, 30), (5,))
                a = ALGORITHMS[name]
                o = a.optimizer(ps, lr=a.lr, engine=engine, **a.options)
                given = [torch.ones_like(p) for p in ps]

                def closure(ps=ps, given=given):
                    for p, g in zip(ps, given, strict=True):
                        p.grad = g
                    return 0.0

                for _ in range(3):
                    o.step(closure)
                refs = [weakref.ref(p) for p in ps]
                refs += [
                    weakref.ref(v)
                    for s in o.state.values()
                    for v in s.values()
                    if isinstance(v, torch.Tensor) and v.dim()
                ]
                del o, ps, given, closure, a
                alive = sum(r() is not None for r in refs)
                assert not alive, f"{name}, {engine}: {alive} of {len(refs)} tensors are alive"
    finally:
        gc.enable()


@fault
def one_rate_tensor_in_two_groups_under_schedules():
    course = schedules.cosine(10), schedules.linear(1.0, 0.5, 10)
    for cls in (optim.AdamW, torch.optim.AdamW):
        found = []
        for shared in (False, True):
            ps = weights((3,), (4,))
            lr = torch.tensor(0.1)
            rates = (lr, lr) if shared else (lr.clone(), lr.clone())
            o = cls(
                [{"params": [p], "lr": r} for p, r in zip(ps, rates, strict=True)], foreach=False
            )
            scheduler = schedules.attach(o, list(course))
            for k in range(4):
                stepped(o, k)
                scheduler.step()
            found.append([float(g["lr"]) for g in o.param_groups])
        assert found[0][0] != found[0][1]
        assert found[0] == found[1], f"{cls.__module__}: rates {found[1]}, apart {found[0]}"


@fault
def one_list_of_groups_for_two_optimizers():
    a, b = weights((3,), (4,))
    groups = [{"params": [a]}, {"params": [b], "weight_decay": 0.5}]
    before = copy.copy(groups[0]), copy.copy(groups[1])
    first = optim.AdamW(groups, lr=0.5)
    assert [set(g) for g in groups] == [set(g) for g in before], "the user's dicts are changed"
    second = optim.AdamW(groups, lr=0.001, betas=(0.5, 0.6))
    assert [g["lr"] for g in second.param_groups] == [0.001, 0.001]
    assert second.param_groups[0]["betas"] == (0.5, 0.6)
    first.param_groups[0]["lr"] = 7.0
    assert second.param_groups[0]["lr"] == 0.001, "the optimizers share their groups"


@fault
def the_only_group_popped():
    for engine in ("auto", "plain"):
        (p,) = weights((4,))
        o = stepped(optim.AdamW([p], engine=engine))
        before = p.detach().clone()
        o.param_groups.pop()
        o.step()  # as torch does: nothing
        assert torch.equal(p.detach(), before)


@fault
def group_by_hand_without_options():
    for engine in ("auto", "plain"):
        p, q = weights((4,), (5,))
        o = stepped(optim.AdamW([p], engine=engine))
        before = [x.detach().clone() for x in (p, q)]
        o.param_groups.append({"params": [q]})
        p.grad, q.grad = torch.ones(4), torch.ones(5)
        try:
            o.step()
        except (KeyError, ValueError, TypeError, RuntimeError):
            assert all(map(torch.equal, (p.detach(), q.detach()), before)), "written all the same"
            assert float(o.state[p]["step"]) == 1
        else:
            raise AssertionError("a group without a rate was stepped")


@fault
def group_edits_by_hand_do_as_torch():
    def pop(g, q):
        g.pop(0)

    def reverse(g, q):
        g.reverse()

    def move(g, q):
        g[1]["params"].append(g[0]["params"].pop(0))

    def swap(g, q):
        g[0]["params"], g[1]["params"] = g[1]["params"], g[0]["params"]

    def swap_one(g, q):
        a, b = g[0]["params"], g[1]["params"]
        a[0], b[0] = b[0], a[0]

    def insert(g, q):
        g.insert(0, {**g[0], "params": [q], "lr": 0.3})

    def append(g, q):
        g[0]["params"].append(q)

    def empty(g, q):
        g[0]["params"].clear()

    def replace(g, q):
        g[0]["params"] = [q, *g[0]["params"][1:]]

    def replace_dicts(g, q):
        g[:] = [dict(x) for x in g]

    def rates(g, q):
        for x, lr in zip(g, (0.2, 0.05), strict=True):
            x["lr"] = lr

    def exchange_rates(g, q):
        g[0]["lr"], g[1]["lr"] = g[1]["lr"], g[0]["lr"]

    def betas(g, q):
        g[1]["betas"] = (0.5, 0.9)

    def betas_in_place(g, q):
        g[0]["betas"] = [0.9, 0.99]

    def merge(g, q):
        g[0]["params"] += g.pop()["params"]

    def split(g, q):
        g.append({**g[0], "params": [g[0]["params"].pop()], "lr": 0.2})

    edits = (pop, reverse, move, swap, swap_one, insert, append, empty, replace, replace_dicts,
             rates, exchange_rates, betas, betas_in_place, merge, split)  # fmt: skip
    for edit in edits:
        for named in (False, True):
            ends = []
            for make in (
                lambda g: optim.AdamW(g),
                lambda g: optim.AdamW(g, engine="plain"),
                lambda g: torch.optim.AdamW(g, foreach=False),
            ):
                ps = weights((3,), (4, 2), (2,), (5,))
                q = ps.pop()
                given = [(f"p{i}", p) for i, p in enumerate(ps)] if named else ps
                o = make([{"params": given[:2], "lr": 0.1}, {"params": given[2:], "lr": 0.4}])
                every = [*ps, q]
                for k in range(2):
                    torch.manual_seed(k)
                    for p in every:
                        p.grad = torch.randn(p.shape)
                    o.step()
                edit(o.param_groups, q)
                for k in range(2, 5):
                    torch.manual_seed(k)
                    for p in every:
                        p.grad = torch.randn(p.shape)
                    o.step()
                ends.append(every)
            for ours in ends[:2]:
                try:
                    same(ours, ends[2])
                except AssertionError as e:
                    raise AssertionError(f"{edit.__name__}, named={named}: {e}") from None


@fault
def duplicates_do_as_torch():
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        ends = []
        for module, options in ((optim, {}), (optim, {"engine": "plain"}), (torch.optim, {})):
            p, q = weights((3, 4), (5,))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "optimizer contains a parameter group with dup")
                o = getattr(module, name)([p, q, p], lr=0.1, foreach=options and None, **options) \
                    if options else getattr(module, name)([p, q, p], lr=0.1)  # fmt: skip
            for k in range(3):
                torch.manual_seed(k)
                p.grad, q.grad = torch.randn(3, 4), torch.randn(5)
                o.step()
            ends.append(([p, q], o.state[p].get("step")))
        for ours, count in ends[:2]:
            same(ours, ends[2][0])
            assert count is None or float(count) == float(ends[2][1]), f"{name}: {count} steps"


@fault
def a_gradient_that_is_another_parameter():
    """Whose value counts, before or after its step, is not said; but it is one of the two."""
    for engine in ("auto", "plain"):
        for name in ("adamw", "momentum", "lamb"):
            a = ALGORITHMS[name]
            for order in (0, 1):
                found = []
                for way in ("alias", "before", "after"):
                    p, q = weights((4, 4), (4, 4))
                    ps = [p, q] if order else [q, p]
                    o = a.optimizer(ps, lr=0.1, engine=engine, **a.options)
                    q.grad = torch.ones(4, 4)
                    p.grad = q.detach() if way == "alias" else q.detach().clone()
                    if way == "after":
                        r = q.detach().clone().requires_grad_()
                        r.grad = torch.ones(4, 4)
                        a.optimizer([r], lr=0.1, engine="plain", **a.options).step()
                        p.grad = r.detach()
                    o.step()
                    found.append(p.detach())
                alias, *wanted = found
                close = [torch.allclose(alias, w, rtol=1e-4, atol=1e-6) for w in wanted]
                assert any(close), f"{engine}, {name}: neither before nor after"


@fault
def two_threads_count_every_step():
    for engine in ("auto", "plain"):
        for name in ("adamw", "lamb", "adafactor", "muon", "schedule-free-adamw"):
            a = ALGORITHMS[name]
            ps = [home(p).requires_grad_() for p in weights((64, 64), (70,), (40_001,))]
            o = stepped(a.optimizer(ps, lr=1e-3, engine=engine, **a.options))
            failures = []

            def many(o=o, failures=failures):
                try:
                    for _ in range(25):
                        o.step()
                except Exception as e:
                    failures.append(e)

            ts = [threading.Thread(target=many) for _ in range(2)]
            for t in ts:
                t.start()
            for t in ts:
                t.join()
            assert not failures, f"{engine}, {name}: {failures[0]!r}"
            counts = [float(o.state[p]["step"]) for p in ps if "step" in o.state[p]]
            assert all(n == 51 for n in counts), f"{engine}, {name}: {counts} steps, not 51"
            assert all(bool(p.isfinite().all()) for p in ps)


@fault
def two_threads_make_the_first_step():
    for name in ("adamw", "lamb"):
        a = ALGORITHMS[name]
        ps = weights((64, 64), (70,))
        for p in ps:
            p.grad = torch.ones_like(p)
        o = a.optimizer(ps, lr=1e-3, **a.options)
        failures = []

        def one(o=o, failures=failures):
            try:
                o.step()
            except Exception as e:
                failures.append(e)

        ts = [threading.Thread(target=one) for _ in range(4)]
        for t in ts:
            t.start()
        for t in ts:
            t.join()
        assert not failures, f"{name}: {failures[0]!r}"
        assert [float(o.state[p]["step"]) for p in ps] == [4.0, 4.0]


@fault
def a_fork_while_another_thread_compiles():
    started = threading.Event()

    def compiles():
        for k in range(40):
            (p,) = weights((5,))
            p.grad = torch.ones(5)
            o = optim.AdamW([p], state_dtype=(torch.float32, torch.bfloat16)[k % 2],
                            maximize=k % 4 > 1, amsgrad=k % 8 > 3, cautious=k % 16 > 7,
                            bounds=(None, 1.0) if k % 32 > 15 else None)  # fmt: skip
            started.set()
            o.step()

    thread = threading.Thread(target=compiles)
    thread.start()
    started.wait()
    for k in range(6):
        (p,) = weights(
            (5,)
        )  # here: torch's seeding has a lock of its own, and no fork waits for it
        p.grad = torch.ones(5)
        pid = os.fork()
        if pid == 0:
            optim.NAdam([p], weight_decay=0.1 * k, maximize=k % 2 == 1).step()
            os._exit(0)
        late = time.monotonic() + 20.0
        while time.monotonic() < late:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, f"the child ends with {status}"
                break
            time.sleep(0.01)
        else:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the child of a fork hangs")
    thread.join()


@fault
def shared_step_counts_are_seen_by_others():
    for engine in ("auto", "plain"):
        (p,) = weights((5,))
        o = stepped(optim.AdamW([p], engine=engine))
        count = o.state[p]["step"] = torch.tensor(1.0).share_memory_()
        pid = os.fork()
        if pid == 0:
            stepped(o, 1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert float(count) == 2.0, f"{engine}: a step in another process is not seen"
        stepped(o, 2)
        assert o.state[p]["step"] is count
        assert float(count) == 3.0


@fault
def gradients_that_have_no_memory():
    for engine in ("auto", "plain"):
        for n, zeros in ((1, "first"), (2, "later")):
            ours, theirs = weights((4, 3), (5,)), weights((4, 3), (5,))
            for o in optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs):
                for k in range(n):
                    for p in o.param_groups[0]["params"]:
                        zero = k == n - 1 and p.dim() == 1
                        p.grad = torch._efficientzerotensor(p.shape) if zero else torch.ones_like(p)
                    o.step()
            assert all(map(torch.allclose, ours, theirs)), f"{engine}: {zeros} gradient"


@fault
def memory_that_has_a_size_and_no_address():
    """Of parameters, gradients and state: zeros that are a shape alone, and what records."""
    hollow = torch._efficientzerotensor, lambda n: torch._to_functional_tensor(torch.zeros(n))
    for engine in ("auto", "plain"):
        for k, make in enumerate(hollow):
            for place in ("data", "grad", "state"):
                if (k, place) == (0, "grad") or (k, place) == (1, "data"):
                    continue  # can be read; cannot be put there
                ps = weights(5, 6)
                o = stepped(optim.AdamW(ps, engine=engine))
                before = [p.detach().clone() for p in ps]
                if place == "state":
                    o.state[ps[1]]["exp_avg"] = make(6)
                else:
                    setattr(ps[1], place, make(6))
                with pytest.raises(ValueError, match=r"without memory|has no address"):
                    o.step()
                assert torch.equal(ps[0], before[0]), f"{engine}, {place}, {k}: half stepped"


@fault
def gradients_are_kept_for_a_step_and_no_longer():
    """Another thread may drop them while a kernel reads."""
    for engine in ("auto", "plain"):
        for kind in (optim.AdamW, optim.LAMB, optim.Muon):
            (p,) = weights((8, 6))
            o = stepped(kind([p], engine=engine))
            for copied in (False, True):
                p.grad = torch.randn(6, 8).mT if copied else torch.randn(8, 6)
                seen, alive = weakref.ref(p.grad), []
                (batch,) = o.batches
                run = batch.run

                def dropped(*given, run=run, p=p, seen=seen, alive=alive):
                    p.grad = None
                    gc.collect()
                    alive.append(seen() is not None)
                    yield from run(*given)

                batch.run = dropped
                o.step()
                del batch.run
                assert alive == [True], f"{engine}, {kind.__name__}: freed in the step"
                assert seen() is None, f"{engine}, {kind.__name__}: kept after the step"


@fault
def states_exchanged_in_their_order():
    """The states stay what they are, in the order in which they are; whose they are does not."""
    for engine in ("auto", "plain"):
        ours, theirs = weights((4, 3), (4, 3)), weights((4, 3), (4, 3))
        for o in optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs):
            stepped(stepped(o), 1)
            (p, mine), (q, other) = o.state.items()
            o.state.clear()
            o.state.update({q: mine, p: other})
            stepped(o, 2)
        same(ours, theirs)


def free(x):
    x.untyped_storage().resize_(0)


def refused(action):
    """Assert that an action raises, and says what is wrong."""
    with pytest.raises(ValueError, match=r"has lost its memory|has another shape"):
        action()


@fault
def memory_lost_while_averages_are_evaluated():
    def shape(p):
        p.data = torch.zeros(2, *p.shape)

    for engine in ("auto", "plain"):
        for spoil in (lambda o, p: free(p), lambda o, p: free(o.state[p]["y"]),
                      lambda o, p: shape(p)):  # fmt: skip
            ps = weights(5, 6)
            o = stepped(optim.ScheduleFreeAdamW(ps, engine=engine))
            o.eval()
            average = ps[0].detach().clone()
            spoil(o, ps[1])
            refused(o.train)
            assert torch.equal(ps[0], average), "moved all the same"
            assert not o.training
            assert "y" in o.state[ps[0]]


@fault
def memory_lost_inside_a_closure():
    """What is found is an error; parameters that are there are where they belong."""
    for engine in ("auto", "plain"):
        for kind in partial(optim.SGD, nesterov="lookahead"), optim.SAM:
            for what in ("data", "grad"):
                for call in (1, 2):
                    ps = weights(5, 6)
                    o, calls = kind(ps, momentum=0.9, engine=engine), []
                    if call > len(o.phases()):
                        continue

                    def closure(ps=ps, calls=calls):
                        calls.append(1)
                        for p in ps:
                            p.grad = torch.ones_like(p)
                        return 0.0

                    o.step(closure)
                    calls.clear()

                    def spoiled(closure=closure, ps=ps, calls=calls, call=call, what=what):
                        closure()
                        if len(calls) == call:
                            free(getattr(ps[1], what))
                        return 0.0

                    before = ps[0].detach().clone()
                    refused(lambda o=o, spoiled=spoiled: o.step(spoiled))
                    if (what, call) != ("data", 2):  # SAM has climbed, all together
                        assert torch.equal(ps[0], before), f"{type(o).__name__}, {what}, {call}"


@fault
def memory_lost_where_no_step_is_made():
    ps = weights(5, 6)
    o = stepped(optim.ScheduleFreeAdamW(ps))
    saved = copy.deepcopy(o.state_dict())
    free(saved["state"][1]["z"])
    refused(lambda: o.load_state_dict(saved))
    saved = copy.deepcopy(o.state_dict())
    free(saved["state"][1]["step"])
    refused(lambda: o.load_state_dict(saved))
    o = optim.ScheduleFreeAdamW(ps)
    free(ps[1])
    refused(o.share_memory)
    for kind in optim.ScheduleFreeAdamW, partial(optim.SGD, momentum=0.9, nesterov="lookahead"):
        (p,) = weights(5)
        o = kind([p])
        if isinstance(o, optim.ScheduleFreeAdamW):
            o.eval()
        p.grad = torch.ones(5)
        free(p.grad)
        refused(o.step)


@fault
def the_negative_bit_of_memory_that_is_where_it_was():
    for engine in ("auto", "plain"):
        for place in ("data", "state"):
            found = []
            for kind in partial(optim.AdamW, engine=engine), torch.optim.AdamW:
                z = torch.tensor([3 + 1j])
                p = z.imag.clone().requires_grad_()
                o = kind([p], lr=0.1)
                stepped(o)
                x = p if place == "data" else o.state[p]["exp_avg"]
                x.data = z.imag
                stepped(o)
                x.data = z.conj().imag
                found.append(stepped(o).param_groups[0]["params"][0])
            same(*([p] for p in found))


@fault
def a_count_that_two_parameters_share():
    """Each counts it on, one after the other."""
    for dtype in (torch.float64, torch.float32, torch.float16):
        for engine in ("auto", "plain"):
            ours, theirs = weights((4, 3), 5), weights((4, 3), 5)
            for o in optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs, foreach=False):
                stepped(o)
                count = torch.tensor(1.0, dtype=dtype)
                for state in o.state.values():
                    state["step"] = count
                stepped(stepped(o, 1), 2)
                assert count == 5, f"{engine}, {dtype}: {count}"
            same(ours, theirs)


@fault
def a_count_that_takes_gradients():
    for dtype in (torch.float64, torch.float16):
        for engine in ("auto", "plain"):
            (p,) = weights(5)
            o = stepped(optim.AdamW([p], engine=engine))
            count = o.state[p]["step"] = torch.tensor(1.0, dtype=dtype, requires_grad=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, to whom a number of it is asked for
                stepped(o)
            assert count == 2, f"{engine}, {dtype}: {count}"


@fault
def a_first_step_that_ends_for_want_of_memory():
    """It leaves no state behind, and is made when it is asked for again."""
    for engine in ("auto", "plain"):
        for error in (MemoryError, KeyboardInterrupt):
            ours, theirs = weights(5, 6), weights(5, 6)
            options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
            o = optim.SGD(ours, engine=engine, **options)
            allocate, calls = o._allocate, []

            def fails(*given, allocate=allocate, calls=calls, error=error):
                calls.append(1)
                if len(calls) == 2:
                    raise error
                return allocate(*given)

            o._allocate = fails
            with pytest.raises(error):
                stepped(o)
            assert not o.state, f"{engine}: state of a step that was not made"
            stepped(stepped(o), 1)
            stepped(stepped(torch.optim.SGD(theirs, **options)), 1)
            same(ours, theirs)


@fault
def gradients_of_a_subclass():
    class Marked(torch.Tensor):
        pass

    for engine in ("auto", "plain"):
        ours, theirs = weights((4, 3), 5), weights((4, 3), 5)
        for o in optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs):
            for k in range(4):
                for p in o.param_groups[0]["params"]:
                    g = torch.full_like(p, k, requires_grad=False)
                    p.grad = g.as_subclass(Marked) if k % 2 and p.dim() == 1 else g
                o.step()
        same(ours, theirs)
    o = optim.AdamW(weights(5), engine="fused")
    o.param_groups[0]["params"][0].grad = torch.ones(5).as_subclass(Marked)
    with pytest.raises(ValueError, match="its gradient is a Marked"):
        o.step()


@fault
def a_count_that_parameters_of_several_kinds_share():
    """Likewise, one after the other, where kernels step them in different calls."""
    for clip in (None, 0.5):
        for engine in ("auto", "plain"):
            ours, theirs = weights((4, 3), 5, 6), weights((4, 3), 5, 6)
            for ps in ours, theirs:
                ps[1] = ps[1].detach().double().requires_grad_()
            o = optim.Adam(ours, lr=0.1, engine=engine, max_grad_norm=clip)
            reference = torch.optim.Adam(theirs, lr=0.1, foreach=False)
            for k in range(5):
                for opt, ps in ((o, ours), (reference, theirs)):
                    torch.manual_seed(k)
                    for p in ps:
                        p.grad = torch.randn(p.shape).to(p.dtype)
                    if opt is reference and clip:
                        torch.nn.utils.clip_grad_norm_(ps, clip)
                    opt.step()
                    count = opt.state[ps[0]]["step"]
                    for state in opt.state.values():
                        state["step"] = count
            assert o.state[ours[0]]["step"] == 13, f"{engine}, {clip}"
            same(ours, theirs)


@fault
def a_count_that_cannot_count():
    """Is refused with its reason, and nothing is written."""
    counts = {
        torch.tensor(True): "dtype torch.bool",
        torch.tensor(1.0).to(torch.float8_e4m3fn): "dtype torch.float8_e4m3fn",
        torch.tensor(1, dtype=torch.uint8): "dtype torch.uint8",
        torch.ones(1).to_sparse(): "layout torch.sparse_coo",
        torch._efficientzerotensor((), dtype=torch.float64): "zero without memory",
        torch.ones(2): "must be one real number",
    }
    for engine in ("auto", "plain"):
        for count, says in counts.items():
            ps = weights(5, 6)
            o = stepped(optim.NAdam(ps, engine=engine))
            before = [p.detach().clone() for p in ps]
            o.state[ps[1]]["step"] = count
            with pytest.raises(ValueError, match=says):
                stepped(o)
            same(ps, before)
            assert o.state[ps[0]]["step"] == 1
        o = stepped(optim.NAdam(ps, engine=engine))
        o.state[ps[1]]["mu_product"] = torch.tensor(1)
        with pytest.raises(ValueError, match=r"mu_product.*dtype torch.int64"):
            stepped(o)


@fault
def a_count_that_is_no_number():
    """Gives what it gives in torch."""
    for engine in ("auto", "plain"):
        (p,) = weights(5)
        o = stepped(optim.AdamW([p], engine=engine))
        o.state[p]["step"].fill_(torch.nan)
        assert stepped(o).param_groups[0]["params"][0].isnan().all()


@fault
def inference_tensors_outside_the_mode():
    """Are refused before anything is written; state made or loaded in the mode is no such."""
    for engine in ("auto", "plain"):
        for what in ("parameter", "exp_avg", "step"):
            ps = weights(5, 6)
            with torch.inference_mode():
                frozen = torch.ones(6)
            if what == "parameter":
                ps[1] = frozen
            o = optim.AdamW(ps, engine=engine)
            if what != "parameter":
                stepped(o)
                with torch.inference_mode():
                    o.state[ps[1]][what] = o.state[ps[1]][what].clone()
            before = [p.detach().clone() for p in ps]
            with torch.inference_mode():
                stepped(o)
            assert not torch.equal(ps[1], before[1])
            before = [p.detach().clone() for p in ps]
            for _ in range(2):
                with pytest.raises(RuntimeError, match="is an inference tensor"):
                    stepped(o)
            same(ps, before)
        ours, theirs = weights(5, 6), weights(5, 6)
        o, reference = optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs)
        with torch.inference_mode():
            stepped(o)
            o.load_state_dict(copy.deepcopy(o.state_dict()))
            stepped(o, 1)
        stepped(o, 2)
        for k in range(3):
            stepped(reference, k)
        same(ours, theirs)


@fault
def a_first_step_that_ends_between_its_passes():
    """It does not count, neither where the state keeps a count nor where a rule only asks."""
    for engine, owner, name in (
        ("auto", FusedBatch, "_sweep"),
        ("plain", PlainBatch, "_update"),
    ):
        for kind, options in (
            (optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
            (optim.Adam, {}),
        ):
            ours, theirs = weights(5, 6), weights(5, 6)
            o = kind(ours, lr=0.1, max_grad_norm=0.5, engine=engine, **options)
            with pytest.MonkeyPatch.context() as patch:
                whole, calls = getattr(owner, name), []

                def ends(*given, whole=whole, calls=calls):
                    calls.append(1)
                    if len(calls) == 2:
                        raise KeyboardInterrupt
                    return whole(*given)

                patch.setattr(owner, name, ends)
                with pytest.raises(KeyboardInterrupt):
                    stepped(o)
            stepped(stepped(o), 1)
            stepped(stepped(kind(theirs, lr=0.1, max_grad_norm=0.5, **options)), 1)
            same(ours, theirs)


@fault
def options_under_other_names():
    """The values are what they were, and in their order."""
    for engine in ("auto", "plain"):
        ours, theirs = weights(5), weights(5)
        for o in (
            optim.SGD(ours, lr=0.1, momentum=0.5, weight_decay=0.25, engine=engine),
            torch.optim.SGD(theirs, lr=0.1, momentum=0.5, weight_decay=0.25),
        ):
            stepped(o)
            group = o.param_groups[0]
            names = {"momentum": "weight_decay", "weight_decay": "momentum"}
            renamed = {names.get(k, k): x for k, x in dict.items(group)}
            dict.clear(group)
            group.update(renamed)
            stepped(o, 1)
        same(ours, theirs)
        group = o.param_groups[0]
        o = stepped(optim.SGD(ours, lr=0.1, engine=engine))
        group = o.param_groups[0]
        renamed = {"rate" if k == "lr" else k: x for k, x in dict.items(group)}
        dict.clear(group)
        group.update(renamed)
        with pytest.raises(ValueError, match="has no 'lr'"):
            stepped(o, 1)


@fault
def groups_and_state_that_are_no_dicts():
    for engine in ("auto", "plain"):
        (p,) = weights(5)
        o = stepped(optim.AdamW([p], engine=engine))
        o.state[p] = UserDict(o.state[p])
        with pytest.raises(TypeError, match=r"the state of parameter 0 .* not a UserDict"):
            stepped(o)
        o = stepped(optim.AdamW([p], engine=engine))
        o.param_groups[0] = UserDict(dict.items(o.param_groups[0]))
        with pytest.raises(TypeError, match="group 0 must be a dict, not a UserDict"):
            stepped(o)


@fault
def numbers_written_in_place():
    """Of whatever kind they are: the value at the step is the step's."""

    class Rate:
        def __init__(self, value):
            self.value = value

        def __float__(self):
            return self.value

        def write(self, value):
            self.value = value

    def numpys(value):
        x = np.array(value)
        return x, lambda new: x.fill(new)

    def objects(value):
        x = Rate(value)
        return x, x.write

    for make in (numpys, objects):
        for engine in ("auto", "plain"):
            ours, theirs = weights(5, 6), weights(5, 6)
            o, reference = optim.AdamW(ours, engine=engine), torch.optim.AdamW(theirs)
            rate, write_rate = make(0.1)
            beta, write_beta = make(0.9)
            o.param_groups[0]["lr"], o.param_groups[0]["betas"] = rate, (beta, 0.99)
            for k in range(4):
                write_rate(0.1 / (k + 1))
                write_beta(0.9 - 0.1 * k)
                reference.param_groups[0].update(lr=0.1 / (k + 1), betas=(0.9 - 0.1 * k, 0.99))
                stepped(o, k)
                stepped(reference, k)
            same(ours, theirs)


@fault
def another_number_of_dimensions_asks_for_another_form_of_the_rule():
    for cls in (optim.Adafactor, optim.Muon, optim.SOAP):
        for engine in ("auto", "plain"):
            for before, after in (((4, 3), (12,)), ((12,), (4, 3))):
                ours, fresh = weights(before, (2, 2)), weights(after, (2, 2))
                o, reference = cls(ours, engine=engine), cls(fresh, engine=engine)
                stepped(o)
                with torch.no_grad():
                    for p, q in zip(ours, weights(after, (2, 2)), strict=True):
                        p.data = q.data
                o.state.clear()
                for k in range(3):
                    stepped(o, k)
                    stepped(reference, k)
                same(ours, fresh)


@fault
def a_gradient_of_whole_numbers_is_refused_by_name_though_looked_at_for_infinity():
    for wanted in (True, "skip"):
        (p,) = weights(3)
        o = optim.SGD([p], check_finite=wanted)
        p.grad = torch.zeros(3, requires_grad=False)
        p.grad.data = torch.zeros(3, dtype=torch.int64)
        with pytest.raises(ValueError, match="the gradient of parameter 0 of group 0"):
            o.step()


@fault
def state_that_is_none_leads_nowhere():
    (p,) = weights(4)
    o = optim.ScheduleFreeAdamW([p])
    stepped(o)
    before = p.detach().clone()
    o.state[p]["z"] = None
    o.eval()
    assert torch.equal(p, before)
    o.train()
    (q,) = weights(4)
    ahead = optim.SGD([q], momentum=0.9, nesterov="lookahead")
    for _ in range(2):
        with ahead.ahead():
            q.grad = torch.ones_like(q)
        ahead.step()
    before = q.detach().clone()
    ahead.state[q]["momentum_buffer"] = None
    with ahead.ahead():
        assert torch.equal(q, before)
