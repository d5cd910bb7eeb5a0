"""Every algorithm's fused step against the fastest that torch and the packages people install have
for it, side by side in one process, on ResNet-50's parameters.

    pip install -c constraints.txt pytorch_optimizer==4.1.0 schedulefree madgrad adabelief-pytorch
    python benchmarks/packages.py                 all of them, some minutes
    python benchmarks/packages.py adan lamb       some of them

Ratios are medians over rounds of theirs / ours: how many times as fast ours is than the best of the
others. ``share`` is of the bandwidth of an in-place add, for the bytes that the trace says must
move; what matrix words move is not counted. SOAP is timed over a whole refresh period, by means.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from thalweg import optim
from thalweg.lab.bench import MODELS, STREAM, parameters, rounds, traffic

# At least how many times as fast as the best of the others, and at least which share of the stream.
WANTED = {
    "Rprop": 5.0, "Adai": 3.8, "Adadelta": 3.0, "NAdam": 3.0, "RAdam": 3.0, "AdaBelief": 3.0,
    "MADGRAD": 3.0, "Adan": 2.5, "AdEMAMix": 2.5, "ScheduleFreeAdamW": 2.5, "ADOPT": 2.0,
    "Lion": 2.0, "LAMB": 2.0, "Prodigy": 1.8, "Padam": 1.6, "ScheduleFreeSGD": 1.6, "Muon": 1.0,
    "SOAP": 2.0, "Adafactor": 2.0,
}  # fmt: skip
SHARE = {"one pass": 0.85, "reductions": 0.75}
THEIR_NAMES = {"LAMB": "Lamb", "Adafactor": "AdaFactor", "Padam": "PAdam"}
MATRICES = ("Muon", "SOAP", "Adafactor")
COUNT = 11


def others(name: str, params: list[Any]) -> dict[str, torch.optim.Optimizer]:
    """Everything that torch, official packages and pytorch_optimizer offer under a name."""
    found: dict[str, torch.optim.Optimizer] = {}

    def offer(label: str, make: Callable[[], torch.optim.Optimizer]) -> None:
        try:
            found[label] = make()
        except Exception as e:
            print(f"        {name}: no {label} ({type(e).__name__}: {e})".splitlines()[0])

    theirs = getattr(torch.optim, name, None)
    if theirs is not None:
        flags = [{"foreach": False}, {"foreach": True}, {"fused": True}] if name != "Muon" else [{}]
        for f in flags:
            label = "torch " + (next(iter(f)) if f and next(iter(f.values())) else "loop")
            offer(label, lambda f=f: theirs(params, lr=1e-6, **f))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_optimizer

        collected = getattr(pytorch_optimizer, THEIR_NAMES.get(name, name), None)
        if collected is not None:
            groups = [{"params": params, "use_muon": True}] if name == "Muon" else params
            offer("pytorch_optimizer", lambda: collected(groups, lr=1e-6))
        if name == "MADGRAD":
            import madgrad

            offer("madgrad", lambda: madgrad.MADGRAD(params, lr=1e-6))
        if name == "AdaBelief":
            from adabelief_pytorch import AdaBelief

            offer("adabelief-pytorch", lambda: AdaBelief(params, lr=1e-6, print_change_log=False))
        if name.startswith("ScheduleFree"):
            import schedulefree

            cls = getattr(schedulefree, name.replace("ScheduleFree", "") + "ScheduleFree")
            offer("schedulefree", lambda: cls(params, lr=1e-6, foreach=False))
            offer("schedulefree foreach", lambda: cls(params, lr=1e-6, foreach=True))
    for o in found.values():
        if hasattr(o, "train"):
            o.train()
    return found


def measure(name: str) -> None:
    params = parameters(MODELS["resnet50"]())
    if name == "Muon":  # convolutions as the matrices that they are
        shapes = [s for s in MODELS["resnet50"]() if len(s) == 4]
        params = parameters([(s[0], s[1] * s[2] * s[3]) for s in shapes])
    ours = getattr(optim, name)(params, lr=1e-6)
    theirs = others(name, params)
    count = {"Muon": 5, "SOAP": 10}.get(name, COUNT)  # SOAP's refresh period is ten steps
    times = rounds({"ours": ours.step, **{k: o.step for k, o in theirs.items()}}, count, warm=2)
    middle = statistics.fmean if name == "SOAP" else statistics.median
    line = f"{name:18} {1e3 * middle(times['ours']):8.1f} ms"
    if name not in MATRICES:
        a, b = torch.zeros(STREAM), torch.ones(STREAM)
        adds = rounds({"ours": ours.step, "add": lambda: a.add_(b)}, 7, warm=1)
        moved, passes = traffic(ours)
        weights = sum(p.numel() for p in params)
        rate = moved * weights / statistics.median(adds["ours"])
        share = rate / (12 * STREAM / statistics.median(adds["add"]))
        least = SHARE["one pass" if passes == 1 else "reductions"]
        line += f"  {moved:3} bytes, {passes} pass{'es' if passes > 1 else '  '}, share {share:.2f}"
        line += f" ({'ok' if share >= least else 'MISSED'}, at least {least})"
    if theirs:
        best = min(theirs, key=lambda k: middle(times[k]))
        if name == "SOAP":
            faster = middle(times[best]) / middle(times["ours"])
        else:
            faster = statistics.median(
                t / o for t, o in zip(times[best], times["ours"], strict=True)
            )
        line += f"  {faster:.2f} x as fast as {best}"
        if name in WANTED:
            verdict = "ok" if faster >= WANTED[name] else "MISSED"
            line += f" ({verdict}, at least {WANTED[name]})"
    print(line, flush=True)


if __name__ == "__main__":
    known = {n.lower(): n for n in WANTED}
    chosen = [known[a.lower()] for a in sys.argv[1:]] or list(WANTED)
    for algorithm in chosen:
        measure(algorithm)
