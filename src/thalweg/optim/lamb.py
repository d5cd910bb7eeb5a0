"""LAMB."""

from __future__ import annotations

from typing import Any

from thalweg.optim.declared import choice, common, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.rule import (
    bounded,
    cautious,
    clip_global_norm,
    either,
    l2_decay,
    maximize,
    norm,
    rule,
    sqrt,
    where,
)
from thalweg.rule.words import named
from thalweg.validation import DECAY, NON_NEGATIVE


@bounded
@cautious
@rule(state={"m": "exp_avg", "v": "exp_avg_sq"})
def lamb(
    w: Any, g: Any, m: Any, v: Any, *, beta1: Any, beta2: Any, eps: Any, weight_decay: Any,
    bias_correction: bool, grad_averaging: bool, adam_w_mode: bool, use_nvlamb: bool, step: Any,
) -> Any:  # fmt: skip
    m = beta1 * m + ((1 - beta1) * g if grad_averaging else g)
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**step) if bias_correction else m
    v_hat = v / (1 - beta2**step) if bias_correction else v
    u = m_hat / (sqrt(v_hat) + eps)
    if weight_decay and adam_w_mode:
        u = u + weight_decay * w
    u = named("u", u)
    if weight_decay or use_nvlamb:
        size, length = norm(w), norm(u)
        u = u * named("trust", where((size > 0) & (length > 0), size / length, 1))
    return u, {"m": m, "v": v}


class LAMB(RuleOptimizer):
    """Adam whose step is, tensor by tensor, as long as lr times the weights it changes: all layers
    then move at the same relative speed, which is what lets batches grow to tens of thousands.

    ::

        m <- beta1 m + (1 - beta1) g                m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) g^2              v_hat = v / (1 - beta2^step)
        u = m_hat / (sqrt(v_hat) + eps) + weight_decay w
        trust = norm(w) / norm(u)                   (1 where a norm is 0)
        w <- w - lr trust u

    State: ``step``; ``exp_avg`` (m), ``exp_avg_sq`` (v), each of the parameter's shape.

    Where papers and code disagree:
        Official here is NVIDIA's apex (FusedLAMB), which trained the published BERT runs, for the
        authors' own code (TensorFlow) lacks the bias correction that their paper has from its third
        version on. As there, the gradient is clipped to a norm of 1 over all parameters unless
        ``max_grad_norm`` says otherwise (None: the paper), with torch's 1e-6 added to the norm; and
        groups without decay have no trust ratio, where the paper gives one to all. The paper's
        bounds for norm(w) are left out by both. apex counts steps by group, here each parameter
        counts its own, and it overwrites ``p.grad``. With ``cautious`` the mask is put on trust u.

    Reference: You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer & Hsieh 2020, ICLR,
    arXiv:1904.00962, Algorithm 2; official code: NVIDIA/apex, apex/optimizers/fused_lamb.py.
    """

    rule = clip_global_norm(maximize(either("adam_w_mode", lamb, l2_decay(lamb))))

    lr: Any = option(
        default=1e-3,
        domain=NON_NEGATIVE,
        doc="learning rate; the share of a tensor's length that it moves in a step.",
    )
    bias_correction: bool = choice(default=True, doc="divide by ``1 - beta^step``, as above.")
    betas: tuple[float, float] = option(
        default=(0.9, 0.999), domain=(DECAY, DECAY), doc="how much of each average is kept."
    )
    eps: float = option(
        default=1e-6, domain=NON_NEGATIVE, doc="keeps the quotient finite; units of the gradient."
    )
    weight_decay: float = option(
        default=0.01,
        domain=NON_NEGATIVE,
        doc="decay inside the trust ratio; units of u per unit of w.",
    )
    grad_averaging: bool = choice(
        default=True,
        doc="False takes the new gradient into m whole, not ``(1 - beta1) g``.",
        kw_only=True,
    )
    adam_w_mode: bool = choice(
        default=True,
        doc="False makes the decay L2 regularisation, ``g + weight_decay w``.",
        kw_only=True,
    )
    use_nvlamb: bool = choice(
        default=False,
        doc=(
            "True gives a trust ratio to groups without decay too (biases, norms), which "
            "are otherwise stepped as by Adam."
        ),
        kw_only=True,
    )
    max_grad_norm: float | None = common(
        default=1.0, doc="As for every optimizer; 1.0 is the official code's.", kw_only=True
    )
