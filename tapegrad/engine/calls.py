"""Structured kernels on large operands, split along an axis in which their results are independent.

Each block is a call of the kernel itself on a part of the operands: other addresses, and a copy of its
parameters with another length.  So kernels know nothing of threads.  ``ops.table.structured`` says how a row
can be split (``split=``).
"""

from __future__ import annotations

from tapegrad._jit import at, copy_bytes, invoke, jit, spill
from tapegrad.engine.blocks import (
    block_count,
    block_sums,
    claim,
    complete,
    failure,
    run_blocks,
    settle,
    wait,
)
from tapegrad.engine.edges import add, fill_constant
from tapegrad.engine.layout import B_COUNT, WORK_CALLS

__all__ = ["SPLITS", "call_split", "work_calls"]

# How a kernel's loop can be split, by what its parameters are.
REDUCE, ALONG, SCAN, GATHER, MATVEC, MOVEMENT, LINES, IMAGES, WINDOWS, WINDOWS_BACK = range(1, 11)
SPLITS = {
    "": 0,
    "reduce": REDUCE,  # (outer, n, inner): one element per n; by outer
    "along": ALONG,  # (outer, n, inner): as many results as operands; by outer
    "scan": SCAN,  # the same with a fourth word
    "gather": GATHER,  # (n, width, blocks): block y[i] becomes block i; by n
    "matvec": MATVEC,  # see kernels.blas; by rows of the matrix in memory
    "lines": LINES,  # see kernels.fft; by outer
    "images": IMAGES,  # see kernels.convolution; by images, over which the adjoint by the weights adds up
    "windows": WINDOWS,  # see kernels.pooling; by images, which x and y are
    "windows back": WINDOWS_BACK,  # the same, if x and z are of the windows, and y and the result images
    "movement": MOVEMENT,  # see kernels.move; by the first axis that is longer than one
}

LINES_WORK = 8  # what a number costs, in elementwise operations
PRODUCTS = 4  # multiplications in tiles that take as long as an elementwise operation
SHORT = 32  # as in kernels.blas: longer rows are multiplied by BLAS, which has threads of its own

# What a thread needs to run a block.
(
    R_KERNEL, R_OUT, R_X, R_Y, R_Z, R_P, R_Q, R_PARAMS, R_AT, R_LENGTH, R_PER_BLOCK, R_STEP_OUT, R_STEP_X,
    R_STEP_Y, R_STEP_Z, R_STEP_Q, R_SUMMED, R_DTYPE, R_WORDS,
) = range(19)  # fmt: skip


@jit
def call_split(shared_at, split, kernel, out, x, y, z, p, q, size_x, size_out, dtype):
    """Call a structured kernel in blocks; -1 if it is not large enough.

    Parameters
    ----------
    shared_at : address
        ``threads.shared``.
    split : int
        One of `SPLITS`.
    kernel, out, x, y, z, p, q : int
        The kernel and its arguments.
    size_x, size_out : int
        Bytes of an element of the first operand, and of the result.
    dtype : int
        Of the result, an index of DTYPES.
    """
    d = at(p)
    n_params = place = length = work = words = summed = 0
    step_out = step_x = step_y = step_z = step_q = 0
    if split in (REDUCE, ALONG, SCAN):
        n_params, length = 4 if split == SCAN else 3, d[0]
        step_x = d[1] * d[2] * size_x
        step_out = d[2] * size_out if split == REDUCE else d[1] * d[2] * size_out
        work = d[0] * d[1] * d[2]
    elif split == LINES:
        n_params, length = 7, d[0]
        step_x, step_out = d[1] * d[2] * size_x, d[3] * d[2] * size_out
        work = LINES_WORK * d[0] * d[2] * d[4]
    elif split == IMAGES:
        image, result = d[2] * d[3] * d[5] * d[6], d[2] * d[4] * d[9] * d[10]
        taps = d[3] * d[7] * d[8]
        n_params, place, length = 17, 1, d[1]
        work = d[1] * result * taps // PRODUCTS
        step_x, step_out = image * size_x, result * size_out
        if d[0] == 1:  # by the image
            step_x, step_out = step_out, step_x
        elif d[0] == 2:  # by the weights
            step_y, step_out, summed = result * size_x, 0, d[2] * d[4] * taps
        if dtype < 9:
            return -1
    elif split in (WINDOWS, WINDOWS_BACK):
        image, places = d[1] * d[2] * size_x, d[5] * d[6] * size_x
        n_params, length, work = 13, d[0], d[0] * d[5] * d[6] * d[3] * d[4]
        step_x, step_y, step_z, step_out = image, image, places, places
        if split == WINDOWS_BACK:
            step_x, step_out = places, image
    elif split == GATHER:
        n_params, length, work = 3, d[0], d[0] * d[1]
        step_y, step_out = 8, d[1] * size_out
    elif split == MATVEC:
        m, k = d[13], d[14]
        n_params, work = 19, m * k
        if d[8] != 1 or dtype < 9 or (d[12] and m > SHORT) or (not d[12] and k > SHORT):
            return -1
        if d[12]:
            place, length, summed = 14, k, m
            step_x, step_y = m * size_x, size_x
        else:
            place, length = 13, m
            step_x, step_out = k * size_x, size_out
    else:
        ndim = d[0]
        n_params, work = 2 + 2 * ndim, 1
        for k in range(ndim - 1, -1, -1):
            if d[1 + k] != 1:
                place, length, step_out = 1 + k, d[1 + k], work * size_out
                step_q = d[1 + ndim + k]
            work *= d[1 + k]
    if length < 2:
        return -1
    words = n_params + summed
    per_block = block_count(shared_at, work, length, 1, words)
    if not per_block:
        return -1
    record = spill(
        (
            kernel, out, x, y, z, p, q, n_params, place, length, per_block, step_out, step_x, step_y, step_z,
            step_q, summed, dtype, words,
        )
    )  # fmt: skip
    blocks = (length + per_block - 1) // per_block
    return run_blocks(shared_at, WORK_CALLS, record, 0, blocks, words, 64)


@jit
def _call_block(r, control, b):
    """Call the kernel for block ``b``; returns its status."""
    params = block_sums(control) + 8 * b * r[R_WORDS]
    copy_bytes(params, r[R_P], 8 * r[R_PARAMS])
    first = b * r[R_PER_BLOCK]
    at(params)[r[R_AT]] = min(r[R_PER_BLOCK], r[R_LENGTH] - first)
    out = params + 8 * r[R_PARAMS] if r[R_SUMMED] else r[R_OUT] + first * r[R_STEP_OUT]
    x, y = r[R_X] + first * r[R_STEP_X], r[R_Y] + first * r[R_STEP_Y]
    z = r[R_Z] + first * r[R_STEP_Z]
    return invoke(r[R_KERNEL], (out, x, y, z, params, r[R_Q] + first * r[R_STEP_Q]))


def work_calls(record, unused, control, area, spins):
    """Call a kernel for blocks until none is left (see ``blocks``)."""
    b = claim(control)
    if b < 0:
        return wait(control, spins)
    r = at(record)
    while b >= 0:
        status = _call_block(r, control, b)
        if settle(control, b, status):
            if failure(control) < 0 and r[R_SUMMED]:
                part = block_sums(control) + 8 * r[R_PARAMS]
                fill_constant(r[R_OUT], r[R_SUMMED], r[R_DTYPE], 0.0)
                for k in range(at(control)[B_COUNT]):
                    add(r[R_OUT], part + 8 * k * r[R_WORDS], r[R_SUMMED], r[R_DTYPE])
            return complete(control)
        b = claim(control)
    return wait(control, spins)
