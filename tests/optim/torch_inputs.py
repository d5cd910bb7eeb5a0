"""Where our classes differ from torch's, over the inputs that torch tests its own classes with.

``differences(name)`` runs both side by side and gives back what differs, each as the short name
under which docs/torch-differences.md explains it.
"""

from __future__ import annotations

import copy
import inspect
import io
import warnings
from functools import cache

import hypothesis
import torch

from thalweg import optim

DTYPES = (torch.float32, torch.float64)
WAYS = (
    {},
    {"engine": "plain"},
    {"foreach": False},
    {"foreach": True},
    {"fused": True},
    {"fused": False},
)
STEPS = 4
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10, torch.complex128: 1e-10}
# torch does Muon's iteration in bfloat16, and keeps numbers of these in single precision.
ROUGH = {"Muon": 0.05, "NAdam": 2e-5, "ASGD": 2e-5}


@cache
def database():
    """Torch's table of optimizers and what they are tested with, by name."""
    profile = hypothesis.settings.get_current_profile_name()
    from torch.testing._internal.common_optimizers import optim_db

    hypothesis.settings.load_profile(profile)  # it has loaded torch's own
    return {info.name: info for info in optim_db}


def shapes(name):
    if name == "Muon":  # torch's takes matrices only, and its Adafactor divides by the size
        return [(4, 3), (2, 5)]
    return [(4, 3), (5,), (), (1, 1), *([] if name == "Adafactor" else [(0, 2)])]


def tensors(name, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for s in shapes(name)]


def params(name, dtype):
    return [torch.nn.Parameter(x) for x in tensors(name, dtype)]


def train(o, name, start, stop):
    ps = [p for group in o.param_groups for p in group["params"]]
    for t in range(start, stop):
        for p, g in zip(ps, tensors(name, ps[0].dtype, seed=t + 1), strict=True):
            p.grad = g
        o.step()
    return o


def close(name, ours, theirs):
    """Whether weights and state agree; the step's count by its value."""
    for p, q in zip(weights(ours), weights(theirs), strict=True):
        bound = ROUGH.get(name, TOLERANCE[p.dtype])
        pairs = [(p, q)]
        mine, other = ours.state.get(p, {}), theirs.state.get(q, {})
        other = {k: x for k, x in other.items() if x is not None}
        if mine.keys() != other.keys():
            return False
        pairs += [(torch.as_tensor(mine[k]), torch.as_tensor(other[k])) for k in other]
        for x, y in pairs:
            x, y = x.detach(), y.detach()
            if x.shape != y.shape or not torch.allclose(
                x.to(y.dtype), y, rtol=bound, atol=bound, equal_nan=True
            ):
                return False
    return True


def weights(o):
    return [p for group in o.param_groups for p in group["params"]]


