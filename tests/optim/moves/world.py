"""Twins of one optimizer, on different engines and of torch, to which the same moves are done; and
what is demanded of every step between the moves."""

from __future__ import annotations

import random
import re
import warnings
from dataclasses import dataclass
from functools import partial

import torch

from optim.moves.actor import Actor, elsewhere, number
from optim.moves.kept import Skip
from optim.moves.memory import home, overlaps_itself, readable
from thalweg.optim.registry import ALGORITHMS

DTYPES = ("float32", "float64", "bfloat16", "float16", "complex64")
TORCH = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "adadelta", "adamax",
         "nadam", "radam")  # fmt: skip
# By dtype of what is compared, relative to the largest element: a rounding or two of storage, or
# some hundred of the computation.
ROUNDING = {
    torch.float32: 5e-5,
    torch.float64: 1e-11,
    torch.bfloat16: 2.0**-6,
    torch.float16: 2.0**-9,
}
# Rules with factorizations and iterations magnify the rounding of what they are given.
MAGNIFIED = {"muon": 500.0, "soap": 500.0, "adafactor": 4.0, "prodigy": 20.0}
# Eigenvectors, if eigenvalues repeat, and averages along them; a difference of equal numbers.
ANY = {"soap": {"Q", "exp_avg_sq"}, "adan": {"exp_avg_diff"}}
CLEAR = (ValueError, RuntimeError, TypeError)
# What a clear error names: a parameter, or the groups that contradict each other. (The last is
# torch's, in the closure.)
NAMED = (
    r"parameter (\d+ of group \d+|'p\d+')|in all groups|of all parameters together|"
    r"attempting to assign a gradient"
)
# What is refused by design, with its reason, though torch's optimizers have no such trouble: they
# sum over nothing, have no option that holds for all groups, and no engine to ask for by name.
LIMITS = "|".join(
    (
        "in all groups",
        "of all parameters together",
        "stands in the groups more than once",
        'engine="fused" cannot step .* with its state',
    )
)


class Wrong(AssertionError):
    """A promise that has not been kept."""


@dataclass(frozen=True)
class Plan:
    """A sequence of moves and what they are done to; plain data, to be shown and replayed."""

    algorithm: str
    options: dict
    dtype: str
    engine: str
    shapes: tuple
    way: str
    named: bool
    apart: bool  # whether there are two groups
    moves: tuple  # of (name, label, seed)


