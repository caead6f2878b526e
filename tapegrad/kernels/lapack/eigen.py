"""Eigenvalues and eigenvectors of symmetric, and of Hermitian, matrices."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import finite, refused, room_for, transposed, went_wrong
from tapegrad.kernels.lapack.table import LOWER, NORMAL, SHARED, SYEVD, UPPER, VECTORS
from tapegrad.kernels.memory import NO_MEMORY, TO, R, T, allocate, array, call_n, int64, release, spill, word

__all__ = ["eigh"]


def eigh(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Eigenvectors (as columns) and behind them eigenvalues of each matrix, or eigenvalues alone.

    As NumPy does, so that signs are the same: the matrix is handed over in column-major order, and the
    routine reads the triangle that is asked for.
    ``p`` goes on with n, batch, itemsize, itemsize of a part, upper, vectors, and lengths of workspaces: of
    numbers, of real ones (for complex matrices), of integers.
    """
    d = array(p, SHARED + 9, int64)
    n, batch, size, narrow = d[SHARED], d[SHARED + 1], d[SHARED + 2], d[SHARED + 3]
    upper, vectors = d[SHARED + 4] != 0, d[SHARED + 5] != 0
    room, reals, integers = d[SHARED + 6], d[SHARED + 7], d[SHARED + 8]
    if n == 0 or batch == 0:
        return 0
    step = n * n + n if vectors else n
    a, o = array(x, batch * n * n, T), array(out, batch * step, TO)
    sizes = room_for(n * n, size), room_for(room, size), room_for(n, narrow), room_for(reals, narrow)
    memory = allocate(sizes[0] + sizes[1] + sizes[2] + sizes[3] + room_for(integers, int64(4)))
    matrix = word(memory)
    if matrix == 0:
        return int64(NO_MEMORY)
    work = matrix + 8 * sizes[0]
    values = work + 8 * sizes[1]
    rwork = values + 8 * sizes[2]
    iwork = rwork + 8 * sizes[3]
    c, w = array(matrix, n * n, T), array(values, n, R)
    info, whole = spill(int64(0)), p + 8 * SHARED
    lwork, lrwork, liwork = spill(room), spill(reals), spill(integers)
    half = p + 8 * (UPPER if upper else LOWER)
    job = p + 8 * (VECTORS if vectors else NORMAL)
    status = int64(0)
    for b in range(batch):
        at = b * n * n
        for i in range(n):
            for j in range(n):
                read = j >= i if upper else j <= i
                c[j * n + i] = a[at + i * n + j] if read else T(0)
        if not finite(c, int64(0), n * n):
            status = refused(b)
            break
        if size == narrow:
            call_n(
                d[SYEVD],
                (job, half, whole, matrix, whole, values, work, lwork, iwork, liwork, info),
            )
        else:
            call_n(
                d[SYEVD],
                (job, half, whole, matrix, whole, values, work, lwork, rwork, lrwork, iwork, liwork, info),
            )
        if went_wrong(info):
            status = refused(b)
            break
        if vectors:
            transposed(array(out, batch * step, T), b * step, c, int64(0), n, n)
        last = b * step + (n * n if vectors else int64(0))
        for i in range(n):
            o[last + i] = TO(w[i])
    release(memory)
    return status
