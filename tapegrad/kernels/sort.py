"""Sorting."""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = ["argsort", "searchsorted"]

RUN = 6  # insertion sort up to here


def before(v, w, descending):  # type: ignore[no-untyped-def]
    """Whether ``v`` must come before ``w``: strictly less (greater), NaN last.  Without branches."""
    if descending:
        return (v > w) | ((w != w) & (v == v))
    return (v < w) | ((w != w) & (v == v))


def argsort(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Stable merge sort of rows; ``p`` is (outer, n, descending).

    ``out`` holds two planes of indices: the result, and room to merge into.
    """
    d = array(p, 3, int64)
    outer, n, descending = d[0], d[1], d[2]
    a = array(x, outer * n, T)
    o = array(out, 2 * outer * n, int64)
    for i in range(outer):
        first = i * n
        for start in range(0, n, RUN):
            for j in range(start, min(start + RUN, n)):
                v = a[first + j]
                k = j
                while k > start and before(v, a[first + o[first + k - 1]], descending):
                    o[first + k] = o[first + k - 1]
                    k -= 1
                o[first + k] = j
        source, target = first, outer * n + first
        width = int64(RUN)
        while width < n:
            for low in range(0, n, 2 * width):
                middle, high = min(low + width, n), min(low + 2 * width, n)
                j, k, at = source + low, source + middle, target + low
                j_end, k_end = source + middle, source + high
                while j < j_end and k < k_end:  # which side wins is data, not a branch to predict
                    left, right = o[j], o[k]
                    second = int64(before(a[first + right], a[first + left], descending))
                    o[at] = left + second * (right - left)
                    j += 1 - second
                    k += second
                    at += 1
                while j < j_end:
                    o[at] = o[j]
                    j += 1
                    at += 1
                while k < k_end:
                    o[at] = o[k]
                    k += 1
                    at += 1
            source, target = target, source
            width *= 2
        if source != first:
            for j in range(n):
                o[first + j] = o[source + j]
    return 0


def searchsorted(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Where ``y`` would go in sorted ``x``; ``p`` is (rows, n, values per row, right side)."""
    d = array(p, 4, int64)
    rows, n, m, right = d[0], d[1], d[2], d[3]
    a = array(x, rows * n, T)
    v = array(y, rows * m, T)
    o = array(out, rows * m, int64)
    for r in range(rows):
        for i in range(m):
            low, high, w = int64(0), n, v[r * m + i]
            while low < high:
                middle = (low + high) // 2
                u = a[r * n + middle]
                less = u < w or (w != w and u == u)
                if less or (right and not (w < u or (u != u and w == w))):
                    low = middle + 1
                else:
                    high = middle
            o[r * m + i] = low
    return 0
