"""The command line: what may be typed, what each command does, and here the exit codes.

0: done; 1: the race ended but some trainings failed; 2: what was asked for cannot be done, or its
result not be printed, and one line on standard error says why; 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from thalweg.terminal import Tolerant, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    # What is opened must not get the number of a stream that is closed: others write to it.
    while (free := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(free)
    before = sys.stdout, sys.stderr
    said: Any = Tolerant(sys.stdout)
    errors: Any = Tolerant(sys.stderr)
    sys.stdout, sys.stderr = said, errors
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        said.flush()
        # A reader that has had enough, `head` say, has what it wanted.
        if said.failure is not None and not isinstance(said.failure, BrokenPipeError):
            code = _mistake(f"cannot write to standard output: {said.failure.strerror}")
        errors.flush()
    except KeyboardInterrupt:
        return 130
    finally:
        sys.stdout, sys.stderr = before
    return code


def _run(arguments: Sequence[str]) -> int:
    # Here, so that Ctrl-C during imports is answered like any other.
    from thalweg.cli import commands
    from thalweg.cli.arguments import Mistake, joined, parser

    try:
        options = parser().parse_args(joined(arguments))
        code: int = getattr(commands, options.run)(options)
    except Mistake as e:
        return _mistake(str(e))
    except SystemExit as e:  # --help
        return e.code if isinstance(e.code, int) else 0
    return code


def _mistake(why: str) -> int:
    print(f"thalweg: {one_line(why)}", file=sys.stderr)
    return 2
