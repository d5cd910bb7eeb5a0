"""What a process that runs a reader's file does first: it keeps its pipes to itself.

Standard input is empty from then on, and standard output is where errors go: nothing that the file
asks for or prints can be taken for a question or an answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from thalweg.terminal import Tolerant

# -P: what lies in the current folder is not such a process's to import.
PYTHON = (sys.executable, "-P", "-c")
# Between the two everything is JSON in ASCII. A file may find the pipe nevertheless, and write what
# is no text at all: that is no answer, and no reason for the one who reads to fail.
PIPES: Any = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "encoding": "utf-8",
    "errors": "replace",
}


def taken() -> tuple[TextIO, TextIO]:
    """Copies of the pipes: where questions come from, and where answers go."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what asks for input finds its end, instead of waiting or taking a trial
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    # Who reads what is printed may leave, and that is no reason to fail.
    sys.stdout, sys.stderr = Tolerant(sys.stdout), Tolerant(sys.stderr)
    if hasattr(os, "register_at_fork"):  # the pipes do not stay open in copies of this process
        os.register_at_fork(after_in_child=lambda: _close(questions, answers))
    return questions, answers


def first(questions: TextIO) -> Any:
    """The first question; without one the process ends."""
    line = questions.readline()
    return json.loads(line) if line else os._exit(0)


def listen(questions: TextIO, hear: Callable[[Any], None]) -> None:
    """Hear each question from now on, and end the process with its input: then the process that
    started it is gone, or has no more use for it."""
    threading.Thread(target=_listen, args=(questions, hear), daemon=True).start()


def answer(answers: TextIO, what: Any, dumps: Callable[[Any], str] = json.dumps) -> None:
    """Say it. A file may have replaced ``print`` or ``json.dumps``: neither is looked up."""
    with suppress(BrokenPipeError):  # nobody listens: the input has ended, too
        answers.write(dumps(what) + "\n")
        answers.flush()


def _listen(
    questions: TextIO, hear: Callable[[Any], None], loads: Callable[[str], Any] = json.loads
) -> None:
    try:
        for line in questions:
            hear(loads(line))
    finally:
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)  # with all that the contender has started
        os._exit(0)


def _close(*pipes: TextIO) -> None:
    for pipe in pipes:
        with suppress(OSError):
            os.close(pipe.fileno())
