"""Faults that were found once, each as the shortest sequence of moves that shows it."""

from __future__ import annotations

import torch

from optim.moves import single
from optim.moves.moves import MOVES
from optim.moves.search import serve
from optim.moves.world import Plan, run

# One sweep, several passes, a state of another shape, averages to move to; SAM's two optimizers.
ALGORITHMS = ("adamw", "momentum", "lamb", "adafactor", "schedule-free-adamw", "sam")
SHAPES = ((6, 6), (4, 3, 2, 2), (7, 30))
STEP, AS_IT_IS, AVERAGE = "step", "step as it is", "average"

# What is done after two steps. A label in front says which parameter, where it is not each.
SEQUENCES = {
    "channels_last": ("channels last", STEP),
    "transposed square": ("transpose a square", STEP),
    "transposed": ("transpose", AS_IT_IS),
    "permuted": ("permute memory", STEP),
    "with gaps": ("gaps", STEP),
    "grown with gradient and state": ("grow", AS_IT_IS),
    "grown without state": ("grow alone", STEP),
    "grown without gradient": ("grow alone", AS_IT_IS),
    "pruned with gradient and state": ("prune", AS_IT_IS),
    "pruned without state": ("prune alone", STEP),
    "pruned without gradient": ("prune alone", AS_IT_IS),
    "set_": ("set the same", STEP),
    "set_ of another size": ("set another", STEP),
    "another address": ("clone", STEP),
    "another dtype": ("to dtype", STEP),
    "another dtype, gradient as well": ("to dtype", AS_IT_IS),
    "expanded": ("expand", STEP),
    "shared": ("share", STEP),
    "storage of the parameter freed": ("lose memory", AS_IT_IS),
    "storage of the parameter freed and back": ("lose memory and regain it", STEP),
    "storage of the gradient freed": ("gradient loses its memory", AS_IT_IS),
    "storage of state freed": ("state without data", STEP),
    "storage of state freed and back": ("state loses its memory and regains it", STEP),
    "gradient of another shape": ("gradient of another shape", AS_IT_IS),
    "gradient of another length": ("gradient of another length", AS_IT_IS),
    "gradient of another dtype": ("gradient of another dtype", AS_IT_IS),
    "gradient of as many bytes": ("gradient of as many bytes", AS_IT_IS),
    "gradient negated": ("gradient negated", AS_IT_IS),
    "gradient expanded": ("gradient expanded", AS_IT_IS),
    "gradients that share": ("gradients that share", AS_IT_IS),
    "gradient is the parameter": ("gradient that is the parameter", AS_IT_IS),
    "state shared": ("state shared", STEP),
    "state at another address": ("state moves", STEP),
    "state in torch's memory again": ("state gets canaries", "state moves to torch memory", STEP),
    "state set_": ("state set to nothing", STEP),
    "state sliced": ("state sliced", STEP),
    "state expanded": ("state expanded", STEP),
    "state strided": ("state with gaps", STEP),
    "state permuted": ("state permuted", STEP),
    "state of another dtype": ("state of another dtype", STEP),
    "state a number": ("state that is a number", STEP),
    "state None": ("state that is none", STEP),
    "state missing": ("state without a key", STEP),
    "state under another key": ("state under another key", STEP),
    "state cleared": ("state cleared", STEP),
    "state of one deleted": ("state of one deleted", STEP),
    "state moved, averages": ("state moves", AVERAGE, STEP),
    "state sliced, averages": ("state sliced", AVERAGE, STEP),
    "parameter moved, averages": ("clone", AVERAGE, STEP),
    "step of the user": ("step is a tensor of the user", STEP, STEP),
    "step in shared memory": ("step is shared", STEP, STEP),
    "step becomes shared": ("step becomes shared", STEP, STEP),
    "step of another dtype": ("step of another dtype", STEP, STEP),
    "step in a list": ("step in a list", STEP),
    "step a number": ("step is a number", STEP, STEP),
    "step written": ("step written", STEP),
    "group popped": ("group popped", STEP),
    "groups reversed": ("groups reversed", STEP),
    "group list replaced": ("group list replaced", STEP),
    "groups swapped": ("groups swap their parameters", STEP),
    "parameters reversed": ("parameters reversed", STEP),
    "parameter to another group": ("parameter moves to another group", STEP),
    "parameter taken out": ("parameter taken out", STEP),
    "group inserted": ("group inserted", STEP, STEP),
    "group added": ("group added", STEP, STEP),
    "parameter twice": ("parameter twice", STEP, STEP),
    "rate a tensor": ("rate is a tensor of all", STEP, "rate written in place", STEP),
    "betas changed": ("betas change", STEP),
    "decay changed": ("decay changes", STEP),
    "parameter replaced": ("replace with its state", STEP),
    "parameter replaced, state left": ("replace without state", STEP),
    "deep copy": ("deepcopied", STEP),
    "pickle": ("pickled", STEP),
    "checkpoint": ("saved and loaded", STEP),
    "checkpoint of another": ("loaded by another", STEP),
    "two threads": ("two threads", STEP),
    "another thread": ("step in another thread", STEP),
}  # fmt: skip


def plans(names, seeds=range(4)):
    """A sequence on every representative algorithm, in every variant that its moves have."""
    return [
        Plan(
            algorithm=algorithm,
            options={},
            dtype="float32",
            engine="auto",
            shapes=SHAPES,
            way="canary",
            named=seed % 2 == 1,
            apart=True,
            moves=((STEP, 0, 0), (STEP, 0, 1), *((name, seed % 3, seed) for name in names)),
        )
        for algorithm in ALGORITHMS
        for seed in seeds
    ]


TABLE = {
    **{name: lambda names=names: plans(names) for name, names in SEQUENCES.items()},
    **{name: lambda f=f: [f] for name, f in single.FAULTS.items()},
}

if __name__ == "__main__":
    torch.set_num_threads(1)  # a process with threads cannot be forked
    for plan in plans((), seeds=(0,)):  # what is compiled now is there in every fork
        run(plan, MOVES)
    serve({name: make() for name, make in TABLE.items()})
