"""Reductions and scans over the middle of ``[outer, n, inner]``, which is what ``p`` holds.

Sums run in eight lanes over short blocks whose totals are added with compensation, so they are at
least as accurate as NumPy's pairwise sum and the same on every machine; no reassociation is needed
for them to vectorise.
"""

from __future__ import annotations

from tapegrad.kernels.memory import TO, T, array, int64

__all__ = [
    "all_", "any_", "argmax", "argmin", "cumprod", "cumsum", "linear_recurrence",
    "max_", "min_", "prod", "sum_", "sum_all",
]  # fmt: skip

BLOCK = 256


def block_sum(a, at, n):  # type: ignore[no-untyped-def]
    """Sum of ``n`` contiguous elements in eight lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = TO(0)
    i = int64(0)
    while i + 8 <= n:
        c = at + i
        s0 = TO(s0 + a[c])
        s1 = TO(s1 + a[c + 1])
        s2 = TO(s2 + a[c + 2])
        s3 = TO(s3 + a[c + 3])
        s4 = TO(s4 + a[c + 4])
        s5 = TO(s5 + a[c + 5])
        s6 = TO(s6 + a[c + 6])
        s7 = TO(s7 + a[c + 7])
        i += 8
    while i < n:
        s0 = TO(s0 + a[at + i])
        i += 1
    return TO(TO(TO(s0 + s1) + TO(s2 + s3)) + TO(TO(s4 + s5) + TO(s6 + s7)))


def long_sum(a, at, n):  # type: ignore[no-untyped-def]
    """Sum of ``n`` contiguous elements: block sums, added with Neumaier's compensation."""
    if n <= BLOCK:
        return block_sum(a, at, n)
    total = TO(0)
    lost = TO(0)
    for start in range(0, n, BLOCK):
        v = block_sum(a, at + start, min(BLOCK, n - start))
        t = TO(total + v)
        if abs(total) >= abs(v):
            lost = TO(lost + TO(TO(total - t) + v))
        else:
            lost = TO(lost + TO(TO(v - t) + total))
        total = t
    full = TO(total + lost)
    return full if full == full else total  # inf - inf in the compensation is not the sum's


