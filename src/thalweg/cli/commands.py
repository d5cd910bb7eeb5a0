"""What each command does; exit codes are those of :mod:`thalweg.cli`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.cli.arguments import Mistake, parser
from thalweg.terminal import one_line

if TYPE_CHECKING:
    from thalweg.optim.registry import Algorithm


def race(options: argparse.Namespace) -> int:
    from thalweg import lab
    from thalweg.lab.store import Unusable
    from thalweg.problems.problem import Unavailable

    try:
        plan = lab.plan(
            options.problem,
            options.optimizers,
            options.seeds,
            options.rates,
            options.epochs,
            options.schedule,
        )
    except ValueError as e:
        raise Mistake(str(e)) from None
    out = options.out or Path("runs") / plan.problem.name
    command = _again(options)
    with _lab():
        from thalweg.report import console, page

        try:
            plan.problem.prepare()
            with console.watching(plan) as progress:
                verdict = lab.race(plan, out, options.workers, progress)
            if not verdict.standings:
                raise Mistake(verdict.sentence())
            try:  # the report first: whatever becomes of the terminal, it is there
                path = page.write(verdict, out, command)
            except OSError as e:
                raise Mistake(f"cannot write the report to {out}: {e.strerror}") from None
            finally:
                console.show(verdict)
        except (Unavailable, Unusable) as e:
            raise Mistake(str(e)) from None
        except KeyboardInterrupt:
            print(f"\nInterrupted; nothing finished is lost. To go on:\n  {one_line(command)}")
            return 130
    print(f"\nReport: {one_line(str(path))}")
    return 1 if verdict.left_out or any(s.failures for s in verdict.standings) else 0


def _again(options: argparse.Namespace) -> str:
    """The command that does this race again, without what is as by default."""
    words = ["thalweg", "race", options.problem]
    defaults = parser().parse_args(["race", options.problem])
    for name in ("optimizers", "schedule", "seeds", "rates", "epochs", "out"):
        value = getattr(options, name)
        if value != getattr(defaults, name):
            # What begins with "-" would be an option, were it a word of its own.
            said = str(value)
            words += [f"--{name}={said}"] if said.startswith("-") else [f"--{name}", said]
    return shlex.join(words)


def explain(options: argparse.Namespace) -> int:
    from thalweg.lab.names import known
    from thalweg.lab.plan import algorithm
    from thalweg.optim.registry import ALGORITHMS
    from thalweg.report import explain, explain_schedule
    from thalweg.schedules import SCHEDULES

    name = options.name
    if name == "all":
        raise Mistake("explain takes one optimizer or schedule: thalweg list names them")
    if name.endswith(".py"):
        raise Mistake(f"a file may hold several: write {name}:NAME, with the name of yours")
    try:
        if ".py:" not in name:
            names = (*ALGORITHMS, *SCHEDULES)
            alike = {n.replace("-", "_"): n for n in names}  # a race has one-cycle
            name = alike.get(name.lower().replace("-", "_"), name)
            name = known("optimizer or schedule", name, names)
        if name in SCHEDULES:
            schedule = explain_schedule.explain(name)
            print(schedule.latex if options.latex else schedule)
            return 0
        found = explain.explain(algorithm(name))
    except ValueError as e:
        raise Mistake(str(e)) from None
    print(found.latex.aligned() if options.latex else found)
    return 0


def listing(options: argparse.Namespace) -> int:
    del options
    from thalweg.lab.contender import PACES
    from thalweg.optim.registry import ALGORITHMS
    from thalweg.problems import PROBLEMS
    from thalweg.schedules import SCHEDULES

    width = max(map(len, (*ALGORITHMS, *SCHEDULES, *PACES, *PROBLEMS)))
    print("Optimizers (thalweg explain NAME), each with the middle rate of its race")
    for a in ALGORITHMS.values():
        given = "".join(f", {k}={v!r}" for k, v in a.options.items())
        print(f"  {a.name:<{width}}  optim.{a.optimizer.__name__}(lr={a.lr:g}{given})")
    print("\nSchedules (thalweg explain NAME)")
    for name, entry in SCHEDULES.items():
        print(f"  {name:<{width}}  {entry.summary}")
    print("\nSchedules of a race (thalweg race PROBLEM --schedule NAMES), as for 1000 steps")
    for name, pace in PACES.items():
        print(f"  {name:<{width}}  {pace(1000)!r}")
    print("\nProblems (thalweg race NAME)")
    for p in PROBLEMS.values():
        print(f"  {p.name:<{width}}  {p.title}: {p.score}{f' in {p.unit}' if p.unit else ''}")
    return 0


def figure(options: argparse.Namespace) -> int:
    from thalweg.problems.landscapes import LANDSCAPES

    with _lab():
        from thalweg.report import gallery, pictures

        if options.list:
            others = ("name", "optimizers", "landscape", "start", "steps", "lr", "out")
            if any(getattr(options, o) is not None for o in others):
                raise Mistake("figure --list takes nothing else")
            width = max(map(len, (*gallery.FIGURES, *LANDSCAPES)))
            print("Figures (thalweg figure NAME)")
            for e in gallery.FIGURES.values():
                print(f"  {e.name:<{width}}  {e.about}")
            print("\nLandscapes (--landscape NAME)")
            for f in LANDSCAPES.values():
                print(f"  {f.name:<{width}}  {f.title}")
            return 0
        if options.name is None:
            raise Mistake("figure needs a NAME: thalweg figure --list has them")
        optimizers = None if options.optimizers is None else _algorithms(options.optimizers)
        try:
            entry, order = gallery.order(
                options.name,
                options.landscape,
                optimizers,
                options.steps,
                options.lr,
                options.start,
            )
            paths = pictures.targets(entry.name, options.out, entry.moving)
            with _blamed(optimizers or ()):
                picture = entry.draw(order)
        except ValueError as e:
            raise Mistake(str(e)) from None
        except OSError as e:
            raise Mistake(f"cannot write {e.filename}: {e.strerror}") from None
        for path in paths:
            try:
                pictures.write(picture, path)
            except OSError as e:
                raise Mistake(f"cannot write {path}: {e.strerror}") from None
            print(one_line(str(path)))
    return 0


def bench(options: argparse.Namespace) -> int:
    from thalweg.lab.bench import MODELS, Row, measure

    models = _choices("model", options.models, MODELS)
    engines = _choices("engine", options.engines, ("fused", "plain"))
    algorithms = _algorithms(options.optimizers)

    def tell(row: Row) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{row.model} {row.algorithm} {row.engine}", end="", file=sys.stderr)

    with _blamed(algorithms):
        bench = measure(algorithms, models, engines, tell)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(bench.as_dict(), indent=2))
        return 0
    with _lab():
        from thalweg.report import speed

        speed.show(bench)
    return 0


def _algorithms(names: str) -> list[Algorithm]:
    from thalweg.lab.plan import algorithm
    from thalweg.optim.registry import ALGORITHMS

    if names == "all":
        return list(ALGORITHMS.values())
    try:
        return [algorithm(n.strip()) for n in names.split(",")]
    except ValueError as e:
        raise Mistake(str(e)) from None


@contextmanager
def _blamed(algorithms: Iterable[Algorithm]) -> Iterator[None]:
    """What an optimizer from a file raises is a mistake in that file: one line says where."""
    from thalweg.lab.source import described, is_own, parts

    paths = [parts(a.name)[0] for a in algorithms if is_own(a.name)]
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # sys.exit() as well
        trace = e.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename not in paths:
            trace = trace.tb_next
        if trace is None:
            raise
        raise Mistake(described(e, paths)) from None


def _choices(what: str, names: str, known: Iterable[str]) -> list[str]:
    """What a comma-separated list names, each once; ``all`` is everything."""
    from thalweg.lab.names import known as check

    if names == "all":
        return list(known)
    try:
        return list(dict.fromkeys(check(what, n.strip(), known) for n in names.split(",")))
    except ValueError as e:
        raise Mistake(str(e)) from None


@contextmanager
def _lab() -> Iterator[None]:
    """Where the lab's libraries are needed: one line says how to get them."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise Mistake(f"this needs {e.name}: pip install 'thalweg[lab]'") from None
