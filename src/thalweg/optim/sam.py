"""SAM and adaptive SAM: sharpness-aware minimisation around any optimizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg.engines.base import Batch
from thalweg.optim.accumulation import Accumulation
from thalweg.optim.climb import Climb
from thalweg.optim.given import check_group, check_params, plain_options
from thalweg.optim.groups import Group
from thalweg.optim.memory import Memory
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.options import Common
from thalweg.optim.sgd import SGD
from thalweg.optim.state import check_is_mapping, check_is_optimizers
from thalweg.rule.rule import Values

_OWN = tuple(Climb.options.keys() - Common.options.keys())  # what the base optimizer has not


class SAM(RuleOptimizer):
    """Take the gradient not where the weights are but at the worst point within a distance rho, and
    step with it from where they are. Minima that are sharp do not look like minima from there.

    ::

        kept <- w
        w <- w + rho g / (norm(g) + 1e-12)      (norm over all parameters of all groups)
        g <- the gradient at w
        w <- base_optimizer's step from kept with g
        adaptive: w <- w + rho w^2 g / (norm(|w| g) + 1e-12)

    ``step(closure)`` calls the closure twice: it zeroes the gradients, computes the loss, goes
    backward and returns the loss. Or, each after a backward of its own,
    ``first_step(zero_grad=True)`` and ``second_step(zero_grad=True)``. With a ``GradScaler``,
    ``scaler.step(optimizer)`` takes the place of ``second_step``; ``first_step`` needs no
    ``unscale_``. Where gradients are accumulated, both of the two calls need all micro-batches;
    ``step(closure)`` raises if the closure adds to gradients of others.

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        base_optimizer: the class that steps, of ``thalweg.optim`` or ``torch.optim``. Further
            arguments are its. Its groups are shared: a schedule may be given either optimizer.
        rho: how far to climb; units of w, and without units if adaptive (where about
            ten times as much suits).
        adaptive: measure distances relative to each weight (ASAM).
        model: its batch-norm statistics are left alone from ``first_step`` to ``second_step``.

    State: the base optimizer's, which is all that a checkpoint holds; beside it ``old_p``, the
    weights before the climb, of the parameter's shape and dtype, so that the way back is exact.

    Where papers and code disagree:
        Official here is davda54/sam, which people use, since the authors' own (JAX) is the training
        script of their paper. Its ``step(closure)`` wants a backward before and calls the closure
        once; here the closure is called twice, as by every optimizer of torch that evaluates
        twice. Scripts made for it work, an evaluation longer, as the climb does not depend on the
        gradient's length. Its checkpoints lack the base optimizer's state, and its weights stay
        climbed where the second gradient is None or a ``GradScaler`` skips the step. ASAM's paper
        adds 0.01 to ``|w|``, which it leaves out.

    Reference: Foret, Kleiner, Mobahi & Neyshabur 2021, ICLR, arXiv:2010.01412, Algorithm 1; ASAM:
    Kwon, Kim, Park & Choi 2021, ICML, arXiv:2102.11600; official code: davda54/sam.
    """

    rule = SGD.rule.with_(climb=Climb.rule)
    rho = Climb.options["rho"]
    adaptive = Climb.options["adaptive"]
    _step_supports_amp_scaling: ClassVar[bool] = True  # a skipped step, too, must lead back
    _made_up = False  # whether the constructor is through

    def __init__(
        self,
        params: Any,
        base_optimizer: Callable[..., torch.optim.Optimizer] = SGD,
        rho: float = 0.05,
        adaptive: bool = False,
        *,
        model: nn.Module | None = None,
        **base_options: Any,
    ) -> None:
        if not callable(base_optimizer):
            raise TypeError(
                "base_optimizer must be a class, such as thalweg.optim.SGD, whose arguments follow "
                f"as SAM's own, not {base_optimizer!r}"
            )
        params = check_params(params, type(self).__name__)
        self.base_optimizer = base_optimizer(params, **base_options)
        self.model = model
        own = plain_options({"rho": rho, "adaptive": adaptive})
        for name in own.keys() & self.base_optimizer.defaults.keys():
            raise ValueError(
                f"{type(self.base_optimizer).__name__} cannot be the base optimizer: it has an "
                f"option {name!r} of its own, and they share their groups"
            )
        for group in self.base_optimizer.param_groups:
            self._check_keys(group, own)
        self._surround(own)
        groups = self.base_optimizer.param_groups
        torch.optim.Optimizer.__init__(self, groups, {**self.base_optimizer.defaults, **own})
        self._made_up = True
        self._surround(own)

    def _check_keys(self, group: Group, own: Group) -> None:
        check_group(group, {*self.base_optimizer.defaults, *own}, type(self).__name__)

    def _surround(self, own: Group) -> None:
        """Stand around the base optimizer as it is now; its groups are given what they lack."""
        self.param_groups, self.state = self.base_optimizer.param_groups, self.base_optimizer.state
        self._climb = Climb(self.param_groups, **own)
        self._share_groups()
        self._climbed: list[Tensor] | None = None  # between the two steps: who has to come back
        self._frozen: list[_BatchNorm] = []
        self._accumulation = Accumulation()

    def _share_groups(self) -> None:
        base = self.base_optimizer
        base.param_groups = self._climb.param_groups = self.param_groups
        base.state = self.state
        if isinstance(base, RuleOptimizer) and not self._climb._plan.fits(
            self.param_groups, self._climb.state
        ):
            base._complete()  # before the climb does, whose own options are others

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own. Raises, and adds nothing, for bad options."""
        if not self._made_up:  # torch's constructor, with groups that the base optimizer has taken
            self.param_groups.append(param_group)
            return
        self._share_groups()
        self._check_keys(param_group, self._climb.defaults)
        self._climb._check({**self._climb.defaults, **self.base_optimizer.defaults, **param_group})
        self.base_optimizer.add_param_group(param_group)
        self._climb.take(self.param_groups[-1])

    def hyperparameters(self, group: Group) -> Values:
        base = self.base_optimizer
        theirs = base.hyperparameters(group) if isinstance(base, RuleOptimizer) else {}
        return {**theirs, **self._climb.hyperparameters(group)}

    def phases(self) -> tuple[torch.optim.Optimizer, ...]:
        return self._climb, self.base_optimizer

    @property
    def batches(self) -> list[Batch]:
        return [b for o in self.phases() if isinstance(o, RuleOptimizer) for b in o.batches]

    # ---- the step

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Both moves; returns the closure's loss at the weights before them. After
        :meth:`first_step`, the second move, for which a closure is called once."""
        loss = None
        self._look_around()
        if self._climbed is not None:
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
        elif closure is not None:
            loss, complete = self._both(closure)
            if not complete:
                self._return()
                return loss
        elif not self._flat():
            raise RuntimeError(
                "SAM evaluates twice: step(closure), or first_step() and second_step(), "
                "each after a backward of its own"
            )
        self._descend()
        return loss

    def _both(self, closure: Callable[[], float]) -> tuple[float, bool]:
        """Climb along the closure's gradients and take them anew there; gives the loss, and whether
        there are gradients to step with. A closure may make none: trainers skip a batch so."""
        before = self._accumulation.before(self._all_params())
        with torch.enable_grad():
            loss = closure()
        if not self._evaluated(loss):
            return loss, False
        self._accumulation.refuse(before)
        idle = self._accumulation.untouched(before)
        self.first_step(zero_grad=True)
        try:
            with torch.enable_grad():
                again = closure()
            there = self._evaluated(again)
            if idle and not there:
                raise _no_gradients()
        except BaseException:
            self._return()
            raise
        return loss, there

    def _look_around(self) -> None:
        """What has been put in the place of the groups or the state holds for all who share them;
        raises where memory is not there."""
        self._share_groups()
        self._present()

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self._original._accumulation.zeroed = True

    def _all_params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _evaluated(self, loss: Any) -> bool:
        """Whether a closure has left gradients; raises where it has forgotten to go backward from
        its loss, or has left no memory."""
        self._present()
        there = any(p.grad is not None for p in self._all_params())
        if not there and getattr(loss, "requires_grad", False):
            raise _no_gradients()
        return there

    def first_step(self, zero_grad: bool = False) -> None:
        """Climb, along the gradients that are there."""
        if self._original is not self:
            self._original.first_step(zero_grad)
            return
        if self._climbed is not None:
            raise RuntimeError("first_step has been taken: second_step comes next")
        self._look_around()
        finite = self._climb._finite()
        if finite:
            self._climb._step()
        self._climbed = [p for p in self._all_params() if finite and p.grad is not None]
        if self.model is not None:
            norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
            self._frozen = [m for m in norms if m.track_running_stats]
        for m in self._frozen:
            m.track_running_stats = False
        if zero_grad:
            self.zero_grad()

    def second_step(self, zero_grad: bool = False) -> None:
        """Go back, and step with the gradients that have been taken at the top."""
        self.step()
        if zero_grad:
            self.zero_grad()

    def _return(self) -> None:
        if self._climbed:
            self._climb.back(self._climbed)
        self._climbed = None
        for m in self._frozen:
            m.track_running_stats = True
        self._frozen = []

    def _descend(self) -> None:
        self._return()
        try:
            self._base_step()
        finally:
            self._accumulation.leave(self._all_params())

    def _base_step(self) -> None:
        # What a GradScaler leaves to the optimizer: its own skipping would leave the weights above.
        if bool(getattr(self, "found_inf", False)):
            return
        scale = getattr(self, "grad_scale", None)
        for group in self.param_groups if scale is not None else ():
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.div_(scale)
        self.base_optimizer.step()

    # ---- around the base optimizer

    def averaged(self) -> AbstractContextManager[None]:
        base = self.base_optimizer
        return base.averaged() if isinstance(base, RuleOptimizer) else nullcontext()

    def memory(self) -> Memory:
        base = self.base_optimizer
        if not isinstance(base, RuleOptimizer):
            raise TypeError(f"{type(base).__name__} is torch's, which does not tell beforehand")
        mine = self._climb.memory().parameters
        return Memory({p: {**x, **mine[p]} for p, x in base.memory().parameters.items()})

    def _at_home(self, what: str) -> None:
        if self._climbed is not None:
            raise RuntimeError(f"{what} between first_step and second_step: weights are elsewhere")

    def state_dict(self) -> dict[str, Any]:
        self._at_home("state_dict()")
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class, or of the base optimizer alone."""
        check_is_mapping(state_dict)
        state_dict = dict(state_dict)  # as in torch, hooks may change what stands in it
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        check_is_optimizers(state_dict)
        self._look_around()
        kept = [{name: group[name] for name in _OWN} for group in self.param_groups]
        for given, mine in zip(state_dict["param_groups"], kept, strict=False):
            self._climb._check({**self._climb.defaults, **mine, **given})
        self.base_optimizer.load_state_dict(state_dict)
        for group, mine in zip(self.base_optimizer.param_groups, kept, strict=True):
            for name, value in mine.items():
                group.setdefault(name, value)
        self._return_nowhere()
        for done in self._optimizer_load_state_dict_post_hooks.values():
            done(self)

    def _return_nowhere(self) -> None:
        self._climbed = []
        self._return()
        self._surround({name: self.defaults[name] for name in _OWN})

    def __getstate__(self) -> dict[str, Any]:
        self._at_home("a copy")
        more = {"base_optimizer": self.base_optimizer, "model": self.model}
        return {**super().__getstate__(), **more}

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.optim.Optimizer.__setstate__(self, state)
        self._made_up = True
        self._surround({name: self.defaults[name] for name in _OWN})


def _no_gradients() -> RuntimeError:
    return RuntimeError(
        "the closure has left no gradients: it must go backward, each time it is called. "
        "(A trainer's step() may stand for a closure that does nothing: call first_step() "
        "and second_step().)"
    )
