"""A lock that no fork comes between.

A child that came into being while another thread holds a lock would wait for it for ever: that of
a module being imported, that of llvmlite around each of its calls. So whoever imports or compiles
holds this one, and a fork waits until it is free.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

lock = threading.RLock()
_held: list[Any] = []  # llvmlite's lock, while a fork is under way


def _before() -> None:
    lock.acquire()
    ffi = sys.modules.get("llvmlite.binding.ffi")
    theirs = getattr(getattr(ffi, "lib", None), "_lock", None)
    if theirs is not None:
        theirs.__enter__()
        _held.append(theirs)


def _after() -> None:
    while _held:
        _held.pop().__exit__()
    lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
