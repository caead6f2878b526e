"""LU factors, and what is computed from them.

The result has a row more than the matrix: the transposed factors of the transposed matrix (LAPACK's view of
row-major memory), a' = p l u, then its row exchanges as numbers from 1.
"""

from __future__ import annotations

from tapegrad.kernels import scalar
from tapegrad.kernels.lapack.memory import refused
from tapegrad.kernels.lapack.table import GETRF, SHARED, SMALL
from tapegrad.kernels.lapack.triangular import triangular
from tapegrad.kernels.memory import TO, T, array, call_n, int32, int64, real, spill

__all__ = ["back", "det", "factor", "log_abs_det", "log_det", "lu", "lu_sign", "lu_solve"]


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


def factor(p, out, o, at, n, size):  # type: ignore[no-untyped-def]
    """LU factors in place, of the matrix at ``o[at]``, whose address is ``out``; behind it the exchanges."""
    if n <= SMALL:
        factor_columns(o, at, n)
        return
    d = array(p, SHARED, int64)
    whole, exchanges, info = spill(n), out + n * n * size, spill(int64(0))
    call_n(d[GETRF], (whole, whole, out, whole, exchanges, info))
    pivots = array(exchanges, n, int32)
    for k in range(n):  # from the end, as numbers may be wider than LAPACK's integers
        o[at + n * n + n - 1 - k] = TO(pivots[n - 1 - k])


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
        factor(p, out + at * size, o, at, n, size)
    return 0


def exchange(o, at, a, first, n, m, forward):  # type: ignore[no-untyped-def]
    """Exchange rows of ``m`` elements as ``a[first:]`` says, in that order or back."""
    for step in range(n):
        i = step if forward else n - 1 - step
        j = int64(real(a[first + i])) - 1
        if j != i:
            for l in range(m):
                v = o[at + i * m + l]
                o[at + i * m + l] = o[at + j * m + l]
                o[at + j * m + l] = v


def back(p, out, matrix, o, at, a, c, n, m, sizes, trans):  # type: ignore[no-untyped-def]
    """Solve in place with factors ``a[c:]``; addresses and ``sizes`` as for `triangular`."""
    if trans:
        exchange(o, at, a, c + n * n, n, m, True)
    triangular(p, out, matrix, o, at, a, c, n, m, sizes, not trans, trans, trans)
    triangular(p, out, matrix, o, at, a, c, n, m, sizes, trans, trans, not trans)
    if not trans:
        exchange(o, at, a, c + n * n, n, m, False)


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
            row = real(a[c + n * n + k])
            if a[c + k * (n + 1)] == 0 or not (row >= 1 and row <= n):
                return refused(i)
        back(p, here, matrix, o, at, a, c, n, m, sizes, trans)
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


def log_det(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The logarithm of the determinant of complex matrices from the factors; ``p`` as of `lu_sign`.

    Its imaginary part is that of some branch.
    """
    d = array(p, 2, int64)
    n, batch = d[0], d[1]
    a, o = array(y, batch * (n + 1) * n, T), array(out, batch, TO)
    for b in range(batch):
        s = TO(0)
        at = b * (n + 1) * n
        for k in range(n):
            v = a[at + k * (n + 1)]
            s = TO(s + TO(scalar.log(v if a[at + n * n + k] == k + 1 else -v)))
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
