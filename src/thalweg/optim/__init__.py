"""Optimizers under torch.optim's names, with torch.optim's arguments, checkpoints and schedulers.

``from thalweg import optim`` in place of ``from torch import optim`` is enough to move a script.
"""

from torch.optim import Optimizer, swap_in_optimizer_params_and_state

from thalweg.optim import lr_scheduler, swa_utils
from thalweg.optim.adabelief import AdaBelief
from thalweg.optim.adadelta import Adadelta
from thalweg.optim.adafactor import Adafactor
from thalweg.optim.adagrad import Adagrad
from thalweg.optim.adai import Adai
from thalweg.optim.adam import Adam
from thalweg.optim.adamax import Adamax
from thalweg.optim.adamw import AdamW
from thalweg.optim.adan import Adan
from thalweg.optim.ademamix import AdEMAMix
from thalweg.optim.adopt import ADOPT
from thalweg.optim.asgd import ASGD
from thalweg.optim.lamb import LAMB
from thalweg.optim.lbfgs import LBFGS
from thalweg.optim.lion import Lion
from thalweg.optim.madgrad import MADGRAD
from thalweg.optim.muon import Muon
from thalweg.optim.nadam import NAdam
from thalweg.optim.own import from_rule
from thalweg.optim.padam import Padam
from thalweg.optim.prodigy import Prodigy
from thalweg.optim.radam import RAdam
from thalweg.optim.rmsprop import RMSprop
from thalweg.optim.rprop import Rprop
from thalweg.optim.sam import SAM
from thalweg.optim.schedule_free_adamw import ScheduleFreeAdamW
from thalweg.optim.schedule_free_radam import ScheduleFreeRAdam
from thalweg.optim.schedule_free_sgd import ScheduleFreeSGD
from thalweg.optim.sgd import SGD
from thalweg.optim.soap import SOAP
from thalweg.optim.sparse_adam import SparseAdam

__all__ = [
    "ADOPT",
    "ASGD",
    "LAMB",
    "LBFGS",
    "MADGRAD",
    "SAM",
    "SGD",
    "SOAP",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adai",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "Padam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeRAdam",
    "ScheduleFreeSGD",
    "SparseAdam",
    "from_rule",
    "lr_scheduler",
    "swa_utils",
    "swap_in_optimizer_params_and_state",
]
