"""Threads that sweep memory beside the calling one.

Sweeps release the GIL and take their work from a shared counter, so a helper that comes late, or
not at all because another optimizer has it, costs time and never correctness.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_pool: ThreadPoolExecutor | None = None
_size = 0


def together(work: Callable[[], None], threads: int) -> None:
    """Run ``work`` on the calling thread and on up to ``threads - 1`` helpers; return when nobody
    is in it any more."""
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


def _forget() -> None:
    global _pool, _size
    _pool, _size = None, 0  # a forked child inherits the pool's object but none of its threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
