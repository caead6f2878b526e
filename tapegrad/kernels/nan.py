"""Positions of extremes among the elements that are not NaN; ``p`` is [outer, n, inner]."""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = ["nanargmax", "nanargmin"]


def nanargmax(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """First position of the greatest element; ``1 + i`` if slice ``i`` has none."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, int64)
    for i in range(outer):
        for l in range(inner):
            best = int64(-1)
            v = a[i * n * inner + l]
            for j in range(n):
                w = a[(i * n + j) * inner + l]
                if w == w and (best < 0 or w > v):
                    best = j
                    v = w
            if best < 0:
                return 1 + i * inner + l
            o[i * inner + l] = best
    return 0


def nanargmin(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """First position of the least element; ``1 + i`` if slice ``i`` has none."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, int64)
    for i in range(outer):
        for l in range(inner):
            best = int64(-1)
            v = a[i * n * inner + l]
            for j in range(n):
                w = a[(i * n + j) * inner + l]
                if w == w and (best < 0 or w < v):
                    best = j
                    v = w
            if best < 0:
                return 1 + i * inner + l
            o[i * inner + l] = best
    return 0
