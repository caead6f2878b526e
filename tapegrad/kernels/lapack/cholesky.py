"""Cholesky's factor and its adjoint."""

from __future__ import annotations

import math

from tapegrad.kernels.lapack.memory import refused
from tapegrad.kernels.lapack.table import (
    GEMM,
    LEFT,
    MINUS,
    NORMAL,
    ONE,
    POTRF,
    RIGHT,
    SHARED,
    SMALL,
    SYMM,
    TRANSPOSED,
    TRSM,
    UPPER,
)
from tapegrad.kernels.memory import TO, T, array, call_n, conjugate, int32, int64, real, spill

__all__ = ["cholesky", "cholesky_adjoint"]

BLOCK = 48  # of the blocked adjoint: its triangle and a panel stay in the first cache


def factor_rows(o, at, n):  # type: ignore[no-untyped-def]
    """Cholesky's factor in place, row by row; whether there is one."""
    for i in range(n):
        row = at + i * n
        for j in range(i + 1):
            other = at + j * n
            s = o[row + j]
            for k in range(j):
                s = TO(s - TO(o[row + k] * conjugate(o[other + k])))
            if j < i:
                o[row + j] = TO(s / o[other + j])
            elif real(s) > 0:
                o[row + j] = TO(math.sqrt(real(s)))
            else:
                return False
    return True


def cholesky(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The lower factor of each matrix, of which only the lower triangle is read.

    ``p`` goes on with n, batch, itemsize.
    """
    d = array(p, SHARED + 3, int64)
    n, batch, size = d[SHARED], d[SHARED + 1], d[SHARED + 2]
    a, o = array(x, batch * n * n, T), array(out, batch * n * n, TO)
    for b in range(batch):
        at = b * n * n
        for i in range(n):
            for j in range(i + 1):
                o[at + i * n + j] = a[at + i * n + j]
            for j in range(i + 1, n):
                o[at + i * n + j] = TO(0)
        if n <= SMALL:
            if not factor_rows(o, at, n):
                return refused(b)
            continue
        info = spill(int64(0))
        whole = p + 8 * SHARED
        call_n(d[POTRF], (p + 8 * UPPER, whole, out + at * size, whole, info))
        if array(info, 2, int32)[0] != 0:
            return refused(b)
        for i in range(n):
            if not real(o[at + i * (n + 1)]) > 0:  # libraries let NaN pass
                return refused(b)
    return 0


def reverse_rows(o, a, at, j0, j1, n):  # type: ignore[no-untyped-def]
    """Cholesky's adjoint, in place in the diagonal block of rows ``j0`` to ``j1``: its lower triangle."""
    for back in range(j1 - j0):
        j = j1 - 1 - back
        row = at + j * n
        diagonal = a[row + j]
        s = o[row + j]
        for i in range(j + 1, j1):
            s = TO(s - TO(TO(o[at + i * n + j] * a[at + i * n + j]) / diagonal))
        s = TO(s / diagonal)
        for i in range(j + 1, j1):
            below = at + i * n
            v = TO(o[below + j] / diagonal)
            o[below + j] = v
            for k in range(j0, j):
                o[row + k] = TO(o[row + k] - TO(v * a[below + k]))
                o[below + k] = TO(o[below + k] - TO(v * a[row + k]))
        for k in range(j0, j):
            o[row + k] = TO(o[row + k] - TO(s * a[row + k]))
        o[row + j] = TO(s * TO(0.5))


def reverse_blocks(p, out, factor, o, a, at, n, size):  # type: ignore[no-untyped-def]
    """The same for a whole matrix, block by block from the last: nearly all of it is matrix products."""
    d = array(p, SHARED, int64)
    one, minus, plain, flipped = p + 8 * ONE, p + 8 * MINUS, p + 8 * NORMAL, p + 8 * TRANSPOSED
    whole = spill(n)
    k = n
    while k > 0:
        j = max(k - BLOCK, int64(0))
        width, before, after = spill(k - j), spill(j), spill(n - k)
        r, r_ = factor + j * n * size, out + j * n * size  # left of the block
        d_ = out + (j * n + j) * size
        if k < n:
            b, b_ = factor + k * n * size, out + k * n * size  # below that
            c, c_ = factor + (k * n + j) * size, out + (k * n + j) * size  # below the block
            block = factor + (j * n + j) * size
            call_n(
                d[TRSM],
                (p + 8 * LEFT, p + 8 * UPPER, plain, plain, width, after, one, block, whole, c_, whole),
            )
            if j > 0:
                call_n(
                    d[GEMM],
                    (plain, plain, before, after, width, minus, r, whole, c_, whole, one, b_, whole),
                )
            call_n(
                d[GEMM],
                (plain, flipped, width, width, after, minus, c, whole, c_, whole, one, d_, whole),
            )
            if j > 0:
                call_n(
                    d[GEMM],
                    (plain, flipped, before, width, after, minus, b, whole, c_, whole, one, r_, whole),
                )
        reverse_rows(o, a, at, j, k, n)
        if j > 0:
            for i in range(j, k):
                o[at + i * (n + 1)] = TO(o[at + i * (n + 1)] * TO(2))
            call_n(
                d[SYMM],
                (p + 8 * RIGHT, p + 8 * UPPER, before, width, minus, d_, whole, r, whole, one, r_, whole),
            )
            for i in range(j, k):
                o[at + i * (n + 1)] = TO(o[at + i * (n + 1)] * TO(0.5))
        k = j


def cholesky_adjoint(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The symmetric cotangent of a matrix from that of its lower factor (``x``) and the factor (``y``).

    Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527 (2016), section 3.3.
    ``p`` goes on with n, batch, itemsize.
    """
    d = array(p, SHARED + 3, int64)
    n, batch, size = d[SHARED], d[SHARED + 1], d[SHARED + 2]
    g, a, o = array(x, batch * n * n, T), array(y, batch * n * n, T), array(out, batch * n * n, TO)
    for b in range(batch):
        at = b * n * n
        for i in range(n):
            for j in range(i + 1):
                o[at + i * n + j] = g[at + i * n + j]
            for j in range(i + 1, n):
                o[at + i * n + j] = TO(0)
        if n <= SMALL:
            reverse_rows(o, a, at, int64(0), n, n)
        else:
            reverse_blocks(p, out + at * size, y + at * size, o, a, at, n, size)
        for i0 in range(0, n, SMALL):  # in squares, as half of the elements are read down columns
            for j0 in range(0, i0 + 1, SMALL):
                for i in range(i0, min(i0 + SMALL, n)):
                    for j in range(j0, min(j0 + SMALL, i)):
                        v = TO(o[at + i * n + j] * TO(0.5))
                        o[at + i * n + j] = v
                        o[at + j * n + i] = v
    return 0
