"""torch's Muon on matrices and torch's AdamW on all else, as one optimizer: torch's own functions,
put together as its documentation says; and momentum as a sum, which torch does not have."""

from __future__ import annotations

import torch
from torch.optim._muon import _adjust_lr, _zeropower_via_newtonschulz
from torch.optim.adamw import adamw

DEFAULTS = {
    "lr": 1e-3,
    "weight_decay": 0.1,
    "momentum": 0.95,
    "nesterov": True,
    "ns_coefficients": (3.4445, -4.7750, 2.0315),
    "eps": 1e-7,
    "ns_steps": 5,
    "adjust_lr_fn": None,
    "use_muon": None,
    "adamw_lr_ratio": 1.0,
    "adamw_betas": (0.9, 0.95),
    "adamw_eps": 1e-10,
    "adamw_weight_decay": None,
    "convention": "average",
    "maximize": False,
}


class Muon(torch.optim.Optimizer):
    def __init__(self, params, **options):
        super().__init__(params, {**DEFAULTS, **options})

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:  # a checkpoint has torch's options only
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = -p.grad if group["maximize"] else p.grad
                if p.dim() < 2 or group["use_muon"] is False:
                    self._adamw(p, g, group)
                else:
                    self._muon(p, g, group)

    def _muon(self, p, g, group):
        momentum, state = group["momentum"], self.state[p]
        b = state.setdefault("momentum_buffer", torch.zeros_like(p))
        if group["convention"] == "sum":
            b.mul_(momentum).add_(g)
            u = g + momentum * b if group["nesterov"] else b
        else:
            b.lerp_(g, 1 - momentum)
            u = g.lerp(b, momentum) if group["nesterov"] else b
        u = u.reshape(len(u), -1) if u.numel() else u.reshape(len(u), 0)
        x = _zeropower_via_newtonschulz(
            u, group["ns_coefficients"], int(group["ns_steps"]), group["eps"]
        )
        p.mul_(1 - group["lr"] * group["weight_decay"])
        if p.numel():
            p.add_(
                x.reshape(p.shape),
                alpha=-_adjust_lr(float(group["lr"]), group["adjust_lr_fn"], u.shape),
            )

    def _adamw(self, p, g, group):
        state = self.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        mixed = group["use_muon"] is None
        decay = group["adamw_weight_decay"] if mixed else None
        adamw(
            [p], [g], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
            foreach=False, amsgrad=False, maximize=False,
            beta1=group["adamw_betas"][0], beta2=group["adamw_betas"][1],
            lr=float(group["lr"]) * (group["adamw_lr_ratio"] if mixed else 1.0),
            weight_decay=group["weight_decay"] if decay is None else decay,
            eps=group["adamw_eps"],
        )  # fmt: skip
