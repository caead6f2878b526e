"""Logarithms, and `softplus`."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single as twin
from tapegrad.kernels.math.constants import (
    FRACTION,
    INF,
    INV_LN2,
    LARGEST,
    LN2_HI,
    LN2_LO,
    MAGIC,
    NAN,
    ONE_BITS,
    TWO52,
    upper,
)
from tapegrad.kernels.math.exponential import exp
from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd
from tapegrad.kernels.twins import single, within

OPERANDS = np.float64


NORMAL = (1.2e-38, 3.4e38)  # normal numbers in both dtypes
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
INV_LN10, INV_LN10_HI, INV_LN10_LO = 0.4342944819032518, 0.4342944771051407, 4.798111141615973e-09
LOG10_2_HI, LOG10_2_LO = 0.3010299955494702, 1.1451100898021838e-10  # 32 bits, and the rest


def log_normal_parts(x):
    """``k, f, half, tail`` with ``x = 2**k * (1 + f)`` and ``log(1 + f) = f - half + tail``; ``x`` normal."""
    h = f64_to_bits(x) + (ONE_BITS - SQRT_HALF_BITS)
    e = np.int64(np.uint64(h) >> np.uint64(52))  # AVX2 shifts 64-bit integers only as unsigned
    k = bits_to_f64(e | 0x4330000000000000) - (TWO52 + 1023.0)
    f = bits_to_f64((h & FRACTION) + SQRT_HALF_BITS) - 1.0
    s = f / (2.0 + f)
    z = s * s
    y = z * z
    a0 = muladd(0.39999999999522434, z, 0.6666666666666713)
    a1 = muladd(0.2222220032359428, z, 0.28571428722609643)
    a2 = muladd(0.15315914740278466, z, 0.18183483670250283)
    b0 = muladd(a1, y, a0)
    b1 = muladd(0.14778871096877766, y, a2)
    p = muladd(b1, y * y, b0)
    half = 0.5 * f * f
    return k, f, half, s * muladd(z, p, half)


def log_parts(x):
    """The same for any positive, finite number."""
    tiny = x < 2.2250738585072014e-308
    k, f, half, tail = log_normal_parts(x * 18014398509481984.0 if tiny else x)
    return (k - 54.0 if tiny else k), f, half, tail


def log_sum(k, f, half, tail):
    return muladd(k, LN2_HI, -((half - muladd(k, LN2_LO, tail)) - f))


def log2_sum(k, f, half, tail):
    return muladd(f - (half - tail), INV_LN2, k)


def log10_sum(k, f, half, tail):
    # the logarithm in two parts, of which the first times the first part of 1 / log(10) is exact
    first = upper(f - half)
    rest = ((f - first) - half) + tail
    a, b = k * LOG10_2_HI, first * INV_LN10_HI
    out = a + b
    return out + (((a - out) + b) + muladd(k, LOG10_2_LO, muladd(first, INV_LN10_LO, rest * INV_LN10)))


def log_positive(x):
    k, f, half, tail = log_parts(x)
    return log_sum(k, f, half, tail)


def log_special(x):
    """What logarithms give outside the positive finite numbers."""
    out = NAN if x < 0 else x
    return -INF if x == 0 else out


@single(twin.log_normal)
def log_normal(x):
    """`log` of numbers in NORMAL."""
    k, f, half, tail = log_normal_parts(np.float64(x))
    return log_sum(k, f, half, tail)


@within(log_normal, *NORMAL)
@single(twin.log)
def log(x):
    x = np.float64(x)
    good = (x > 0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log_sum(k, f, half, tail) if good else special


@single(twin.log2_normal)
def log2_normal(x):
    """`log2` of numbers in NORMAL."""
    k, f, half, tail = log_normal_parts(np.float64(x))
    return log2_sum(k, f, half, tail)


@within(log2_normal, *NORMAL)
@single(twin.log2)
def log2(x):
    x = np.float64(x)
    good = (x > 0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log2_sum(k, f, half, tail) if good else special


@single(twin.log10_normal)
def log10_normal(x):
    """`log10` of numbers in NORMAL."""
    k, f, half, tail = log_normal_parts(np.float64(x))
    return log10_sum(k, f, half, tail)


@within(log10_normal, *NORMAL)
@single(twin.log10)
def log10(x):
    x = np.float64(x)
    good = (x > 0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log10_sum(k, f, half, tail) if good else special


@single(twin.log1p)
def log1p(x):
    # log(1 + x) with 1 + x rounded to v, plus what the rounding lost; that over v, to two digits
    x = np.float64(x)
    u = 1.0 + x
    good = (u > 0) & (u <= LARGEST)
    v = u if good else 1.0
    lost = (1.0 - (v - x)) if v > 2.0 else (x - (v - 1.0))
    lost = lost if good else 0.0
    k, f, half, tail = log_normal_parts(v)
    j = 60.0 if k > 60.0 else k
    inverse = bits_to_f64((f64_to_bits(MAGIC - j) + 1023) << 52) * muladd(f, muladd(f, 0.85, -1.0), 1.0)
    out = muladd(lost, inverse, log_sum(k, f, half, tail))
    out = x if np.fabs(x) < 1e-17 else out
    special = log_special(u)
    return out if good else special


@single(twin.softplus)
def softplus(x):
    x = np.float64(x)
    return (0.0 if x < 0 else x) + log1p(exp(-np.fabs(x)))
