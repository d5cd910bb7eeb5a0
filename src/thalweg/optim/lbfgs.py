"""torch's L-BFGS, where code written for ``torch.optim`` imports it from."""

from torch.optim.lbfgs import LBFGS

__all__ = ["LBFGS"]
