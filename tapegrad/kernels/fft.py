"""Discrete Fourier transforms along the middle of ``[outer, n, inner]``.

Stockham's form: a transform of ``r * m`` numbers is ``m`` transforms of ``r``, products with roots of unity,
and ``r`` transforms of ``m``; each such *pass* goes from one buffer to another and leaves its numbers where
the next one wants them, so nothing is ever permuted (Van Loan, "Computational Frameworks for the Fast
Fourier Transform", SIAM 1992, section 1.7).  Buffers hold real and imaginary parts in separate planes, and
eight or more sequences side by side, its *lanes*: a pass is then a loop over vectors (`engine.butterflies`).
What the lanes are depends on what there is:

* neighbours along ``inner``, or rows of ``outer``, as many as fit in the cache;
* or one sequence whose length is a multiple of eight: its eight interleaved parts, whose transforms are
  merged by a last pass ("decimation in time").

Lengths with prime factors beyond `LARGEST` become a convolution of a greater length (Bluestein 1970).

The roots of unity are an operand, made by `ops.fft`: for each pass ``exp(-2 pi i k p / (r m))``, in the order
in which they are used, then those of the merging pass, then what Bluestein's algorithm needs.
"""

from __future__ import annotations

from tapegrad.kernels.butterflies import five, four, three, two
from tapegrad.kernels.memory import (
    NO_MEMORY,
    TO,
    R,
    T,
    allocate,
    array,
    butterfly_2,
    butterfly_3,
    butterfly_4,
    butterfly_5,
    butterfly_odd,
    imag,
    int64,
    join,
    merge_8,
    merge_lanes,
    real,
    release,
    stack,
    word,
)

__all__ = ["fft", "lanes_of", "plan", "roots_of", "transformed"]

LANES = 8
LARGEST = 61  # the greatest prime factor with a pass of its own
CACHED = 16384  # numbers of a buffer, of which there are four, that lanes are added up to
WORDS = 7
# ``p``: outer, length of an operand's line, inner, length of a result's, n, whether it is the inverse
# transform, numbers in the table


# --- plans ----------------------------------------------------------------------------------------


def fold_of(n):  # type: ignore[no-untyped-def]
    """How many interleaved parts a sequence of ``n`` is transformed in."""
    return int64(LANES) if n % LANES == 0 and n >= LANES * LANES else int64(1)


def factors(n, f):  # type: ignore[no-untyped-def]
    """The radices of a transform of length ``n``: ``f[0]`` of them from ``f[1]`` on; returns what is left."""
    count = int64(0)
    while n % 4 == 0:
        count += 1
        f[count] = 4
        n //= 4
    r = int64(2)
    while r <= LARGEST:
        while n % r == 0:
            count += 1
            f[count] = r
            n //= r
        r += 1
    f[0] = count
    return n


def convolved_length(n):  # type: ignore[no-untyped-def]
    """The least convenient length of a circular convolution that contains a transform of ``n``."""
    best = int64(LANES * LANES)
    while best < 2 * n - 1:
        best *= 2
    for r in (9, 10, 12, 15):  # sixteenths of the next power of two
        length = best // 16 * r
        if 2 * n - 1 <= length and length < best and length % (LANES * LANES) == 0:
            return length
    return best


