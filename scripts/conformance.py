"""Writes docs/conformance.md: what each optimizer was compared with, and how close it came.

    python scripts/conformance.py

The rows are those of tests/optim/table.py, the figures the worst of 200 steps in float64 over all
option sets and both engines, each element relative to the largest value it has had.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

HOME = Path(__file__).parent.parent
sys.path.insert(0, str(HOME / "tests"))

from optim.table import ENGINES, ROWS, Row  # noqa: E402
from optim.training import contents, gradients, step, tensors  # noqa: E402
from thalweg.optim import SAM  # noqa: E402
from thalweg.report.docstring import sections  # noqa: E402

STEPS, SHAPES = 200, ((), (3, 7))
PACKAGES = {"torch": "torch", "madgrad": "madgrad", "adabelief_pytorch": "adabelief-pytorch",
            "schedulefree": "schedulefree"}  # fmt: skip


def difference(row: Row) -> float:
    """The worst relative deviation of any element at any step."""
    worst = 0.0
    for options in row.options:
        for engine in ENGINES:
            ours = row.make(tensors(shapes=SHAPES), engine=engine, **options)
            theirs = row.theirs(tensors(shapes=SHAPES), **options)
            peak: dict[object, torch.Tensor] = {}
            for grads in gradients(STEPS, shapes=SHAPES):
                step(ours, grads)
                step(theirs, grads)
                here, there = contents(ours), contents(theirs)
                for key, x in there.items():
                    peak[key] = torch.maximum(x.abs(), peak.get(key, torch.zeros_like(x)))
                    off = ((here[key] - x).abs() / peak[key])[(peak[key] > 0) & x.isfinite()]
                    worst = max(worst, float(off.max()) if off.numel() else 0.0)
    return worst


def source(row: Row) -> str:
    """What the row is compared with."""
    parts = list(flat(row.theirs))
    functions = [f for f in parts if inspect.isfunction(f)]
    bases = [c for part in parts if inspect.isclass(part) for c in part.__mro__]
    if any(c.__module__ == "reference.straight" for c in bases):
        written = [f.__module__ for f in functions] or [parts[0].__module__]
        return f"straight-line NumPy, `tests/{written[-1].replace('.', '/')}.py`"
    # An adapter's module has imported what it adapts.
    own = {f.__module__ for f in functions} | {c.__module__ for c in bases}
    own = {m for m in own if m.startswith("reference.")}
    around = [x for m in sorted(own) for x in vars(sys.modules[m]).values()]
    found = [n for n in map(named, (*bases, *around)) if n]
    return found[0] if found else f"straight-line NumPy, `tests/{min(own).replace('.', '/')}.py`"


def flat(theirs: Any) -> Iterator[Any]:
    if isinstance(theirs, partial):
        for part in (theirs.func, *theirs.args, *theirs.keywords.values()):
            yield from flat(part)
    else:
        yield theirs


def named(x: Any) -> str:
    """The package that a class or function comes from, if it is one of those compared with."""
    module = getattr(x, "__module__", None) or getattr(x, "__name__", "") or ""
    top = module.split(".")[0]
    if top not in PACKAGES or (top == "torch" and not module.startswith("torch.optim")):
        return ""
    if module == "torch.optim.optimizer":  # everybody's base
        return ""
    return f"{PACKAGES[top]} {version(PACKAGES[top]).partition('+')[0]}"


def state(row: Row) -> str:
    """Bytes of state per float32 weight with default options and with the most of them."""
    found = []
    for options in (row.options[-1], max(row.options, key=len)):
        p = torch.zeros(256, 256, requires_grad=True)
        found.append(row.make([p], **options).memory().total / p.numel())
    return "–".join(f"{x:.3g}" for x in sorted(set(found)))


def main() -> None:
    warnings.simplefilter("ignore")
    text = (HOME / "docs" / "conformance.md.in").read_text()
    first_column = " ".join(re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE))
    classes = {cls.__name__ for cls in (*(row.ours for row in ROWS), SAM)}
    if missing := classes - set(re.findall(r"\w+", first_column)):
        raise SystemExit(f"conformance.md.in does not say which source is official: {missing}")
    lines = [
        "| row | compared with | option sets | worst difference | state, bytes per weight |",
        "| --- | --- | --: | --: | --: |",
    ]
    for row in ROWS:
        print(row.name, file=sys.stderr)
        worst = f"{difference(row):.1e}"
        lines.append(
            f"| {row.name} | {source(row)} | {len(row.options)} | {worst} | {state(row)} |"
        )
    parts = []
    for cls in dict.fromkeys(row.ours for row in ROWS):
        told = sections(inspect.getdoc(cls) or "")
        said = " ".join(told.get("Where papers and code disagree", "").split())
        reference = " ".join(told.get("Reference", "").split())
        parts += [f"### {cls.__name__}", "", textwrap.fill(said, 100), "", f"*{reference}*", ""]
    text = text.replace("{table}", "\n".join(lines)).replace("{differences}", "\n".join(parts))
    (HOME / "docs" / "conformance.md").write_text(text.rstrip() + "\n")


if __name__ == "__main__":
    main()
