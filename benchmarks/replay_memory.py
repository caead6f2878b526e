"""What replays of a compiled gradient leave behind and need meanwhile: resident memory, blocks, bytes.

Python's own count of memory blocks and the bytes that tracemalloc sees (NumPy's arrays included) tell what
the resident size is too coarse for.
"""

import gc
import sys
import tracemalloc

import numpy as np

from benchmarks import kalman, peers
from benchmarks.chain import chain, inputs
from benchmarks.harness import US, Mismatch, main
from benchmarks.memory import growth

LIMIT = 5.0  # MB after 20,000 replays
SIZE = 10_000  # elements: one array is far larger than what calls of Python functions need
ROUNDS = 200
BLOCKS = 0.05  # left per replay: less than any leak, more than a cache or two that fills meanwhile


def replays(f, x, out):
    """One replay, with results in new arrays or in the same ones."""
    tg, xp = peers.module(US), peers.namespace(US)
    # native at once: machine code that is made on the way would count as growth
    both = tg.compile(tg.value_and_grad(lambda x: f(xp, x)), tier="native")
    if not out:
        return lambda: both(x)
    given = (np.empty(()), np.empty_like(x))
    return lambda: both(x, out=given)


def blocks(step):
    """Memory blocks that a replay leaves behind, on average."""
    for _ in range(ROUNDS):
        step()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        step()
    gc.collect()
    return (sys.getallocatedblocks() - before) / ROUNDS


def most_bytes(step):
    """Bytes in use at the height of a replay, above those before it."""
    step()
    gc.collect()
    tracemalloc.start()
    try:
        step()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def run(session):
    count = session.pick(20_000, 500)
    observations = session.pick(300, 20)
    cases = {
        f"chain, size {SIZE}": (chain, inputs(SIZE)[0], False),
        f"chain, size {SIZE}, out=": (chain, inputs(SIZE)[0], True),
        f"Kalman filter, {observations} observations": (kalman.program(observations), kalman.START, False),
        f"Kalman filter, {observations} observations, out=": (
            kalman.program(observations),
            kalman.START,
            True,
        ),
    }
    steps = {case: replays(*arguments) for case, arguments in cases.items()}
    resident = {case: growth(step, count) for case, step in steps.items()}
    session.record(f"growth of resident memory in {count} replays", resident, "MB")
    left = {case: blocks(step) for case, step in steps.items()}
    session.record("blocks left behind per replay", left, "blocks")
    most = {case: most_bytes(step) for case, step in steps.items()}
    session.record("bytes at the height of a replay", most, "bytes", digits=0)
    for case, megabytes in resident.items():
        if megabytes > LIMIT:
            raise Mismatch(f"{case}: memory grew by {megabytes:.1f} MB, allowed {LIMIT:.0f}")
        if left[case] > BLOCKS:
            raise Mismatch(f"{case}: {left[case]:.2f} blocks are left behind per replay")
    for case, (_, x, out) in cases.items():
        allowed = 4096 + (0 if out else 2 * x.nbytes)  # the call's small objects; the results
        if most[case] > allowed:
            raise Mismatch(f"{case}: a replay allocates {most[case]} bytes, allowed {allowed}")


if __name__ == "__main__":
    sys.exit(main(lambda name: run, ["replay_memory"]))
