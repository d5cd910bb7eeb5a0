"""What dtypes kernels read and store."""

from __future__ import annotations

import torch
from torch import Tensor

FORMATS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


def converts_float16() -> bool:
    """Whether kernels can be compiled for float16 on this processor."""
    from thalweg.engines.kernel import machine

    return machine.converts_float16()


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype


def gradient_dtype(p: Tensor) -> torch.dtype:
    """What a parameter's gradient is read in: its own dtype (``p.grad_dtype`` may ask for another
    than the parameter's) where kernels can, else the parameter's."""
    if p.grad is None or p.grad.dtype is p.dtype:
        return p.dtype
    given = real_dtype(p.grad.dtype)
    readable = given in FORMATS and (given is not torch.float16 or converts_float16())
    return p.grad.dtype if readable and p.grad.is_complex() == p.is_complex() else p.dtype
