"""Moving elements: strided gathers and their adjoints, joining.

A movement is ``(ndim, *shape, *strides, in_size)`` in ``p`` and an offset ``q``: element ``i`` of the
contiguous side belongs to element ``q + sum(i * strides)`` of the strided side.  Every kernel merges
axes first, so that it runs over two inner loops and a short odometer.
"""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = [
    "add_strided",
    "clear_strided",
    "concat",
    "copy",
    "gather",
    "scatter_strided",
    "scatter_strided_accumulate",
    "set_strided",
]

TILE = 16  # a transposed tile of 16 x 16 float64 is 32 cache lines: stays in L1


def merge_axes(d, ndim, k):  # type: ignore[no-untyped-def]
    """Merge axis ``k`` with those before it that continue it; return length, stride, next axis."""
    while k >= 0 and d[1 + k] == 1:
        k -= 1
    if k < 0:
        return int64(1), int64(0), int64(-1)
    n = d[1 + k]
    stride = d[1 + ndim + k]
    k -= 1
    while k >= 0 and (d[1 + k] == 1 or d[1 + ndim + k] == stride * n):
        n *= d[1 + k]
        k -= 1
    return n, stride, k


def count(d, ndim):  # type: ignore[no-untyped-def]
    """Number of elements on the contiguous side."""
    n = int64(1)
    for k in range(ndim):
        n *= d[1 + k]
    return n


def place(d, ndim, k, i):  # type: ignore[no-untyped-def]
    """Strided position of index ``i`` over axes ``0`` to ``k``."""
    at = int64(0)
    while k >= 0:
        n = d[1 + k]
        at += (i % n) * d[1 + ndim + k]
        i //= n
        k -= 1
    return at


