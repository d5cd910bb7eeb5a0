"""What a plan must know of a reader's file, asked in a process of its own.

A file may do to its process what it likes: set variables of the environment, which every worker
would inherit, replace functions, end it. None of that may reach the race, or another's file.
"""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from thalweg.lab.contender import pace
from thalweg.lab.own import own
from thalweg.lab.pipes import PIPES, PYTHON, answer, first, listen, taken
from thalweg.lab.source import Source

COMMAND = (*PYTHON, "from thalweg.lab.look import serve; serve()")
STEPS = 1000  # of a training for which a schedule is tried

Found = tuple[float | None, str]  # an optimizer's customary rate; why one cannot serve, or ""


def look(source: Source, optimizers: Sequence[str], schedules: Sequence[str]) -> list[Found]:
    """What is found under these names of one file, optimizers first."""
    process = subprocess.Popen(
        COMMAND,
        **PIPES,
        start_new_session=True,  # Ctrl-C is this process's to handle
    )
    assert process.stdin is not None
    assert process.stdout is not None
    code = base64.b64encode(source.code).decode()
    try:
        with suppress(OSError):  # it has ended: there will be no answer, either
            print(
                json.dumps([source.path, code, [*optimizers], [*schedules]]),
                file=process.stdin,
                flush=True,
            )
        line = process.stdout.readline()
    finally:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        code_of_end = process.wait()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
    found = _found(line, len(optimizers), len(schedules))
    if found is None:
        how = "gave no answer but a line of its own" if line else f"ended with code {code_of_end}"
        raise ValueError(f"{source.path} cannot be run: its process {how}")
    return found


def _found(line: str, optimizers: int, schedules: int) -> list[Found] | None:
    """The answer, None if it is none: the file may have written a line itself."""
    try:
        found = [(rate, str(why)) for rate, why in json.loads(line)]
    except (ValueError, TypeError, RecursionError):
        return None
    rates = [rate for rate, why in found[:optimizers] if not why]
    sound = all(isinstance(r, float) and math.isfinite(r) and r > 0 for r in rates)
    return found if sound and len(found) == optimizers + schedules else None


def serve() -> None:
    """Answer one question of :func:`look`."""
    questions, answers = taken()
    process = os.getpid()
    path, code, optimizers, schedules = first(questions)
    listen(questions, lambda _: None)
    sources = {path: Source(path, base64.b64decode(code))}
    found: list[Found] = []
    for name in optimizers:
        try:
            found.append((own(name, sources).lr, ""))
        except ValueError as e:
            found.append((None, str(e)))
    for name in schedules:
        try:
            pace(name, STEPS, sources)
            found.append((None, ""))
        except ValueError as e:
            found.append((None, str(e)))
    if os.getpid() == process:  # else a copy that the file made of it: one answer is enough
        answer(answers, found)
    sys.stdout.flush()
    os._exit(0)  # whatever threads the file has started
