"""Trials on worker processes, outcomes as they arrive.

A worker is a Python process of its own that reads trials from a pipe (:mod:`thalweg.lab.worker`).
When its parent dies, however suddenly, the pipe ends and so does the worker: nothing is left behind
and nothing needs cleaning up. When a worker dies, its trial goes to a new one.

thalweg's own contenders share processes. A trial whose code comes from a file has a process to
itself: what the file leaves behind there (another default dtype, drawn random numbers, a counter)
must reach no other trial, or outcomes would depend on the order in which they were run.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from thalweg.lab.pipes import PIPES, PYTHON
from thalweg.lab.plan import Trial
from thalweg.lab.source import Sources, parts
from thalweg.lab.trial import Outcome

Result = tuple[Trial, Outcome]

ATTEMPTS = 2  # a trial that took its process down with it twice has failed
STARTS = 3  # a process that ended this often before it was ready will not start at all
COMMAND = (*PYTHON, "from thalweg.lab.worker import serve; serve()")
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


def run(
    trials: Sequence[Trial], workers: int, sources: Sources = MappingProxyType({})
) -> Generator[Result]:
    """Run trials, no two the same, on ``workers`` processes; yields (trial, outcome) in order of
    arrival, and an outcome for each. What comes from files is run from these sources. Closing the
    generator ends the workers."""
    waiting = _Waiting(trials)
    arriving: queue.SimpleQueue[Result | str] = queue.SimpleQueue()
    crew: list[_Worker] = []
    try:
        for _ in range(min(workers, len(trials))):
            crew.append(_Worker(waiting, arriving, sources))  # noqa: PERF401 (those started must be ended)
        left, busy, reason = dict.fromkeys(trials), len(crew), ""
        while busy:
            match arriving.get():
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


class _Waiting:
    """The trials that nobody has taken yet, by whose code they run."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.lock = threading.Lock()
        self.trials: dict[str, deque[Trial]] = {}
        self.served: Counter[str] = Counter()
        for trial in trials:
            self.trials.setdefault(trial.guest, deque()).append(trial)

    def next(self, last: Trial | None) -> Trial | None:
        """A trial for the worker that had this one: of the same code if there is any left, else of
        one that no worker is at."""
        with self.lock:
            if last is not None:
                self.served[last.guest] -= 1
            left = [guest for guest, trials in self.trials.items() if trials]
            if not left:
                return None
            mine = None if last is None else last.guest
            chosen = min(left, key=lambda guest: (guest != mine, self.served[guest] > 0))
            self.served[chosen] += 1
            return self.trials[chosen].popleft()

    def back(self, trial: Trial) -> None:
        with self.lock:
            self.served[trial.guest] -= 1
            self.trials[trial.guest].append(trial)


class _Worker:
    """A process, and the thread that feeds it and replaces it when it dies, or when the next trial
    is not for it."""

    def __init__(
        self, waiting: _Waiting, arriving: queue.SimpleQueue[Result | str], sources: Sources
    ) -> None:
        self.waiting, self.arriving, self.sources = waiting, arriving, sources
        self.ended = False
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()  # no process is started after the end
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def end(self) -> None:
        with self.lock:
            self.ended = True
            if self.process is not None and self.process.returncode is None:
                _kill(self.process)
        self.thread.join(5)

    def _feed(self) -> None:
        why = "its worker gave up"
        try:
            why = self._work()
        except Exception as e:  # whatever it is, the race must not wait for this worker
            why = f"{type(e).__name__}: {e}"
        finally:
            self.arriving.put(why)

    def _work(self) -> str:
        """Feed processes until no trial is waiting; returns why it gave up, "" if it did not."""
        failed_starts = attempts = 0
        trial = self.waiting.next(None)
        while trial is not None and not self.ended:
            guest: str = trial.guest
            line: str | None = None
            served = False
            with self._started(trial) as process:
                ready = _line(process) is not None
                while ready and trial is not None and trial.guest == guest:
                    line = _ask(process, trial)
                    outcome = _outcome(trial, line)
                    if outcome is None:
                        break
                    self.arriving.put((trial, outcome))
                    trial, attempts, served = self.waiting.next(trial), 0, True
                    if guest:
                        break
            if ready:
                failed_starts = 0
            if trial is None or trial.guest != guest or (guest and served) or self.ended:
                continue
            how = "its process gave no answer but a line of its own" if line else _end_of(process)
            if not ready:
                failed_starts += 1
                if failed_starts == STARTS:
                    self.waiting.back(trial)  # somebody else may have more luck
                    return f"no worker could be started: {how}"
                continue
            attempts += 1
            if attempts == ATTEMPTS:
                self.arriving.put((trial, Outcome(error=f"{how}, {ATTEMPTS} times")))
                trial, attempts = self.waiting.next(trial), 0
        return ""

    @contextmanager
    def _started(self, trial: Trial) -> Iterator[subprocess.Popen[str]]:
        """A process for trials of this one's code; gone, with all that it has started, at the end
        of the block."""
        with self.lock:
            # A session of its own: Ctrl-C is the parent's to handle.
            self.process = process = subprocess.Popen(
                COMMAND,
                **PIPES,
                env={**os.environ, **THREADS},
                start_new_session=True,
            )
            if self.ended:
                _kill(process)
        try:
            paths = {parts(name)[0] for name in (trial.algorithm, trial.schedule)}
            files = [s for path, s in self.sources.items() if path in paths]
            _say(process, [(s.path, base64.b64encode(s.code).decode()) for s in files])
            yield process
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            _kill(process)
            process.wait()
            process.stdout.close()
            with suppress(OSError):  # flushes what a dead process did not read
                process.stdin.close()


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process that has not been waited for, and what it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _say(process: subprocess.Popen[str], what: Any) -> None:
    assert process.stdin is not None
    with suppress(OSError):  # it has ended: there will be no answer, either
        print(json.dumps(what), file=process.stdin, flush=True)


def _ask(process: subprocess.Popen[str], trial: Trial) -> str | None:
    _say(process, trial.as_dict())
    return _line(process)


def _line(process: subprocess.Popen[str]) -> str | None:
    """The next whole line, None if the process ended before it was complete."""
    assert process.stdout is not None
    line = process.stdout.readline()
    return line if line.endswith("\n") else None


def _outcome(trial: Trial, line: str | None) -> Outcome | None:
    """What an answer says of this trial, None if it is no answer or speaks of another."""
    try:
        key, values = json.loads(line or "")
        return Outcome.of(values) if key == trial.key else None
    except (ValueError, TypeError, RecursionError):
        return None


def _end_of(process: subprocess.Popen[str]) -> str:
    code = process.returncode
    if code < 0:
        return f"its process was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"its process ended with code {code}"