def copy(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[i] = x[i]``."""
    n = array(p, 1, int64)[0]
    a, o = array(x, n, T), array(out, n, T)
    for i in range(n):
        o[i] = a[i]
    return 0


def gather(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[i] = x[q + sum(i * strides)]``."""
    d = array(p, 34, int64)
    ndim = d[0]
    total = count(d, ndim)
    if total == 0:
        return 0
    a = array(x, d[1 + 2 * ndim], T)
    o = array(out, total, T)
    n0, s0, k = merge_axes(d, ndim, ndim - 1)
    n1, s1, k = merge_axes(d, ndim, k)
    block = n0 * n1
    for i in range(total // block):
        source = q + place(d, ndim, k, i)
        target = i * block
        if s0 == 1:
            for j in range(n1):
                b, c = target + j * n0, source + j * s1
                for l in range(n0):
                    o[b + l] = a[c + l]
        elif s0 == 0:
            for j in range(n1):
                b = target + j * n0
                v = a[source + j * s1]
                for l in range(n0):
                    o[b + l] = v
        elif s1 == 1 and n1 >= 4:
            for j0 in range(0, n1, TILE):
                j1 = min(j0 + TILE, n1)
                for l0 in range(0, n0, TILE):
                    l1 = min(l0 + TILE, n0)
                    for j in range(j0, j1):
                        for l in range(l0, l1):
                            o[target + j * n0 + l] = a[source + j + l * s0]
        else:
            for j in range(n1):
                b, c = target + j * n0, source + j * s1
                for l in range(n0):
                    o[b + l] = a[c + l * s0]
    return 0


def run_sum(a, at, n):  # type: ignore[no-untyped-def]
    """Sum of ``n`` contiguous elements: eight lanes, halves of at most 256 elements added up."""
    total = T(0)
    i = int64(0)
    while i < n:
        stop = min(i + 256, n)
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = T(0)
        while i + 8 <= stop:
            c = at + i
            s0 += a[c]
            s1 += a[c + 1]
            s2 += a[c + 2]
            s3 += a[c + 3]
            s4 += a[c + 4]
            s5 += a[c + 5]
            s6 += a[c + 6]
            s7 += a[c + 7]
            i += 8
        while i < stop:
            s0 += a[at + i]
            i += 1
        total += ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    return total


def scatter_strided_accumulate(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[q + sum(i * strides)] += x[i]``: what a movement's adjoint adds to its operand's."""
    d = array(p, 34, int64)
    ndim = d[0]
    total = count(d, ndim)
    if total == 0:
        return 0
    a = array(x, total, T)
    o = array(out, d[1 + 2 * ndim], T)
    n0, s0, k = merge_axes(d, ndim, ndim - 1)
    n1, s1, k = merge_axes(d, ndim, k)
    block = n0 * n1
    for i in range(total // block):
        target = q + place(d, ndim, k, i)
        source = i * block
        if s0 == 0:
            for j in range(n1):
                o[target + j * s1] += run_sum(a, source + j * n0, n0)
        elif s0 == 1:
            j = int64(0)
            if s1 == 0:  # rows that fall on each other: four at a time, fewer passes and roundings
                while j + 4 <= n1:
                    c = source + j * n0
                    for l in range(n0):
                        o[target + l] += (a[c + l] + a[c + n0 + l]) + (a[c + 2 * n0 + l] + a[c + 3 * n0 + l])
                    j += 4
            while j < n1:
                b, c = target + j * s1, source + j * n0
                for l in range(n0):
                    o[b + l] += a[c + l]
                j += 1
        elif s1 == 1 and n1 >= 4:
            for j0 in range(0, n1, TILE):
                j1 = min(j0 + TILE, n1)
                for l0 in range(0, n0, TILE):
                    l1 = min(l0 + TILE, n0)
                    for l in range(l0, l1):
                        for j in range(j0, j1):
                            o[target + j + l * s0] += a[source + j * n0 + l]
        else:
            for j in range(n1):
                b, c = target + j * s1, source + j * n0
                for l in range(n0):
                    o[b + l * s0] += a[c + l]
    return 0


def scatter_strided(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Zeros, then ``out[q + sum(i * strides)] += x[i]``."""
    d = array(p, 34, int64)
    size = d[1 + 2 * d[0]]
    o = array(out, size, T)
    for i in range(size):
        o[i] = T(0)
    return scatter_strided_accumulate(out, x, y, z, p, q)


def add_strided(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """A copy of ``x`` with ``out[q + sum(i * strides)] += y[i]``."""
    d = array(p, 34, int64)
    size = d[1 + 2 * d[0]]
    a = array(x, size, T)
    o = array(out, size, T)
    if out != x:
        for i in range(size):
            o[i] = a[i]
    return scatter_strided_accumulate(out, y, 0, 0, p, q)


def set_strided(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """A copy of ``x`` with ``out[q + sum(i * strides)] = y[i]``."""
    d = array(p, 34, int64)
    ndim = d[0]
    size = d[1 + 2 * ndim]
    a = array(x, size, T)
    o = array(out, size, T)
    if out != x:
        for i in range(size):
            o[i] = a[i]
    total = count(d, ndim)
    if total == 0:
        return 0
    v = array(y, total, T)
    n0, s0, k = merge_axes(d, ndim, ndim - 1)
    for i in range(total // n0):
        b, c = q + place(d, ndim, k, i), i * n0
        for l in range(n0):
            o[b + l * s0] = v[c + l]
    return 0


def clear_strided(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """A copy of ``x`` with ``out[q + sum(i * strides)] = 0``."""
    d = array(p, 34, int64)
    ndim = d[0]
    size = d[1 + 2 * ndim]
    a = array(x, size, T)
    o = array(out, size, T)
    if out != x:
        for i in range(size):
            o[i] = a[i]
    total = count(d, ndim)
    if total == 0:
        return 0
    n0, s0, k = merge_axes(d, ndim, ndim - 1)
    for i in range(total // n0):
        b = q + place(d, ndim, k, i)
        for l in range(n0):
            o[b + l * s0] = T(0)
    return 0


def concat(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Rows of ``x`` and ``y`` side by side; ``p`` is (outer, elements of an x row, of a y row)."""
    d = array(p, 3, int64)
    outer, n, m = d[0], d[1], d[2]
    a = array(x, outer * n, T)
    b = array(y, outer * m, T)
    o = array(out, outer * (n + m), T)
    for i in range(outer):
        to = i * (n + m)
        for j in range(n):
            o[to + j] = a[i * n + j]
        for j in range(m):
            o[to + n + j] = b[i * m + j]
    return 0
