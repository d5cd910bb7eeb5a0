"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from thalweg.optim.adam import Adam
from thalweg.optim.declared import choice, option
from thalweg.validation import NON_NEGATIVE


class AdamW(Adam):
    """Adam whose weights shrink by ``lr * weight_decay`` beside the step, so that the decay is not
    divided by the root of v as L2 regularisation in Adam is.

    ::

        w <- (1 - lr weight_decay) w
        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^step)
        w <- w - lr m_hat / (sqrt(v_hat) + eps)

    State: as :class:`~thalweg.optim.Adam`.

    Where papers and code disagree:
        The paper multiplies the decay by a schedule's factor only, not by lr, so that lr and decay
        are tuned independently; torch, and nearly all code, multiplies it by lr as well.

    Reference: Loshchilov & Hutter 2019, ICLR, arXiv:1711.05101, Algorithm 2.
    """

    weight_decay: float = option(
        default=1e-2, domain=NON_NEGATIVE, doc="fraction of w taken off per step and unit of lr."
    )
    decoupled_weight_decay: bool = choice(
        default=True, choices=(True,), doc="what makes it AdamW.", init=False
    )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # also in a checkpoint of Adam, as torch's AdamW has it
            group["decoupled_weight_decay"] = True
