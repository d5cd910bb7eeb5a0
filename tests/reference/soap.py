"""Vyas et al. 2025, Algorithm 3, with what the official code adds to it: a first step that only
looks, m kept in the bases, v sorted with them, other options. Side by side, nothing batched.

The eigenvectors of a factor that is singular are not determined, and those of NumPy are others than
torch's: they come from torch, for the arithmetic beside them is what is compared.
"""

from __future__ import annotations

import math

import numpy as np
import torch

DEFAULTS = {
    "lr": 3e-3,
    "betas": (0.95, 0.95),
    "shampoo_beta": -1,
    "eps": 1e-8,
    "weight_decay": 0.01,
    "precondition_frequency": 10,
    "max_precond_dim": 10000,
    "merge_dims": False,
    "precondition_1d": False,
    "normalize_grads": False,
    "data_format": "channels_first",
    "correct_bias": True,
    "maximize": False,
}


def unfolded(x, side):
    return np.moveaxis(x, side, 0).reshape(x.shape[side], math.prod(np.delete(x.shape, side)))


def times(x, matrix, side):
    """The matrix's transpose times the tensor, along one side."""
    rest = np.delete(x.shape, side)
    return np.moveaxis((matrix.T @ unfolded(x, side)).reshape(matrix.shape[1], *rest), 0, side)


def merged(shape, most):
    found, now = [], 1
    for n in shape:
        if now * n > most:
            if now > 1:
                found, now = [*found, now], n
            else:
                found, now = [*found, n], 1
        else:
            now *= n
    return [*found, now] if now > 1 or not found else found


def eigenvectors(factor):
    if not np.isfinite(factor).all():
        return np.full_like(factor, np.nan)
    shifted = torch.from_numpy(factor + 1e-30 * np.eye(len(factor)))
    return torch.linalg.eigh(shifted)[1].flip(1).numpy()


def soap(w, g, state, step, *, lr, betas, shampoo_beta, eps, weight_decay, precondition_frequency,
         max_precond_dim, merge_dims, precondition_1d, normalize_grads, data_format, correct_bias,
         maximize):  # fmt: skip
    g, shape, k = -1.0 * g if maximize else g, w.shape, step - 1
    last = merge_dims and data_format == "channels_last" and w.ndim == 4
    see = lambda x: x.transpose(0, 3, 1, 2) if last else x  # noqa: E731
    lengths = merged(see(w).shape, max_precond_dim) if merge_dims else shape
    fold = lambda x: see(x).reshape(lengths)  # noqa: E731

    def unfold(x):
        x = x.reshape(see(w).shape)
        return x.transpose(0, 2, 3, 1) if last else x

    sides = [i for i, n in enumerate(lengths) if n <= max_precond_dim]
    if w.ndim == 1 and not precondition_1d:
        sides = []
    m, v = state.setdefault("m", np.zeros(shape)), state.setdefault("v", np.zeros(shape))
    if k > 0:
        x = fold(g)
        for i in sides:
            x = times(x, state[f"Q{i}"], i)
        m = betas[0] * m + (1 - betas[0]) * unfold(x)
        v = betas[1] * v + (1 - betas[1]) * unfold(x) ** 2
        with np.errstate(invalid="ignore"):
            d = fold(m / (np.sqrt(v) + eps))
        for i in sides:
            d = times(d, state[f"Q{i}"].T, i)
        d = unfold(d)
        if normalize_grads:
            with np.errstate(invalid="ignore"):
                d = d / (1e-30 + math.sqrt(np.square(d).sum() / max(1, d.size)))
        if correct_bias:
            d = d * math.sqrt(1 - betas[1] ** k) / (1 - betas[0] ** k)
        w = w - lr * d
        w = w - lr * weight_decay * w
    beta = shampoo_beta if shampoo_beta >= 0 else betas[1]
    m, v = fold(m), fold(v)
    for i in sides:
        x = unfolded(fold(g), i)
        f = state.get(f"F{i}", np.zeros((len(x), len(x))))
        f = f + (1 - beta) * (x @ x.T - f)
        state[f"F{i}"] = f
        if k == 0:
            state[f"Q{i}"] = eigenvectors(f)
        elif k % precondition_frequency == 0:
            q = state[f"Q{i}"]
            order = np.argsort(-np.diag(q.T @ f @ q), kind="stable")
            new = np.linalg.qr(f @ q[:, order])[0]
            m, v = times(times(m, q.T, i), new, i), np.take(v, order, i)
            state[f"Q{i}"] = new
    state["m"], state["v"] = unfold(m), unfold(v)
    return w
