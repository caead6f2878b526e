"""Log-likelihood of a Gaussian mixture with ADBench's parametrisation, gradient in all parameters.

Parameters: logarithms of weights (unnormalised), means, and per component the inverse covariance's
triangular factor, as logarithms of its diagonal followed by the entries below it.  A Wishart prior on the
factors.  Srajer, Kukelova, Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some
problems in computer vision and machine learning" (2018), section 4.1.
"""

import sys

import numpy as np
from scipy.special import multigammaln

from benchmarks import arrays
from benchmarks.harness import main

COMPONENTS, POINTS = 25, 1000
GAMMA, M = 1.0, 0  # of the Wishart prior
TARGETS = {"torch": 1.0, "jax": 1.0}


def entries(d):
    """Where entries of the strict lower triangle stand among ``d * (d - 1) / 2``; others: one past them."""
    count = d * (d - 1) // 2
    place = np.full((d, d), count)
    place[np.tril_indices(d, -1)] = np.arange(count)
    return place


def constants(n, d, k):
    freedom = d + M + 1
    normal = -n * d * 0.5 * np.log(2 * np.pi)
    prior = freedom * d * (np.log(GAMMA) - 0.5 * np.log(2)) - multigammaln(0.5 * freedom, d)
    return normal - k * prior


def program(n, d, k):
    constant, place = constants(n, d, k), entries(d)

    def objective(xp, alphas, means, factors, x, eye, zero):
        logs = factors[:, :d]
        diagonal = xp.exp(logs)
        lower = xp.concatenate([factors[:, d:], zero], 1)[:, place]
        q = lower + diagonal[:, None, :] * eye
        centred = x - means[:, None, :]  # (k, n, d)
        scaled = centred @ q.mT
        inner = alphas[:, None] + logs.sum(1)[:, None] - 0.5 * (scaled * scaled).sum(2)
        fit = xp.logsumexp(inner, 0).sum() - n * xp.logsumexp(alphas, 0)
        size = (diagonal * diagonal).sum() + (factors[:, d:] ** 2).sum()
        return constant + fit + 0.5 * GAMMA**2 * size - M * logs.sum()

    return objective


def inputs(n, d, k):
    rng = np.random.default_rng(0)
    parameters = [rng.normal(size=k), rng.uniform(size=(k, d)), 0.5 * rng.normal(size=(k, d * (d + 1) // 2))]
    return parameters, [rng.normal(size=(n, d)), np.eye(d), np.zeros((k, 1))]


def reference(parameters, x):
    """Value and gradient, component by component, written out."""
    alphas, means, factors = parameters
    (n, d), k = x.shape, len(alphas)
    rows, columns = np.tril_indices(d, -1)
    q, inner, scaled = np.zeros((k, d, d)), np.zeros((k, n)), np.zeros((k, n, d))
    for c in range(k):
        q[c][np.diag_indices(d)] = np.exp(factors[c, :d])
        q[c][rows, columns] = factors[c, d:]
        scaled[c] = (x - means[c]) @ q[c].T
        inner[c] = alphas[c] + factors[c, :d].sum() - 0.5 * (scaled[c] ** 2).sum(axis=1)
    top = inner.max(axis=0)
    logs = top + np.log(np.exp(inner - top).sum(axis=0))
    weights = np.exp(alphas - alphas.max())
    total = alphas.max() + np.log(weights.sum())
    size = sum((q[c] ** 2).sum() for c in range(k))
    value = constants(n, d, k) + logs.sum() - n * total + 0.5 * GAMMA**2 * size - M * factors[:, :d].sum()
    share = np.exp(inner - logs)  # (k, n)
    g_alphas = share.sum(axis=1) - n * weights / weights.sum()
    g_means, g_factors = np.zeros_like(means), np.zeros_like(factors)
    for c in range(k):
        g_scaled = -share[c][:, None] * scaled[c]
        g_means[c] = -(g_scaled @ q[c]).sum(axis=0)
        g_q = g_scaled.T @ (x - means[c]) + GAMMA**2 * q[c]
        g_factors[c, :d] = np.diag(g_q) * np.diag(q[c]) + share[c].sum() - M
        g_factors[c, d:] = g_q[rows, columns]
    return value, (g_alphas, g_means, g_factors)


def run(session):
    n, k = session.pick((POINTS, COMPONENTS), (40, 3))
    for d in session.pick((10, 32), (3,)):
        parameters, fixed = inputs(n, d, k)
        case = f"{d} dimensions, {k} components, {n} points"
        answer = reference(parameters, fixed[0])
        arrays.contest(session, case, program(n, d, k), parameters, fixed, answer, TARGETS)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["gmm"]))
