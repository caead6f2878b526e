"""Exponentials over their sums, and norms, over the middle of ``[outer, n, inner]``."""

from __future__ import annotations

import math

from tapegrad.kernels import scalar
from tapegrad.kernels.memory import T, array, int64, room
from tapegrad.kernels.reduce import BLOCK, long_sum, run_max

__all__ = ["log_softmax", "logsumexp", "norm2", "softmax"]

COLUMNS = 128  # worked on together, so that loops over them are vectorised


def exp_sum(a, at, n, step, m):  # type: ignore[no-untyped-def]
    """``sum(exp(x - m))`` of ``n`` elements ``step`` apart, in blocks."""
    total = T(0)
    for start in range(0, n, BLOCK):
        s = T(0)
        if step == 1:
            for j in range(at + start, at + min(start + BLOCK, n)):
                s += T(scalar.exp(a[j] - m))
        else:
            for j in range(start, min(start + BLOCK, n)):
                s += T(scalar.exp(a[at + j * step] - m))
        total += s
    return total


def greatest(a, at, n, step):  # type: ignore[no-untyped-def]
    """Greatest of ``n`` elements ``step`` apart; NaN if one is, minus infinity if there are none."""
    if n == 0:
        return T(-math.inf)
    if step == 1:
        return run_max(a, at, n)
    m = a[at]
    for j in range(n):
        w = a[at + j * step]
        m = m if m >= w or m != m else w
    return m


def columns_logsumexp(o, to, a, first, n, inner, width):  # type: ignore[no-untyped-def]
    """The same for ``width`` neighbouring columns of ``n`` rows at once."""
    top, total, part = room(COLUMNS, a), room(COLUMNS, a), room(COLUMNS, a)
    for l in range(width):
        top[l] = a[first + l]
        total[l] = T(0)
    for j in range(1, n):
        c = first + j * inner
        for l in range(width):
            v, w = top[l], a[c + l]
            top[l] = v if (v >= w) | (v != v) else w
    for l in range(width):
        m = top[l]
        o[to + l] = m
        top[l] = m if abs(m) < T(math.inf) else T(0)
    for start in range(0, n, BLOCK):
        for l in range(width):
            part[l] = T(0)
        for j in range(start, min(start + BLOCK, n)):
            c = first + j * inner
            for l in range(width):
                part[l] += T(scalar.exp(a[c + l] - top[l]))
        for l in range(width):
            total[l] += part[l]
    for l in range(width):
        m = o[to + l]
        s = m + T(scalar.log(total[l]))
        o[to + l] = s if abs(m) < T(math.inf) else m


def logsumexp(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``m + log(sum(exp(x - m)))`` with the maximum ``m``; minus infinity where all elements are."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, T)
    for i in range(outer):
        if inner >= 8 and n > 0:
            for l0 in range(0, inner, COLUMNS):
                width = min(inner - l0, int64(COLUMNS))
                columns_logsumexp(o, i * inner + l0, a, i * n * inner + l0, n, inner, width)
            continue
        for l in range(inner):
            first = i * n * inner + l
            m = greatest(a, first, n, inner)
            if m != T(-math.inf) and m != T(math.inf) and m == m:
                m += T(scalar.log(exp_sum(a, first, n, inner, m)))
            o[i * inner + l] = m
    return 0


def divide_columns(o, first, n, inner):  # type: ignore[no-untyped-def]
    """Divide each column by its sum; eight columns, one cache line, at a time."""
    l = int64(0)
    while l + 8 <= inner:
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = T(0)
        for j in range(n):
            c = first + j * inner + l
            s0 += o[c]
            s1 += o[c + 1]
            s2 += o[c + 2]
            s3 += o[c + 3]
            s4 += o[c + 4]
            s5 += o[c + 5]
            s6 += o[c + 6]
            s7 += o[c + 7]
        for j in range(n):
            c = first + j * inner + l
            o[c] /= s0
            o[c + 1] /= s1
            o[c + 2] /= s2
            o[c + 3] /= s3
            o[c + 4] /= s4
            o[c + 5] /= s5
            o[c + 6] /= s6
            o[c + 7] /= s7
        l += 8
    while l < inner:
        s0 = T(0)
        for j in range(n):
            s0 += o[first + j * inner + l]
        for j in range(n):
            o[first + j * inner + l] /= s0
        l += 1


def softmax(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    if n == 0:
        return 0
    for i in range(outer):
        first = i * n * inner
        if inner == 1:
            m = run_max(a, first, n)
            for j in range(first, first + n):
                o[j] = T(scalar.exp(a[j] - m))
            s = long_sum(o, first, n)
            for j in range(first, first + n):
                o[j] /= s
            continue
        last = first + (n - 1) * inner  # the last row holds the maxima until its turn comes
        for l in range(inner):
            o[last + l] = a[first + l]
        for j in range(1, n):
            for l in range(inner):
                v, w = o[last + l], a[first + j * inner + l]
                o[last + l] = v if v >= w or v != v else w
        for j in range(n):
            c = first + j * inner
            for l in range(inner):
                o[c + l] = T(scalar.exp(a[c + l] - o[last + l]))
        divide_columns(o, first, n, inner)
    return 0


def log_softmax(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    for i in range(outer):
        for l in range(inner):
            first = i * n * inner + l
            m = greatest(a, first, n, inner)
            s = T(scalar.log(exp_sum(a, first, n, inner, m)))
            for j in range(n):
                o[first + j * inner] = (a[first + j * inner] - m) - s
    return 0


def norm2(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """Euclidean norms, without overflow or underflow of the squares."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * inner, T)
    for i in range(outer):
        for l in range(inner):
            first = i * n * inner + l
            s0 = s1 = s2 = s3 = T(0)
            j = int64(0)
            while j + 4 <= n:
                c = first + j * inner
                w0, w1 = a[c], a[c + inner]
                w2, w3 = a[c + 2 * inner], a[c + 3 * inner]
                s0 += w0 * w0
                s1 += w1 * w1
                s2 += w2 * w2
                s3 += w3 * w3
                j += 4
            while j < n:
                w0 = a[first + j * inner]
                s0 += w0 * w0
                j += 1
            s = (s0 + s1) + (s2 + s3)
            if s < T(1e-30) or s == T(math.inf):  # near float32's limits: scale by the largest
                m = T(0)
                for j in range(n):
                    m = max(m, abs(a[first + j * inner]))
                if m > T(0) and m < T(math.inf):
                    s = T(0)
                    for j in range(n):
                        w0 = a[first + j * inner] / m
                        s += w0 * w0
                    o[i * inner + l] = m * T(math.sqrt(s))
                    continue
            o[i * inner + l] = T(math.sqrt(s))
    return 0
