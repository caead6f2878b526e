"""Factorisations and triangular solves, on SciPy's LAPACK and BLAS; plain loops for small matrices.

What the routines want by address lies in ``p``: first the table that all kernels here share (addresses of
routines, letters, bits of 1, -1 and 0), then the sizes.  Sizes that vary within a kernel lie on its stack
(`spill`).  Row-major memory is a transposed column-major matrix to LAPACK: a lower triangle is its upper
one, and ``a x = b`` becomes ``x' a' = b'``, with ``a'`` on the right.

A status of ``1 + i`` says that matrix ``i`` of the batch was refused.
"""

from __future__ import annotations

import math

from tapegrad.kernels import scalar
from tapegrad.kernels.memory import TO, T, array, call_n, int32, int64, spill

__all__ = [
    "SHARED", "SMALL", "cholesky", "cholesky_adjoint", "det", "log_abs_det", "lu", "lu_sign", "lu_solve",
    "solve",
]  # fmt: skip

SMALL = 16  # matrices up to this size run faster in plain loops than in a library
BLOCK = 48  # of the blocked adjoint: its triangle and a panel stay in the first cache

# The table in front of every ``p``, in words.
TRSM, TRSV, GEMM, SYMM, POTRF, GETRF = range(6)
LOWER, UPPER, NORMAL, TRANSPOSED, LEFT, RIGHT, UNIT, ONE, MINUS, ZERO = range(6, 16)
SHARED = 16


# --- triangular solves ----------------------------------------------------------------------------


def substitute(o, at, a, c, n, m, lower, trans, unit):  # type: ignore[no-untyped-def]
    """Solve ``op(a) x = o`` in place, row by row of the ``(n, m)`` right-hand side."""
    forward = lower != trans
    down, along = (int64(1), n) if trans else (n, int64(1))
    for step in range(n):
        i = step if forward else n - 1 - step
        first, last = (int64(0), i) if forward else (i + 1, n)
        row = at + i * m
        if m == 1:
            s = o[row]
            for k in range(first, last):
                s = TO(s - TO(a[c + i * down + k * along] * o[at + k]))
            o[row] = s if unit else TO(s / a[c + i * (n + 1)])
            continue
        for k in range(first, last):
            v, other = a[c + i * down + k * along], at + k * m
            for j in range(m):
                o[row + j] = TO(o[row + j] - TO(v * o[other + j]))
        if not unit:
            v = a[c + i * (n + 1)]
            for j in range(m):
                o[row + j] = TO(o[row + j] / v)


def triangular(p, out, matrix, o, at, a, c, n, m, sizes, lower, trans, unit):  # type: ignore[no-untyped-def]
    """Solve ``op(a) x = o`` in place; ``sizes`` is the address of ``n``, ``m`` and 1 as words."""
    if n <= SMALL:
        substitute(o, at, a, c, n, m, lower, trans, unit)
        return
    d = array(p, SHARED, int64)
    half = p + 8 * (UPPER if lower else LOWER)
    diagonal = p + 8 * (UNIT if unit else NORMAL)
    if m == 1:
        flag = p + 8 * (NORMAL if trans else TRANSPOSED)
        call_n(d[TRSV], (half, flag, diagonal, sizes, matrix, sizes, out, sizes + 16))
        return
    flag = p + 8 * (TRANSPOSED if trans else NORMAL)
    call_n(
        d[TRSM],
        (p + 8 * RIGHT, half, flag, diagonal, sizes + 8, sizes, p + 8 * ONE, matrix, sizes, out, sizes + 8),
    )


