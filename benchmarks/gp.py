"""Negative log marginal likelihood of a Gaussian process, by Cholesky factorisation.

Squared-exponential kernel with a lengthscale per dimension; the gradient is taken in the logarithms of the
lengthscales, the kernel's scale and the noise.  Rasmussen and Williams, "Gaussian Processes for Machine
Learning" (2006), equations 2.30 and 5.9.
"""

import sys

import numpy as np

from benchmarks import arrays
from benchmarks.harness import main

DIMENSIONS = 4
TARGETS = {"torch": 1.0, "jax": 1.0}


def loss(xp, log_lengths, log_scale, log_noise, x, y, eye):
    z = x * xp.exp(-log_lengths)
    norms = (z * z).sum(1)
    distance = norms[:, None] + norms - 2.0 * (z @ z.T)
    k = xp.exp(log_scale - 0.5 * distance) + xp.exp(log_noise) * eye
    lower = xp.cholesky(k)
    a = xp.solve_lower(lower, y)
    return 0.5 * (a * a).sum() + xp.log(xp.diagonal(lower)).sum() + 0.5 * len(y) * np.log(2 * np.pi)


def inputs(n):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, DIMENSIONS))
    y = np.sin(x.sum(axis=1, keepdims=True)) + 0.1 * rng.normal(size=(n, 1))
    return [np.full(DIMENSIONS, 0.2), np.array(0.3), np.array(-3.0)], [x, y, np.eye(n)]


def reference(parameters, fixed):
    log_lengths, log_scale, log_noise = parameters
    x, y, eye = fixed
    squares = (x[:, None, :] - x[None, :, :]) ** 2 * np.exp(-2 * log_lengths)
    smooth = np.exp(log_scale - 0.5 * squares.sum(axis=2))
    k = smooth + np.exp(log_noise) * eye
    inverse = np.linalg.inv(k)
    a = inverse @ y
    value = 0.5 * (y.T @ a)[0, 0] + 0.5 * np.linalg.slogdet(k)[1] + 0.5 * len(y) * np.log(2 * np.pi)
    g = 0.5 * (inverse - a @ a.T)
    lengths = np.array([(g * smooth * squares[:, :, j]).sum() for j in range(x.shape[1])])
    return value, (lengths, (g * smooth).sum(), np.exp(log_noise) * np.trace(g))


def run(session):
    for n in session.pick((200, 500), (20,)):
        parameters, fixed = inputs(n)
        answer = reference(parameters, fixed)
        arrays.contest(session, f"{n} points", loss, parameters, fixed, answer, TARGETS, rtol=1e-7)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["gp"]))
