"""``thalweg bench``: how long a step takes, beside torch's and beside what memory allows.

All contenders of a row are timed in turn, round by round, in one process, so that a busy machine
slows all of them; what is reported are medians, and the median of the rounds' ratios.
"""

from __future__ import annotations

import functools
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.registry import Algorithm

Shapes = list[tuple[int, ...]]
STREAM = 100_000_000  # floats in each of the two arrays that measure the streaming bandwidth


def resnet50() -> Shapes:
    """The 161 parameters of ResNet-50 for 1000 classes: 25.6 million weights."""
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            for shape in ((width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)):
                shapes += [shape, shape[:1], shape[:1]]
            if block == 0:
                shapes += [(4 * width, inputs, 1, 1), (4 * width,), (4 * width,)]
            inputs = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


def gpt2() -> Shapes:
    """The 148 parameters of GPT-2 (small): 124.4 million weights."""
    n = 768
    block: Shapes = [(n,), (n,), (3 * n, n), (3 * n,), (n, n), (n,)]
    block += [(n,), (n,), (4 * n, n), (4 * n,), (n, 4 * n), (n,)]
    return [(50257, n), (1024, n), *(block * 12), (n,), (n,)]


def mlp() -> Shapes:
    """The 4 parameters of a 784-100-10 perceptron: 79 510 weights."""
    return [(100, 784), (100,), (10, 100), (10,)]


MODELS: dict[str, Callable[[], Shapes]] = {"mlp": mlp, "resnet50": resnet50, "gpt2": gpt2}


@dataclass(frozen=True)
class Row:
    """One optimizer on one model's parameters. Times in seconds per step."""

    model: str
    weights: int
    tensors: int
    algorithm: str
    engine: str
    seconds: float
    bytes_per_weight: int  # that the trace says must move
    passes: int
    gigabytes_per_second: float
    share_of_stream: float  # of the bandwidth of a.add_(b), measured in the same rounds
    torch: Mapping[str, float] = field(default_factory=dict)  # variant -> ours / torch's


@dataclass(frozen=True)
class Iteration:
    """A whole training iteration of the small network: what the step is a part of."""

    optimizer: str
    seconds: float
    step_share: float


