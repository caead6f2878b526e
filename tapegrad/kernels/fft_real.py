"""Fourier transforms between real numbers and the first half of their spectrum, at half of the cost.

``fft_real`` gives the first ``h = n // 2 + 1`` numbers of the transform of real numbers, and ``fft_half``
the real part of the transform of ``h`` numbers with zeros behind them: each is the other's transpose.
If ``n`` is even, neighbours are the parts of ``n / 2`` complex numbers, of which `kernels.fft` computes the
transform; half a pass takes that apart (Press et al., "Numerical Recipes", section 12.3.2).  The roots of
unity for that pass, ``exp(-2 pi i k / n)`` for ``k <= n / 4``, are behind the others.

The inverse transform of real numbers is the conjugate of the transform, and that of a half spectrum the
transform of its conjugate.
"""

from __future__ import annotations

from tapegrad.kernels.fft import WORDS, lanes_of, plan, transformed
from tapegrad.kernels.memory import (
    NO_MEMORY,
    TO,
    R,
    T,
    allocate,
    array,
    imag,
    int64,
    join,
    real,
    release,
    stack,
    word,
)

__all__ = ["fft_half", "fft_real"]


def load_pairs(x, base, step, apart, c, far, n, lanes, count):  # type: ignore[no-untyped-def]
    """Neighbours along real sequences of even length as real and imaginary parts."""
    for j in range(n // 2):
        i, o = base + 2 * j * step, j * lanes
        for l in range(count):
            c[o + l] = x[i + l * apart]
            c[far + o + l] = x[i + step + l * apart]
        for l in range(count, lanes):
            c[o + l] = R(0)
            c[far + o + l] = R(0)


def load_reals(x, base, step, apart, c, far, n, lanes, count):  # type: ignore[no-untyped-def]
    """Real sequences as real parts."""
    for j in range(n):
        i, o = base + j * step, j * lanes
        for l in range(count):
            c[o + l] = x[i + l * apart]
            c[far + o + l] = R(0)
        for l in range(count, lanes):
            c[o + l] = R(0)
            c[far + o + l] = R(0)


def take_apart(x, base, step, apart, c, at, far, m, lanes, count, w, wt, sign):  # type: ignore[no-untyped-def]
    """Write the half spectrum of which the buffer holds the pairs' transform.

    The transforms of the even places, ``a``, and of the odd ones, ``b``, are those of parts of the pairs.
    """
    half = R(0.5)
    for k in range(m // 2 + 1):
        wr, wi = real(w[wt + k]), imag(w[wt + k])
        i, j = at + k * lanes, at + (m - k if k > 0 else int64(0)) * lanes
        o, e = base + k * step, base + (m - k) * step
        for l in range(count):
            pr, pi, qr, qi = c[i + l], c[i + l + far], c[j + l], c[j + l + far]
            ar, ai = R(pr + qr) * half, R(pi - qi) * half
            br, bi = R(pi + qi) * half, R(qr - pr) * half
            tr, ti = R(br * wr - bi * wi), R(br * wi + bi * wr)
            x[o + l * apart] = join(R(ar + tr), R(ai + ti) * sign)
            x[e + l * apart] = join(R(ar - tr), R(ti - ai) * sign)


def store_half(x, base, step, apart, c, at, far, n, lanes, count, sign):  # type: ignore[no-untyped-def]
    """Write the first half of a spectrum."""
    for k in range(n // 2 + 1):
        i, o = at + k * lanes, base + k * step
        for l in range(count):
            x[o + l * apart] = join(c[i + l], R(c[i + far + l] * sign))


def put_together(x, base, step, apart, c, far, m, lanes, count, w, wt, sign):  # type: ignore[no-untyped-def]
    """`take_apart`'s inverse, but for a factor: the pairs' spectrum from half a spectrum."""
    half = R(0.5)
    for k in range(m // 2 + 1):
        wr, wi = real(w[wt + k]), imag(w[wt + k])
        i, j = base + k * step, base + (m - k) * step
        o, e = k * lanes, (m - k) * lanes
        for l in range(count):
            p, q = x[i + l * apart], x[j + l * apart]
            pr, pi, qr, qi = real(p), R(imag(p) * sign), real(q), R(imag(q) * sign)
            if k == 0:  # of the first and the last, only the real part counts, and wholly
                c[l] = R(pr + qr)
                c[l + far] = R(pr - qr)
            else:
                ar, ai = R(pr + qr) * half, R(pi - qi) * half
                dr, di = R(pr - qr) * half, R(pi + qi) * half
                br, bi = R(-R(dr * wi + di * wr)), R(dr * wr - di * wi)
                c[o + l] = R(ar + br)
                c[o + l + far] = R(ai + bi)
                c[e + l] = R(ar - br)
                c[e + l + far] = R(bi - ai)
        for l in range(count, lanes):
            c[o + l] = R(0)
            c[o + l + far] = R(0)
            if k > 0:
                c[e + l] = R(0)
                c[e + l + far] = R(0)


def load_half(x, base, step, apart, c, far, n, lanes, count, sign):  # type: ignore[no-untyped-def]
    """Half a spectrum, and zeros."""
    h = n // 2 + 1
    for i in range(2 * far):
        c[i] = R(0)
    for k in range(h):
        i, o = base + k * step, k * lanes
        for l in range(count):
            v = x[i + l * apart]
            c[o + l] = real(v)
            c[far + o + l] = R(imag(v) * sign)


def store_reals(x, base, step, apart, c, at, far, n, lanes, count, paired):  # type: ignore[no-untyped-def]
    """Write the real parts, or real and imaginary parts as neighbours."""
    if paired:
        for j in range(n // 2):
            i, o = at + j * lanes, base + 2 * j * step
            for l in range(count):
                x[o + l * apart] = c[i + l]
                x[o + step + l * apart] = c[i + far + l]
    else:
        for j in range(n):
            i, o = at + j * lanes, base + j * step
            for l in range(count):
                x[o + l * apart] = c[i + l]


def fft_real(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The first half of the transform of real numbers ``x``, with the roots ``y``."""
    d = array(p, WORDS, int64)
    outer, n, inner = d[0], d[4], d[2]
    sign = R(1 - 2 * d[5])
    h = n // 2 + 1
    a, o, w = array(x, outer * n * inner, T), array(out, outer * h * inner, TO), array(y, d[6], TO)
    even = n % 2 == 0
    length = n // 2 if even else n
    f = stack(64)
    size, fold, m = plan(length, f)
    lanes = lanes_of(outer, size, inner, fold)
    far = size * lanes
    room = allocate(4 * far)
    if word(room) == 0:
        return NO_MEMORY
    c = array(word(room), 4 * far, R)
    rows = inner == 1 and lanes > 1
    across = outer if rows else inner
    groups = (across + lanes - 1) // lanes
    all_groups = groups if rows else groups * outer
    for k in range(all_groups):
        block = k // groups
        first = (k - block * groups) * lanes
        count = min(lanes, across - first)
        at_x, at_o, near_x, near_o = block * n * inner + first, block * h * inner + first, int64(1), int64(1)
        if rows:
            at_x, at_o, near_x, near_o = first * n, first * h, n, h
        if even:
            load_pairs(a, at_x, inner, near_x, c, far, n, lanes, count)
        else:
            load_reals(a, at_x, inner, near_x, c, far, n, lanes, count)
        at = transformed(c, far, lanes, fold, m, f, w, length)
        if even:
            last = d[6] - length // 2 - 1
            take_apart(o, at_o, inner, near_o, c, at, far, length, lanes, count, w, last, sign)
        else:
            store_half(o, at_o, inner, near_o, c, at, far, n, lanes, count, sign)
    release(room)
    return 0


def fft_half(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The real part of the transform of half a spectrum ``x`` and zeros, with the roots ``y``."""
    d = array(p, WORDS, int64)
    outer, n, inner = d[0], d[4], d[2]
    sign = R(1 - 2 * d[5])
    h = n // 2 + 1
    a, o, w = array(x, outer * h * inner, T), array(out, outer * n * inner, TO), array(y, d[6], T)
    even = n % 2 == 0
    length = n // 2 if even else n
    f = stack(64)
    size, fold, m = plan(length, f)
    lanes = lanes_of(outer, size, inner, fold)
    far = size * lanes
    room = allocate(4 * far)
    if word(room) == 0:
        return NO_MEMORY
    c = array(word(room), 4 * far, R)
    rows = inner == 1 and lanes > 1
    across = outer if rows else inner
    groups = (across + lanes - 1) // lanes
    all_groups = groups if rows else groups * outer
    for k in range(all_groups):
        block = k // groups
        first = (k - block * groups) * lanes
        count = min(lanes, across - first)
        at_x, at_o, near_x, near_o = block * h * inner + first, block * n * inner + first, int64(1), int64(1)
        if rows:
            at_x, at_o, near_x, near_o = first * h, first * n, h, n
        if even:
            last = d[6] - length // 2 - 1
            put_together(a, at_x, inner, near_x, c, far, length, lanes, count, w, last, sign)
        else:
            load_half(a, at_x, inner, near_x, c, far, n, lanes, count, sign)
        at = transformed(c, far, lanes, fold, m, f, w, length)
        store_reals(o, at_o, inner, near_o, c, at, far, n, lanes, count, even)
    release(room)
    return 0
