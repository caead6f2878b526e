"""What powers are computed from, in float64: logarithms to base 2, and what is special."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.constants import (
    FRACTION,
    INF,
    LARGEST,
    MAGIC,
    NAN,
    ONE_BITS,
    TWO52,
    clamp,
)
from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd, product_error

OPERANDS = np.float64
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
TWO_OVER_LN2, TWO_OVER_LN2_LOW = 2.8853900817779268, 4.0710547481862066e-17
THIRD, THIRD_LOW = 0.3333333333333333, 1.850371707708594e-17


def log2_pair(x, shift):
    """``a, b``: ``log2(x) = a + b + 1023 - shift`` to about 2**-64 of itself; ``x`` normal.

    ``log2(m) = (s + s**3 / 3 + ...) 2 / log(2)`` with ``s = (m - 1) / (m + 1)``.  What is larger than
    2**-12 of it is computed in two parts.
    """
    h = f64_to_bits(x) + (ONE_BITS - SQRT_HALF_BITS)
    e = np.int64(np.uint64(h) >> np.uint64(52))
    k = bits_to_f64(e | 0x4330000000000000) - (TWO52 + shift)
    f = bits_to_f64((h & FRACTION) + SQRT_HALF_BITS) - 1.0
    den = 2.0 + f
    inverse = 1.0 / den
    s = f * inverse
    v = s * den
    s_low = ((f - v) - (product_error(s, den, v) + s * (f - (den - 2.0)))) * inverse
    z = s * s
    z_low = muladd(s + s, s_low, product_error(s, s, z))
    y = z * z
    w = y * y
    a0 = muladd(0.1428571428566509, z, 0.20000000000000015)
    a1 = muladd(0.0909090382352893, z, 0.11111111137414585)
    a2 = muladd(0.06642270526454454, z, 0.07692808984719217)
    b0 = muladd(a1, y, a0)
    b1 = muladd(0.0646545229480057, y, a2)
    p = muladd(b1, w, b0)
    q = z * THIRD
    q_low = product_error(z, THIRD, q) + muladd(z_low, THIRD, z * muladd(z, p, THIRD_LOW))
    cube = s * q
    rest = muladd(s, q_low, muladd(s_low, q, product_error(s, q, cube)))
    total = s + cube
    rest = ((s - total) + cube) + (s_low + rest)
    a = total * TWO_OVER_LN2
    b = muladd(rest, TWO_OVER_LN2, muladd(total, TWO_OVER_LN2_LOW, product_error(total, TWO_OVER_LN2, a)))
    out = k + a
    return out, ((k - out) + a) + b


def power_special(x, y, out):
    """``x ** y`` where ``out`` is that of ``abs(x)``, if ``x`` is finite and not zero."""
    a = np.fabs(x)
    whole = np.floor(y) == y
    half = 0.5 * y
    odd = whole & (np.floor(half) != half)
    end = INF if (y < 0) == (a == 0) else 0.0
    end = x + y if (x != x) | (y != y) else end
    good = (a > 0) & (a <= LARGEST)
    out = out if good else end
    out = NAN if (x < 0) & good & (not whole) else out
    out = -out if odd & (np.copysign(1.0, x) < 0) else out
    return 1.0 if (x == 1.0) | (y == 0) else out


def power_short(x, exponent):
    """``x ** exponent`` of positive float32 numbers, good to 2**-28."""
    h = f64_to_bits(x) + (ONE_BITS - SQRT_HALF_BITS)
    e = np.int64(np.uint64(h) >> np.uint64(52))
    k = bits_to_f64(e | 0x4330000000000000) - (TWO52 + 1023.0)
    f = bits_to_f64((h & FRACTION) + SQRT_HALF_BITS) - 1.0
    s = f / (2.0 + f)
    z = s * s
    y = z * z
    w = y * y
    a0 = muladd(0.961796673242571, z, 2.8853900817901557)
    a1 = muladd(0.4116714259786555, z, 0.5770836053360119)
    b0 = muladd(a1, y, a0)
    p = muladd(0.34075532857415763, w, b0)
    v = clamp(clamp(exponent, -1e40, 1e40) * muladd(s, p, k), -300.0, 300.0)
    t = v + MAGIC
    r = v - (t - MAGIC)
    z = r * r
    y = z * z
    a0 = muladd(0.6931472068147077, r, 0.9999999999271071)
    a1 = muladd(0.05550327359187793, r, 0.24022651360290956)
    a2 = muladd(0.0013400642214660588, r, 0.009618048825831529)
    b0 = muladd(a1, z, a0)
    b1 = muladd(0.00015452845548968936, z, a2)
    p = muladd(b1, y, b0)
    return p * bits_to_f64((f64_to_bits(t) + 1023) << 52)
