"""Prodigy."""

from __future__ import annotations

import math
from typing import Any

from thalweg.optim.declared import argument, choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    cautious,
    clip_global_norm,
    either,
    l2_decay,
    maximize,
    maximum,
    minimum,
    rule,
    sqrt,
    total,
    where,
)
from thalweg.rule.rule import Rule, Values
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE, Interval


def _rate(d: Any, h: Values) -> Any:
    """What Adam would have as its learning rate."""
    dlr = h["lr"] * d
    if h["use_bias_correction"]:
        dlr = dlr * sqrt(1 - h["beta2"] ** h["step"]) / (1 - h["beta1"] ** h["step"])
    return named("dlr", dlr)


def _decay(rule: Rule) -> Rule:
    """Weights shrink by ``dlr * weight_decay`` beside the step."""

    def direct(w: Any, g: Any, s: Any, h: Values) -> Any:
        direction, new = rule.direct(w, g, s, h)
        if h["weight_decay"]:
            direction = direction + _rate(s["d"], h) * h["weight_decay"] * w
        return direction, new

    return rule.with_(direct=direct, scalars=rule.scalars | {"weight_decay"})


@cautious
@rule(
    state={
        "m": "exp_avg",
        "v": "exp_avg_sq",
        "s": "s",
        "p0": "p0",
        "d": "d",
        "d_max": "d_max",
        "num": "d_numerator",
    },
    scalar=("d", "d_max", "num"),
    shared=("d", "d_max", "num"),
    start={"p0": "w", "d": "d0", "d_max": "d0"},
    apply=lambda w, move, h: w - move,
)
def prodigy(
    w: Any, g: Any, m: Any, v: Any, s: Any, p0: Any, d: Any, d_max: Any, num: Any, *, lr: Any,
    beta1: Any, beta2: Any, beta3: Any, eps: Any, use_bias_correction: bool,
    safeguard_warmup: bool, d0: Any, d_coef: Any, growth_rate: Any, step: Any,
) -> Any:  # fmt: skip
    h = {"lr": lr, "beta1": beta1, "beta2": beta2, "step": step}
    dlr = _rate(d, {**h, "use_bias_correction": use_bias_correction})
    beta3 = sqrt(beta2) if beta3 is None else beta3
    moves = lr > 0  # a group at rest keeps its averages, and says nothing about d
    new = {"p0": p0}
    if beta1:
        new["m"] = m = where(moves, beta1, 1) * m + where(moves, (1 - beta1) * d, 0) * g
    v = where(moves, beta2, 1) * v + where(moves, (1 - beta2) * d * d, 0) * g * g
    s = where(moves, beta3, 1) * s + where(moves, d / d0 * (d if safeguard_warmup else dlr), 0) * g
    found = total(d / d0 * dlr * (g * (p0 - w)), "all")
    den = named("den", total(where(moves, 1, 0) * abs(s), "all"))
    moved = den > 0
    num = where(moved, beta3 * num + found, num)
    d_hat = named("d_hat", where(moved, d_coef * num / den, d))
    d_max = maximum(d_max, d_hat)
    grown = minimum(d_max, growth_rate * where(d == d0, maximum(d, d_hat), d))
    new |= {"v": v, "s": s, "d": grown, "d_max": d_max, "num": num}
    return dlr * (m if beta1 else grown * g) / (sqrt(v) + grown * eps), new


