"""Running maxima, minima and log-sums over the middle of ``[outer, n, inner]``, which is what ``p`` holds."""

from __future__ import annotations

import math

from tapegrad.kernels import scalar
from tapegrad.kernels.memory import T, array, int64

__all__ = ["logcumsumexp", "running_max", "running_min"]


def running_max(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The greatest element so far; NaN from the first one on."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    for i in range(outer):
        for l in range(inner):
            at = i * n * inner + l
            for j in range(n):
                w = a[at]
                v = w if j == 0 else o[at - inner]
                o[at] = v if v >= w or v != v else w
                at += inner
    return 0


def running_min(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The least element so far; NaN from the first one on."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    for i in range(outer):
        for l in range(inner):
            at = i * n * inner + l
            for j in range(n):
                w = a[at]
                v = w if j == 0 else o[at - inner]
                o[at] = v if v <= w or v != v else w
                at += inner
    return 0


def logcumsumexp(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``log(sum(exp(x)))`` of the elements so far: the greatest, and the sum relative to it, are carried."""
    d = array(p, 3, int64)
    outer, n, inner = d[0], d[1], d[2]
    a = array(x, outer * n * inner, T)
    o = array(out, outer * n * inner, T)
    for i in range(outer):
        for l in range(inner):
            at = i * n * inner + l
            top = T(-math.inf)
            total = T(0)
            for _ in range(n):
                w = a[at]
                if w > top:
                    total = T(total * T(scalar.exp(top - w)) + T(1)) if total > T(0) else T(1)
                    top = w
                elif w == top:
                    total = T(total + T(1)) if w != T(-math.inf) else total
                elif w == w:
                    total = T(total + T(scalar.exp(w - top)))
                else:
                    total = w
                    top = w
                finite = abs(top) < T(math.inf)
                o[at] = T(top + T(scalar.log(total))) if finite else top
                at += inner
    return 0