def solve(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``op(a)^-1 b`` for triangular ``a``; ``x`` is b, ``y`` is a.

    ``p`` goes on with n, m, 1, batch, step_a, itemsize, lower, trans, unit.
    """
    d = array(p, SHARED + 9, int64)
    n, m, batch, step = d[SHARED], d[SHARED + 1], d[SHARED + 3], d[SHARED + 4]
    size, lower, trans, unit = d[SHARED + 5], d[SHARED + 6] != 0, d[SHARED + 7] != 0, d[SHARED + 8] != 0
    if n == 0 or m == 0 or batch == 0:
        return 0
    total = batch * n * m
    b, o = array(x, total, T), array(out, total, TO)
    a = array(y, (batch - 1) * step + n * n, T)
    if x != out:
        for i in range(total):
            o[i] = b[i]
    for i in range(batch):
        if not unit:
            for k in range(n):
                if a[i * step + k * (n + 1)] == 0:
                    return 1 + i
        here = out + i * n * m * size
        matrix = y + i * step * size
        triangular(p, here, matrix, o, i * n * m, a, i * step, n, m, p + 8 * SHARED, lower, trans, unit)
    return 0


# --- Cholesky -------------------------------------------------------------------------------------


def factor_rows(o, at, n):  # type: ignore[no-untyped-def]
    """Cholesky's factor in place, row by row; whether there is one."""
    for i in range(n):
        row = at + i * n
        for j in range(i + 1):
            other = at + j * n
            s = o[row + j]
            for k in range(j):
                s = TO(s - TO(o[row + k] * o[other + k]))
            if j < i:
                o[row + j] = TO(s / o[other + j])
            elif s > 0:
                o[row + j] = TO(math.sqrt(s))
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
                return 1 + b
            continue
        info = spill(int64(0))
        whole = p + 8 * SHARED
        call_n(d[POTRF], (p + 8 * UPPER, whole, out + at * size, whole, info))
        if array(info, 2, int32)[0] != 0:
            return 1 + b
        for i in range(n):
            if not o[at + i * (n + 1)] > 0:  # libraries let NaN pass
                return 1 + b
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


# --- LU -------------------------------------------------------------------------------------------

# The result has a row more than the matrix: the transposed factors of the transposed matrix (LAPACK's view of
# row-major memory), a' = p l u, then its row exchanges as numbers from 1.


def factor_columns(o, at, n):  # type: ignore[no-untyped-def]
    """LU factors in place, of the column-major matrix at ``at``; behind it the exchanges."""
    for k in range(n):
        column = at + k * n
        best = k
        for i in range(k + 1, n):
            if abs(o[column + i]) > abs(o[column + best]):
                best = i
        o[at + n * n + k] = TO(best + 1)
        if best != k:
            for j in range(n):
                v = o[at + j * n + k]
                o[at + j * n + k] = o[at + j * n + best]
                o[at + j * n + best] = v
        v = o[column + k]
        if v == 0:
            continue
        for i in range(k + 1, n):
            o[column + i] = TO(o[column + i] / v)
        for j in range(k + 1, n):
            other = at + j * n
            v = o[other + k]
            for i in range(k + 1, n):
                o[other + i] = TO(o[other + i] - TO(v * o[column + i]))


def lu(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Factors and exchanges of each matrix; a singular one has a zero on its diagonal.

    ``p`` goes on with n, batch, itemsize.
    """
    d = array(p, SHARED + 3, int64)
    n, batch, size = d[SHARED], d[SHARED + 1], d[SHARED + 2]
    a, o = array(x, batch * n * n, T), array(out, batch * (n + 1) * n, TO)
    for b in range(batch):
        at = b * (n + 1) * n
        for i in range(n * n):
            o[at + i] = a[b * n * n + i]
        if n <= SMALL:
            factor_columns(o, at, n)
            continue
        info = spill(int64(0))
        whole, exchanges = p + 8 * SHARED, out + (at + n * n) * size
        call_n(d[GETRF], (whole, whole, out + at * size, whole, exchanges, info))
        pivots = array(exchanges, n, int32)
        for k in range(n):  # from the end, as numbers may be wider than LAPACK's integers
            o[at + n * n + n - 1 - k] = TO(pivots[n - 1 - k])
    return 0


def exchange(o, at, a, first, n, m, forward):  # type: ignore[no-untyped-def]
    """Exchange rows of ``m`` elements as ``a[first:]`` says, in that order or back."""
    for step in range(n):
        i = step if forward else n - 1 - step
        j = int64(a[first + i]) - 1
        if j != i:
            for l in range(m):
                v = o[at + i * m + l]
                o[at + i * m + l] = o[at + j * m + l]
                o[at + j * m + l] = v


def lu_solve(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``op(a)^-1 b``; ``x`` is b, ``z`` the factors of a.

    ``p`` goes on with n, m, 1, batch, step (of the factors), itemsize, trans.
    """
    d = array(p, SHARED + 7, int64)
    n, m, batch, step = d[SHARED], d[SHARED + 1], d[SHARED + 3], d[SHARED + 4]
    size, trans = d[SHARED + 5], d[SHARED + 6] != 0
    if n == 0 or m == 0 or batch == 0:
        return 0
    total = batch * n * m
    b, o = array(x, total, T), array(out, total, TO)
    a = array(z, (batch - 1) * step + (n + 1) * n, T)
    if x != out:
        for i in range(total):
            o[i] = b[i]
    sizes = p + 8 * SHARED
    for i in range(batch):
        c, at = i * step, i * n * m
        matrix, here = z + c * size, out + at * size
        for k in range(n):
            # a saved tape may have anything here: rows are exchanged only if the numbers are in range
            row = a[c + n * n + k]
            if a[c + k * (n + 1)] == 0 or not (row >= 1 and row <= n):
                return 1 + i
        if trans:
            exchange(o, at, a, c + n * n, n, m, True)
        triangular(p, here, matrix, o, at, a, c, n, m, sizes, not trans, trans, trans)
        triangular(p, here, matrix, o, at, a, c, n, m, sizes, trans, trans, not trans)
        if not trans:
            exchange(o, at, a, c + n * n, n, m, False)
    return 0


def lu_sign(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The determinant's sign from the factors (``x``): -1, 0 or 1.

    ``p`` is n, batch.
    """
    d = array(p, 2, int64)
    n, batch = d[0], d[1]
    a, o = array(x, batch * (n + 1) * n, T), array(out, batch, TO)
    for b in range(batch):
        at = b * (n + 1) * n
        s = TO(1)
        for k in range(n):
            v = a[at + k * (n + 1)]
            if (v < 0) != (a[at + n * n + k] != k + 1):
                s = TO(-s)
            if v == 0 or v != v:
                s = TO(v * s)
        o[b] = s
    return 0


def det(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The determinant from the factors (``y``); ``p`` as of `lu_sign`."""
    d = array(p, 2, int64)
    n, batch = d[0], d[1]
    a, o = array(y, batch * (n + 1) * n, T), array(out, batch, TO)
    for b in range(batch):
        at = b * (n + 1) * n
        s = TO(1)
        for k in range(n):
            v = a[at + k * (n + 1)]
            s = TO(s * (v if a[at + n * n + k] == k + 1 else -v))
        o[b] = s
    return 0


def log_abs_det(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The logarithm of the determinant's magnitude from the factors (``y``); ``p`` as of `lu_sign`."""
    d = array(p, 2, int64)
    n, batch = d[0], d[1]
    a, o = array(y, batch * (n + 1) * n, T), array(out, batch, TO)
    for b in range(batch):
        s = TO(0)
        for k in range(n):
            s = TO(s + TO(scalar.log(abs(a[b * (n + 1) * n + k * (n + 1)]))))
        o[b] = s
    return 0
