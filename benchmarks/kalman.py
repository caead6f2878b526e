"""Negative log-likelihood of a scalar Kalman filter, gradient in four parameters; 10 to 1000 observations."""

import sys

import numpy as np

from benchmarks.harness import US, main
from benchmarks.programs import NATIVE, contest

LENGTH = 300  # the number of observations that targets are about
START = np.array([0.9, 0.3, 0.8, 0.5])  # persistence, drift, both noises' deviations


def observations(count):
    rng = np.random.default_rng(0)
    state, seen = 0.0, []
    for _ in range(count):
        state = 0.95 * state + 0.2 + 0.7 * rng.normal()
        seen.append(float(state + 0.6 * rng.normal()))
    return tuple(seen)


def update(xp, p, q, r, mean, variance, seen):
    """Predict, compare with an observation, correct; also return twice the observation's cost."""
    mean = p[0] * mean + p[1]
    variance = p[0] * p[0] * variance + q
    spread = variance + r
    error = seen - mean
    gain = variance / spread
    z = error / xp.sqrt(spread)
    return mean + gain * error, (1.0 - gain) * variance, xp.log(spread) + z * z


def program(count):
    seen = observations(count)

    def loss(xp, x):
        p = [x[k] for k in range(4)]
        q, r = p[2] * p[2], p[3] * p[3]
        mean, variance, total = 0.0, 1.0, 0.0
        for y in seen:
            mean, variance, cost = update(xp, p, q, r, mean, variance, y)
            total = total + cost
        return 0.5 * total

    return loss


def with_scan(count):
    """The same loss as one loop of XLA's."""
    seen = np.array(observations(count))

    def loss(xp, p):
        from jax import lax

        q, r = p[2] * p[2], p[3] * p[3]

        def body(state, y):
            mean, variance, cost = update(xp, p, q, r, *state, y)
            return (mean, variance), cost

        return 0.5 * lax.scan(body, (0.0, 1.0), seen)[1].sum()

    return loss


def run(session):
    for count in session.pick((10, 30, 100, 300, 1000), (20,)):
        contest(
            session,
            f"{count} observations",
            program,
            (count,),
            START,
            # at its best: two numbers carried, all else fused
            {"jax scan": ("jax", with_scan(count), {US: 1.0, NATIVE: 0.3})},
            unrolled=count == LENGTH,
        )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["kalman"]))
