"""Extremes of numbered groups of blocks; ``p`` is (number of indices, width, number of blocks)."""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = ["scatter_max", "scatter_min"]


def scatter_max(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[y[i]] = max(x[i])``, block-wise; NaN if one is.  Blocks without any are 0."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    a = array(x, n * width, T)
    index = array(y, n, int64)
    o = array(out, blocks * width, T)
    for i in range(blocks * width):
        o[i] = T(0)
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):  # any of a group's elements to begin with
            o[k * width + j] = a[i * width + j]
    for i in range(n):
        k = index[i]
        for j in range(width):
            v, w = o[k * width + j], a[i * width + j]
            o[k * width + j] = v if v >= w or v != v else w
    return 0


def scatter_min(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[y[i]] = min(x[i])``, block-wise; NaN if one is.  Blocks without any are 0."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    a = array(x, n * width, T)
    index = array(y, n, int64)
    o = array(out, blocks * width, T)
    for i in range(blocks * width):
        o[i] = T(0)
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):
            o[k * width + j] = a[i * width + j]
    for i in range(n):
        k = index[i]
        for j in range(width):
            v, w = o[k * width + j], a[i * width + j]
            o[k * width + j] = v if v <= w or v != v else w
    return 0
