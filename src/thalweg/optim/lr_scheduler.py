"""torch's schedulers, where code written for ``torch.optim`` imports them from."""

from torch.optim.lr_scheduler import *  # noqa: F403
from torch.optim.lr_scheduler import __all__ as __all__
from torch.optim.lr_scheduler import _LRScheduler as _LRScheduler  # still what much code imports
