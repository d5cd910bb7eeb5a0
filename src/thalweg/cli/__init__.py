"""The command line: what may be typed, what each command does, and here the exit codes.

0: done; 1: the race ended but some trainings failed; 2: what was asked for cannot be done, and one
line on standard error says why; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from thalweg.cli import commands
from thalweg.cli.arguments import Mistake, joined, parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        options = parser().parse_args(joined(sys.argv[1:] if arguments is None else arguments))
        run: Callable[[argparse.Namespace], int] = getattr(commands, options.run)
        return run(options)
    except Mistake as e:
        print(f"thalweg: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has had enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        return 130
