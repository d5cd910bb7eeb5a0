"""Optimizers under torch.optim's names, with torch.optim's arguments, checkpoints and schedulers.

``from thalweg import optim`` in place of ``from torch import optim`` is enough to move a script.
"""

from torch.optim import lr_scheduler, swa_utils

from thalweg.optim.adagrad import Adagrad
from thalweg.optim.adam import Adam
from thalweg.optim.adamw import AdamW
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.rmsprop import RMSprop
from thalweg.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
    "swa_utils",
]