class Prodigy(RuleOptimizer):
    """Adam that finds its learning rate: from how far the weights have come from their start, seen
    along the gradients, it estimates the distance d to the solution from below, and d only grows.

    ::

        m <- beta1 m + (1 - beta1) d g              num <- beta3 num + d/d0 lr d g.(p0 - w)
        v <- beta2 v + (1 - beta2) (d g)^2          s   <- beta3 s + d/d0 lr d g
        d_hat = d_coef num / |s|                    (sums over all parameters of all groups)
        d_max <- max(d_max, d_hat)                  d_new = min(d_max, growth_rate d)
        w <- w - lr d (m / (sqrt(v) + d_new eps) + weight_decay w)

    State: ``step``; ``exp_avg`` (m), ``exp_avg_sq`` (v), ``s`` and ``p0`` (the weights at the first
    step), each of the parameter's shape; ``d``, ``d_max`` and ``d_numerator`` (num), numbers that
    all parameters have alike: one that comes late, or sits out a step, takes the others'.

    Where papers and code disagree:
        The old d is in everything but ``d_new eps`` (and the direction ``d_new g`` of beta1 0), as
        in the official code; the paper has d_k in all of them. Only from d0 may d jump at once, and
        growth_rate bounds what follows. The official code takes the options of all groups from the
        first one, betas and d0 among them; here they must agree. A late parameter is measured from
        its own first step in both; its bias correction is counted from there here, from the
        optimizer's first step there. A group at rest still shrinks there by the others' lr, here
        not. While all gradients have been zero the official code leaves out the step and its decay.
        ``fsdp_in_use`` is not offered.

    Reference: Mishchenko & Defazio 2024, ICML, arXiv:2306.06101, Algorithm 4; official code:
    konstmish/prodigy 1.1.2.
    """

    boundless = "it measures how far gradients lead from the start, which bounds would cut short"
    rule = clip_global_norm(maximize(either("decouple", _decay(prodigy), l2_decay(prodigy))))
    united = (*RuleOptimizer.united, "betas", "beta3", "d0", "d_coef", "growth_rate")

    lr: Any = option(
        default=1.0,
        domain=NON_NEGATIVE,
        doc=(
            "factor of d; 1, or a schedule that ends at 0. Groups may have 0, which lets "
            "them rest, and must agree otherwise: there is one d for all."
        ),
    )
    betas: tuple[float, float] = option(
        default=(0.9, 0.999),
        domain=(DECAY, DECAY),
        doc="how much of each average is kept; with beta1 0 there is no m.",
    )
    beta3: float | None = option(
        default=None,
        domain=Interval(0.0, 1.0, open_high=True, optional=True),
        doc="how much of num and s is kept, from 0 to below 1; None: the root of beta2.",
    )
    eps: float = option(
        default=1e-8, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.0, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr d."
    )
    decouple: bool = choice(
        default=True, doc="False makes the decay L2 regularisation, ``g + weight_decay w``."
    )
    use_bias_correction: bool = choice(
        default=False, doc="multiply lr by ``sqrt(1 - beta2^step) / (1 - beta1^step)``."
    )
    safeguard_warmup: bool = choice(
        default=False, doc="leave lr out of s, for schedules that start small."
    )
    d0: float = option(
        default=1e-6,
        domain=Interval(0.0, open_low=True),
        doc=("first d, above 0; units of w. Too large cannot be mended, too small costs steps."),
    )
    d_coef: float = option(
        default=1.0,
        domain=NON_NEGATIVE,
        doc="factor of d_hat: the way to ask for longer or shorter steps.",
    )
    growth_rate: float = option(
        default=math.inf,
        domain=Interval(1.0, infinite=True),
        doc="how many times longer d may become in a step, at least 1.",
    )
    slice_p: int = argument(
        default=1,
        doc="only 1: state has its parameter's shape here. ``state_dtype`` saves memory.",
        kw_only=True,
    )

    def _besides(self, **arguments: Any) -> None:
        slice_p = arguments["slice_p"]
        if slice_p != 1:
            raise ValueError(
                f"slice_p={slice_p!r} cannot be honoured: state has its parameter's shape here; "
                "state_dtype=torch.bfloat16 halves it"
            )

    def _agree(self) -> None:
        super()._agree()
        rates = sorted({float(g["lr"]) for g in self.param_groups} - {0.0})
        if len(rates) > 1:
            raise ValueError(f"lr must be the same in all groups, or 0: d is one for all: {rates}")
