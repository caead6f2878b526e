"""Sixty scalar states, each coupled to its neighbours, for 100 steps; gradient in states and parameters."""

import sys

import numpy as np

from benchmarks.harness import US, main
from benchmarks.programs import JAX_TARGET, contest


def start(states):
    rng = np.random.default_rng(0)
    return np.concatenate([[0.8, 0.3, 0.1], rng.normal(size=states)])  # leak, coupling, drive; states


def update(xp, leak, coupling, drive, left, x, right):
    return leak * x + coupling * xp.sin(left * right) + drive * xp.tanh(x)


def program(states, steps):
    def loss(xp, p):
        leak, coupling, drive = p[0], p[1], p[2]
        x = [p[3 + k] for k in range(states)]
        for _ in range(steps):
            x = [
                update(xp, leak, coupling, drive, x[k - 1], x[k], x[(k + 1) % states]) for k in range(states)
            ]
        total = 0.0
        for xk in x:
            total = total + xk * xk
        return total

    return loss


def with_scan(states, steps):
    """The same loss as one loop of XLA's, over scalars."""

    def loss(xp, p):
        from jax import lax

        leak, coupling, drive = p[0], p[1], p[2]

        def body(x, _):
            return [
                update(xp, leak, coupling, drive, x[k - 1], x[k], x[(k + 1) % states]) for k in range(states)
            ], None

        x, _ = lax.scan(body, [p[3 + k] for k in range(states)], length=steps)
        return sum(xk * xk for xk in x)

    return loss


# The same loss over arrays is another program, for those who can rewrite theirs; it is shown beside.


def with_arrays(steps):
    def loss(xp, p):
        leak, coupling, drive, x = p[0], p[1], p[2], p[3:]
        for _ in range(steps):
            x = update(xp, leak, coupling, drive, xp.roll(x, 1), x, xp.roll(x, -1))
        return (x * x).sum()

    return loss


def with_array_scan(steps):
    def loss(xp, p):
        from jax import lax

        leak, coupling, drive = p[0], p[1], p[2]

        def body(x, _):
            return update(xp, leak, coupling, drive, xp.roll(x, 1), x, xp.roll(x, -1)), None

        x, _ = lax.scan(body, p[3:], length=steps)
        return (x * x).sum()

    return loss


def run(session):
    states, steps = session.pick((60, 100), (6, 10))
    contest(
        session,
        f"{states} states, {steps} steps",
        program,
        (states, steps),
        start(states),
        {
            "jax scan": ("jax", with_scan(states, steps), JAX_TARGET),
            "jax scan, arrays": ("jax", with_array_scan(steps), None),
            f"{US}, arrays": (f"{US}, interpreted", with_arrays(steps), None),
        },
    )


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["states"]))
