"""Learning-rate schedules: pure functions of the step, and what drives an optimizer with them.

::

    from thalweg import schedules
    from thalweg.schedules import cosine, linear

    schedule = linear(0, 1, 500).then(cosine(10_000))
    schedule(250), schedule(500), schedule(10_500)      # 0.5, 1.0, 0.0

A schedule is a value: it has no state, can be asked for any step, and is equal to another one of
the same name and arguments. ``SCHEDULES`` lists the constructors.
"""

from thalweg.schedules import composition
from thalweg.schedules.attach import attach
from thalweg.schedules.cosines import cosine, warm_restarts
from thalweg.schedules.cycles import cyclic, one_cycle, one_cycle_momentum
from thalweg.schedules.entry import SCHEDULES, Course
from thalweg.schedules.exponentials import exponential, exponential_steps
from thalweg.schedules.inverses import inverse_sqrt, inverse_time
from thalweg.schedules.lines import constant, linear, polynomial, wsd
from thalweg.schedules.picture import sketch
from thalweg.schedules.plateau import Plateau, plateau
from thalweg.schedules.schedule import Schedule, constructor, from_dict
from thalweg.schedules.steps import multi_step, step

__all__ = [
    "SCHEDULES",
    "Course",
    "Plateau",
    "Schedule",
    "attach",
    "composition",
    "constant",
    "constructor",
    "cosine",
    "cyclic",
    "exponential",
    "exponential_steps",
    "from_dict",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "multi_step",
    "one_cycle",
    "one_cycle_momentum",
    "plateau",
    "polynomial",
    "sketch",
    "step",
    "warm_restarts",
    "wsd",
]
