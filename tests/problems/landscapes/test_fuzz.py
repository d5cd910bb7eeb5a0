"""Ten thousand hostile formulas: nothing is run, and each is answered within a second."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import pytest
import torch

from thalweg.problems.landscapes import LANDSCAPES, FormulaError, parse

SLOWEST = 1.0  # seconds of the processor, which others may have meanwhile
ALPHABET = [
    "x",
    "y",
    "sin",
    "max",
    "where",
    "(",
    ")",
    ",",
    "+",
    "-",
    "*",
    "/",
    "^",
    "**",
    "<",
    "==",
]
ALPHABET += ["2", ".5", "1e3", "pi", "e", " ", "abs", "atan2"]

ATTACKS = (
    "__import__('os').system('touch {p}')",
    "x.__class__.__mro__[1].__subclasses__()",
    'exec(\'open("{p}", "w")\')',
    "eval(compile('1', '', 'eval'))",
    "open('{p}', 'w')",
    "(lambda: open('{p}', 'w'))()",
    "[open('{p}', 'w') for x in y]",
    "f'{{open(chr(47))}}'",
    "getattr(x, '__class__')",
    "globals()",
    "x if open('{p}', 'w') else y",
    "(x := open('{p}', 'w'))",
    "__builtins__",
    "sin.__globals__",
    "sin(__import__('os'))",
    "x; import os",
    "x\nimport os",
    "import os",
    "@x",
    "${{x}}",
    "`touch {p}`",
    "$(touch {p})",
    "x # y",
    "%s%n",
    "torch.load('{p}')",
    "numpy.load('{p}')",
    "where(open('{p}', 'w') > 0, 1, 2)",
    "_",
    "__",
    "x\x00y",
    "\ufeffx",
    "ｘ + ｙ",
    "\u202ex + y",
    "१२३*x",
    "𝐱^2",
)


def nested(n: int) -> tuple[str, ...]:
    return (
        "(" * n + "x" + ")" * n,
        "(" * n,
        ")" * n,
        "-" * n + "x",
        "+-" * n + "x",
        "sin(" * n + "x" + ")" * n,
        "x^" * n + "x",
        "9^" * n + "9*x",
        "where(x<" * n + "x" + ",1,2)" * n,
        "x/" * n + "x",
        "x+" * n + "x",
        "x*-" * n + "x",
        "max(x,y)+" * n + "x",
        "max(" + "x," * n + "x)",
        "1" * n + "*x",
        "." * n,
        "0." + "0" * n + "1*x",
        "1e" + "9" * n + "*x",
        "1e-" + "9" * n + "*x",
        "x" * n,
        "2" + "x" * n,
        "x" + "1" * n,
        "_" * n,
        " " * n + "x",
        "e" * n,
        "(x-" * n + "1" + ")^2" * n,
        "\x00" * n,
        "é" * n,
    )


def hostile(r: random.Random, canary: str) -> Iterator[str]:
    """Ten thousand texts."""
    valid = [f.formula for f in LANDSCAPES.values()]
    attacks = [a.format(p=canary) for a in ATTACKS]
    yield from attacks
    sizes = (1, 2, 9, 12, 13, 24, 25, 26, 99, 1000, 3000, 9000, 20_000, 1_000_000)
    counted = len(attacks)
    for n in sizes:
        yield from nested(n)
        counted += len(nested(n))
    for i in range(10_000 - counted):
        base = r.choice(valid)
        place = r.randrange(len(base))
        match i % 5:
            case 0:  # an attack inside a formula
                yield base[:place] + r.choice(attacks) + base[place:]
            case 1:  # words of the language in any order
                yield "".join(r.choices(ALPHABET, k=r.randrange(1, 60)))
            case 2:  # any characters
                yield "".join(chr(r.choice((r.randrange(128), r.randrange(0xD800)))) for _ in base)
            case 3:  # characters lost, doubled or exchanged
                text = list(base)
                for _ in range(r.randrange(1, 4)):
                    at = r.randrange(len(text))
                    text[at] = r.choice(("", text[at] * 2, r.choice("xy+-*/^(),.19e<")))
                yield "".join(text)
            case _:  # a piece of one formula in another
                other = r.choice(valid)
                at = r.randrange(len(other))
                yield base[:place] + other[at : at + r.randrange(1, 12)] + base[place:]


@pytest.fixture(scope="module")
def audited() -> Iterator[list[str]]:
    """What the interpreter compiles, runs, imports or opens while `watching` is on."""
    events: list[str] = []
    watched = ("exec", "compile", "import", "open", "os.", "subprocess.", "socket.", "ctypes.")

    def hook(event: str, args: object) -> None:
        if audited_on[0] and event.startswith(watched):
            events.append(f"{event}: {args!r}"[:200])

    sys.addaudithook(hook)  # cannot be taken away again, only silenced
    return events


audited_on = [False]


def test_hostile_formulas(audited, tmp_path):
    texts = list(hostile(random.Random(5), str(tmp_path / "canary")))
    assert len(texts) == 10_000
    warm = parse("max(sin(x), 2)/x + where(x > 1, x, 2)^2")
    warm.gradient([1.0])  # what torch imports at first use
    warm.latex()
    read, slowest, thrown = 0, 0.0, []
    audited_on[0] = True
    try:
        for text in texts:
            start = time.thread_time()
            try:
                f = parse(text)
                x = torch.full((2, f.dim), 0.7, dtype=torch.float64)
                assert f(x).shape == (2,)
                assert f.gradient(x).shape == x.shape
                f.latex()
                read += 1
            except FormulaError as error:
                if not (0 <= error.place <= len(text) and len(str(error)) < 400):
                    thrown.append((text[:80], str(error)[:80]))
            except Exception as error:
                thrown.append((text[:80], repr(error)[:80]))
            slowest = max(slowest, time.thread_time() - start)
    finally:
        audited_on[0] = False
    assert thrown == []
    assert audited == []
    assert list(tmp_path.iterdir()) == []
    assert slowest < SLOWEST
    assert read > 500  # enough of them are formulas, so that values were computed too


def test_the_audit_would_notice(audited):
    audited_on[0] = True
    try:
        eval("1 + 1")
    finally:
        audited_on[0] = False
    assert any(e.startswith("compile") for e in audited)
    audited.clear()
