"""Negative log-likelihood of a Kalman filter with four states and two measurements, 200 steps.

The gradient is taken in the transition matrix and both noises' logarithms.  tapegrad and PyTorch run a Python
loop over small matrices, JAX runs ``lax.scan``.
"""

import sys

import numpy as np

from benchmarks import arrays
from benchmarks.harness import main

STEPS = 200
H = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.5]])
TARGETS = {"torch": 1.0, "jax": 1.0}


def inputs(steps):
    rng = np.random.default_rng(0)
    f = np.eye(4) * 0.9
    f[0, 2] = f[1, 3] = 0.1
    state, seen = np.zeros((4, 1)), []
    for _ in range(steps):
        state = f @ state + 0.3 * rng.normal(size=(4, 1))
        seen.append(H @ state + 0.5 * rng.normal(size=(2, 1)))
    parameters = [f + 0.02 * rng.normal(size=(4, 4)), np.full(4, -2.0), np.full(2, -1.0)]
    return parameters, [np.array(seen), H, np.eye(4), np.zeros((4, 1))]


def step(xp, f, q, r, h, mean, p, seen):
    """Predict and correct; also return the observation's cost."""
    mean = f @ mean
    p = f @ p @ f.T + q
    hp = h @ p
    lower = xp.cholesky(hp @ h.T + r)
    gain = xp.solve_lower(lower, hp)
    error = xp.solve_lower(lower, seen - h @ mean)
    cost = xp.log(xp.diagonal(lower)).sum() + 0.5 * (error * error).sum()
    return mean + gain.T @ error, p - gain.T @ gain, cost


def loss(xp, f, log_q, log_r, seen, h, eye, zero):
    q, r = xp.exp(log_q) * eye, xp.exp(log_r) * eye[:2, :2]
    mean, p, total = zero, eye, 0.0
    for k in range(len(seen)):
        mean, p, cost = step(xp, f, q, r, h, mean, p, seen[k])
        total = total + cost
    return total


def with_scan(xp, f, log_q, log_r, seen, h, eye, zero):
    from jax import lax

    q, r = xp.exp(log_q) * eye, xp.exp(log_r) * eye[:2, :2]

    def body(state, y):
        mean, p, cost = step(xp, f, q, r, h, *state, y)
        return (mean, p), cost

    return lax.scan(body, (zero, eye), seen)[1].sum()


def reference(parameters, seen):
    """Value and, by complex steps, its gradient; with determinant and inverse in place of a factor."""

    def value(f, log_q, log_r):
        mean, p, total = np.zeros((4, 1)), np.eye(4), 0.0
        for y in seen:
            mean, p = f @ mean, f @ p @ f.T + np.diag(np.exp(log_q))
            s, error = H @ p @ H.T + np.diag(np.exp(log_r)), y - H @ mean
            gain = p @ H.T @ np.linalg.inv(s)
            total = total + 0.5 * np.log(np.linalg.det(s)) + 0.5 * (error.T @ np.linalg.inv(s) @ error)[0, 0]
            mean, p = mean + gain @ error, p - gain @ H @ p
        return total

    grads = [np.empty_like(a) for a in parameters]
    for k, g in enumerate(grads):
        for i in np.ndindex(g.shape):
            moved = [a.astype(complex) for a in parameters]
            moved[k][i] += 1e-100j
            g[i] = value(*moved).imag / 1e-100
    return value(*parameters), tuple(grads)


def run(session):
    steps = session.pick(STEPS, 6)
    parameters, fixed = inputs(steps)
    answer = reference(parameters, fixed[0])
    arrays.contest(
        session, f"4 states, {steps} steps", loss, parameters, fixed, answer, TARGETS, {"jax": with_scan}
    )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["kalman_vector"]))
