"""Eigenvalues and eigenvectors of symmetric matrices."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import finite, refused, transposed, went_wrong
from tapegrad.kernels.lapack.table import LOWER, NORMAL, SHARED, SYEVD, UPPER, VECTORS
from tapegrad.kernels.memory import TO, T, allocate, array, call_n, int64, release, spill, word

__all__ = ["eigh"]


def eigh(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Eigenvectors (as columns) and behind them eigenvalues of each matrix, or eigenvalues alone.

    As NumPy does, so that signs are the same: the matrix is handed over in column-major order, and the
    routine reads the triangle that is asked for.
    ``p`` goes on with n, batch, itemsize, upper, vectors, words of workspace.
    """
    d = array(p, SHARED + 6, int64)
    n, batch, size = d[SHARED], d[SHARED + 1], d[SHARED + 2]
    upper, vectors, room = d[SHARED + 3] != 0, d[SHARED + 4] != 0, d[SHARED + 5]
    if n == 0 or batch == 0:
        return 0
    step = n * n + n if vectors else n
    a, o = array(x, batch * n * n, T), array(out, batch * step, TO)
    # the matrix, workspace and integer workspace, each from a new word on
    words = (n * n * size + 7) // 8
    integers = 3 + 5 * n if vectors else int64(1)
    memory = allocate(words + (room * size + 7) // 8 + (integers + 1) // 2)
    matrix = word(memory)
    if matrix == 0:
        return 1
    work = matrix + 8 * words
    iwork = work + (room * size + 7) // 8 * 8
    c = array(matrix, n * n, T)
    info, whole = spill(int64(0)), p + 8 * SHARED
    sizes, isizes = spill(room), spill(integers)
    half = p + 8 * (UPPER if upper else LOWER)
    job = p + 8 * (VECTORS if vectors else NORMAL)
    status = int64(0)
    for b in range(batch):
        at = b * n * n
        for i in range(n):
            for j in range(i + 1):
                v = a[at + j * n + i] if upper else a[at + i * n + j]
                c[j * n + i] = v
                c[i * n + j] = v
        if not finite(c, int64(0), n * n):
            status = refused(b)
            break
        values = out + (b * step + (n * n if vectors else int64(0))) * size
        call_n(
            d[SYEVD],
            (job, half, whole, matrix, whole, values, work, sizes, iwork, isizes, info),
        )
        if went_wrong(info):
            status = refused(b)
            break
        if vectors:
            transposed(o, b * step, c, int64(0), n, n)
    release(memory)
    return status