def file(state_dict):
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def outcome(make, error_on_step=False):
    """What an input that torch refuses comes to: the error's type, and its text."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            o = make()
            if error_on_step:
                for p in weights(o):
                    p.grad = torch.ones_like(p)
                o.step()
        except (Exception, UserWarning) as e:
            return type(e), str(e)
    return None, ""


def inputs(name):
    return [i.kwargs for i in database()[name].optim_inputs_func("cpu")]


def differences(name):
    ours, theirs, info = getattr(optim, name), getattr(torch.optim, name), database()[name]
    found = set()

    def note(what, holds):
        if not holds:
            found.add(what)

    # ---- constructor, groups

    here, there = (inspect.signature(c).parameters for c in (ours, theirs))
    accepted = {*here, *ours([torch.ones(2, 2, requires_grad=True)]).defaults}
    note("signature", [*there] == [*here][: len(there)] or {*there} <= accepted)
    positional = [n for n, p in there.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    mine = [n for n, p in here.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    note("positional", positional == mine[: len(positional)])
    defaults = {n: p.default for n, p in there.items() if p.default is not p.empty}
    note("defaults", all(here[n].default == x for n, x in defaults.items() if n in here))
    group, other = (c(params(name, torch.float32)).param_groups[0] for c in (ours, theirs))
    note("group's keys", {*group} == {*other})
    note("group's values", all(group[k] == other[k] for k in other if k != "params"))

    # ---- steps: every input, dtype and way of execution

    for kwargs in inputs(name):
        for dtype in DTYPES:
            reference = train(theirs(params(name, dtype), **kwargs), name, 0, STEPS)
            for way in WAYS:
                o = train(ours(params(name, dtype), **{**kwargs, **way}), name, 0, STEPS)
                note("steps", close(name, o, reference))
            note("state", {*file(o.state_dict())["state"]} == {*reference.state_dict()["state"]})
            # Checkpoints both ways, and copies, in the middle.
            back = theirs(params(name, dtype), **kwargs)
            again = ours(params(name, dtype), **kwargs)
            half = train(ours(params(name, dtype), **kwargs), name, 0, 2)
            for x, source in ((back, half), (again, train(
                theirs(params(name, dtype), **kwargs), name, 0, 2))):  # fmt: skip
                x.load_state_dict(file(source.state_dict()))
                with torch.no_grad():
                    for p, q in zip(weights(x), weights(source), strict=True):
                        p.copy_(q)
                note("checkpoints", close(name, train(x, name, 2, STEPS), reference))
            twin = copy.deepcopy(half)
            note("copies", {*vars(twin)} >= {k for k in vars(half) if k[0] != "_"})
            note("copies", close(name, train(twin, name, 2, STEPS), reference))
            # Files from before torch had these flags.
            old = file(half.state_dict())
            for saved in old["param_groups"]:
                for flag in info.not_og_supported_flags:
                    saved.pop(flag, None)
            half.load_state_dict(old)
            note("old files", half.param_groups[0].keys() == again.param_groups[0].keys())

    numbers = []
    for c in (ours, theirs):
        o = train(c(params(name, torch.float32)), name, 0, 1)
        state = o.state.get(weights(o)[0], {})
        numbers.append({k: x.dtype for k, x in state.items() if k == "step" or x.dim() == 0})
    note("precision of single numbers", numbers[0] == numbers[1])

    # ---- other inputs of torch's tests

    def both(**options):
        return [c(params(name, torch.float64), **options) for c in (ours, theirs)]

    o, reference = both(lr=torch.tensor(0.01, dtype=torch.float64))
    note("lr tensor", close(name, train(o, name, 0, 3), train(reference, name, 0, 3)))
    if info.supports_complex:
        try:
            pair = [c(params(name, torch.complex128), foreach=False) for c in (ours, theirs)]
            note("complex", close(name, *(train(x, name, 0, 3) for x in pair)))
        except ValueError:
            found.add("complex")
    pair = []
    for c in (ours, theirs):
        first, *rest = params(name, torch.float64)
        decay = {"weight_decay": 0.1} if "weight_decay" in there else {}
        pair.append(c([{"params": [first], "lr": 0.02, **decay}, {"params": rest}]))
    note("groups", close(name, *(train(x, name, 0, 3) for x in pair)))
    for scheduler in info.scheduler_inputs:
        for make in scheduler if isinstance(scheduler, list | tuple) else [scheduler]:
            pair = both()
            for o in pair:
                drive = make(o)
                for t in range(3):
                    train(o, name, t, t + 1)
                    metric = isinstance(drive, torch.optim.lr_scheduler.ReduceLROnPlateau)
                    drive.step(*([1.0] if metric else []))
            note("schedulers", close(name, *pair))
    kept = []
    for o in both():
        before = [p.detach().clone() for p in weights(o)]
        kept.append((o.step(), o.state_dict()["state"].keys()))
        note("no gradients", all(map(torch.equal, before, weights(o))))
    note("no gradients", kept[0] == kept[1])
    pair = both()
    for o in pair:  # a gradient that comes and goes, and one that is zero
        for t, missing in enumerate((0, 1, None)):
            grads = tensors(name, torch.float64, seed=t)
            for i, p in enumerate(weights(o)):
                p.grad = None if i == missing else 0 * grads[i] if t == 1 else grads[i]
            o.step()
    note("missing gradients", close(name, *pair))
    pair = [c([torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).T
               .requires_grad_()]) for c in (ours, theirs)]  # fmt: skip
    for o in pair:
        for t in range(3):
            (p,) = weights(o)
            g = torch.randn(3, 8, dtype=p.dtype, generator=torch.Generator().manual_seed(t))
            p.grad = g[:, ::2].T
            o.step()
    note("strides", close(name, *pair))
    calls = []
    for o in both():
        o.register_step_pre_hook(lambda o, a, k: calls.append((len(a), sorted(k))))
        o.register_step_post_hook(lambda o, a, k: calls.append((len(a), sorted(k))))
        value = o.step(lambda: torch.tensor(3.0))
        calls.append(float(value))
    note("hooks and closures", calls[: len(calls) // 2] == calls[len(calls) // 2 :])
    pair = [c(zip("abcde", params(name, torch.float32), strict=False)) for c in (ours, theirs)]
    names = [x.state_dict()["param_groups"][0]["param_names"] for x in pair]
    note("names", names[0] == names[1])

    # ---- what torch refuses

    for error in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        given = error.optimizer_error_input
        on_step = error.error_on.name == "STEP_ERROR"

        def make(cls, given=given):
            fresh = copy.deepcopy(given.params)
            if fresh is None:
                fresh = params(name, torch.float32)
            return cls(fresh, **given.kwargs)

        kind, _ = outcome(lambda make=make: make(theirs), on_step)
        mine, _ = outcome(lambda make=make: make(ours), on_step)
        if kind is not None and (mine is None or not issubclass(mine, kind)):
            found.add(f"refused: {given.desc}")
    if "capturable" in there:
        results = [
            outcome(lambda c=c: train(c(params(name, torch.float32), capturable=True), name, 0, 1))
            for c in (ours, theirs)
        ]
        note("capturable", results[0][0] is results[1][0])

    # ---- what torch takes

    for what, value in (("negative lr later", -0.1), ("NaN lr later", float("nan"))):
        pair = both()
        for o in pair:
            o.param_groups[0]["lr"] = value
        results = [outcome(lambda o=o: train(o, name, 0, 1)) for o in pair]
        note(what, results[0][0] is results[1][0])
    return found
