"""torch's SparseAdam, where code written for ``torch.optim`` imports it from."""

from torch.optim.sparse_adam import SparseAdam

__all__ = ["SparseAdam"]
