"""Lotka-Volterra equations fitted by least squares: 200 steps of RK4, gradient in rates and initial state."""

import sys

import numpy as np

from benchmarks.harness import main
from benchmarks.programs import JAX_TARGET, contest

STEP = 0.05
START = np.array([1.1, 0.4, 0.1, 0.4, 9.0, 5.0])  # four rates, then prey and predators at the beginning


def observations(steps):
    """Noisy numbers of prey and predators at other parameters than `START`, as pairs of floats."""
    rng = np.random.default_rng(0)
    a, b, c, d, x, y = (float(v) for v in START * 1.05)
    seen = []
    for _ in range(steps):
        x, y = step(a, b, c, d, x, y)
        seen.append((x + 0.1 * rng.normal(), y + 0.1 * rng.normal()))
    return tuple((float(x), float(y)) for x, y in seen)


def step(a, b, c, d, x, y):
    def slope(x, y):
        return (a - b * y) * x, (c * x - d) * y

    h = STEP
    kx1, ky1 = slope(x, y)
    kx2, ky2 = slope(x + 0.5 * h * kx1, y + 0.5 * h * ky1)
    kx3, ky3 = slope(x + 0.5 * h * kx2, y + 0.5 * h * ky2)
    kx4, ky4 = slope(x + h * kx3, y + h * ky3)
    x = x + h / 6 * (kx1 + 2 * kx2 + 2 * kx3 + kx4)
    y = y + h / 6 * (ky1 + 2 * ky2 + 2 * ky3 + ky4)
    return x, y


def program(steps):
    seen = observations(steps)

    def loss(xp, p):
        a, b, c, d, x, y = (p[k] for k in range(6))
        total = 0.0
        for at_x, at_y in seen:
            x, y = step(a, b, c, d, x, y)
            total = total + (x - at_x) * (x - at_x) + (y - at_y) * (y - at_y)
        return total

    return loss


def with_scan(steps):
    """The same loss as one loop of XLA's."""
    seen = np.array(observations(steps))

    def loss(xp, p):
        from jax import lax

        a, b, c, d = (p[k] for k in range(4))

        def body(state, at):
            x, y = step(a, b, c, d, *state)
            return (x, y), (x - at[0]) ** 2 + (y - at[1]) ** 2

        return lax.scan(body, (p[4], p[5]), seen)[1].sum()

    return loss


def run(session):
    steps = session.pick(200, 20)
    contest(
        session,
        f"{steps} steps",
        program,
        (steps,),
        START,
        {"jax scan": ("jax", with_scan(steps), JAX_TARGET)},
    )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["rk4"]))
