"""Singular values and vectors, and systems solved with them in the sense of least squares."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import finite, refused, room_for, transposed, went_wrong
from tapegrad.kernels.lapack.product import multiply
from tapegrad.kernels.lapack.table import GESDD, NORMAL, SHARED, SOME
from tapegrad.kernels.memory import (
    NO_MEMORY,
    TO,
    R,
    T,
    allocate,
    array,
    call_n,
    int64,
    real,
    release,
    spill,
    word,
)

__all__ = ["svd", "svd_factors", "svd_solve"]


def decompose(out, x, p, d, tolerance, values_alone):  # type: ignore[no-untyped-def]
    """U, S and V' of each matrix one behind the other, or S alone; with ``tolerance`` small S are zeroed.

    NumPy's call of the same routine, so that signs are the same: matrices in column-major order.
    """
    m, n, batch, size, narrow = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3], d[SHARED + 4]
    k = min(m, n)
    if k == 0 or batch == 0:
        return int64(0)
    u, v = (int64(0), int64(0)) if values_alone else (m * k, k * n)
    step = u + k + v
    a, o = array(x, batch * m * n, T), array(out, batch * step, TO)
    whole_numbers = size == narrow
    info, minus = spill(int64(0)), spill(int64(-1))
    rows, columns, least = p + 8 * SHARED, p + 8 * (SHARED + 1), spill(k)
    job = p + 8 * (NORMAL if values_alone else SOME)
    reals = int64(0) if whole_numbers else 7 * k if values_alone else k * (5 * k + 7 + 2 * max(m, n) + 2 * k)
    asking = allocate(int64(2))
    asked = word(asking)
    if whole_numbers:
        call_n(d[GESDD], (job, rows, columns, x, rows, x, x, rows, x, least, asked, minus, info, info))
    else:
        call_n(d[GESDD], (job, rows, columns, x, rows, x, x, rows, x, least, asked, minus, x, info, info))
    room = int64(real(array(asked, 1, T)[0]))
    release(asking)
    room += room // 8 + 64  # float32 may have rounded it down
    words = room_for(m * n + u + v + room, size)
    memory = allocate(words + room_for(k, narrow) + room_for(reals, narrow) + 4 * k)
    matrix = word(memory)
    if matrix == 0:
        return int64(NO_MEMORY)
    left = matrix + m * n * size
    right = left + u * size
    work, lwork = right + v * size, spill(room)
    values = matrix + 8 * words
    rwork = values + 8 * room_for(k, narrow)
    iwork = rwork + 8 * room_for(reals, narrow)
    c, s = array(matrix, m * n + u + v, T), array(values, k, R)
    status = int64(0)
    for b in range(batch):
        if not finite(a, b * m * n, m * n):
            status = refused(b)
            break
        transposed(c, int64(0), a, b * m * n, m, n)
        # (two calls, as complex matrices need a workspace of real numbers as well)
        if whole_numbers:
            call_n(
                d[GESDD],
                (
                    job,
                    rows,
                    columns,
                    matrix,
                    rows,
                    values,
                    left,
                    rows,
                    right,
                    least,
                    work,
                    lwork,
                    iwork,
                    info,
                ),
            )
        else:
            call_n(
                d[GESDD],
                (
                    job, rows, columns, matrix, rows, values, left, rows, right, least, work, lwork, rwork,
                    iwork, info,
                ),
            )  # fmt: skip
        if went_wrong(info):
            status = refused(b)
            break
        if not values_alone:
            uv = array(out, batch * step, T)
            transposed(uv, b * step, c, m * n, k, m)
            transposed(uv, b * step + u + k, c, m * n + u, n, k)
        limit = R(-1)
        if tolerance != 0:
            limit = R(array(tolerance, batch, R)[b] * s[0])
        for i in range(k):
            o[b * step + u + i] = TO(s[i]) if s[i] > limit else TO(0)
    release(memory)
    return status


def svd(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """U, S and V^H of each matrix, or S alone; ``p`` goes on with m, n, batch, itemsize, a part's, alone."""
    d = array(p, SHARED + 6, int64)
    return decompose(out, x, p, d, int64(0), d[SHARED + 5] != 0)


def svd_factors(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """As `svd`, singular values up to a tolerance (``y``) times the greatest being zero."""
    return decompose(out, x, p, array(p, SHARED + 6, int64), y, False)


def svd_solve(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``a^+ b``, or that with the conjugate transpose ``a^H``; ``x`` is b, ``z`` the factors of a.

    ``p`` goes on with m, n, r, k, batch, step of the factors, itemsize, trans.
    """
    d = array(p, SHARED + 8, int64)
    m, n, r, k = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3]
    batch, step, size, trans = d[SHARED + 4], d[SHARED + 5], d[SHARED + 6], d[SHARED + 7] != 0
    rows, wide = (n, m) if trans else (m, n)  # of right-hand sides; of results
    o = array(out, batch * wide * r, TO)
    if k == 0 or r == 0 or batch == 0:
        for i in range(batch * wide * r):
            o[i] = TO(0)
        return 0
    f = array(z, (batch - 1) * step + m * k + k + k * n, T)
    memory = allocate((k * r * size + 7) // 8)
    middle = word(memory)
    if middle == 0:
        return int64(NO_MEMORY)
    c = array(middle, k * r, T)
    u, s, v = int64(0), m * k, m * k + k
    for i in range(batch):
        at = i * step
        first, last = (at + v, at + u) if trans else (at + u, at + v)
        # c = U^H b (or V^H b), then / s, then V c (or U c)
        multiply(p, size, middle, z + first * size, x + i * rows * r * size, k, r, rows, not trans, False)
        for j in range(k):
            w = f[at + s + j]
            for l in range(r):
                c[j * r + l] = TO(c[j * r + l] / w) if w != 0 else TO(0)
        multiply(p, size, out + i * wide * r * size, z + last * size, middle, wide, r, k, not trans, False)
    release(memory)
    return 0
