"""Muon: momentum, orthogonalised."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from thalweg.engines.products import gram
from thalweg.optim.adam import adam
from thalweg.optim.declared import choice, option
from thalweg.optim.groups import Group
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.optim.torch_group import everything
from thalweg.rule import (
    Rule,
    clip_global_norm,
    decoupled_decay,
    either,
    matrix,
    maximize,
    rule,
    told,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


@matrix
def orthogonal(
    u: Tensor, *, a: float, b: float, c: float, eps: float, steps: float, dtype: str
) -> Tensor:
    """Newton-Schulz iteration towards the nearest matrix whose singular values are all 1."""
    x = u.flatten(1).to(getattr(torch, dtype)).contiguous()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(int(steps)):
        xx = gram(x)
        x = torch.addmm(x, torch.addmm(xx, xx, xx, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).reshape(u.shape)


@rule(state={"b": "momentum_buffer"}, counts=False)
def muon(
    g: Any, b: Any, *, momentum: Any, nesterov: bool, convention: str, ratio: Any, ns_a: Any,
    ns_b: Any, ns_c: Any, eps: Any, ns_steps: Any, ns_dtype: str,
) -> Any:  # fmt: skip
    share = 1 if convention == "sum" else 1 - momentum
    b = momentum * b + share * g
    u = named("u", momentum * b + share * g) if nesterov else b
    x = orthogonal(u, a=ns_a, b=ns_b, c=ns_c, eps=eps, steps=ns_steps, dtype=ns_dtype)
    return ratio * x, {"b": b}


def _for_adamw(rule: Rule) -> Rule:
    """AdamW, told by the options that have its name."""
    ours = ("lr_ratio", "beta1", "beta2", "eps", "weight_decay")

    def options(h: Any) -> Any:
        own = {**h, **{name: h[f"adamw_{name}"] for name in ours}}
        own["lr"] = h["lr"] * h["adamw_lr_ratio"]
        plain = {"amsgrad": False, "convention": "official", "cautious": False}
        return {**own, **plain, "bounds_low": None, "bounds_high": None}

    return told(rule, options, "lr", *(f"adamw_{name}" for name in ours))


class Muon(RuleOptimizer):
    """Momentum SGD for the weight matrices of hidden layers, whose every step is replaced by the
    nearest orthogonal matrix: all directions in which the momentum moves are followed equally far.
    What is not a matrix is stepped by AdamW.

    ::

        b <- momentum b + (1 - momentum) g
        u = momentum b + (1 - momentum) g               (b, without nesterov)
        x = u / max(norm(u), eps);      ns_steps times, with (a, b, c) = ns_coefficients:
            x <- a x + (b x x' + c (x x')^2) x          (singular values to about 0.7 ... 1.2)
        w <- (1 - lr weight_decay) w - lr ratio x

    State: ``momentum_buffer`` (b), of the parameter's shape, for matrices. For others ``step``,
    ``exp_avg`` and ``exp_avg_sq`` as AdamW.

    Where papers and code disagree:
        torch takes only what has two dimensions; the official code (KellerJordan/Muon) flattens
        kernels of four, but takes ratio from their last two (1 for square kernels), and has
        lr=0.02, weight_decay=0 and eps added to the norm; here ratio is the flattened matrix's.
        Its first version kept the sum. In bfloat16 a step is exact to about 1 %.

    Reference: Jordan, Jin, Boza, You, Cesista, Newhouse & Bernstein 2024,
    kellerjordan.github.io/posts/muon; torch 2.13, torch.optim.Muon.
    """

    rule = clip_global_norm(
        maximize(either("matrix", decoupled_decay(muon), _for_adamw(decoupled_decay(adam))))
    )
    heedless = "the signs of an orthogonal matrix and of the gradient have little in common"
    boundless = "a matrix of which weights are cut off is not the nearest one within the bounds"
    cannot = {
        "complex": "its matrices are real",
        "differentiable": "the iteration rounds to its own dtype",
    }
    linked = ("weight_decay", "adamw_weight_decay", "adamw_lr_ratio")

    lr: Any = option(
        default=1e-3,
        domain=NON_NEGATIVE,
        doc="learning rate; the spectral norm of a step, before ratio.",
    )
    weight_decay: float = option(
        default=0.1, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )
    momentum: float = option(default=0.95, domain=DECAY, doc="how much of b is kept.")
    nesterov: bool = choice(default=True, doc="look ahead, as u above.")
    ns_coefficients: tuple[float, float, float] = option(
        default=(3.4445, -4.7750, 2.0315),
        domain=(Interval(-math.inf), Interval(-math.inf), Interval(-math.inf)),
        doc="(a, b, c), three numbers.",
        parts=("ns_a", "ns_b", "ns_c"),
    )
    eps: float = option(
        default=1e-7,
        domain=NON_NEGATIVE,
        doc="the least norm that u is divided by; units of the gradient.",
    )
    ns_steps: int = option(
        default=5,
        domain=Interval(0.0, 99.0, whole=True),
        doc="how often the iteration is done, from 0 to 99.",
    )
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = choice(
        default=None,
        choices=(None, "original", "match_rms_adamw"),
        doc=(
            'what ratio is for a matrix of r rows and c columns. ``"original"`` or None: '
            '``sqrt(max(1, r / c))``; ``"match_rms_adamw"``: ``0.2 sqrt(max(r, c))``, '
            "with which AdamW's lr and weight_decay serve here too (Moonlight, "
            "arXiv:2502.16982)."
        ),
    )
    use_muon: bool | None = choice(
        default=None,
        choices=(None, False, True),
        doc=(
            "True for a group of matrices only, False for one that AdamW steps with lr, "
            "weight_decay, adamw_betas and adamw_eps (which may be given as betas and eps "
            "there, as to the official MuonWithAuxAdam). None: by shape."
        ),
        kw_only=True,
    )
    adamw_lr_ratio: float = option(
        default=1.0,
        domain=NON_NEGATIVE,
        doc="AdamW's rate in a mixed group, in units of lr: schedules change both.",
        kw_only=True,
    )
    adamw_betas: tuple[float, float] = option(
        default=(0.9, 0.95),
        domain=(DECAY, DECAY),
        doc="how much of each of AdamW's averages is kept.",
        parts=("adamw_beta1", "adamw_beta2"),
        kw_only=True,
    )
    adamw_eps: float = option(
        default=1e-10, domain=NON_NEGATIVE, doc="AdamW's eps; units of the gradient.", kw_only=True
    )
    adamw_weight_decay: float | None = option(
        default=None,
        domain=Interval(0.0, optional=True),
        doc="AdamW's weight_decay in a mixed group; None: as weight_decay.",
        kw_only=True,
    )
    convention: Literal["average", "sum"] = choice(
        default="average",
        choices=("average", "sum"),
        doc=(
            '``"average"``: as above. ``"sum"``: both ``1 - momentum`` left out. As x is '
            "divided by its norm they differ only by what is stored, and by eps."
        ),
        kw_only=True,
    )
    ns_dtype: Literal["bfloat16", "float32"] = choice(
        default="bfloat16",
        choices=("bfloat16", "float32"),
        doc=(
            'what the iteration is computed in: ``"bfloat16"`` or ``"float32"``. '
            "Processors that know bfloat16 are 4 times as fast with it on large matrices, "
            "others slower."
        ),
        kw_only=True,
    )

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own, by the official code's names too."""
        if isinstance(param_group, dict):  # what else it may be is refused below
            official = param_group.get("use_muon") is False
            names = {"betas": "adamw_betas", "eps": "adamw_eps"} if official else {}
            param_group = {names.get(name, name): x for name, x in everything(param_group).items()}
        super().add_param_group(param_group)

    def hyperparameters(self, group: Group) -> dict[str, Any]:
        """A group's options by the rule's names."""
        h = dict(super().hyperparameters(group))
        if h["adamw_weight_decay"] is None or group["use_muon"] is False:
            h["adamw_weight_decay"] = h["weight_decay"]
        if group["use_muon"] is False:
            h["adamw_lr_ratio"] = 1.0
        return h

    def particulars(self, p: Tensor, group: Group) -> dict[str, Any]:
        """Which rule steps a parameter, and ratio."""
        if group["use_muon"] is False or p.dim() < 2:
            return {"matrix": False, "ratio": 1.0}
        rows, columns = p.shape[0], max(1, math.prod(p.shape[1:]))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            return {"matrix": True, "ratio": 0.2 * math.sqrt(max(rows, columns))}
        return {"matrix": True, "ratio": math.sqrt(max(1, rows / columns))}

    def _refuse(self, p: Tensor, group: Group) -> str:
        if group["use_muon"] and p.dim() < 2:
            raise ValueError(f"use_muon=True: {self._name(p)} is not a matrix")
        return super()._refuse(p, group)
