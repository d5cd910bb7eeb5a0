"""Trials on worker processes, outcomes as they arrive.

A worker is a Python process of its own that reads trials from a pipe. When its parent dies,
however suddenly, the pipe ends and so does the worker: nothing is left behind and nothing needs
cleaning up. When a worker dies, its trial goes to a new one.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from thalweg.lab.plan import Trial
from thalweg.lab.trial import Outcome

Result = tuple[Trial, Outcome]

ATTEMPTS = 2  # a trial that took its process down with it twice has failed
STARTS = 3  # a process that ended this often before it was ready will not start at all
# -P: what lies in the current folder is not the worker's to import.
COMMAND = (sys.executable, "-P", "-c", "from thalweg.lab.trial import serve; serve()")
# One thread each, of whatever library: more would only compete with the other workers.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def cores() -> int:
    """How many processors this process may use, a container's quota included."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        allowed = min(allowed, max(1, round(int(quota) / int(period))))
    return allowed


def run(trials: Sequence[Trial], workers: int) -> Generator[Result]:
    """Run trials, no two the same, on ``workers`` processes; yields (trial, outcome) in order of
    arrival, and an outcome for each. Closing the generator ends the workers."""
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    news: queue.SimpleQueue[Result | str] = queue.SimpleQueue()
    crew: list[_Worker] = []
    try:
        for _ in range(min(workers, len(trials))):
            crew.append(_Worker(waiting, news))  # noqa: PERF401 (those started must be ended)
        left, busy, reason = dict.fromkeys(trials), len(crew), ""
        while busy:
            match news.get():
                case str(why):  # a worker has nothing to do any more, or gives up
                    busy, reason = busy - 1, why or reason
                case trial, outcome:
                    del left[trial]
                    yield trial, outcome
        for trial in left:
            yield trial, Outcome(error=reason)
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process, and the thread that feeds it and replaces it when it dies."""

    def __init__(
        self, waiting: queue.SimpleQueue[Trial], news: queue.SimpleQueue[Result | str]
    ) -> None:
        self.waiting, self.news = waiting, news
        self.ended = False
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()  # no process is started after the end
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def end(self) -> None:
        with self.lock:
            self.ended = True
            if self.process is not None:
                self.process.kill()
        self.thread.join(5)

    def _feed(self) -> None:
        why = "its worker gave up"
        try:
            why = self._work()
        except Exception as e:  # whatever it is, the race must not wait for this worker
            why = f"{type(e).__name__}: {e}"
        finally:
            self.news.put(why)

    def _work(self) -> str:
        """Feed processes until no trial is waiting; returns why it gave up, "" if it did not."""
        failed_starts = attempts = 0
        trial = self._next()
        while trial is not None and not self.ended:
            with self._started() as process:
                ready = _line(process) is not None
                while ready and trial is not None:
                    answer = _ask(process, trial)
                    if answer is None:
                        break
                    self.news.put((trial, Outcome.of(json.loads(answer))))
                    trial, attempts = self._next(), 0
            if trial is None or self.ended:
                break
            how = _end_of(process)
            if not ready:
                failed_starts += 1
                if failed_starts == STARTS:
                    self.waiting.put(trial)  # somebody else may have more luck
                    return f"no worker could be started: {how}"
                continue
            failed_starts, attempts = 0, attempts + 1
            if attempts == ATTEMPTS:
                self.news.put((trial, Outcome(error=f"{how}, {ATTEMPTS} times")))
                trial, attempts = self._next(), 0
        return ""

    def _next(self) -> Trial | None:
        try:
            return self.waiting.get_nowait()
        except queue.Empty:
            return None

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[str]]:
        """A process; gone, with its pipes, at the end of the block."""
        with self.lock:
            # A session of its own: Ctrl-C is the parent's to handle.
            self.process = process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **THREADS},
                start_new_session=True,
            )
            if self.ended:
                process.kill()
        try:
            yield process
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(OSError):  # flushes what a dead process did not read
                process.stdin.close()  # which ends it
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _ask(process: subprocess.Popen[str], trial: Trial) -> str | None:
    assert process.stdin is not None
    try:
        print(json.dumps(trial.as_dict()), file=process.stdin, flush=True)
    except OSError:
        return None
    return _line(process)


def _line(process: subprocess.Popen[str]) -> str | None:
    """The next whole line, None if the process ended before it was complete."""
    assert process.stdout is not None
    line = process.stdout.readline()
    return line if line.endswith("\n") else None


def _end_of(process: subprocess.Popen[str]) -> str:
    code = process.returncode
    if code < 0:
        return f"its process was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"its process ended with code {code}"
