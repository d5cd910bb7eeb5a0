"""What every optimizer computes, as one line of hashes per set of options.

    python scripts/fingerprint.py > before.txt      and, after a change that should change nothing,
    python scripts/fingerprint.py > after.txt; diff before.txt after.txt

A line holds the class, its options, and hashes of its kernels (LLVM IR), of its checkpoint and of
the weights after four steps on the fused and on the plain engine; or the error that the options
raise. Kernels are those of this processor and these versions: compare on one machine only.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer

COMMON: list[dict[str, Any]] = [
    {"maximize": True},
    {"cautious": True},
    {"max_grad_norm": 0.5},
    {"bounds": (-0.5, None)},
    {"state_dtype": torch.bfloat16},
]
NUMBERS: list[dict[str, Any]] = [{"weight_decay": 0.1}, {"lr": 0.0}, {"momentum": 0.9}]
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
STEPS = 4


def option_sets(cls: Any) -> Iterator[dict[str, Any]]:
    """Every two forms of the rule together, and each form with one option more."""
    known = inspect.signature(cls).parameters
    forms = [{name: x} for name, choices in cls.flags.items() for x in choices if name in known]
    more = [*COMMON, *(n for n in NUMBERS if n.keys() <= known.keys())]
    sets = [{}, *(a | b for a, b in itertools.combinations(forms, 2) if a.keys() != b.keys())]
    sets += [form | other for form in ({}, *forms) for other in ({}, *more)]
    yield from {repr(options): options for options in sets}.values()


def digest(x: bytes | str) -> str:
    return hashlib.sha256(x if isinstance(x, bytes) else x.encode()).hexdigest()[:12]


def contents(x: Any) -> Any:
    """A checkpoint without what differs from file to file."""
    if isinstance(x, Tensor):
        flat = x.detach().contiguous().flatten()
        return str(x.dtype), tuple(x.shape), digest(flat.view(torch.uint8).numpy().tobytes())
    if isinstance(x, dict):
        return {str(k): contents(v) for k, v in sorted(x.items(), key=lambda pair: str(pair[0]))}
    return [contents(v) for v in x] if isinstance(x, list | tuple) else repr(x)


def evaluate(params: Sequence[Tensor], generator: torch.Generator) -> float:
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return 1.0


def fingerprint(cls: Any, options: dict[str, Any], dtype: torch.dtype) -> str:
    found = []
    for engine in ("fused", "plain"):
        g = torch.Generator().manual_seed(0)
        sides = (3, 4), (5, 2)
        params = [torch.nn.Parameter(torch.randn(s, generator=g, dtype=dtype)) for s in sides]
        optimizer = cls(params, engine=engine, **options)

        for _ in range(STEPS):
            optimizer.step(functools.partial(evaluate, params, g))
        kernels = [batch.kernel.ir for batch in optimizer.batches if hasattr(batch, "kernel")]
        found.append(f"{len(kernels)} {digest(''.join(kernels))}")
        found += [digest(repr(contents(x))) for x in (optimizer.state_dict(), params)]
    return "  ".join(found)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    classes = [getattr(optim, name) for name in sys.argv[1:] or optim.__all__]
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, RuleOptimizer)):
            continue
        for options, dtype in itertools.product(option_sets(cls), DTYPES):
            if dtype is not torch.float32 and len(options) > 1:
                continue
            try:
                found = fingerprint(cls, options, dtype)
            except (TypeError, ValueError, RuntimeError) as error:
                found = f"{type(error).__name__}: {error}"
            print(cls.__name__, dtype, dict(sorted(options.items())), found, sep="  ", flush=True)


if __name__ == "__main__":
    main()