@dataclass(frozen=True)
class Bench:
    """Everything that was measured, and on what."""

    machine: str
    threads: int
    stream: float  # GB/s of a.add_(b) on two arrays of STREAM floats
    rows: tuple[Row, ...]
    iterations: tuple[Iteration, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def rounds(
    contenders: Mapping[str, Callable[[], Any]], count: int, warm: int = 3
) -> dict[str, list[float]]:
    """Seconds of each contender, each once per round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(warm + count):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if i >= warm:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of ours / theirs."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def parameters(shapes: Shapes) -> list[Tensor]:
    """Random weights with gradients a hundredth of their size."""
    g = torch.Generator().manual_seed(0)
    params = [torch.randn(s, generator=g).requires_grad_() for s in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=g) * 0.01
    return params


def torch_variants(algorithm: Algorithm, params: list[Tensor]) -> dict[str, torch.optim.Optimizer]:
    """Torch's own optimizer of this name in each of the ways in which it can loop."""
    cls = getattr(torch.optim, algorithm.optimizer.__name__, None)
    found: dict[str, torch.optim.Optimizer] = {}
    for variant, flags in (
        ("loop", {"foreach": False}),
        ("foreach", {"foreach": True}),
        ("fused", {"fused": True}),
    ):
        try:
            if cls is not None:
                found[variant] = cls(params, lr=1e-6, **algorithm.options, **flags)
        except (TypeError, RuntimeError):
            continue  # torch has no such loop for this algorithm
    return found


def stepping(optimizer: RuleOptimizer, params: Sequence[Tensor]) -> Callable[[], Any]:
    """A step as a call; every gradient it asks for is the one that is there."""
    if len(optimizer.phases()) == 1:
        return optimizer.step
    gradients = [p.grad for p in params]

    def closure() -> float:
        for p, g in zip(params, gradients, strict=True):
            p.grad = g
        return 0.0

    return functools.partial(optimizer.step, closure)


def traffic(optimizer: RuleOptimizer) -> tuple[int, int]:
    """Bytes per weight and passes over memory of the last step, as the trace plans them."""
    several = optimizer.phases()
    if len(several) > 1:  # and a copy between them, which leads back
        parts = [traffic(o) for o in several if isinstance(o, RuleOptimizer)]
        copy = 2 * optimizer.param_groups[0]["params"][0].element_size()
        return sum(b for b, _ in parts) + copy, sum(p for _, p in parts) + 1
    work = optimizer.batches[0].work
    group = optimizer.param_groups[0]
    p = group["params"][0]
    stored = {s: optimizer.state[p][k].element_size() for s, k in work.keys.items()}
    sizes = {"w": p.element_size(), "g": p.element_size(), **stored}
    return work.graph.bytes_moved(sizes.__getitem__), len(work.graph.passes)


def measure(
    algorithms: Sequence[Algorithm],
    models: Sequence[str],
    engines: Sequence[str] = ("fused", "plain"),
    report: Callable[[Row], None] = lambda row: None,
) -> Bench:
    """Time every algorithm on every model's parameters; ``report`` sees each row as it comes."""
    a, b = torch.zeros(STREAM), torch.ones(STREAM)
    found = []
    streams = []
    for model in models:
        params = parameters(MODELS[model]())
        weights = sum(p.numel() for p in params)
        count = 300 if weights < 1_000_000 else 15 if weights < 50_000_000 else 7
        for algorithm in algorithms:
            theirs = torch_variants(algorithm, params)
            for engine in engines:
                ours = algorithm.build(params, lr=1e-6, engine=engine)
                calls: dict[str, Callable[[], Any]] = {"ours": stepping(ours, params)}
                calls |= {name: o.step for name, o in theirs.items()}
                times = rounds(calls, count)
                stream = min(5, count)
                adds = rounds({"add": lambda: a.add_(b)}, stream, warm=1)["add"]
                streams += adds
                bandwidth = 12 * STREAM / statistics.median(adds)
                seconds = statistics.median(times["ours"])
                moved, passes = traffic(ours)
                row = Row(
                    model, weights, len(params), algorithm.name, engine, seconds, moved, passes,
                    moved * weights / seconds / 1e9, moved * weights / seconds / bandwidth,
                    {name: ratio(times["ours"], times[name]) for name in theirs},
                )  # fmt: skip
                found.append(row)
                report(row)
    bandwidth = 12 * STREAM / statistics.median(streams) / 1e9 if streams else float("nan")
    machine = f"{platform.machine()}, {platform.system()}, torch {torch.__version__}"
    return Bench(machine, torch.get_num_threads(), bandwidth, tuple(found), iterations(algorithms))


def iterations(algorithms: Sequence[Algorithm]) -> tuple[Iteration, ...]:
    """A whole iteration (forward, backward, step) of the 784-100-10 network at batch size 100."""
    steady = [a for a in algorithms if len(a.build([torch.zeros(1)], lr=1e-6).phases()) == 1]
    return tuple(row for a in steady for row in _iterations(a))


def _iterations(algorithm: Algorithm) -> list[Iteration]:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 784, generator=g), torch.randint(0, 10, (100,), generator=g)
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    theirs = torch_variants(algorithm, list(model.parameters()))
    contenders: dict[str, torch.optim.Optimizer] = {
        f"thalweg {algorithm.name}": algorithm.build(model.parameters(), lr=1e-6),
        **{f"torch {algorithm.name} ({v})": o for v, o in theirs.items()},
    }
    steps: dict[str, list[float]] = {name: [] for name in contenders}

    def iterate(name: str, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        start = time.perf_counter()
        optimizer.step()
        steps[name].append(time.perf_counter() - start)

    calls = {name: functools.partial(iterate, name, o) for name, o in contenders.items()}
    found = []
    for name, seconds in rounds(calls, 200).items():
        whole = statistics.median(seconds)
        found.append(Iteration(name, whole, statistics.median(steps[name][-200:]) / whole))
    return found
