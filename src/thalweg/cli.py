"""The command line: arguments and exit codes, nothing else.

0: done; 1: the race ended but some trainings failed; 2: what was asked for cannot be done, and one
line on standard error says why; 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from thalweg.optim.registry import Algorithm


class Mistake(Exception):
    """Something the user can put right; the message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message} (see: {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        options = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except Mistake as e:
        print(f"thalweg: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has had enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        return 130


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--start -1,2`` as ``--start=-1,2``: argparse takes ``-1,2`` for an option."""
    words = list(arguments)
    for i in reversed(range(len(words) - 1)):
        if words[i] in ("--start", "--lr") and re.match(r"-[\d.]", words[i + 1]):
            words[i : i + 2] = ["=".join(words[i : i + 2])]
    return words


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="thalweg", description="Gradient descent: race, explain, list, figure, bench."
    )
    parser.add_argument("--version", action="version", version=f"thalweg {version('thalweg')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    race = commands.add_parser(
        "race",
        help="train a problem with every optimizer, as many rates and the same seeds; who wins?",
        description="Train a problem with every optimizer, at the same number of learning rates "
        "around its customary one and the same seeds, and report who wins. A race that was "
        "interrupted goes on when the same command is given again; more seeds extend it.",
    )
    race.add_argument("problem", metavar="PROBLEM", help="a name from thalweg list")
    race.add_argument(
        "--optimizers",
        default="all",
        metavar="NAMES",
        help="all, or sgd,adam,…, or FILE.py:NAME for a rule or class of your own",
    )
    race.add_argument(
        "--schedule",
        default=(),
        metavar="NAMES",
        # Spelled out, because lab.contender, which has them, imports torch.
        help="race each optimizer under each: all, or "
        "constant, linear, cosine, warmup-cosine, one-cycle, wsd, multi-step, exponential, "
        "inverse-time, plateau, or FILE.py:NAME; those named but plateau are stretched over the "
        "whole training",
    )
    race.add_argument("--seeds", type=_whole, default=3, metavar="N", help="default: 3")
    race.add_argument(
        "--rates", type=_whole, default=9, metavar="N", help="learning rates, odd; default: 9"
    )
    race.add_argument("--epochs", type=_whole, metavar="N", help="default: the problem's own")
    race.add_argument("--out", type=Path, metavar="DIR", help="default: runs/PROBLEM")
    race.add_argument("--workers", type=_whole, metavar="N", help="processes; default: one a core")
    race.set_defaults(run=_race)

    explain = commands.add_parser(
        "explain", help="an optimizer or a schedule: idea, formula, options, source"
    )
    explain.add_argument(
        "name",
        metavar="NAME",
        help="an optimizer or a schedule from thalweg list, or FILE.py:NAME of an optimizer",
    )
    explain.add_argument("--latex", action="store_true", help="only the formula, as LaTeX")
    explain.set_defaults(run=_explain)

    listing = commands.add_parser("list", help="the optimizers, the schedules and the problems")
    listing.set_defaults(run=_list)

    figure = commands.add_parser(
        "figure",
        help="draw descents: races as films, contours, surfaces, basins, rates, noise",
        description="Draw descents on a landscape. thalweg figure --list names the figures.",
    )
    figure.add_argument("name", metavar="NAME", nargs="?", help="a name from --list")
    figure.add_argument("--list", action="store_true", help="the figures and the landscapes")
    figure.add_argument("--optimizers", metavar="NAMES", help="all, or sgd,adam,…, or FILE.py:NAME")
    figure.add_argument("--landscape", metavar="NAME", help='a name from --list, or "x^2 + 3*y^2"')
    figure.add_argument(
        "--start", type=_numbers, metavar="X,Y", help="where to begin; a formula's: -3.75,3"
    )
    figure.add_argument("--steps", type=_whole, metavar="N", help="of each descent")
    figure.add_argument(
        "--lr",
        type=_numbers,
        metavar="RATE",
        help="one for all; default: each one's best of a grid",
    )
    figure.add_argument(
        "--out", metavar="PATH", help="FILE.png, .svg, .pdf, .html, .mp4, .gif, or a folder for all"
    )
    figure.set_defaults(run=_figure)

    bench = commands.add_parser("bench", help="time the steps, beside torch and the memory's speed")
    bench.add_argument("--optimizers", default="all", metavar="NAMES", help="all, or sgd,adam,…")
    bench.add_argument("--models", default="all", metavar="NAMES", help="all, or mlp,resnet50,gpt2")
    bench.add_argument("--engines", default="all", metavar="NAMES", help="all, or fused,plain")
    bench.add_argument("--json", action="store_true", help="print everything as JSON")
    bench.set_defaults(run=_bench)
    return parser


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


_whole.__name__ = "whole number"  # what argparse calls it in a message


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


_numbers.__name__ = "list of numbers"


def _race(options: argparse.Namespace) -> int:
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
        except (Unavailable, Unusable) as e:
            raise Mistake(str(e)) from None
        except KeyboardInterrupt:
            print(f"\nInterrupted; nothing finished is lost. To go on:\n  {command}")
            return 130
        if not verdict.standings:
            raise Mistake(verdict.sentence())
        console.show(verdict)
        try:
            path = page.write(verdict, out, command)
        except OSError as e:
            raise Mistake(f"cannot write the report to {out}: {e.strerror}") from None
    print(f"\nReport: {path}")
    return 0


def _again(options: argparse.Namespace) -> str:
    """The command that does this race again, without what is as by default."""
    words = ["thalweg", "race", options.problem]
    defaults = _parser().parse_args(["race", options.problem])
    for name in ("optimizers", "schedule", "seeds", "rates", "epochs", "out"):
        value = getattr(options, name)
        if value != getattr(defaults, name):
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _explain(options: argparse.Namespace) -> int:
    from thalweg.lab.names import known
    from thalweg.lab.plan import algorithm
    from thalweg.optim.registry import ALGORITHMS
    from thalweg.report import explain, explain_schedule
    from thalweg.schedules import SCHEDULES

    name = options.name
    if name == "all":
        raise Mistake("explain takes one optimizer or schedule: thalweg list names them")
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


def _list(options: argparse.Namespace) -> int:
    del options
    from thalweg.optim.registry import ALGORITHMS
    from thalweg.problems import PROBLEMS
    from thalweg.schedules import SCHEDULES

    width = max(map(len, (*ALGORITHMS, *SCHEDULES, *PROBLEMS)))
    print("Optimizers (thalweg explain NAME), each with the middle rate of its race")
    for a in ALGORITHMS.values():
        given = "".join(f", {k}={v!r}" for k, v in a.options.items())
        print(f"  {a.name:<{width}}  optim.{a.optimizer.__name__}(lr={a.lr:g}{given})")
    print("\nSchedules (thalweg explain NAME)")
    for name, entry in SCHEDULES.items():
        print(f"  {name:<{width}}  {entry.summary}")
    print("\nProblems (thalweg race NAME)")
    for p in PROBLEMS.values():
        print(f"  {p.name:<{width}}  {p.title}: {p.score}{f' in {p.unit}' if p.unit else ''}")
    return 0


def _figure(options: argparse.Namespace) -> int:
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
            print(path)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from thalweg.lab.bench import MODELS, Row, measure

    models = _choices("model", options.models, MODELS)
    engines = _choices("engine", options.engines, ("fused", "plain"))
    algorithms = _algorithms(options.optimizers)

    def tell(row: Row) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{row.model} {row.algorithm} {row.engine}", end="", file=sys.stderr)

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


if __name__ == "__main__":
    sys.exit(main())
