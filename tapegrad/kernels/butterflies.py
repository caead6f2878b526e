"""Discrete Fourier transforms of a few numbers, written out.

Each takes real and imaginary parts in turn, of two to eight complex numbers, and returns those of their
transform ``sum over j of x[j] * exp(-2 pi i j k / r)``.  They are compiled for numbers, and
`engine.butterflies` calls them with vectors.
"""

from __future__ import annotations

from tapegrad.kernels.memory import R

__all__ = ["eight", "five", "four", "three", "two"]


def two(ar, ai, br, bi):  # type: ignore[no-untyped-def]
    return ar + br, ai + bi, ar - br, ai - bi


def three(ar, ai, br, bi, cr, ci):  # type: ignore[no-untyped-def]
    half, sine = R(0.5), R(0.8660254037844386)
    sr, si, dr, di = br + cr, bi + ci, br - cr, bi - ci
    mr, mi = ar - sr * half, ai - si * half
    return ar + sr, ai + si, mr + di * sine, mi - dr * sine, mr - di * sine, mi + dr * sine


def four(ar, ai, br, bi, cr, ci, dr, di):  # type: ignore[no-untyped-def]
    pr, pi, mr, mi = ar + cr, ai + ci, ar - cr, ai - ci
    qr, qi, nr, ni = br + dr, bi + di, br - dr, bi - di
    return pr + qr, pi + qi, mr + ni, mi - nr, pr - qr, pi - qi, mr - ni, mi + nr


def five(ar, ai, br, bi, cr, ci, dr, di, er, ei):  # type: ignore[no-untyped-def]
    c1, c2 = R(0.30901699437494745), R(-0.8090169943749475)
    s1, s2 = R(0.9510565162951535), R(0.5877852522924731)
    pr, pi, mr, mi = br + er, bi + ei, br - er, bi - ei
    qr, qi, nr, ni = cr + dr, ci + di, cr - dr, ci - di
    ur, ui = ar + pr * c1 + qr * c2, ai + pi * c1 + qi * c2
    vr, vi = ar + pr * c2 + qr * c1, ai + pi * c2 + qi * c1
    fr, fi = mr * s1 + nr * s2, mi * s1 + ni * s2
    gr, gi = mr * s2 - nr * s1, mi * s2 - ni * s1
    return (
        ar + pr + qr, ai + pi + qi, ur + fi, ui - fr, vr + gi, vi - gr, vr - gi, vi + gr, ur - fi, ui + fr
    )  # fmt: skip


def eight(ar, ai, br, bi, cr, ci, dr, di, er, ei, fr, fi, gr, gi, hr, hi):  # type: ignore[no-untyped-def]
    root = R(0.7071067811865476)
    # even places, and odd ones
    pr, pi, mr, mi = ar + er, ai + ei, ar - er, ai - ei
    qr, qi, nr, ni = cr + gr, ci + gi, cr - gr, ci - gi
    e0r, e0i, e1r, e1i = pr + qr, pi + qi, mr + ni, mi - nr
    e2r, e2i, e3r, e3i = pr - qr, pi - qi, mr - ni, mi + nr
    pr, pi, mr, mi = br + fr, bi + fi, br - fr, bi - fi
    qr, qi, nr, ni = dr + hr, di + hi, dr - hr, di - hi
    o0r, o0i, o1r, o1i = pr + qr, pi + qi, mr + ni, mi - nr
    o2r, o2i, o3r, o3i = pr - qr, pi - qi, mr - ni, mi + nr
    # turned by 45, 90 and 135 degrees
    t1r, t1i = (o1r + o1i) * root, (o1i - o1r) * root
    t3r, t3i = (o3i - o3r) * root, (o3r + o3i) * root
    return (
        e0r + o0r, e0i + o0i, e1r + t1r, e1i + t1i, e2r + o2i, e2i - o2r, e3r + t3r, e3i - t3i,
        e0r - o0r, e0i - o0i, e1r - t1r, e1i - t1i, e2r - o2i, e2i + o2r, e3r - t3r, e3i + t3i,
    )  # fmt: skip
