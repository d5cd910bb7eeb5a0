"""torch's optimizers with their scalar state in double precision.

NAdam's mu_product and ASGD's eta and mu are kept in torch's default dtype, which is float32: that
alone puts a float64 run 1e-9 off.
"""

from __future__ import annotations

import torch


def in_double(cls):
    """The class, its steps taken with float64 as the default dtype."""

    class Double(cls):
        def step(self, closure=None):
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            try:
                return super().step(closure)
            finally:
                torch.set_default_dtype(before)

    return Double
