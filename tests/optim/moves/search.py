"""The search for a sequence of moves that breaks a promise.

    PYTHONPATH=src:tests python -m optim.moves.search 10000 [FIRST SEED] [--shorten]

Sequences run in forks, so that one that ends in a segmentation fault is found and made shorter like
any other. What is printed can be given back: ``--replay 'Plan(...)'``.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
import traceback

import torch

from optim.moves import world
from optim.moves.moves import MOVES
from optim.moves.world import DTYPES, Plan
from thalweg.optim.registry import ALGORITHMS

SHAPES = ((), (7,), (3, 5), (4, 4), (2, 3, 4, 2), (0, 4), (1,), (3, 3), (70,), (33,))
LARGE = (40_001,)  # which several threads step
OPTIONS = (
    {},
    {},
    {"max_grad_norm": 0.5},
    {"weight_decay": 0.1},
    {"cautious": True},
    {"bounds": (-0.5, None)},
    {"state_dtype": torch.bfloat16},
    {"maximize": True},
    {"amsgrad": True},
    {"momentum": 0.0},
    {"momentum": 0.8},
    {"betas": (0.0, 0.9)},
    {"check_finite": "skip"},
)
ALWAYS = {"muon": {"ns_dtype": "float32"}}
ALIKE = 4  # sequences in a row that do with the same kernels, whose compilation takes the longest
PATIENCE = 60.0  # seconds that a sequence may take


def plan(seed, way=None):
    """A sequence at random."""
    recipe = random.Random(seed // ALIKE)
    algorithm = sorted(ALGORITHMS)[seed // ALIKE % len(ALGORITHMS)]
    options = {**ALWAYS.get(algorithm, {}), **recipe.choice(OPTIONS)}
    pick = random.Random(f"{seed} {way}")
    shapes = pick.sample(SHAPES, pick.randrange(1, 4))
    if pick.random() < 0.05 and algorithm not in ("muon", "soap"):
        shapes.append(LARGE)
    names, weights = list(MOVES), [m.weight for m in MOVES.values()]
    total = sum(m.weight for m in MOVES.values() if m.function is None)
    others = sum(m.weight for m in MOVES.values() if m.function is not None)
    weights = [
        w if MOVES[n].function is None else w * total / others
        for n, w in zip(names, weights, strict=True)
    ]
    moves = [
        (name, pick.randrange(4), pick.randrange(1000))
        for name in pick.choices(names, weights, k=pick.randrange(3, 16))
    ]
    if pick.random() < 0.8:
        moves[:0] = [("step", 0, 0), ("state gets canaries", 0, 0)]
    moves.append(("step", 0, 1))
    return Plan(
        algorithm=algorithm,
        options=options,
        dtype=recipe.choices(DTYPES, (5, 2, 2, 1, 1))[0],
        engine=pick.choices(("auto", "fused"), (3, 1))[0],
        shapes=tuple(shapes),
        way=pick.choice(PAGES) if way == "pages" else "canary",
        named=pick.random() < 0.3,
        apart=pick.random() < 0.5,
        moves=tuple(moves),
    )


PAGES = ("before a forbidden page", "behind a forbidden page")


def possible(plan):
    """Whether an optimizer can be made so at all."""
    try:
        world.World(plan)
    except (ValueError, TypeError):
        return False
    return True


def outcome(item):
    """What is wrong with a sequence, or a function, in one line; None if nothing."""
    try:
        if not isinstance(item, Plan):
            item()
        elif possible(item):
            world.run(item, MOVES)
    except Exception as e:
        if isinstance(e, world.Wrong):
            return str(e) or "wrong"
        where = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__}: {e} ({os.path.basename(where.filename)}:{where.lineno})"
    return None


def apart(plans):
    """Run sequences in a fork. Yields each one's outcome until one has crashed, the last."""
    read, write = os.pipe()
    crash = tempfile.TemporaryFile("w+")  # noqa: SIM115
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            faulthandler.enable(crash)
            for p in plans:
                text = (outcome(p) or "").replace("\n", " ")
                os.write(write, (text + "\n").encode()[-4000:])
        finally:
            os._exit(0)
    os.close(write)
    pending, done = b"", 0
    late = time.monotonic() + PATIENCE
    while done < len(plans):
        ready = select.select([read], [], [], max(0.0, late - time.monotonic()))[0]
        if not ready:
            os.kill(pid, signal.SIGKILL)
            yield f"no end within {PATIENCE:g} s"
            break
        data = os.read(read, 65536)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            done += 1
            late = time.monotonic() + PATIENCE
            yield line.decode() or None
    os.close(read)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        crash.seek(0)
        where = [line.strip() for line in crash if "File" in line][:4]
        yield f"{signal.Signals(os.WTERMSIG(status)).name} in {' < '.join(where)}"
    crash.close()


