"""What may be typed after ``thalweg``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

SOME = "all, or sgd,adam,…, or FILE.py:NAME (FILE.py is executed)"


class Mistake(Exception):
    """Something the user can put right; the message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message} (see: {self.prog} --help)")


def joined(arguments: Sequence[str]) -> list[str]:
    """``--start -1,2`` as ``--start=-1,2``: argparse takes ``-1,2`` for an option, and also the
    landscape ``-x^2+y^2``."""
    words = list(arguments)
    for i in reversed(range(len(words) - 1)):
        number, formula = r"-[\d.]", r"-[^-].+"
        form = {"--start": number, "--lr": number, "--landscape": formula}.get(words[i])
        if form is not None and re.match(form, words[i + 1]):
            words[i : i + 2] = ["=".join(words[i : i + 2])]
    return words


def parser() -> argparse.ArgumentParser:
    """The commands and their options; ``run`` is the command's name in ``cli.commands``."""
    everything = _Parser(
        prog="thalweg", description="Gradient descent: race, explain, list, figure, bench."
    )
    everything.add_argument("--version", action="version", version=f"thalweg {version('thalweg')}")
    commands = everything.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    race = commands.add_parser(
        "race",
        help="train a problem with every optimizer, as many rates and the same seeds; who wins?",
        description="Train a problem with every optimizer, at the same number of learning rates "
        "around its customary one and the same seeds, and report who wins. A race that was "
        "interrupted goes on when the same command is given again; more seeds extend it. "
        "FILE.py is executed, with your rights.",
    )
    race.add_argument("problem", metavar="PROBLEM", help="a name from thalweg list")
    race.add_argument(
        "--optimizers",
        default="all",
        metavar="NAMES",
        help=f"{SOME} for a rule or class of your own",
    )
    race.add_argument(
        "--schedule",
        default=(),
        metavar="NAMES",
        help="race each optimizer under each: all, or constant,cosine,… (thalweg list has them), "
        "or FILE.py:NAME (FILE.py is executed)",
    )
    race.add_argument("--seeds", type=_whole, default=3, metavar="N", help="default: 3")
    race.add_argument(
        "--rates", type=_whole, default=9, metavar="N", help="learning rates, odd; default: 9"
    )
    race.add_argument("--epochs", type=_whole, metavar="N", help="default: the problem's own")
    race.add_argument("--out", type=Path, metavar="DIR", help="default: runs/PROBLEM")
    race.add_argument("--workers", type=_whole, metavar="N", help="processes; default: one a core")
    race.set_defaults(run="race")

    explain = commands.add_parser(
        "explain", help="an optimizer or a schedule: idea, formula, options, source"
    )
    explain.add_argument(
        "name",
        metavar="NAME",
        help="an optimizer or a schedule from thalweg list, or FILE.py:NAME of an optimizer "
        "(FILE.py is executed)",
    )
    explain.add_argument("--latex", action="store_true", help="only the formula, as LaTeX")
    explain.set_defaults(run="explain")

    listing = commands.add_parser("list", help="the optimizers, the schedules and the problems")
    listing.set_defaults(run="listing")

    figure = commands.add_parser(
        "figure",
        help="draw descents: races as films, contours, surfaces, basins, rates, noise",
        description="Draw descents on a landscape. thalweg figure --list names the figures.",
    )
    figure.add_argument("name", metavar="NAME", nargs="?", help="a name from --list")
    figure.add_argument("--list", action="store_true", help="the figures and the landscapes")
    figure.add_argument(
        "--optimizers",
        metavar="NAMES",
        help="all, or sgd,adam,…, or FILE.py:NAME (FILE.py is executed)",
    )
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
    figure.set_defaults(run="figure")

    bench = commands.add_parser("bench", help="time the steps, beside torch and the memory's speed")
    bench.add_argument(
        "--optimizers",
        default="all",
        metavar="NAMES",
        help="all, or sgd,adam,…, or FILE.py:NAME (FILE.py is executed)",
    )
    bench.add_argument("--models", default="all", metavar="NAMES", help="all, or mlp,resnet50,gpt2")
    bench.add_argument("--engines", default="all", metavar="NAMES", help="all, or fused,plain")
    bench.add_argument("--json", action="store_true", help="print everything as JSON")
    bench.set_defaults(run="bench")
    return everything


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


_whole.__name__ = "whole number"  # what argparse calls it in a message


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


_numbers.__name__ = "list of numbers"
