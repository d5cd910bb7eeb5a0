"""A worker: a process that trains, one trial after the other.

What a contender's code does to its process (another default dtype, a patched method of torch's, a
thread that goes on) must not reach another trial's numbers: :mod:`thalweg.lab.run` gives each trial
of a contender from a file a process of its own. Nor can it reach the pipes
(:mod:`thalweg.lab.pipes`).
"""

from __future__ import annotations

import base64
import os
import queue
import random

import numpy
import torch

from thalweg.lab.pipes import answer, first, listen, taken
from thalweg.lab.plan import Trial
from thalweg.lab.source import Source, described
from thalweg.lab.trial import Outcome, train


def serve() -> None:
    """Read the sources and then trials, a line each, on standard input; write a line on standard
    output when ready, and the key and outcome of each trial from then on. It ends with its input,
    in the middle of a trial if need be."""
    questions, answers = taken()
    process = os.getpid()
    torch.set_num_threads(1)  # a trial's numbers do not depend on how many cores are free
    sources = {path: Source(path, base64.b64decode(code)) for path, code in first(questions)}
    trials: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    listen(questions, lambda values: trials.put(Trial(**values)))
    answer(answers, "ready")
    while True:
        trial = trials.get()
        key = trial.key  # now: whatever it is made with is as it should be
        for seed in (random.seed, numpy.random.seed, torch.manual_seed):
            seed(trial.seed)  # an optimizer that draws is decided by its seed like any other
        try:
            outcome = train(trial, sources)
        except BaseException as e:  # sys.exit() as well: told to the user as the trial's outcome
            outcome = Outcome(error=described(e, list(sources)))
        if os.getpid() != process:  # a copy that the contender made of it: one answer is enough
            os._exit(0)
        answer(answers, [key, vars(outcome)])
