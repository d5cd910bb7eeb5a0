"""The formulas of the text that this package grew from, as printed there and in its letters. Each
gives the weights after each step; ``gradient`` is a function of the weights."""

from __future__ import annotations

import numpy as np


def adagrad(w, gradient, steps, *, alpha, epsilon=1e-8):
    G = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w)
        G = G + g * g
        w = w - alpha / np.sqrt(G + epsilon) * g
        yield w


def rmsprop(w, gradient, steps, *, alpha, beta=0.9):
    square = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w)
        square = beta * square + (1 - beta) * g**2
        w = w - alpha / np.sqrt(square) * g
        yield w


def adabelief(theta, gradient, steps, *, alpha, beta1, beta2, epsilon):
    """Algorithm 2, where the feasible set is all of space."""
    m = s = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + epsilon
        m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
        theta = theta - alpha * m_hat / (np.sqrt(s_hat) + epsilon)
        yield theta


def madgrad(x, gradient, steps, *, gamma, c, epsilon):
    x0 = x
    s = nu = np.zeros_like(x)
    for k in range(steps):
        g = gradient(x)
        lambda_k = gamma(k) * np.sqrt(k + 1)
        s = s + lambda_k * g
        nu = nu + lambda_k * (g * g)
        z = x0 - s / (np.cbrt(nu) + epsilon)
        x = (1 - c) * x + c * z
        yield x


def adan(theta, gradient, steps, *, eta, betas, epsilon, decay, radius=None, restarts=None):
    """Algorithm 1. ``radius`` is R of the paper's restart condition, which the seed leaves open;
    the steps at which it held are appended to ``restarts``."""
    beta1, beta2, beta3 = betas
    before, k, path = None, 0, 0.0
    for step in range(steps):
        g = gradient(theta)
        if k == 0:
            m, v, n = g, np.zeros_like(g), g**2
        else:
            m = (1 - beta1) * m + beta1 * g
            v = g - before if k == 1 else (1 - beta2) * v + beta2 * (g - before)
            n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - before)) ** 2
        root = np.sqrt(n) + epsilon
        following = (theta - eta / root * (m + (1 - beta2) * v)) / (1 + decay * eta)
        path += np.sum(root * (following - theta) ** 2)
        before, theta, k = g, following, k + 1
        yield theta
        if radius is not None and k * path > radius**2:
            k, path = 0, 0.0
            restarts.append(step)
