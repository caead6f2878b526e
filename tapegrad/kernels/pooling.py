"""Windows that slide over images: their maxima and sums, and the adjoints of these.

``p`` is (images, height, width, window's height and width, result's height and width, strides, padding
before, dilation): 13 words.  Each channel of each image is an image of its own here.  What lies outside of an
image is never the greatest and adds nothing.
"""

from __future__ import annotations

from tapegrad.kernels.memory import T, array, int64

__all__ = ["max_pool", "pool_hits", "pool_shares", "sum_pool", "sum_pool_adjoint"]

WORDS = 13


def bounds(first, n, step, length):  # type: ignore[no-untyped-def]
    """Which of ``n`` places, ``step`` apart from ``first``, lie within ``length``: from and up to."""
    if first >= 0 and first + (n - 1) * step < length:
        return int64(0), n
    low = (step - 1 - first) // step if first < 0 else int64(0)
    high = (length - 1 - first) // step + 1 if first < length else int64(0)
    return min(low, n), max(min(high, n), min(low, n))


def max_pool(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The greatest element of each window; NaN if there is one.  A window without elements is an error."""
    d = array(p, WORDS, int64)
    images, h, w, kh, kw, oh, ow = d[0], d[1], d[2], d[3], d[4], d[5], d[6]
    sy, sx, top, left, dy, dx = d[7], d[8], d[9], d[10], d[11], d[12]
    a = array(x, images * h * w, T)
    o = array(out, images * oh * ow, T)
    for n in range(images):
        for i in range(oh):
            y0, y1 = bounds(i * sy - top, kh, dy, h)
            for j in range(ow):
                x0, x1 = bounds(j * sx - left, kw, dx, w)
                if y0 == y1 or x0 == x1:
                    return 1
                at = (n * h + i * sy - top + y0 * dy) * w + j * sx - left + x0 * dx
                v = a[at]
                for k in range(y1 - y0):
                    for l in range(x1 - x0):
                        u = a[at + k * dy * w + l * dx]
                        v = v if v >= u or v != v else u
                o[(n * oh + i) * ow + j] = v
    return 0


def pool_shares(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Each window's ``x``, in equal shares to those of its elements in ``y`` that equal its ``z``."""
    d = array(p, WORDS, int64)
    images, h, w, kh, kw, oh, ow = d[0], d[1], d[2], d[3], d[4], d[5], d[6]
    sy, sx, top, left, dy, dx = d[7], d[8], d[9], d[10], d[11], d[12]
    g = array(x, images * oh * ow, T)
    a = array(y, images * h * w, T)
    best = array(z, images * oh * ow, T)
    o = array(out, images * h * w, T)
    for i in range(images * h * w):
        o[i] = T(0)
    for n in range(images):
        for i in range(oh):
            y0, y1 = bounds(i * sy - top, kh, dy, h)
            for j in range(ow):
                x0, x1 = bounds(j * sx - left, kw, dx, w)
                if y0 == y1 or x0 == x1:
                    continue
                at = (n * h + i * sy - top + y0 * dy) * w + j * sx - left + x0 * dx
                place = (n * oh + i) * ow + j
                v, hits = best[place], int64(0)
                for k in range(y1 - y0):
                    for l in range(x1 - x0):
                        u = a[at + k * dy * w + l * dx]
                        hits += int64((u == v) | (u != u))
                if hits > 0:
                    share = g[place] if hits == 1 else g[place] / T(hits)
                    for k in range(y1 - y0):
                        for l in range(x1 - x0):
                            u = a[at + k * dy * w + l * dx]
                            o[at + k * dy * w + l * dx] += share if (u == v) | (u != u) else T(0)
    return 0


def pool_hits(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """For each window the mean of ``x`` where its elements in ``y`` equal its ``z``."""
    d = array(p, WORDS, int64)
    images, h, w, kh, kw, oh, ow = d[0], d[1], d[2], d[3], d[4], d[5], d[6]
    sy, sx, top, left, dy, dx = d[7], d[8], d[9], d[10], d[11], d[12]
    t = array(x, images * h * w, T)
    a = array(y, images * h * w, T)
    best = array(z, images * oh * ow, T)
    o = array(out, images * oh * ow, T)
    for n in range(images):
        for i in range(oh):
            y0, y1 = bounds(i * sy - top, kh, dy, h)
            for j in range(ow):
                x0, x1 = bounds(j * sx - left, kw, dx, w)
                at = (n * h + i * sy - top + y0 * dy) * w + j * sx - left + x0 * dx
                place = (n * oh + i) * ow + j
                v, hits, total = best[place], int64(0), T(0)
                for k in range(y1 - y0):
                    for l in range(x1 - x0):
                        u = a[at + k * dy * w + l * dx]
                        if (u == v) | (u != u):
                            hits += 1
                            total += t[at + k * dy * w + l * dx]
                o[place] = total / T(max(hits, 1))
    return 0


def sum_pool(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The sum of each window."""
    d = array(p, WORDS, int64)
    images, h, w, kh, kw, oh, ow = d[0], d[1], d[2], d[3], d[4], d[5], d[6]
    sy, sx, top, left, dy, dx = d[7], d[8], d[9], d[10], d[11], d[12]
    a = array(x, images * h * w, T)
    o = array(out, images * oh * ow, T)
    for n in range(images):
        for i in range(oh):
            y0, y1 = bounds(i * sy - top, kh, dy, h)
            for j in range(ow):
                x0, x1 = bounds(j * sx - left, kw, dx, w)
                at = (n * h + i * sy - top + y0 * dy) * w + j * sx - left + x0 * dx
                total = T(0)
                for k in range(y1 - y0):
                    for l in range(x1 - x0):
                        total += a[at + k * dy * w + l * dx]
                o[(n * oh + i) * ow + j] = total
    return 0


def sum_pool_adjoint(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Each window's ``x`` added to all of its elements."""
    d = array(p, WORDS, int64)
    images, h, w, kh, kw, oh, ow = d[0], d[1], d[2], d[3], d[4], d[5], d[6]
    sy, sx, top, left, dy, dx = d[7], d[8], d[9], d[10], d[11], d[12]
    g = array(x, images * oh * ow, T)
    o = array(out, images * h * w, T)
    for i in range(images * h * w):
        o[i] = T(0)
    for n in range(images):
        for i in range(oh):
            y0, y1 = bounds(i * sy - top, kh, dy, h)
            for j in range(ow):
                x0, x1 = bounds(j * sx - left, kw, dx, w)
                at = (n * h + i * sy - top + y0 * dy) * w + j * sx - left + x0 * dx
                share = g[(n * oh + i) * ow + j]
                for k in range(y1 - y0):
                    for l in range(x1 - x0):
                        o[at + k * dy * w + l * dx] += share
    return 0
