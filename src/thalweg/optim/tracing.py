"""torch.compile does not trace into an optimizer.

It would record the addresses of arrays that it made up for the trace, with which a kernel writes
anywhere. To it, every method is one opaque call, as after ``torch.compiler.disable``, which would
load all of torch.compile and cost a wrapper per call.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from torch._C._dynamo import eval_frame

_REASON = "thalweg's kernels cannot be traced: keep optimizers out of fullgraph=True"
_SKIP = eval_frame._FrameExecStrategy(eval_frame._FrameAction.SKIP, eval_frame._FrameAction.SKIP)


class Opaque:
    """Base of classes whose methods torch.compile does not trace, nor what they call, but for what
    has been compiled by itself (a model in a closure)."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__qualname__ + "."
        for method in vars(cls).values():
            # Not a function from elsewhere that a class has as an attribute.
            if isinstance(method, FunctionType) and method.__qualname__.startswith(own):
                _hide(method)


def _hide(method: Any) -> None:
    """Two marks, as torch.compile has two ways to a function: it traces the call from a caller's
    code, or what is called when that has not been traced."""
    while True:
        method._torchdynamo_disable = True
        method._torchdynamo_disable_msg = _REASON
        if not hasattr(method, "__wrapped__"):
            break
        method = method.__wrapped__
    # Of decorators only the function inside: their own code is everybody's.
    eval_frame.set_code_exec_strategy(inspect.unwrap(method).__code__, _SKIP)
