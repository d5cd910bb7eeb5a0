"""An optimizer with its parameters, to which moves are done, and what can be seen of it."""

from __future__ import annotations

import threading

import torch

from optim.moves.memory import Watch, home, overlaps_itself, readable
from thalweg import optim
from thalweg.optim.averaging import AveragingOptimizer
from thalweg.optim.optimizer import RuleOptimizer


class Actor:
    """Parameters by label, and the optimizer that steps them."""

    def __init__(self, kind, make, shapes, dtype, way, named, apart):
        self.kind, self.way, self.dtype, self.make = kind, way, dtype, make
        self.shapes = dict(enumerate(shapes))
        self.params = {i: self.fresh(i) for i in self.shapes}
        entries = [(f"p{i}", p) if named else p for i, p in self.params.items()]
        half = (len(entries) + 1) // 2 if apart else len(entries)
        groups = [{"params": part} for part in (entries[:half], entries[half:]) if part]
        self.optimizer = make(groups)
        self.pinned = set()  # labels whose gradient a move has chosen
        self.freed = []  # what gives memory back that was taken: called to repair
        self.counts = {}  # by label: the step tensor that the user has put there
        self.watch = Watch()

    @property
    def ours(self):
        return isinstance(self.optimizer, RuleOptimizer)

    def fresh(self, label, dtype=None):
        x = torch.randn(
            self.shapes[label], dtype=torch.complex128 if self.dtype.is_complex else None
        )
        return home(x.to(dtype or self.dtype), self.way).requires_grad_()

    def stepped(self):
        """Parameters of all groups, once each, in order."""
        found = {id(p): p for g in self.optimizer.param_groups for p in g["params"]}
        return list(found.values())

    def label(self, p):
        return next((i for i, q in self.params.items() if q is p), None)

    # ---- state

    def kinds(self):
        """Keys of state of the parameter's shape, of a shape of their own, and of one number."""
        rule = self.optimizer.rule
        scalar = {rule.state[s] for s in rule.scalar} | {"step"}
        shaped = {rule.state[s] for s in rule.shaped}
        return set(rule.state.values()) - scalar - shaped | {"old_p"}, shaped, scalar

    def sums(self):
        """Whether the last step has taken sums over all parameters."""
        phases = self.optimizer.phases() if self.ours else ()
        batches = [b for o in phases for b in getattr(o, "batches", ())]
        return any(r.scope == "all" for b in batches for r in b.work.graph.reductions)

    def state(self, p):
        return self.optimizer.state.get(p, {})

    def tensors(self, p):
        """State of one parameter that is more than a number."""
        return {
            k: v
            for k, v in self.state(p).items()
            if isinstance(v, torch.Tensor) and k != "step" and v.dim()
        } | self._flat(p)

    def _flat(self, p):
        """State of a parameter of no dimensions has none either, and is no number for all that."""
        if not self.ours:
            return {}
        keys = self.kinds()[0]
        return {k: v for k, v in self.state(p).items() if isinstance(v, torch.Tensor) and k in keys}

    def numbers(self, p):
        mine = self.tensors(p)
        return {k: v for k, v in self.state(p).items() if k not in mine and v is not None}

    # ---- what a step must refuse

    def forgets(self):
        """Whether this is torch's SGD before the first step of a parameter that stands in the
        groups twice: of two first velocities it forgets one."""
        return any(
            group.get("momentum") and not self.state(p) and sum(q is p for q in group["params"]) > 1
            for group in self.optimizer.param_groups
            for p in group["params"]
        )

    def left_over(self, p):
        """State of what a parameter was before it became a matrix, or ceased to be one."""
        if isinstance(self.optimizer, optim.Muon):
            return {"exp_avg", "exp_avg_sq"} if p.dim() > 1 else {"momentum_buffer"}
        if isinstance(self.optimizer, optim.Adafactor):
            return {"variance"} if p.dim() > 1 else {"row_var", "col_var"}
        return set()

    def faults(self, p, gradient=True):
        """Why this parameter cannot be stepped by anyone; or, without gradient, not averaged."""
        found, g = [], p.grad if gradient else None
        if not readable(p):
            found.append("the parameter has no memory")
        elif overlaps_itself(p):
            found.append("the parameter overlaps itself")
        if g is not None and g.shape != p.shape:
            found.append(f"the gradient has shape {tuple(g.shape)}")
        if g is not None and not readable(g):
            found.append("the gradient has no memory")
        elementwise, shaped, _ = self.kinds() if gradient else ({"z"}, set(), set())
        for key, v in self.state(p).items():
            if key not in elementwise | shaped or v is None:
                continue
            if key in self.left_over(p):
                continue
            if not isinstance(v, torch.Tensor):
                found.append(f"{key} is a {type(v).__name__}")
            elif key in elementwise and v.shape != p.shape:
                found.append(f"{key} has shape {tuple(v.shape)}")
            elif not readable(v):
                found.append(f"{key} has no memory")
            elif overlaps_itself(v):
                found.append(f"{key} overlaps itself")
        return found

    # ---- the step

    def step(self):
        o = self.optimizer
        if not self.ours or len(o.phases()) == 1:
            o.step()
            return
        given = [(p, p.grad) for p in self.stepped()]

        def closure():
            for p, g in given:
                if p.grad is not g:
                    p.grad = g
            return 0.0

        try:
            o.step(closure)
        finally:
            for p, g in given:
                if p.grad is not g:
                    p.grad = g

    def averages(self):
        return isinstance(self.optimizer, AveragingOptimizer)

    def average(self):
        """The weights to evaluate with, for a moment."""
        with self.optimizer.averaged():
            return {i: p.detach().clone() for i, p in self.params.items()}

    def outcome(self, action):
        """None, or the exception that an action raises."""
        try:
            action()
        except Exception as e:
            return e
        return None

    # ---- before and after

    def look(self):
        """Everything that a refused step must leave as it is, and a step must not write beside."""
        used = []
        for p in {id(p): p for p in (*self.params.values(), *self.stepped())}.values():
            used += [p.detach()]
            used += [p.grad] if p.grad is not None and p.grad.layout is torch.strided else []
            used += [v for v in self.tensors(p).values() if v.layout is torch.strided]
        used += [t for t in self.counts.values() if isinstance(t, torch.Tensor)]
        self.watch.look([x for x in used if x.device.type == "cpu"])
        self.states = {
            id(p): {k: (v, number(v)) for k, v in s.items()}
            for p, s in self.optimizer.state.items()
            if s
        }
        self.gradients = {id(p): p.grad for p in self.stepped()}

    def untouched(self):
        """What a refused action has changed all the same, or None."""
        wrong = self.watch.changed([])
        if wrong:
            return wrong
        now = {id(p): s for p, s in self.optimizer.state.items() if s}
        if now.keys() != self.states.keys():
            return "state of other parameters than before"
        for key, before in self.states.items():
            if before.keys() != now[key].keys():
                return f"state {sorted(now[key])}, before {sorted(before)}"
            for name, (v, n) in before.items():
                if isinstance(v, torch.Tensor) and n is None and now[key][name] is not v:
                    return f"{name} is another tensor"
                if number(now[key][name]) != n:
                    return f"{name} is {number(now[key][name])} and was {n}"
        return None

    def written(self, gradient=True):
        """What an action has written that it must not, or None."""
        to_step = [p for p in self.stepped() if not gradient or p.grad is not None]
        writable = [x for p in to_step for x in (p.detach(), *self.tensors(p).values())]
        writable += [t for t in self.counts.values() if isinstance(t, torch.Tensor)]
        wrong = self.watch.changed(writable)
        if wrong:
            return wrong
        for p in self.stepped():
            if p.grad is not self.gradients[id(p)]:
                return "p.grad is another tensor"
        for i, t in self.counts.items():
            s = self.state(self.params[i])
            if isinstance(t, torch.Tensor) and s.get("step") is not t:
                return "state['step'] is not the tensor any more that the user put there"
        return None


def number(v):
    """The value of a number, be it a tensor; None for other tensors."""
    if isinstance(v, torch.Tensor):
        return (
            float(v)
            if v.numel() == 1 and readable(v) and not v.is_complex() and v.dim() == 0
            else None
        )
    return v


def elsewhere(action):
    """Call from another thread; its exception is raised here."""
    found = []

    def run():
        try:
            action()
        except BaseException as e:
            found.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if found:
        raise found[0]
