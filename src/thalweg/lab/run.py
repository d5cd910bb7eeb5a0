"""Trials on worker processes, outcomes as they arrive.

A worker is a Python process of its own that reads trials from a pipe. When its parent dies, however
suddenly, the pipe ends and so does the worker: nothing is left behind and nothing needs cleaning up.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from thalweg.lab.plan import Trial
from thalweg.lab.trial import Outcome

Result = tuple[Trial, Outcome]


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(trials: Sequence[Trial], workers: int) -> Iterator[Result]:
    """Run trials on ``workers`` processes; yields (trial, outcome) in order of arrival. Closing the
    iterator ends the workers."""
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()
    crew = [_Worker(waiting, results) for _ in range(min(workers, len(trials)))]
    try:
        for _ in trials:
            yield results.get()
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process, and the thread that feeds it."""

    def __init__(
        self, waiting: queue.SimpleQueue[Trial], results: queue.SimpleQueue[Result]
    ) -> None:
        self.waiting, self.results = waiting, results
        self.ended = False
        self.process = self._start()
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def _start(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C is the parent's to handle.
        return subprocess.Popen(
            [sys.executable, "-m", "thalweg.lab.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _feed(self) -> None:
        while not self.ended:
            try:
                trial = self.waiting.get_nowait()
            except queue.Empty:
                return
            outcome = self._ask(trial)
            if not self.ended:
                self.results.put((trial, outcome))

    def _ask(self, trial: Trial) -> Outcome:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(trial.as_dict()), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return Outcome.of(json.loads(answer))
        code = self.process.wait()
        if not self.ended:
            self.process = self._start()  # the next trial deserves a try
        return Outcome(error=f"its process ended with code {code}")

    def end(self) -> None:
        self.ended = True
        self.process.kill()
        self.thread.join(5)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
