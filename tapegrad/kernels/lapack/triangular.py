"""Triangular solves."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import refused
from tapegrad.kernels.lapack.table import (
    LOWER,
    NORMAL,
    ONE,
    RIGHT,
    SHARED,
    SMALL,
    TRANSPOSED,
    TRSM,
    TRSV,
    UNIT,
    UPPER,
)
from tapegrad.kernels.memory import TO, T, array, call_n, int64

__all__ = ["solve", "substitute", "triangular"]


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
                    return refused(i)
        here = out + i * n * m * size
        matrix = y + i * step * size
        triangular(p, here, matrix, o, i * n * m, a, i * step, n, m, p + 8 * SHARED, lower, trans, unit)
    return 0
