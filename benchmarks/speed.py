"""The spine's promises about speed and memory, each measured beside torch in one process.

    python benchmarks/speed.py            all of them, a few minutes
    python benchmarks/speed.py ratios     one of: ratios, rmsprop, clipping, bfloat16, start, memory

Ratios are medians over rounds of ours / theirs; a busy machine slows both.
"""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
import threading
import time

import torch

from thalweg import optim
from thalweg.lab.bench import MODELS, parameters, ratio, rounds

OPTIONS = {"SGD": {"momentum": 0.9}, "Adagrad": {}, "Adam": {}, "AdamW": {}}
COUNT = {"mlp": 400, "resnet50": 31, "gpt2": 11}


def say(what: str, found: float, limit: float, unit: str = "x torch's fused") -> None:
    verdict = "ok" if found <= limit else "MISSED"
    print(f"{verdict:6}  {what:58} {found:6.3f} (at most {limit}) {unit}", flush=True)


def ratios() -> None:
    """Fused step against torch's fused=True, alone and straight after a matrix product."""
    x = torch.randn(700, 700)
    for model in MODELS:
        params = parameters(MODELS[model]())
        for name, options in OPTIONS.items():
            ours = getattr(optim, name)(params, lr=1e-6, engine="fused", **options)
            theirs = getattr(torch.optim, name)(params, lr=1e-6, fused=True, **options)
            t = rounds({"ours": ours.step, "theirs": theirs.step}, COUNT[model])
            limit = 0.75 if model == "mlp" else 1.05
            say(f"{name} on {model}", ratio(t["ours"], t["theirs"]), limit)
            pair: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(COUNT[model]):
                for key, o in (("ours", ours), ("theirs", theirs)):
                    x @ x
                    start = time.perf_counter()
                    o.step()
                    pair[key].append(time.perf_counter() - start)
            say(
                f"{name} on {model}, after a matrix product",
                ratio(pair["ours"], pair["theirs"]),
                limit,
            )


def rmsprop() -> None:
    """RMSprop against the faster of torch's loop and foreach: at least 2.2 times as fast."""
    for model in ("resnet50", "gpt2"):
        params = parameters(MODELS[model]())
        calls = {
            "ours": optim.RMSprop(params, lr=1e-6, engine="fused").step,
            "loop": torch.optim.RMSprop(params, lr=1e-6, foreach=False).step,
            "foreach": torch.optim.RMSprop(params, lr=1e-6, foreach=True).step,
        }
        t = rounds(calls, COUNT[model])
        best = min(("loop", "foreach"), key=lambda k: statistics.median(t[k]))
        found = ratio(t["ours"], t[best])
        say(f"RMSprop on {model} ({1 / found:.1f} times as fast)", found, 0.45, f"x torch's {best}")


def clipping() -> None:
    """AdamW with global-norm clipping against torch's fused AdamW without it."""
    for model in ("resnet50", "gpt2"):
        params = parameters(MODELS[model]())
        ours = optim.AdamW(params, lr=1e-6, engine="fused", max_grad_norm=1.0)
        theirs = torch.optim.AdamW(params, lr=1e-6, fused=True)

        def both() -> None:
            torch.nn.utils.clip_grad_norm_(params, 1e9)  # noqa: B023  (called in this round)
            theirs.step()  # noqa: B023

        t = rounds({"ours": ours.step, "theirs": theirs.step, "both": both}, COUNT[model])
        say(f"AdamW with clipping on {model}", ratio(t["ours"], t["theirs"]), 1.25)
        print(
            f"        torch's clip_grad_norm_ and fused AdamW: {ratio(t['both'], t['theirs']):.2f}"
        )


def bfloat16() -> None:
    """AdamW with bfloat16 moments against float32 moments."""
    params = parameters(MODELS["gpt2"]())
    calls = {
        "ours": optim.AdamW(params, lr=1e-6, engine="fused", state_dtype=torch.bfloat16).step,
        "theirs": optim.AdamW(params, lr=1e-6, engine="fused").step,
    }
    t = rounds(calls, COUNT["gpt2"])
    say("AdamW, bfloat16 moments on gpt2", ratio(t["ours"], t["theirs"]), 0.85, "x float32 moments")


def start() -> None:
    """Seconds of the first step in a fresh process, and of the import."""
    first = (
        "import time, torch; from thalweg import optim\n"
        "p = torch.randn(1000, requires_grad=True); p.grad = torch.randn(1000)\n"
        "t = time.perf_counter()\n"
        "o = optim.AdamW([p], engine='fused'); o.zero_grad(False); o.step()\n"
        "print(time.perf_counter() - t)"
    )
    importing = (
        "import time, torch; t = time.perf_counter(); import thalweg.optim\n"
        "print(time.perf_counter() - t)"
    )
    for what, code, limit in (
        ("optimizer and first step in a fresh process", first, 0.7),
        ("import thalweg.optim after import torch", importing, 0.1),
    ):
        command = [sys.executable, "-c", code]
        runs = [
            subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(7)
        ]
        say(what, statistics.median(float(r.stdout) for r in runs), limit, "s")


def memory() -> None:
    """Peak resident memory over 20 GPT-2-sized steps, beyond the state."""
    params = parameters(MODELS["gpt2"]())
    warm = torch.randn(1000, requires_grad=True)
    warm.grad = torch.randn(1000)
    optim.AdamW([warm], engine="fused").step()  # compiled once for all
    o = optim.AdamW(params, lr=1e-6, engine="fused")
    state = sum(2 * p.numel() * 4 for p in params)
    ctypes.CDLL(None).malloc_trim(0)  # else what building the parameters left counts as ours
    before = peak = resident()
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.0005):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(20):
        o.step()
    stop.set()
    watcher.join()
    over = (max(peak, resident()) - before - state) / 2**20
    say("memory over 20 steps on gpt2, beyond the state", over, 8.0, "MiB")


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


ALL = {f.__name__: f for f in (ratios, rmsprop, clipping, bfloat16, start, memory)}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        ALL[name]()