def search(seeds, way=None, each=None):
    """Plans that fail and how, of these seeds."""
    plans, found = [plan(s, way) for s in seeds], []
    while plans:
        done = 0
        for text in apart(plans):
            if text is not None:
                if text.startswith("SIG") and next(iter(apart(plans[done : done + 1]))) is None:
                    text += ", after what the sequences before it have done to memory"
                found.append((plans[done], text))
                if each is not None:
                    each(*found[-1])
            done += 1
        if done == 0:
            raise RuntimeError("a fork has ended without a word")
        plans = plans[done:]
    return found


def kind(text):
    """What a failure says, without its numbers."""
    text = text.split(": ", 1)[1] if text.startswith("move ") else text
    text = "".join("#" if c.isdigit() or c == "." else c for c in text)
    return re.sub("#[#-]*", "#", text)[:60]


def shorter(found, text, patience):
    """The same failure in fewer moves, parameters and options."""
    late = time.monotonic() + patience

    def fails(p):
        now = next(iter(apart([p])), None)
        return now is not None and kind(now)[:14] == kind(text)[:14]

    smaller = True
    while smaller and time.monotonic() < late:
        smaller = False
        for candidate in _smaller(found):
            if time.monotonic() < late and fails(candidate):
                found, smaller = candidate, True
                break
    return found


def _smaller(p):
    moves = p.moves
    for size in (len(moves) // 2, 1):
        for k in range(len(moves) - size, -1, -1) if size else ():
            yield dataclasses.replace(p, moves=moves[:k] + moves[k + size :])
    if len(p.shapes) > 1:
        for k in range(len(p.shapes)):
            yield dataclasses.replace(p, shapes=p.shapes[:k] + p.shapes[k + 1 :])
    for name in p.options:
        yield dataclasses.replace(p, options={k: v for k, v in p.options.items() if k != name})
    for simple in ({"named": False}, {"apart": False}, {"dtype": "float32"}, {"engine": "auto"},
                   {"algorithm": "sgd"}, {"algorithm": "adamw"}):  # fmt: skip
        changed = dataclasses.replace(p, **simple)
        if changed != p:
            yield changed


def serve(tables):
    """Answer names of sequences and functions, a line each, with what is wrong with them."""
    for line in sys.stdin:
        wrong = [t for t in apart(tables[line.strip()]) if t is not None]
        print(wrong[0] if wrong else "", flush=True)


def main(arguments):
    if arguments[:1] == ["--replay"]:
        text = outcome(eval(arguments[1], {"Plan": Plan, "torch": torch}))
        print(text or "nothing is wrong")
        return int(text is not None)
    count = int(arguments[0])
    first = int(arguments[1]) if len(arguments) > 1 and arguments[1].isdigit() else 0
    start, kinds = time.monotonic(), {}

    def each(p, text):
        kinds.setdefault(kind(text), []).append((p, text))

    block = 1000
    for s in range(first, first + count, block):
        for way in ("canary", "pages"):
            search(range(s, min(s + block, first + count), 1 if way == "canary" else 3), way, each)
        counts = {k: len(v) for k, v in kinds.items()}
        done = min(s + block - first, count)
        print(f"{done}, {time.monotonic() - start:.0f} s, {counts}", file=sys.stderr, flush=True)
    patience = 15.0 if "--shorten" in arguments else 0.0
    for name, examples in sorted(kinds.items(), key=lambda item: -len(item[1])):
        found, text = min(examples, key=lambda e: len(e[0].moves))
        print(f"\n{len(examples)} x {name}\n  {shorter(found, text, patience)!r}\n  {text}")
    return int(bool(kinds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
