"""A worker: a process that trains, one trial after the other.

What a contender's code does to its process (another default dtype, a patched method of torch's, a
thread that goes on) must not reach another contender's numbers: :mod:`thalweg.lab.run` gives each
contender from a file processes of its own. Nor can it reach the pipes: the process keeps copies of
them to itself, so that standard input is empty, and standard output is where errors go.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, TextIO

import torch

from thalweg.lab.plan import Trial
from thalweg.lab.source import Source, described
from thalweg.lab.trial import Outcome, train
from thalweg.terminal import Tolerant


def serve() -> None:
    """Read the sources and then trials, a line each, on standard input; write a line on standard
    output when ready, and the key and outcome of each trial from then on. It ends with its input,
    in the middle of a trial if need be: then the process that started it is gone, or has no more
    use for it."""
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what asks for input finds its end, instead of waiting or taking a trial
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    # Who reads what is printed may leave, and that is no reason to fail.
    sys.stdout, sys.stderr = Tolerant(sys.stdout), Tolerant(sys.stderr)
    process = os.getpid()
    if hasattr(os, "register_at_fork"):  # the pipes do not stay open in copies of this process
        os.register_at_fork(after_in_child=lambda: _close(questions, answers))
    torch.set_num_threads(1)  # a trial's numbers do not depend on how many cores are free
    sources = {path: Source(path, base64.b64decode(code)) for path, code in _first(questions)}
    trials: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions, trials), daemon=True).start()
    _answer(answers, "ready")
    while True:
        trial = trials.get()
        try:
            outcome = train(trial, sources)
        except BaseException as e:  # sys.exit() as well: told to the user as the trial's outcome
            outcome = Outcome(error=described(e, list(sources)))
        if os.getpid() != process:  # a copy that the contender made of it: one answer is enough
            os._exit(0)
        _answer(answers, [trial.key, vars(outcome)])


def _first(questions: TextIO) -> Any:
    line = questions.readline()
    return json.loads(line) if line else os._exit(0)


def _listen(questions: TextIO, trials: queue.SimpleQueue[Trial]) -> None:
    try:
        for line in questions:
            trials.put(Trial(**json.loads(line)))
    finally:
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)  # with all that the contender has started
        os._exit(0)


def _answer(answers: TextIO, what: Any) -> None:
    with suppress(BrokenPipeError):  # nobody listens: the input has ended, too
        print(json.dumps(what), file=answers, flush=True)


def _close(*pipes: TextIO) -> None:
    for pipe in pipes:
        with suppress(OSError):
            os.close(pipe.fileno())
