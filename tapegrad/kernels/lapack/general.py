"""Eigenvalues and eigenvectors of matrices that need not be symmetric."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import finite, refused, room_for, transposed, went_wrong
from tapegrad.kernels.lapack.table import GEEV, NORMAL, SHARED, VECTORS
from tapegrad.kernels.memory import (
    NO_MEMORY,
    TO,
    T,
    allocate,
    array,
    call_n,
    int64,
    join,
    release,
    spill,
    word,
)

__all__ = ["eig"]

ROOM = 70  # numbers of workspace per row: blocks of 64, and what is needed besides


def eig(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Eigenvectors (as columns) and behind them eigenvalues of real matrices, or eigenvalues alone.

    ``p`` goes on with n, batch, itemsize, vectors.
    """
    d = array(p, SHARED + 4, int64)
    n, batch, size, vectors = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3] != 0
    if n == 0 or batch == 0:
        return 0
    step = n * n + n if vectors else n
    a, o = array(x, batch * n * n, T), array(out, batch * step, TO)
    room = ROOM * n
    memory = allocate(room_for(2 * n * n + 2 * n + room, size))
    matrix = word(memory)
    if matrix == 0:
        return NO_MEMORY
    right = matrix + n * n * size
    wr = right + n * n * size
    wi = wr + n * size
    work, sizes, whole, info = wi + n * size, spill(room), p + 8 * SHARED, spill(int64(0))
    c, v = array(matrix, n * n, T), array(right, n * n, T)
    re, im = array(wr, n, T), array(wi, n, T)
    none, job = p + 8 * NORMAL, p + 8 * (VECTORS if vectors else NORMAL)
    status = int64(0)
    for b in range(batch):
        if not finite(a, b * n * n, n * n):
            status = refused(b)
            break
        transposed(c, int64(0), a, b * n * n, n, n)
        call_n(
            d[GEEV],
            (none, job, whole, matrix, whole, wr, wi, right, whole, right, whole, work, sizes, info),
        )
        if went_wrong(info):
            status = refused(b)
            break
        at = b * step
        if vectors:  # a pair of columns is the real and the imaginary part of the first of two
            for j in range(n):
                for i in range(n):
                    if im[j] > 0 and j + 1 < n:
                        o[at + i * n + j] = join(v[j * n + i], v[(j + 1) * n + i])
                    elif im[j] < 0 and j > 0:
                        o[at + i * n + j] = join(v[(j - 1) * n + i], T(-v[j * n + i]))
                    else:
                        o[at + i * n + j] = join(v[j * n + i], T(0))
            at += n * n
        for j in range(n):
            o[at + j] = join(re[j], im[j])
    release(memory)
    return status


def eig_complex(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`eig` of complex matrices."""
    d = array(p, SHARED + 4, int64)
    n, batch, size, vectors = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3] != 0
    if n == 0 or batch == 0:
        return 0
    step = n * n + n if vectors else n
    a, o = array(x, batch * n * n, T), array(out, batch * step, TO)
    room = ROOM * n
    # the real workspace takes 2 n numbers of half the size
    memory = allocate(room_for(2 * n * n + n + room, size))
    matrix = word(memory)
    if matrix == 0:
        return NO_MEMORY
    right = matrix + n * n * size
    rwork = right + n * n * size
    work, sizes, whole, info = rwork + n * size, spill(room), p + 8 * SHARED, spill(int64(0))
    c = array(matrix, n * n, T)
    none, job = p + 8 * NORMAL, p + 8 * (VECTORS if vectors else NORMAL)
    status = int64(0)
    for b in range(batch):
        if not finite(a, b * n * n, n * n):
            status = refused(b)
            break
        transposed(c, int64(0), a, b * n * n, n, n)
        values = out + (b * step + (n * n if vectors else int64(0))) * size
        call_n(
            d[GEEV],
            (none, job, whole, matrix, whole, values, right, whole, right, whole, work, sizes, rwork, info),
        )
        if went_wrong(info):
            status = refused(b)
            break
        if vectors:
            transposed(o, b * step, array(right, n * n, T), int64(0), n, n)
    release(memory)
    return status


eig.complex = eig_complex  # type: ignore[attr-defined]
