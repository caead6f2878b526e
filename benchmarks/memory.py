"""Memory does not grow: resident size after many steps, above what it was after a warm-up.

A tape only ever gets longer; what nobody can reach any more has to be given back, with or without a
``backward()``, looked at or not.
"""

import gc
import sys

import numpy as np

from benchmarks.harness import Mismatch, main
from benchmarks.peak import resident

LIMIT = 20.0  # MB


def training():
    import tapegrad as tg

    rng = np.random.default_rng(0)
    x, y = tg.tensor(rng.normal(size=(16, 4))), tg.tensor(rng.normal(size=(16, 1)))
    w1 = tg.tensor(rng.normal(size=(4, 8)), requires_grad=True)
    w2 = tg.tensor(rng.normal(size=(8, 1)), requires_grad=True)

    def step():
        error = tg.tanh(x @ w1) @ w2 - y
        loss = (error * error).mean()
        loss.backward()
        with tg.no_grad():
            for w in (w1, w2):
                w -= 0.01 * w.grad
                w.grad = None

    return step


def inference(look):
    import tapegrad as tg

    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(16, 4)))
    w1 = tg.tensor(rng.normal(size=(4, 8)), requires_grad=True)
    w2 = tg.tensor(rng.normal(size=(8, 1)), requires_grad=True)

    def step():
        out = (tg.tanh(x @ w1) @ w2).sum()
        if look:
            float(out)

    return step


def recurrence():
    import tapegrad as tg

    drift = tg.tensor(np.linspace(0.1, 1.0, 100), requires_grad=True)
    state = tg.zeros(100)

    def step():
        nonlocal state
        with tg.no_grad():
            state = 0.9 * tg.sin(state) + drift

    return step


def growth(step, steps):
    """Resident megabytes after ``steps``, above those after a tenth as many."""
    for _ in range(max(200, steps // 10)):
        step()
    gc.collect()
    before = resident()
    for _ in range(steps):
        step()
    gc.collect()
    return (resident() - before) / 2**20


def run(session):
    steps, many = session.pick((20_000, 200_000), (1000, 5000))
    figures = {
        f"{steps} training steps": growth(training(), steps),
        f"{steps} inference steps, float() of each": growth(inference(True), steps),
        f"{steps} inference steps, none looked at": growth(inference(False), steps),
        f"{many} recurrence steps under no_grad": growth(recurrence(), many),
    }
    session.record("growth of resident memory", figures, "MB", digits=1)
    for name, megabytes in figures.items():
        if megabytes > LIMIT:
            raise Mismatch(f"{name}: memory grew by {megabytes:.1f} MB, allowed {LIMIT:.0f}")


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["memory"]))
