"""Threads: eight that record and call ``backward()`` at once, and two that share large loops.

In each run of the first part all threads start together; each has a loss of its own in the shared leaf and in
a leaf that only it uses.  The shared gradient must be the sum over the threads, the others each thread's own.

In the second part one thread computes, alone and with one helper, define-by-run and compiled.  Its ratios say
how much the helper is good for (2 would be all that there is), its answers must be the same to the last bit.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks import THREADS as PINNED
from benchmarks import black_scholes, chain, logistic
from benchmarks.harness import Mismatch, flatten, main
from benchmarks.peers import namespace, value_and_grad

THREADS, SIZE = 8, 50
RUNS_PER_POOL = 100  # then new threads, with new tapes


def one_run(pool, tg, values):
    shared = tg.tensor(values, requires_grad=True)
    own = [tg.tensor(values * k, requires_grad=True) for k in range(1, THREADS + 1)]
    start = threading.Barrier(THREADS)

    def work(k):
        start.wait()
        w = own[k - 1]
        y = shared
        for _ in range(3):
            y = tg.sin(y * k) + y
        (y * w).sum().backward()

    list(pool.map(work, range(1, THREADS + 1)))
    return shared.grad, [w.grad for w in own]


def reference(values):
    shared, own = np.zeros_like(values), []
    for k in range(1, THREADS + 1):
        y, dy = values, np.ones_like(values)
        for _ in range(3):
            y, dy = np.sin(y * k) + y, (np.cos(y * k) * k + 1) * dy
        shared += dy * values * k
        own.append(y)
    return shared, own


def agree(g, expected):
    if g is None:
        return False
    return np.max(np.abs(g.numpy() - expected)) <= 1e-9 * np.max(np.abs(expected))


def with_threads(tg, n, evaluate):
    """The same evaluation with ``n`` threads."""

    def call():
        tg.set_num_threads(n)
        try:
            return evaluate()
        finally:
            tg.set_num_threads(PINNED)

    return call


def compiled(tg, f, arrays, fixed):
    xp, n = namespace("tapegrad"), len(arrays)
    g = tg.compile(tg.value_and_grad(lambda *x: f(xp, *x), argnums=tuple(range(n))))
    return lambda: g(*arrays, *fixed)


def scaling(session, tg):
    size = session.pick(1_000_000, 100_000)
    w, x, y = logistic.inputs(size)
    strikes = black_scholes.inputs(size)
    (points,) = chain.inputs(size)
    tasks = {
        "chain": (chain.chain, [points], [], chain.reference(points)),
        "Black-Scholes": (black_scholes.price, strikes, [], black_scholes.reference(*strikes)),
        f"logistic, {logistic.FEATURES} features": (logistic.loss, [w], [x, y], logistic.reference(w, x, y)),
    }
    for name, (f, arrays, fixed, reference) in tasks.items():
        ways = {
            "define-by-run": value_and_grad("tapegrad", f, arrays, fixed),
            "compiled": compiled(tg, f, arrays, fixed),
        }
        for way, evaluate in ways.items():
            one, two = with_threads(tg, 1, evaluate), with_threads(tg, 2, evaluate)
            answers = [[np.array(a, copy=True) for a in flatten(call())] for call in (one, two)]
            if any(a.tobytes() != b.tobytes() for a, b in zip(*answers)):
                raise Mismatch(f"{name}, {way}: two threads give other bits than one")
            factories = {"tapegrad": lambda two=two: two, "one thread": lambda one=one: one}
            session.contest(f"{name}, size {size}, {way}", factories, reference)


def run(session):
    import tapegrad as tg

    scaling(session, tg)
    runs = session.pick(1000, 50)
    values = np.linspace(0.1, 1.0, SIZE)
    shared, own = reference(values)
    right, start, errors = 0, time.perf_counter(), []
    for first in range(0, runs, RUNS_PER_POOL):
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(min(RUNS_PER_POOL, runs - first)):
                try:
                    got, got_own = one_run(pool, tg, values)
                except Exception as error:  # counted, and the first is shown
                    errors.append(f"{type(error).__name__}: {error}")
                    continue
                right += agree(got, shared) and all(agree(g, e) for g, e in zip(got_own, own))
    elapsed = time.perf_counter() - start
    session.record(
        f"{THREADS} threads, {runs} runs", {"right gradients": right, "of": runs}, "runs", digits=0
    )
    session.record("time per run", {"tapegrad": elapsed / runs}, "s")
    if right != runs:
        hint = f"; first error: {errors[0]}" if errors else ""
        raise Mismatch(f"{THREADS} threads: right gradients in {right} of {runs} runs{hint}")


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["threads"]))
