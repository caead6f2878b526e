"""Splitting one large loop into blocks that any number of threads run.

A region that is large enough is cut into at most `MOST` blocks of tiles.  Where the cuts are depends on the
region alone; each block keeps sums of its own, and these are added up in the order of the blocks.  So
results do not depend on how many threads there were, nor on which of them ran what.

Threads claim blocks by counting up a word of the *control*, memory of one run of one region:

    word 0          the next block that nobody has claimed
    word 1          how many blocks there are
    word 8          how many blocks are done; one more once their sums have been added up
    word 9          the status of the whole, 0 for success
    from word 16    the status of each block, then its sums

A *work function* ``(a, b, control, area, spins)`` claims blocks until none is left.  Who completes the last
block adds up the sums; it returns `COMPLETED` to that thread, `OVER` if it sees that everything is done when
it looks ``spins + 1`` times, else 0.
A thread that comes too late finds nothing to claim and reads nothing but the control: what ``a`` and ``b``
stand for may be gone by then.
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import at, fetch_add, invoke, jit, relax
from tapegrad.engine.layout import (
    B_COUNT,
    B_DONE,
    B_NEXT,
    B_STATUS,
    COMPLETED,
    CONTROL,
    H_CALLBACK,
    H_FREE,
    H_IDLE,
    H_LEAST_LENGTH,
    H_LEAST_WORK,
    H_MALLOC,
    H_WORK,
    INTERRUPTED,
    OVER,
    RETURNED,
)

__all__ = [
    "block_count", "block_sums", "claim", "complete", "failure", "run_blocks", "settle", "wait",
]  # fmt: skip

SMALLEST = 16  # a block is this part of the smallest loop that is split, at least
MOST = 256  # blocks


@jit
def block_count(shared_at, length, tiles, steps, words):
    """Tiles per block; 0 if the loop is not to be split.

    Parameters
    ----------
    shared_at : address
        ``threads.shared``.
    length, tiles, steps : int
        Elements, tiles, and kernels per tile.
    words : int
        What a block's sums take.
    """
    work, least = length * steps, at(shared_at)[H_LEAST_WORK]
    if work < least or length < at(shared_at)[H_LEAST_LENGTH]:
        return 0
    blocks = min(min(SMALLEST * work // least, MOST), tiles)
    if words > 64:
        blocks = min(blocks, length // (4 * words))  # all sums together: a quarter of one array at most
    if blocks < 2:
        return 0
    return (tiles + blocks - 1) // blocks


@jit
def block_sums(control):
    """Where the sums of the blocks begin."""
    return control + 8 * (CONTROL + at(control)[B_COUNT])


@jit
def claim(control):
    """A block that nobody else runs, -1 if there is none left."""
    b = fetch_add(control + 8 * B_NEXT, 1)
    return b if b < at(control)[B_COUNT] else -1


@jit
def settle(control, block, status):
    """Note that a block is done; whether it is the last."""
    at(control)[CONTROL + block] = status
    return fetch_add(control + 8 * B_DONE, 1) + 1 == at(control)[B_COUNT]


@jit
def failure(control):
    """The first block that failed, -1 if none did; its status becomes that of the whole."""
    words = at(control)
    for b in range(words[B_COUNT]):
        if words[CONTROL + b]:
            words[B_STATUS] = words[CONTROL + b]
            return b
    return -1


@jit
def complete(control):
    """Note that the sums have been added up."""
    fetch_add(control + 8 * B_DONE, 1)
    return COMPLETED


@jit
def wait(control, spins):
    """Whether everything is done, looking ``spins + 1`` times."""
    while fetch_add(control + 8 * B_DONE, 0) <= at(control)[B_COUNT]:
        if spins <= 0:
            return 0
        spins -= 1
        relax()
    return OVER


@jit
def run_blocks(shared_at, kind, a, b, blocks, words, nbytes):
    """Run all blocks, with the help of other threads if there are idle ones; returns a status.

    -1 if there is no memory for the sums: then nothing has been run.

    Parameters
    ----------
    shared_at : address
        ``threads.shared``.
    kind : int
        Which work function.
    a, b : int
        Its arguments.
    blocks, words, nbytes : int
        How many blocks there are, words that the sums of one take, bytes that a thread needs for itself.
    """
    shared = at(shared_at)
    if shared[H_CALLBACK] and (shared[H_IDLE] > 0 or not shared[H_WORK + kind]):
        result = invoke(shared[H_CALLBACK], (kind, a, b, blocks, words, nbytes))
        return result - RETURNED if result else np.int64(INTERRUPTED)
    if not shared[H_WORK + kind]:
        return -1
    # This thread alone: calling Python would only make it wait for others that hold the interpreter's lock.
    size = CONTROL + blocks * (1 + words)
    control = invoke(shared[H_MALLOC], (8 * size,))
    if not control:
        return -1
    head = at(control)
    for k in range(CONTROL):
        head[k] = 0
    head[B_COUNT] = blocks
    invoke(shared[H_WORK + kind], (a, b, control, 0, 0))
    status = head[B_STATUS]
    invoke(shared[H_FREE], (control,))
    return status