def run(plan, moves):
    """Do everything that a plan says; raises ``Wrong``. Returns how many steps were made, and how
    many were refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "optimizer contains a parameter group with duplicate")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # others only wait for each other; a move takes more
        try:
            torch.manual_seed(0)
            world = World(plan)
            for k, (name, label, seed) in enumerate(plan.moves):
                try:
                    world.do(moves[name], label, seed)
                except Wrong as e:
                    raise Wrong(f"move {k}, {name}: {e}") from e
            return world.steps, world.refusals
        finally:
            torch.set_num_threads(threads)


class World:
    def __init__(self, plan):
        self.plan, self.steps, self.refusals = plan, 0, 0
        self.irregular = set()  # moves since which a step may be refused, with a clear error
        cls = ALGORITHMS[plan.algorithm]
        options = {"lr": 0.05, **cls.options, **plan.options}
        dtype = getattr(torch, plan.dtype)
        wanted = {plan.engine: partial(cls.optimizer, engine=plan.engine, **options),
                  "plain": partial(cls.optimizer, engine="plain", **options)}  # fmt: skip
        plain = {"max_grad_norm", "cautious", "bounds", "state_dtype"} & plan.options.keys()
        if plan.algorithm in TORCH and not plain and dtype.itemsize >= 4:
            theirs = getattr(torch.optim, cls.optimizer.__name__)
            wanted["torch"] = partial(theirs, foreach=False, **options)
        self.actors = []
        for kind, make in wanted.items():
            torch.manual_seed(1)
            self.actors.append(
                Actor(kind, make, plan.shapes, dtype, plan.way, plan.named, plan.apart)
            )

    @property
    def ours(self):
        return [a for a in self.actors if a.ours]

    def drop_torch(self):
        self.actors = self.ours

    # ---- moves

    def do(self, move, label, seed):
        label %= len(self.actors[0].params)
        if move.judged is not None:
            move.judged(self, seed)
            return
        for done, actor in enumerate(list(self.actors)):
            torch.manual_seed(seed)
            try:
                move.function(actor, label, random.Random(seed))
            except Skip:
                if done and actor.ours:
                    raise Wrong("the twins' structures differ") from None
                if actor.ours:
                    return
                self.drop_torch()
            except CLEAR as e:
                if actor.ours and (move.may or self.irregular or re.search(LIMITS, str(e))):
                    self.irregular.add(move.name)
                    self.repair()
                    return
                if actor.ours:
                    raise Wrong(f"the move raises {type(e).__name__}: {e}") from e
                self.drop_torch()
        if not move.torch:
            self.drop_torch()
        if move.may or (move.may is None and self.plan.engine == "fused"):
            self.irregular.add(move.name)

    # ---- steps

    def step(self, seed, how="all", thread=False):
        for actor in self.actors:
            torch.manual_seed(seed)
            self.gradients(actor, how, random.Random(seed))
        if not any(p.grad is not None for p in self.actors[0].stepped()) and (
            self.plan.algorithm == "sam"
        ):
            return  # SAM says that the closure has not gone backward
        self.judge(lambda a: elsewhere(a.step) if thread else a.step())

    def gradients(self, actor, how, pick):
        """New gradients for all, for some, or those that are there."""
        for label, p in actor.params.items():
            missing = how == "some" and pick.random() < 0.5
            if how == "as they are" or label in actor.pinned:
                continue
            p.grad = None
            if readable(p) and not missing:
                x = torch.randn(p.shape, dtype=torch.float64)
                x = torch.complex(x, torch.randn(p.shape).double()) if p.is_complex() else x
                p.grad = home(x.to(p.dtype), actor.way)
        actor.pinned.clear()

    def average(self, seed):
        del seed
        if not self.actors[0].averages():
            return
        found = []
        self.judge(lambda a: found.append(a.average()), gradient=False)
        if len(found) == 2:
            for i, x in found[0].items():
                if readable(x):
                    self.compare(f"average of {i}", x, found[1][i], x)

    def judge(self, action, gradient=True):
        """Do something that steps, in every twin, and hold it against what was promised."""
        faults = [
            fault
            for p in self.ours[0].stepped()
            if (p.grad is not None or not gradient) and (gradient or self.ours[0].state(p))
            for fault in self.ours[0].faults(p, gradient)
        ]
        raised = {}
        for actor in list(self.actors):
            if not actor.ours and (faults or actor.forgets()):
                self.drop_torch()  # torch may read memory that is not there
                continue
            actor.look()
            raised[actor.kind] = error = actor.outcome(lambda a=actor: action(a))
            if not actor.ours:
                continue
            if error is None:
                if faults:
                    raise Wrong(f"{actor.kind} steps although {'; '.join(faults)}")
                wrong = actor.written(gradient)
                if wrong:
                    raise Wrong(f"{actor.kind}: {wrong}")
                continue
            said = f"{actor.kind} raises {type(error).__name__}: {error}"
            if not isinstance(error, CLEAR):
                raise Wrong(said) from error
            if not re.search(NAMED, str(error)):
                raise Wrong(f"{said}, which names no parameter") from error
            wrong = actor.untouched()
            if wrong:
                raise Wrong(f"{said}; but it has written: {wrong}") from error
            if not faults and not self.irregular and not re.search(LIMITS, str(error)):
                raise Wrong(f"without need {said}") from error
        if any(raised[a.kind] is not None for a in self.ours):
            self.refusals += 1
            self.repair()
            return
        self.steps += 1
        if any(raised.values()):  # torch alone
            self.drop_torch()
        self.agree()
        self.align()

    # ---- the twins beside each other

    def agree(self):
        first, *others = self.actors
        for other in others:
            for label, p in first.params.items():
                q = other.params[label]
                if not readable(p):
                    continue
                self.compare(f"{other.kind}: weights of {label}", p, q, p, q)
                ours, theirs = first.state(p), other.state(q)
                here, there = ({k for k, v in s.items() if v is not None} for s in (ours, theirs))
                if other.ours and here != there:
                    raise Wrong(f"state of {label}: {sorted(here)} and {sorted(there)}")
                for key in sorted((here & there) - ANY.get(self.plan.algorithm, set())):
                    self.compare(f"{other.kind}: {key} of {label}", ours[key], theirs[key], p, q)

    def counts_agree(self, wrong):
        """Only the steps are as many, after steps that took turns as they liked."""
        if wrong:
            raise Wrong(wrong)
        first, *others = self.ours
        for other in others:
            for label, p in first.params.items():
                here, there = (
                    s.get("step") for s in (first.state(p), other.state(other.params[label]))
                )
                if here is not None and float(here) != float(there):
                    raise Wrong(f"{float(here)} steps of {label}, not {float(there)}")

    def compare(self, what, x, y, p, q=None):
        if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor) or x.numel() == 1:
            m, n = number(as_number(x)), number(as_number(y))
            if isinstance(m, float | int) and isinstance(n, float | int):
                x, y = (torch.tensor(v, dtype=torch.float64) for v in (m, n))
            elif not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
                return
        if not (readable(x) and readable(y)):
            return
        if x.shape != y.shape:
            raise Wrong(f"{what}: shapes {tuple(x.shape)} and {tuple(y.shape)}")
        real = [torch.view_as_real(t) if t.is_complex() else t for t in (x.detach(), y.detach())]
        # Torch rounds to a state's format before it uses the state, these engines after.
        first = self.actors[0]
        formats = {real_dtype(t) for t in (*real, p, *first.tensors(p).values())}
        for other in self.actors[1:] if q is not None else ():  # torch's may be its gradient's
            formats |= {real_dtype(t) for t in other.tensors(q).values()}
        if first.sums():  # over all parameters, each in its own precision
            formats |= {real_dtype(q) for q in first.params.values()}
        if self.plan.algorithm == "nadam" and what.startswith("torch"):
            formats.add(torch.float32)  # what torch keeps the product in, whatever the weights
        tolerance = max(ROUNDING.get(d, 0.0) for d in formats) * MAGNIFIED.get(
            self.plan.algorithm, 1.0
        )
        a, b = (t.double() for t in real)
        size = torch.nan_to_num(torch.maximum(a.abs(), b.abs()), posinf=0.0)
        scale = float(size.max()) if a.numel() else 0.0
        same = ((a - b).abs() <= tolerance * scale) | (a == b) | (a.isnan() & b.isnan())
        if not bool(same.all()):
            off = float(torch.nan_to_num((a - b).abs(), nan=1e30).max())
            raise Wrong(f"{what}: off by {off:.3g} of {scale:.3g}")

    def align(self):
        """Put the first twin's values into the others, so that rounding does not pile up."""
        first, *others = self.actors
        with torch.no_grad():
            for other in others:
                for label, p in first.params.items():
                    q = other.params[label]
                    put(q, p)
                    for key, v in first.state(p).items():
                        w = other.state(q).get(key)
                        if isinstance(v, torch.Tensor) and isinstance(w, torch.Tensor):
                            put(w, v)

    def repair(self):
        """After a refusal: sound weights, no state, no gradients; the optimizers stay."""
        for actor in self.actors:
            torch.manual_seed(2)
            with torch.no_grad():
                for label, p in actor.params.items():
                    p.grad = None
                    p.data = actor.fresh(label).detach()
            actor.optimizer.state.clear()
            actor.pinned.clear()
            actor.counts.clear()
        self.irregular.clear()


def put(x, y):
    if x.shape == y.shape and readable(x) and readable(y) and x.numel() and not overlaps_itself(x):
        x.detach().copy_(y.detach())


def as_number(x):
    if isinstance(x, torch.Tensor) and x.numel() == 1 and readable(x):
        return x.detach().reshape(())
    return x


def real_dtype(p):
    return p.dtype.to_real() if p.is_complex() else p.dtype
