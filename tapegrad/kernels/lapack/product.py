"""Products of matrices inside of kernels."""

from __future__ import annotations

from tapegrad.kernels.blas import loops
from tapegrad.kernels.lapack.table import CONJUGATED, GEMM, NORMAL, ONE, SHARED, SMALL, ZERO
from tapegrad.kernels.memory import T, array, call_n, conjugate, int64, spill

__all__ = ["multiply"]


def turned(o, a, b, m, n, k, keep):  # type: ignore[no-untyped-def]
    """``o = a^H b`` in plain loops."""
    for i in range(m):
        for j in range(n):
            s = o[i * n + j] if keep else T(0)
            for l in range(k):
                s = T(s + T(conjugate(a[l * m + i]) * b[l * n + j]))
            o[i * n + j] = s


def multiply(p, size, out, x, y, m, n, k, flip, keep):  # type: ignore[no-untyped-def]
    """``out = op(x) y``, or added to ``out`` with ``keep``; all three by address, row-major.

    ``op(x)`` has shape ``(m, k)``, and is the conjugate transpose of what lies in memory with ``flip``.
    """
    if m <= SMALL and k <= SMALL:
        o, a, b, first = array(out, m * n, T), array(x, m * k, T), array(y, k * n, T), int64(0)
        if flip:
            turned(o, a, b, m, n, k, keep)
        else:
            loops(o, first, a, first, b, first, m, n, k, False, False, keep)
        return
    d = array(p, SHARED, int64)
    letter = p + 8 * (CONJUGATED if flip else NORMAL)
    wide, high, deep = spill(n), spill(m), spill(k)
    one, beta = p + 8 * ONE, p + 8 * (ONE if keep else ZERO)
    leading = high if flip else deep
    plain = p + 8 * NORMAL
    call_n(d[GEMM], (plain, letter, wide, high, deep, one, y, wide, x, leading, beta, out, wide))