def plan(n, f):  # type: ignore[no-untyped-def]
    """The length that is transformed for ``n``, in how many parts, and theirs, whose radices become ``f``."""
    size = n
    if factors(n, f) != 1:
        size = convolved_length(n)
    fold = fold_of(size)
    factors(size // fold, f)
    return size, fold, size // fold


# --- passes ---------------------------------------------------------------------------------------


def vector_pass(a, at, far, b, to, away, r, m, s, w, wt):  # type: ignore[no-untyped-def]
    """A pass of radix 2 to 5 over ``s >= 8`` lanes, ``m`` times."""
    step = s * m
    if r == 4:
        for p in range(m):
            butterfly_4(a, at + p * s, far, step, b, to + 4 * p * s, away, s, w, wt + 3 * p, int64(1), s)
    elif r == 2:
        for p in range(m):
            butterfly_2(a, at + p * s, far, step, b, to + 2 * p * s, away, s, w, wt + p, int64(1), s)
    elif r == 3:
        for p in range(m):
            butterfly_3(a, at + p * s, far, step, b, to + 3 * p * s, away, s, w, wt + 2 * p, int64(1), s)
    else:
        for p in range(m):
            butterfly_5(a, at + p * s, far, step, b, to + 5 * p * s, away, s, w, wt + 4 * p, int64(1), s)


def turn(b, at, far, re, im, w):  # type: ignore[no-untyped-def]
    """Write the product of a number and a root."""
    wr, wi = real(w), imag(w)
    b[at] = R(re * wr - im * wi)
    b[at + far] = R(re * wi + im * wr)


def number_pass(a, at, far, to, r, m, s, w, wt):  # type: ignore[no-untyped-def]
    """The same for a few lanes, number by number, within one array of planes ``far`` apart."""
    step = s * m
    for p in range(m):
        for q in range(s):
            i, o, t = at + p * s + q, to + r * p * s + q, wt + (r - 1) * p
            j = i + step
            k = j + step
            if r == 2:
                ar, ai, br, bi = two(a[i], a[i + far], a[j], a[j + far])
            elif r == 3:
                ar, ai, br, bi, cr, ci = three(a[i], a[i + far], a[j], a[j + far], a[k], a[k + far])
                turn(a, o + 2 * s, far, cr, ci, w[t + 1])
            elif r == 4:
                l = k + step
                ar, ai, br, bi, cr, ci, dr, di = four(
                    a[i], a[i + far], a[j], a[j + far], a[k], a[k + far], a[l], a[l + far]
                )
                turn(a, o + 2 * s, far, cr, ci, w[t + 1])
                turn(a, o + 3 * s, far, dr, di, w[t + 2])
            else:
                l = k + step
                e = l + step
                ar, ai, br, bi, cr, ci, dr, di, er, ei = five(
                    a[i], a[i + far], a[j], a[j + far], a[k], a[k + far], a[l], a[l + far], a[e], a[e + far]
                )
                turn(a, o + 2 * s, far, cr, ci, w[t + 1])
                turn(a, o + 3 * s, far, dr, di, w[t + 2])
                turn(a, o + 4 * s, far, er, ei, w[t + 3])
            a[o], a[o + far] = ar, ai
            turn(a, o + s, far, br, bi, w[t])


def odd_pass(a, at, far, to, r, m, s, w, wt):  # type: ignore[no-untyped-def]
    """The same for any odd radix; behind the roots of the pass are those of order ``r``."""
    step, roots = s * m, wt + (r - 1) * m
    if s >= LANES:
        for p in range(m):
            here, there, turns = at + p * s, to + r * p * s, wt + (r - 1) * p
            butterfly_odd(a, here, far, step, a, there, far, s, w, turns, int64(1), s, r, roots)
        return
    for i in range(step):  # as `engine.butterflies` does it
        p = i // s
        here, there, turns = at + i, to + r * p * s + i - p * s, wt + (r - 1) * p - 1
        zr, zi = a[here], a[here + far]
        sr, si = zr, zi
        for j in range(1, (r + 1) // 2):
            x, y = here + j * step, here + (r - j) * step
            sr, si = R(sr + R(a[x] + a[y])), R(si + R(a[x + far] + a[y + far]))
        a[there], a[there + far] = sr, si
        for k in range(1, (r + 1) // 2):
            pr, pi, qr, qi = zr, zi, R(0), R(0)
            place = roots
            for j in range(1, (r + 1) // 2):
                place += k
                if place >= roots + r:
                    place -= r
                cosine, sine = real(w[place]), imag(w[place])
                x, y = here + j * step, here + (r - j) * step
                pr, pi = R(pr + R(a[x] + a[y]) * cosine), R(pi + R(a[x + far] + a[y + far]) * cosine)
                qr, qi = R(qr + R(a[x] - a[y]) * sine), R(qi + R(a[x + far] - a[y + far]) * sine)
            turn(a, there + k * s, far, R(pr - qi), R(pi + qr), w[turns + k])
            turn(a, there + (r - k) * s, far, R(pr + qi), R(pi - qr), w[turns + r - k])


def passes(c, at, far, first, s, m, f, w):  # type: ignore[no-untyped-def]
    """All passes from number ``first`` on; returns where the result begins.

    The buffers are at 0 and at ``2 * far``; the numbers are in the one at ``at``.
    """
    wt = int64(0)
    for i in range(f[0]):
        r = f[1 + i]
        m //= r
        if i >= first:
            to = 2 * far - at
            if r > 5:
                odd_pass(c, at, far, to, r, m, s, w, wt)
            elif s < LANES:
                number_pass(c, at, far, to, r, m, s, w, wt)
            else:
                vector_pass(c, at, far, c, to, far, r, m, s, w, wt)
            at = to
        s *= r
        wt += (r - 1) * m
        if r > 5:
            wt += r
    return at


def merge(c, at, far, lanes, m, w, wt):  # type: ignore[no-untyped-def]
    """Merge transforms of eight interleaved parts; returns where the result begins."""
    to = 2 * far - at
    if lanes == 1:
        merge_lanes(c, at, far, c, to, far, w, wt, m)
    else:
        for k in range(m):
            here = at + LANES * k * lanes
            merge_8(c, here, far, lanes, c, to + k * lanes, far, m * lanes, w, wt + k, m, lanes)
    return to


def roots_of(f, m):  # type: ignore[no-untyped-def]
    """How many roots the passes over ``m`` numbers use."""
    count = int64(0)
    for i in range(f[0]):
        r = f[1 + i]
        m //= r
        count += (r - 1) * m
        if r > 5:
            count += r
    return count


# --- to and from buffers --------------------------------------------------------------------------


def load(x, base, step, apart, c, far, n, lanes, count, exchange):  # type: ignore[no-untyped-def]
    """``count`` sequences, ``apart`` from each other, into lanes of a buffer at 0; zeros in the others."""
    re, im = (far, int64(0)) if exchange else (int64(0), far)
    if lanes == 1:  # LLVM makes vectors of the innermost loop
        for j in range(n):
            v = x[base + j * step]
            c[re + j] = real(v)
            c[im + j] = imag(v)
        return
    for j in range(n):
        i, o = base + j * step, j * lanes
        for l in range(count):
            v = x[i + l * apart]
            c[re + o + l] = real(v)
            c[im + o + l] = imag(v)
        for l in range(count, lanes):
            c[re + o + l] = R(0)
            c[im + o + l] = R(0)


def store(x, base, step, apart, c, at, far, n, lanes, count, exchange):  # type: ignore[no-untyped-def]
    """`load`'s inverse, from the buffer at ``at``."""
    re, im = (at + far, at) if exchange else (at, at + far)
    if lanes == 1:
        for j in range(n):
            x[base + j * step] = join(c[re + j], c[im + j])
        return
    for j in range(n):
        i, o = base + j * step, j * lanes
        for l in range(count):
            x[i + l * apart] = join(c[re + o + l], c[im + o + l])


def multiply(c, at, far, n, lanes, w, wt):  # type: ignore[no-untyped-def]
    """Multiply ``n`` numbers of each lane by those from ``w[wt]`` on."""
    if lanes == 1:
        for j in range(n):
            turn(c, at + j, far, c[at + j], c[at + far + j], w[wt + j])
        return
    for j in range(n):
        v, i = w[wt + j], at + j * lanes
        for l in range(lanes):
            turn(c, i + l, far, c[i + l], c[i + far + l], v)


def exchanged(c, at, far):  # type: ignore[no-untyped-def]
    """Exchange the planes of the buffer at ``at``."""
    for i in range(far):
        v = c[at + i]
        c[at + i] = c[at + far + i]
        c[at + far + i] = v


def transformed(c, far, lanes, fold, m, f, w, n):  # type: ignore[no-untyped-def]
    """The transform of what was loaded; returns where the result begins.

    A length other than ``fold * m`` needs Bluestein's algorithm: ``j k = (j^2 + k^2 - (k - j)^2) / 2`` makes
    the transform a convolution, which two others compute.  For that, behind the roots are
    ``exp(-i pi j^2 / n)`` and the transform of their inverses.
    """
    size, at, wt = fold * m, int64(0), roots_of(f, m) + (fold - 1) * m
    if size != n:
        multiply(c, at, far, n, lanes, w, wt)
        for i in range(n * lanes, far):
            c[i] = R(0)
            c[i + far] = R(0)
    stages = 1 if size == n else 2
    for stage in range(stages):
        at = passes(c, at, far, int64(0), fold * lanes, m, f, w)
        if fold > 1:
            at = merge(c, at, far, lanes, m, w, roots_of(f, m))
        if size != n:
            if stage == 0:
                multiply(c, at, far, size, lanes, w, wt + n)
            exchanged(c, at, far)
    if size != n:
        multiply(c, at, far, n, lanes, w, wt)
    return at


# --- the kernels ----------------------------------------------------------------------------------


def lanes_of(outer, size, inner, fold):  # type: ignore[no-untyped-def]
    """How many sequences are transformed side by side."""
    if fold > 1 and inner < 4:
        return int64(1)
    if outer * inner == 1:
        return int64(1)
    if inner == 1:
        return int64(LANES)
    most = max(CACHED // size // LANES * LANES, int64(LANES))
    return min(most, (inner + LANES - 1) // LANES * LANES)


def fft(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The transform of ``x``, with the roots ``y``."""
    d = array(p, WORDS, int64)
    outer, n, inner, exchange = d[0], d[4], d[2], d[5] != 0
    total = outer * n * inner
    a, o, w = array(x, total, T), array(out, total, TO), array(y, d[6], T)
    if n <= 1 or total == 0:
        for i in range(total):
            o[i] = a[i]
        return 0
    f = stack(64)
    size, fold, m = plan(n, f)
    lanes = lanes_of(outer, size, inner, fold)
    far = size * lanes
    room = allocate(4 * far)
    if word(room) == 0:
        return NO_MEMORY
    c = array(word(room), 4 * far, R)
    direct = inner == 1 and lanes == 1 and fold > 1 and size == n and f[1] <= 5
    rows = inner == 1 and lanes > 1  # lanes are rows
    across, apart = (outer, n) if rows else (inner, int64(1))
    groups = (across + lanes - 1) // lanes
    all_groups = groups if rows else groups * outer
    for k in range(all_groups):
        block = k // groups
        first = (k - block * groups) * lanes
        base = block * n * inner + first * apart
        if direct:
            r = f[1]
            vector_pass(a, base, int64(exchange), c, int64(0), far, r, m // r, fold, w, int64(0))
            at = passes(c, int64(0), far, int64(1), fold, m, f, w)
            merge_lanes(c, at, far, o, base, int64(exchange), w, roots_of(f, m), m)
            continue
        count = min(lanes, across - first)
        load(a, base, inner, apart, c, far, n, lanes, count, exchange)
        at = transformed(c, far, lanes, fold, m, f, w, n)
        store(o, base, inner, apart, c, at, far, n, lanes, count, exchange)
    release(room)
    return 0
