"""Threads that sweep memory beside the calling one.

On Linux they are torch's own: its OpenMP runtime answers in microseconds, and while its threads
still spin after a matrix product nobody has to wait for a core. Elsewhere, and in a forked child
(where that runtime would hang), Python's serve. Sweeps take their work from a shared counter, so
a helper that comes late, or never, costs time and not correctness.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_forked = False
_pool: ThreadPoolExecutor | None = None
_size = 0


@functools.cache
def _openmp() -> int:
    # Only this very file is the runtime that torch has loaded; another copy would have threads of
    # its own, competing with torch's.
    found = glob.glob(os.path.join(os.path.dirname(torch.__file__), "lib", "libgomp*.so*"))
    if len(found) != 1:
        return 0
    try:
        library = ctypes.CDLL(found[0])
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


def team() -> int:
    """The address of GOMP_parallel(function, data, threads, flags), or 0 where it cannot serve."""
    return 0 if _forked else _openmp()


def together(work: Callable[[], None], threads: int) -> None:
    """Run ``work`` on the calling thread and on up to ``threads - 1`` of Python's; return when
    nobody is in it any more."""
    helpers = [_executor(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for h in helpers:
            if not h.cancel():
                h.result()


def _executor(size: int) -> ThreadPoolExecutor:
    global _pool, _size
    if _pool is None or _size < size:
        # The smaller pool is dropped, not shut down: another thread may be about to use it.
        _pool, _size = ThreadPoolExecutor(size, thread_name_prefix="thalweg"), size
    return _pool


def _after_fork() -> None:
    global _forked, _pool, _size
    _forked, _pool, _size = True, None, 0  # the pool's object came along, its threads did not


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
