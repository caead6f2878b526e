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


# With one lane, the loop over places is the one that LLVM makes a loop of vectors of.


def load_pairs(x, base, step, apart, c, far, n, lanes, count):  # type: ignore[no-untyped-def]
    """Neighbours along real sequences of even length as real and imaginary parts."""
    if lanes == 1:
        for j in range(n // 2):
            c[j] = x[base + 2 * j * step]
            c[far + j] = x[base + (2 * j + 1) * step]
        return
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


def apart_at(x, o, e, c, i, j, far, wr, wi, sign):  # type: ignore[no-untyped-def]
    """Numbers ``k`` (to ``x[o]``) and ``m - k`` (to ``x[e]``) of a half spectrum from those of the pairs.

    The transforms of the even places, ``a``, and of the odd ones, ``b``, are those of parts of the pairs.
    """
    half = R(0.5)
    pr, pi, qr, qi = c[i], c[i + far], c[j], c[j + far]
    ar, ai = R(pr + qr) * half, R(pi - qi) * half
    br, bi = R(pi + qi) * half, R(qr - pr) * half
    tr, ti = R(br * wr - bi * wi), R(br * wi + bi * wr)
    x[o] = join(R(ar + tr), R(ai + ti) * sign)
    x[e] = join(R(ar - tr), R(ti - ai) * sign)


def take_apart(x, base, step, apart, c, at, far, m, lanes, count, w, wt, sign):  # type: ignore[no-untyped-def]
    """Write the half spectrum of which the buffer holds the pairs' transform."""
    for l in range(count):
        i, o = at + l, base + l * apart
        apart_at(x, o, o + m * step, c, i, i, far, R(1), R(0), sign)
    if lanes == 1:
        for k in range(1, m // 2 + 1):
            o, e = base + k * step, base + (m - k) * step
            apart_at(x, o, e, c, at + k, at + m - k, far, real(w[wt + k]), imag(w[wt + k]), sign)
        return
    for k in range(1, m // 2 + 1):
        wr, wi = real(w[wt + k]), imag(w[wt + k])
        i, j = at + k * lanes, at + (m - k) * lanes
        o, e = base + k * step, base + (m - k) * step
        for l in range(count):
            apart_at(x, o + l * apart, e + l * apart, c, i + l, j + l, far, wr, wi, sign)


def store_half(x, base, step, apart, c, at, far, n, lanes, count, sign):  # type: ignore[no-untyped-def]
    """Write the first half of a spectrum."""
    for k in range(n // 2 + 1):
        i, o = at + k * lanes, base + k * step
        for l in range(count):
            x[o + l * apart] = join(c[i + l], R(c[i + far + l] * sign))


def together_at(x, i, j, c, o, e, far, wr, wi, sign):  # type: ignore[no-untyped-def]
    """`apart_at`'s inverse, but for a factor."""
    half = R(0.5)
    p, q = x[i], x[j]
    pr, pi, qr, qi = real(p), R(imag(p) * sign), real(q), R(imag(q) * sign)
    ar, ai = R(pr + qr) * half, R(pi - qi) * half
    dr, di = R(pr - qr) * half, R(pi + qi) * half
    br, bi = R(dr * wi + di * wr), R(dr * wr - di * wi)
    c[o] = R(ar - br)
    c[o + far] = R(ai + bi)
    c[e] = R(ar + br)
    c[e + far] = R(bi - ai)


def put_together(x, base, step, apart, c, far, m, lanes, count, w, wt, sign):  # type: ignore[no-untyped-def]
    """The pairs' spectrum from a half spectrum.

    Of the first number and the last one, only the real parts count, and wholly.
    """
    for l in range(lanes):
        first, last = R(0), R(0)
        if l < count:
            first, last = real(x[base + l * apart]), real(x[base + m * step + l * apart])
        c[l] = R(first + last)
        c[l + far] = R(first - last)
    if lanes == 1:
        for k in range(1, m // 2 + 1):
            i, j = base + k * step, base + (m - k) * step
            together_at(x, i, j, c, k, m - k, far, real(w[wt + k]), imag(w[wt + k]), sign)
        return
    for k in range(1, m // 2 + 1):
        wr, wi = real(w[wt + k]), imag(w[wt + k])
        i, j = base + k * step, base + (m - k) * step
        o, e = k * lanes, (m - k) * lanes
        for l in range(count):
            together_at(x, i + l * apart, j + l * apart, c, o + l, e + l, far, wr, wi, sign)
        for l in range(count, lanes):
            c[o + l] = R(0)
            c[o + l + far] = R(0)
            c[e + l] = R(0)
            c[e + l + far] = R(0)


def load_half(x, base, step, apart, c, far, n, lanes, count, sign):  # type: ignore[no-untyped-def]
    """Half a spectrum, and zeros."""
    for i in range(2 * far):
        c[i] = R(0)
    for k in range(n // 2 + 1):
        i, o = base + k * step, k * lanes
        for l in range(count):
            v = x[i + l * apart]
            c[o + l] = real(v)
            c[far + o + l] = R(imag(v) * sign)


def store_reals(x, base, step, apart, c, at, far, n, lanes, count, paired):  # type: ignore[no-untyped-def]
    """Write the real parts, or real and imaginary parts as neighbours."""
    if paired and lanes == 1:
        for j in range(n // 2):
            x[base + 2 * j * step] = c[at + j]
            x[base + (2 * j + 1) * step] = c[at + far + j]
    elif paired:
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
