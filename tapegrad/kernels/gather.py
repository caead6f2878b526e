"""Gathers and scatters by computed indices.

``p`` starts with (number of indices, width, number of blocks): an index names a block of ``width``
contiguous elements.  Indices out of bounds give status 1; nothing is read or written there.
"""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = [
    "gather",
    "gather_along",
    "index_clear",
    "index_put",
    "last_writes",
    "scatter_add",
    "scatter_along",
    "wrap_index",
]


def gather(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[i] = x[y[i]]``, block-wise."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    a = array(x, blocks * width, T)
    index = array(y, n, int64)
    o = array(out, n * width, T)
    if width == 1:
        for i in range(n):
            k = index[i]
            if k < 0 or k >= blocks:
                return 1
            o[i] = a[k]
        return 0
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):
            o[i * width + j] = a[k * width + j]
    return 0


def scatter_add(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Zeros, then ``out[y[i]] += x[i]``, block-wise."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    g = array(x, n * width, T)
    index = array(y, n, int64)
    o = array(out, blocks * width, T)
    for i in range(blocks * width):
        o[i] = T(0)
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):
            o[k * width + j] += g[i * width + j]
    return 0


def index_put(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """A copy of ``x`` with ``out[z[i]] = y[i]``, block-wise; the last of equal indices wins."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    a = array(x, blocks * width, T)
    v = array(y, n * width, T)
    index = array(z, n, int64)
    o = array(out, blocks * width, T)
    if out != x:
        for i in range(blocks * width):
            o[i] = a[i]
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):
            o[k * width + j] = v[i * width + j]
    return 0


def index_clear(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """A copy of ``x`` with ``out[y[i]] = 0``, block-wise."""
    d = array(p, 3, int64)
    n, width, blocks = d[0], d[1], d[2]
    a = array(x, blocks * width, T)
    index = array(y, n, int64)
    o = array(out, blocks * width, T)
    if out != x:
        for i in range(blocks * width):
            o[i] = a[i]
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        for j in range(width):
            o[k * width + j] = T(0)
    return 0


def wrap_index(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Indices along one axis as element offsets: ``x`` or ``x + n``, times the stride."""
    d = array(p, 3, int64)
    total, n, stride = d[0], d[1], d[2]
    index = array(x, total, int64)
    o = array(out, total, int64)
    for i in range(total):
        k = index[i]
        if k < 0:
            k += n
        if k < 0 or k >= n:
            return 1
        o[i] = k * stride
    return 0


def gather_along(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[i, j, l] = x[i, y[i, j, l], l]``; ``p`` is (outer, n, m, inner), ``j < m``."""
    d = array(p, 4, int64)
    outer, n, m, inner = d[0], d[1], d[2], d[3]
    a = array(x, outer * n * inner, T)
    index = array(y, outer * m * inner, int64)
    o = array(out, outer * m * inner, T)
    for i in range(outer):
        for j in range(m):
            for l in range(inner):
                at = (i * m + j) * inner + l
                k = index[at]
                if k < 0:
                    k += n
                if k < 0 or k >= n:
                    return 1
                o[at] = a[(i * n + k) * inner + l]
    return 0


def scatter_along(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Zeros, then ``out[i, y[i, j, l], l] += x[i, j, l]``; ``p`` as for ``gather_along``."""
    d = array(p, 4, int64)
    outer, n, m, inner = d[0], d[1], d[2], d[3]
    g = array(x, outer * m * inner, T)
    index = array(y, outer * m * inner, int64)
    o = array(out, outer * n * inner, T)
    for i in range(outer * n * inner):
        o[i] = T(0)
    for i in range(outer):
        for j in range(m):
            for l in range(inner):
                at = (i * m + j) * inner + l
                k = index[at]
                if k < 0:
                    k += n
                if k < 0 or k >= n:
                    return 1
                o[(i * n + k) * inner + l] += g[at]
    return 0


def last_writes(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """1 for each index in ``x`` that no later one equals, else 0; behind them, room for the blocks."""
    d = array(p, 3, int64)
    n, blocks = d[0], d[2]
    index = array(x, n, int64)
    o = array(out, n + blocks, int64)
    for i in range(n):
        k = index[i]
        if k < 0 or k >= blocks:
            return 1
        o[n + k] = i
    for i in range(n):
        o[i] = int64(o[n + index[i]] == i)
    return 0
