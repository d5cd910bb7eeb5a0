"""torch's weight averaging, where code written for ``torch.optim`` imports it from."""

from torch.optim.swa_utils import *  # noqa: F403
from torch.optim.swa_utils import __all__ as __all__
