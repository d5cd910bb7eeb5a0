"""Xie et al. 2022, Algorithm 2 (Adai) and its decoupled form (AdaiW): a step needs the mean over
all parameters before any of them can move."""

from __future__ import annotations

import numpy as np
import torch

from reference.straight import array


class Adai(torch.optim.Optimizer):
    def __init__(self, params, **options):
        defaults = {"lr": 0.1, "betas": (0.1, 0.99), "eps": 1e-3, "weight_decay": 0.0}
        super().__init__(params, {**defaults, "decoupled": False, "maximize": False} | options)
        self.count = {}

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        moving, v_sum, elements = [], 0.0, 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                t = self.count[p] = self.count.get(p, 0) + 1
                w, g, state = array(p), array(p.grad), self.state[p]
                g = -1.0 * g if group["maximize"] else g
                if group["decoupled"]:
                    w[...] = w - group["lr"] * group["weight_decay"] * w
                elif group["weight_decay"]:
                    g = g + group["weight_decay"] * w
                b2 = group["betas"][1]
                v = b2 * state.get("exp_avg_sq", np.zeros_like(w)) + (1 - b2) * g**2
                v_hat = v / (1 - b2**t)
                state["exp_avg_sq"] = v
                v_sum, elements = v_sum + v_hat.sum(), elements + v_hat.size
                moving.append((group, state, w, g, v_hat))
        for group, state, w, g, v_hat in moving:
            ratio = v_hat / (v_sum / elements) if v_sum > 0 else v_hat
            b1 = np.clip(1 - group["betas"][0] * ratio, 0, 1 - group["eps"])
            m = b1 * state.get("exp_avg", np.zeros_like(w)) + (1 - b1) * g
            product = b1 * state.get("beta1_prod", np.ones_like(w))
            state["exp_avg"], state["beta1_prod"] = m, product
            with np.errstate(invalid="ignore"):
                w[...] = w - group["lr"] * m / (1 - product)
