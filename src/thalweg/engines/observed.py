"""Whether somebody records, counts or fakes torch's operations.

Kernels write behind the back of ``make_fx``, ``FakeTensorMode``, ``FlopCounterMode``, and of every
other mode or transform that sees operations. While one is there the plain engine makes the step,
which consists of operations only. How many steps there have been stays a number on the host.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

# The modes of make_fx(pre_dispatch=True), which are not on the stack of the others.
_early: Any = getattr(
    torch._ops._mode_stack_state_for_pre_dispatch,
    "_ModeStackStateForPreDispatch__infra_modes",
    (None, None),
)
_modes, _jit = torch._C._len_torch_dispatch_stack, torch._C._is_tracing


def observed() -> bool:
    """Whether anybody sees the operations that come now. Asked at every step: 100 ns."""
    return _modes() > 0 or _jit() or _early[0] is not None or _early[1] is not None


def symbolic(x: Tensor) -> bool:
    """Whether a tensor is one of a mode's or transform's own, or may become a value in a program
    that somebody records: its elements must not be looked at."""
    return isinstance(x, FakeTensor) or _functorch.is_functorch_wrapped_tensor(x) or observed()


@contextmanager
def unobserved() -> Generator[None]:
    """A context for what is done on the host beside the step."""
    if not observed():  # what follows would load torch.fx
        yield
        return
    jit: Any = torch._C  # what its types lack
    graph = jit._get_tracing_state()
    jit._set_tracing_state(None)
    try:
        with _disable_current_modes():
            yield
    finally:
        jit._set_tracing_state(graph)