def sum_all(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out[0] = sum(x)``; ``p`` is (n,)."""
    n = array(p, 1, int64)[0]
    array(out, 1, TO)[0] = long_sum(array(x, n, T), int64(0), n)
    return 0


def sum_(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, TO)
    if inner == 1:
        for i in range(outer):
            o[i] = long_sum(a, i * n, n)
        return 0
    for i in range(outer):
        b = i * inner
        for l in range(inner):
            o[b + l] = TO(0)
        j = int64(0)
        while j + 8 <= n:  # eight rows at a time: fewer passes over out, and fewer roundings
            c = (i * n + j) * inner
            for l in range(inner):
                e = c + l
                s = TO(TO(a[e] + TO(a[e + inner])) + TO(a[e + 2 * inner] + TO(a[e + 3 * inner])))
                e += 4 * inner
                r = TO(TO(a[e] + TO(a[e + inner])) + TO(a[e + 2 * inner] + TO(a[e + 3 * inner])))
                o[b + l] = TO(o[b + l] + TO(s + r))
            j += 8
        while j < n:
            c = (i * n + j) * inner
            for l in range(inner):
                o[b + l] = TO(o[b + l] + a[c + l])
            j += 1
    return 0


def prod(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, TO)
    for i in range(outer):
        for l in range(inner):
            v = TO(1)
            for j in range(n):
                v = TO(v * a[(i * n + j) * inner + l])
            o[i * inner + l] = v
    return 0


def run_max(a, at, n):  # type: ignore[no-untyped-def]
    """Greatest of ``n`` contiguous elements; NaN if one is (it is not equal to itself)."""
    v0 = v1 = v2 = v3 = v4 = v5 = v6 = v7 = a[at]
    bad = int64(0)
    i = int64(0)
    while i + 8 <= n:
        c = at + i
        w0, w1, w2, w3 = a[c], a[c + 1], a[c + 2], a[c + 3]
        w4, w5, w6, w7 = a[c + 4], a[c + 5], a[c + 6], a[c + 7]
        v0 = w0 if w0 > v0 else v0
        v1 = w1 if w1 > v1 else v1
        v2 = w2 if w2 > v2 else v2
        v3 = w3 if w3 > v3 else v3
        v4 = w4 if w4 > v4 else v4
        v5 = w5 if w5 > v5 else v5
        v6 = w6 if w6 > v6 else v6
        v7 = w7 if w7 > v7 else v7
        bad |= int64((w0 != w0) | (w1 != w1) | (w2 != w2) | (w3 != w3))
        bad |= int64((w4 != w4) | (w5 != w5) | (w6 != w6) | (w7 != w7))
        i += 8
    while i < n:
        w0 = a[at + i]
        v0 = w0 if w0 > v0 else v0
        bad |= int64(w0 != w0)
        i += 1
    if bad:
        i = int64(0)
        while a[at + i] == a[at + i]:
            i += 1
        return a[at + i]
    v0 = v1 if v1 > v0 else v0
    v2 = v3 if v3 > v2 else v2
    v4 = v5 if v5 > v4 else v4
    v6 = v7 if v7 > v6 else v6
    v0 = v2 if v2 > v0 else v0
    v4 = v6 if v6 > v4 else v4
    return v4 if v4 > v0 else v0


def run_min(a, at, n):  # type: ignore[no-untyped-def]
    """Least of ``n`` contiguous elements; NaN if one is."""
    v0 = v1 = v2 = v3 = v4 = v5 = v6 = v7 = a[at]
    bad = int64(0)
    i = int64(0)
    while i + 8 <= n:
        c = at + i
        w0, w1, w2, w3 = a[c], a[c + 1], a[c + 2], a[c + 3]
        w4, w5, w6, w7 = a[c + 4], a[c + 5], a[c + 6], a[c + 7]
        v0 = w0 if w0 < v0 else v0
        v1 = w1 if w1 < v1 else v1
        v2 = w2 if w2 < v2 else v2
        v3 = w3 if w3 < v3 else v3
        v4 = w4 if w4 < v4 else v4
        v5 = w5 if w5 < v5 else v5
        v6 = w6 if w6 < v6 else v6
        v7 = w7 if w7 < v7 else v7
        bad |= int64((w0 != w0) | (w1 != w1) | (w2 != w2) | (w3 != w3))
        bad |= int64((w4 != w4) | (w5 != w5) | (w6 != w6) | (w7 != w7))
        i += 8
    while i < n:
        w0 = a[at + i]
        v0 = w0 if w0 < v0 else v0
        bad |= int64(w0 != w0)
        i += 1
    if bad:
        i = int64(0)
        while a[at + i] == a[at + i]:
            i += 1
        return a[at + i]
    v0 = v1 if v1 < v0 else v0
    v2 = v3 if v3 < v2 else v2
    v4 = v5 if v5 < v4 else v4
    v6 = v7 if v7 < v6 else v6
    v0 = v2 if v2 < v0 else v0
    v4 = v6 if v6 < v4 else v4
    return v4 if v4 < v0 else v0


def max_(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, T)
    for i in range(outer):
        if inner == 1:
            o[i] = run_max(a, i * n, n)
            continue
        b = i * inner
        for l in range(inner):
            o[b + l] = a[b * n + l]
        for j in range(1, n):
            c = (i * n + j) * inner
            for l in range(inner):
                v, w = o[b + l], a[c + l]
                o[b + l] = v if v >= w or v != v else w
    return 0


def min_(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, T)
    for i in range(outer):
        if inner == 1:
            o[i] = run_min(a, i * n, n)
            continue
        b = i * inner
        for l in range(inner):
            o[b + l] = a[b * n + l]
        for j in range(1, n):
            c = (i * n + j) * inner
            for l in range(inner):
                v, w = o[b + l], a[c + l]
                o[b + l] = v if v <= w or v != v else w
    return 0


def any_(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, TO)
    for i in range(outer):
        for l in range(inner):
            v = 0
            for j in range(n):
                if a[(i * n + j) * inner + l] != 0:
                    v = 1
                    break
            o[i * inner + l] = TO(v)
    return 0


def all_(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, TO)
    for i in range(outer):
        for l in range(inner):
            v = 1
            for j in range(n):
                if a[(i * n + j) * inner + l] == 0:
                    v = 0
                    break
            o[i * inner + l] = TO(v)
    return 0


def argmax(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """First position of the greatest element; of the first NaN, if there is one."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, int64)
    for i in range(outer):
        if inner == 1:
            best, v = int64(0), run_max(a, i * n, n)
            while a[i * n + best] != v and (v == v or a[i * n + best] == a[i * n + best]):
                best += 1
            o[i] = best
            continue
        for l in range(inner):
            best = int64(0)
            v = a[i * n * inner + l]
            for j in range(1, n):
                w = a[(i * n + j) * inner + l]
                if v == v and not v >= w:
                    best = j
                    v = w
            o[i * inner + l] = best
    return 0


def argmin(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """First position of the least element; of the first NaN, if there is one."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, int64)
    for i in range(outer):
        if inner == 1:
            best, v = int64(0), run_min(a, i * n, n)
            while a[i * n + best] != v and (v == v or a[i * n + best] == a[i * n + best]):
                best += 1
            o[i] = best
            continue
        for l in range(inner):
            best = int64(0)
            v = a[i * n * inner + l]
            for j in range(1, n):
                w = a[(i * n + j) * inner + l]
                if v == v and not v <= w:
                    best = j
                    v = w
            o[i * inner + l] = best
    return 0


# --- scans ----------------------------------------------------------------------------------------


def cumsum(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Running sums; ``p`` is (outer, n, inner, reverse)."""
    d = array(p, 4, int64)
    outer, n, inner, reverse = d[0], d[1], d[2], d[3]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, TO)
    step = -inner if reverse else inner
    for i in range(outer):
        start = (i * n + (n - 1 if reverse else 0)) * inner
        for l in range(inner):
            v = TO(0)
            at = start + l
            for _ in range(n):
                v = TO(v + a[at])
                o[at] = v
                at += step
    return 0


def cumprod(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Running products; ``p`` is (outer, n, inner, exclusive): then without the element itself."""
    d = array(p, 4, int64)
    outer, n, inner, exclusive = d[0], d[1], d[2], d[3]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, TO)
    for i in range(outer):
        for l in range(inner):
            v = TO(1)
            at = i * n * inner + l
            for _ in range(n):
                if exclusive:
                    o[at] = v
                v = TO(v * a[at])
                if not exclusive:
                    o[at] = v
                at += inner
    return 0


def linear_recurrence(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``s[j] = x[j] + y[j] s[j-1]``, or transposed ``t[j] = x[j] + y[j+1] t[j+1]`` if ``p[3]``."""
    d = array(p, 4, int64)
    outer, n, inner, reverse = d[0], d[1], d[2], d[3]
    a = array(x, outer * n * inner, T)
    b = array(y, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    for i in range(outer):
        for l in range(inner):
            first = i * n * inner + l
            if reverse:
                at = first + (n - 1) * inner
                v = T(0)
                for j in range(n):
                    v = a[at] + (b[at + inner] * v if j > 0 else T(0))
                    o[at] = v
                    at -= inner
            else:
                at = first
                v = T(0)
                for j in range(n):
                    v = a[at] + (b[at] * v if j > 0 else T(0))
                    o[at] = v
                    at += inner
    return 0
