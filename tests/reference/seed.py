"""The formulas of the text that this package grew from, as printed there and in its letters. Each
gives the weights after each step; ``gradient`` is a function of the weights."""

from __future__ import annotations

import numpy as np


def gradient_descent(w, gradient, steps, *, alpha):
    for k in range(steps):
        w = w - alpha(k) * gradient(w)
        yield w


def momentum(w, gradient, steps, *, alpha, beta):
    z = np.zeros_like(w)
    for _ in range(steps):
        z = beta * z - alpha * gradient(w)
        w = w + z
        yield w


def nesterov(w, gradient, steps, *, alpha, beta):
    z = np.zeros_like(w)
    for k in range(steps):
        z = beta * z - alpha(k) * gradient(w + beta * z)
        w = w + z
        yield w


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


def everywhere(point, weighting):
    """The projection onto all of space."""
    del weighting
    return point


def adam(
    theta, gradient, steps, *, alpha, beta1=0.9, beta2=0.999, epsilon=1e-8, project=everywhere
):
    """Algorithm 1 of AdaBelief's section, and without the projection the formula of Adam's own."""
    m = v = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = project(theta - alpha * m_hat / (np.sqrt(v_hat) + epsilon), np.sqrt(v_hat))
        yield theta


def adabelief(theta, gradient, steps, *, alpha, beta1, beta2, epsilon, project=everywhere):
    m = s = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + epsilon
        m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
        theta = project(theta - alpha * m_hat / (np.sqrt(s_hat) + epsilon), np.sqrt(s_hat))
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


def schedule_free_adamw(x, gradient, steps, *, gamma, warmup, decay, beta1, beta2, epsilon):
    """Algorithm 1: y_{t+1} and x_{t+1} of every step. Line 12 is printed without x_t, as
    ``(1 - c) + c z``: then x would go to 1 wherever z goes to zero, for c falls to zero."""
    z, v, squares = x, np.zeros_like(x), 0.0
    for t in range(1, steps + 1):
        y = (1 - beta1) * z + beta1 * x
        g = gradient(y)
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = v / (1 - beta2**t)
        gamma_t = gamma(t) * min(1, t / warmup)
        z = z - gamma_t * g / (np.sqrt(v_hat) + epsilon) - gamma_t * decay * y
        squares = squares + gamma_t**2
        c = gamma_t**2 / squares
        x = (1 - c) * x + c * z
        yield (1 - beta1) * z + beta1 * x, x
