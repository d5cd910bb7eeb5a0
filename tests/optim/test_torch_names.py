"""What code written for torch.optim imports is there under thalweg.optim."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch.optim import optimizer as theirs
from torch.optim import swa_utils

from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer


def test_the_base_class_is_torchs():
    assert optim.Optimizer is torch.optim.Optimizer

    class Signs(optim.Optimizer):  # as every optimizer of one's own is written for torch
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad.sign()

    p = torch.ones(2, requires_grad=True)
    p.grad = torch.tensor([3.0, -2.0])
    Signs([p], lr=0.5).step()
    assert p.tolist() == [0.5, 1.5]
    assert isinstance(optim.LBFGS([p]), optim.Optimizer)
    assert isinstance(optim.Adam([p]), optim.Optimizer)
    assert issubclass(optim.Adam, RuleOptimizer)


# torch's functional forms take lists of tensors; here the name is the rule, if it is anything.
FUNCTIONAL = {"adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam",
              "rmsprop", "rprop", "sgd"}  # fmt: skip
MODULES = [m.name for m in pkgutil.iter_modules(torch.optim.__path__) if m.name[0] != "_"]


def test_every_public_name_of_torch_optim_is_there():
    assert set(torch.optim.__all__) <= set(optim.__all__)
    public = {name for name in vars(torch.optim) if not name.startswith("_")}
    assert public <= set(vars(optim))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_its_submodules_is_there(name):
    theirs, ours = (import_module(f"{p}.optim.{name}") for p in ("torch", "thalweg"))
    missing = {n for n in theirs.__all__ if not hasattr(ours, n)}
    assert missing <= FUNCTIONAL
    own = {n for n in theirs.__all__ if n not in FUNCTIONAL and hasattr(optim, n)}
    assert {n: getattr(ours, n) for n in own} == {n: getattr(optim, n) for n in own}


def test_schedulers_averages_and_hooks_are_torchs_own():
    from thalweg.optim.lr_scheduler import LRScheduler, _LRScheduler
    from thalweg.optim.optimizer import ParamsT, register_optimizer_step_pre_hook, required
    from thalweg.optim.swa_utils import SWALR, AveragedModel

    assert LRScheduler is torch.optim.lr_scheduler.LRScheduler
    assert _LRScheduler is torch.optim.lr_scheduler._LRScheduler
    assert (SWALR, AveragedModel) == (swa_utils.SWALR, swa_utils.AveragedModel)
    assert register_optimizer_step_pre_hook is theirs.register_optimizer_step_pre_hook
    assert (ParamsT, required) == (theirs.ParamsT, theirs.required)


def test_parameters_and_state_are_swapped_in_for_a_while():
    def made():
        p = torch.ones(3, requires_grad=True)
        o = optim.AdamW([p], lr=0.1)
        p.grad = torch.arange(3.0)
        o.step()
        return p, o

    (p, o), (far, further), (other, another) = made(), made(), made()
    before, given = p.detach().clone(), another.state_dict()
    further.step()  # what the swapped-in step must come to
    with optim.swap_in_optimizer_params_and_state(o, {"w": other}, given):
        o.step()
    assert torch.equal(other, far)
    assert torch.equal(given["state"][0]["exp_avg"], further.state[far]["exp_avg"])
    assert torch.equal(p, before)
    assert o.state[p]["step"] == 1
    o.step()  # its own way goes on
    assert torch.equal(p, far)
    assert o.state[p]["step"] == 2


def test_thalweg_alone_loads_nothing_and_finds_its_parts():
    code = (
        "import sys, thalweg; assert 'torch' not in sys.modules; assert 'optim' in dir(thalweg);"
        "assert thalweg.optim.AdamW.__name__ == 'AdamW'; thalweg.schedules.cosine(9);"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="'thalweg' has no attribute 'optin'"):
        import_module("thalweg").optin  # noqa: B018
