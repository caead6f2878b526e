"""Factors of orthogonal and triangular matrices, and what completes a basis."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import transposed, went_wrong
from tapegrad.kernels.lapack.table import GEQRF, ORGQR, SHARED
from tapegrad.kernels.memory import NO_MEMORY, TO, T, allocate, array, call_n, int64, release, spill, word

__all__ = ["complement", "qr"]


def factor(out, x, p, complete):  # type: ignore[no-untyped-def]
    """Q and R of matrices with ``m >= n``, or the further ``m - n`` columns of a whole Q."""
    d = array(p, SHARED + 4, int64)
    m, n, batch, size = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3]
    wide = m if complete else n  # columns that are made
    step = m * (m - n) if complete else (m + n) * n
    if batch == 0 or step == 0:
        return int64(0)
    a, o = array(x, batch * m * n, T), array(out, batch * step, TO)
    if n == 0:  # any basis will do
        for i in range(batch * m * m):
            o[i] = TO(1) if i % (m * m) % (m + 1) == 0 else TO(0)
        return int64(0)
    room = (m + n) * 64
    words = ((m * wide + n + room) * size + 7) // 8
    memory = allocate(words)
    matrix = word(memory)
    if matrix == 0:
        return int64(NO_MEMORY)
    c = array(matrix, m * wide, T)
    tau, work, sizes = matrix + m * wide * size, matrix + (m * wide + n) * size, spill(room)
    rows, columns, made, info = p + 8 * SHARED, p + 8 * (SHARED + 1), spill(wide), spill(int64(0))
    status = int64(0)
    for b in range(batch):
        transposed(c, int64(0), a, b * m * n, m, n)
        call_n(d[GEQRF], (rows, columns, matrix, rows, tau, work, sizes, info))
        at = b * step
        if not complete:
            for i in range(n):
                for j in range(n):
                    o[at + m * n + i * n + j] = c[j * m + i] if j >= i else TO(0)
        if not went_wrong(info):
            call_n(d[ORGQR], (rows, made, columns, matrix, rows, tau, work, sizes, info))
        if went_wrong(info):
            status = int64(-1)
            break
        if complete:
            transposed(o, at, c, m * n, m - n, m)
        else:
            transposed(o, at, c, int64(0), n, m)
    release(memory)
    return status


def qr(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Q and behind it R of each matrix, ``m >= n``; ``p`` goes on with m, n, batch, itemsize."""
    return factor(out, x, p, False)


def complement(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Columns that complete the orthonormal ones of each matrix; ``p`` as for `qr`."""
    return factor(out, x, p, True)
