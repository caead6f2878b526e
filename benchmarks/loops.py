"""Define-by-run loops of small operations: forward and backward of 200 operations.

Two recurrences, so that neither the cost of transcendental functions nor their absence decides: one with
``sin`` and ``tanh``, one of arithmetic only.  What is measured at these sizes is the cost per operation.
"""

import sys

import numpy as np

from benchmarks.harness import main
from benchmarks.peers import value_and_grad

ROUNDS, PER_ROUND = 40, 5
OPERATIONS = ROUNDS * PER_ROUND


def smooth(xp, x):
    y = x
    for _ in range(ROUNDS):
        y = xp.sin(y) * x + 0.5 * xp.tanh(y)
    return y.sum()


def smooth_reference(x):
    y, dy = x, np.ones_like(x)
    for _ in range(ROUNDS):
        dy = np.cos(y) * dy * x + np.sin(y) + 0.5 * (1 - np.tanh(y) ** 2) * dy
        y = np.sin(y) * x + 0.5 * np.tanh(y)
    return y.sum(), (dy,)


def rational(xp, x):
    y = x
    for _ in range(ROUNDS):
        y = (y * y + x) / (y - x + 2.0)
    return y.sum()


def rational_reference(x):
    y, dy = x, np.ones_like(x)
    for _ in range(ROUNDS):
        top, bottom = y * y + x, y - x + 2.0
        dy = ((2 * y * dy + 1) * bottom - top * (dy - 1)) / bottom**2
        y = top / bottom
    return y.sum(), (dy,)


def run(session):
    libraries = session.libraries("tapegrad", "torch", "autograd", "mygrad")
    contests = []
    for label, f, reference in (
        ("sin, tanh, *, +", smooth, smooth_reference),
        ("+, -, *, /", rational, rational_reference),
    ):
        for size in session.pick((1, 10, 100), (1, 10)):
            x = np.linspace(0.2, 0.9, size)
            factories = {n: lambda n=n, f=f, x=x: value_and_grad(n, f, [x]) for n in libraries}
            contests.append(
                session.contest(f"{label}, size {size}", factories, reference(x), operations=OPERATIONS)
            )
    session.geometric_mean("geometric mean", contests)


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["loops"]))
