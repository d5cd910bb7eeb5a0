"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from thalweg.optim.adam import Adam
from thalweg.optim.options import Common


class AdamW(Adam):
    """Adam whose weights shrink by ``lr * weight_decay`` beside the step, so that the decay is not
    divided by the root of v as L2 regularisation in Adam is.

    ::

        w <- (1 - lr weight_decay) w
        m <- beta1 m + (1 - beta1) g            m_hat = m / (1 - beta1^step)
        v <- beta2 v + (1 - beta2) g^2          v_hat = v / (1 - beta2^step)
        w <- w - lr m_hat / (sqrt(v_hat) + eps)

    Args:
        params: tensors, named tensors or groups, as for every ``torch.optim.Optimizer``.
        lr: learning rate, at least 0; units of w per step.
        betas: how much of each average is kept, from 0 to below 1.
        eps: keeps the quotient finite, at least 0; units of the gradient.
        weight_decay: fraction of w taken off per step and unit of lr, at least 0.
        amsgrad: put the largest v so far in v's place (Reddi et al. 2018, arXiv:1904.09237).
        convention: ``"eadam"``: eps is added to v in every step instead of to its root.

    State: as :class:`~thalweg.optim.Adam`.

    Where papers and code disagree:
        The paper multiplies the decay by a schedule's factor only, not by lr, so that lr and decay
        are tuned independently; torch, and nearly all code, multiplies it by lr as well.

    Reference: Loshchilov & Hutter 2019, ICLR, arXiv:1711.05101, Algorithm 2.
    """

    flags = {**Adam.flags, "decoupled_weight_decay": (True,)}

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        convention: Literal["torch", "eadam"] = "torch",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True,
            convention=convention, **common,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # also in a checkpoint of Adam, as torch's AdamW has it
            group["decoupled_weight_decay"] = True
