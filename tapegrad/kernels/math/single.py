"""Exponentials, logarithms, hyperbolic functions and powers in float32.

They are those of the modules for float64, with shorter polynomials; see there.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad.kernels.math.power_parts import power_short, power_special
from tapegrad.kernels.memory import bits_to_f32, f32_to_bits, like, muladd

OPERANDS = np.float32

MAGIC = 12582912.0  # 1.5 * 2**23: added, it leaves the nearest integer in the low bits
TWO23 = 8388608.0
INV_LN2 = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HI, LN2_LO = 0.693359375, -0.00021219444005469057  # 9 bits, and the rest
INV_LN10 = 0.4342944819032518
INV_LN10_HI, INV_LN10_LO = 0.4342041015625, 9.038034075182765e-05  # 12 bits, and the rest
LOG10_2_HI, LOG10_2_LO = 0.301025390625, 4.605038981195214e-06  # 16 bits, and the rest
SQRT_HALF_BITS = 0x3F3504F3
ONE_BITS = 0x3F800000
FRACTION = 0x007FFFFF
UPPER = -(1 << 12)  # masks a float32 to 12 bits; a product of two of these is exact
INF, NAN = math.inf, math.nan
LARGEST = 3.4028234663852886e38
TINY = 1.1754943508222875e-38


def clamp(x, low, high):
    v = like(low, x) if x < low else x
    return like(high, x) if v > high else v


def upper(x):
    return bits_to_f32(f32_to_bits(x) & UPPER)


def scale_once(p, k):
    return p * bits_to_f32((f32_to_bits(k + MAGIC) + 127) << 23)


def scale(p, k):
    t = muladd(k, 0.5, MAGIC)
    u = (k - (t - MAGIC)) + MAGIC
    return p * bits_to_f32((f32_to_bits(t) + 127) << 23) * bits_to_f32((f32_to_bits(u) + 127) << 23)


# --- exponentials ---------------------------------------------------------------------------------


def exp_factor(r):
    z = r * r
    z = r * r
    y = z * z
    a0 = muladd(0.16666496, r, 0.5)
    a1 = muladd(0.008371545, r, 0.04166658)
    b0 = muladd(a1, z, a0)
    q = muladd(0.0013921983, y, b0)
    return z, q


def exp_parts(x):
    v = clamp(x, -110.0, 110.0)
    k = muladd(v, INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, v))
    z, q = exp_factor(r)
    return 1.0 + muladd(z, q, r), k


def exp_normal(x):
    k = muladd(x, INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, x))
    z, q = exp_factor(r)
    return scale_once(1.0 + muladd(z, q, r), k)


def exp(x):
    p, k = exp_parts(x)
    return scale(p, k)


def exp2_normal(x):
    k = (x + MAGIC) - MAGIC
    r = (x - k) * LN2
    z, q = exp_factor(r)
    return scale_once(1.0 + muladd(z, q, r), k)


def exp2(x):
    v = clamp(x, -160.0, 160.0)
    k = (v + MAGIC) - MAGIC
    r = (v - k) * LN2
    z, q = exp_factor(r)
    return scale(1.0 + muladd(z, q, r), k)


def expm1(x):
    v = clamp(x, -20.0, 110.0)
    k = muladd(v, INV_LN2, MAGIC) - MAGIC
    high, low = muladd(k, -LN2_HI, v), k * LN2_LO
    r = high - low
    z, q = exp_factor(r)
    p = r + muladd(z, q, (high - r) - low)
    j = 30.0 if k > 30.0 else k
    out = scale(p + (1.0 - bits_to_f32((f32_to_bits(MAGIC - j) + 127) << 23)), k)
    return x if np.fabs(x) < 1e-9 else out


def sigmoid_normal(x):
    e = exp_normal(-np.fabs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


def sigmoid(x):
    e = exp(-np.fabs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


# --- logarithms -----------------------------------------------------------------------------------


def log_normal_parts(x):
    # a longer polynomial instead of a division
    h = f32_to_bits(x) + (ONE_BITS - SQRT_HALF_BITS)
    k = bits_to_f32((np.uint32(h) >> np.uint32(23)) | np.uint32(0x4B000000)) - (TWO23 + 127.0)
    f = bits_to_f32((h & FRACTION) + SQRT_HALF_BITS) - 1.0
    z = f * f
    y = z * z
    a0 = muladd(-0.2500081, f, 0.33333316)
    a1 = muladd(-0.16624609, f, 0.20002308)
    a2 = muladd(-0.13125652, f, 0.14179315)
    a3 = muladd(-0.0795265, f, 0.12925087)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    p = muladd(b1, y, b0)
    return k, f, 0.5 * z, f * z * p


def log_parts(x):
    tiny = x < TINY
    k, f, half, tail = log_normal_parts(x * 33554432.0 if tiny else x)
    return (k - 25.0 if tiny else k), f, half, tail


def log_sum(k, f, half, tail):
    return muladd(k, LN2_HI, -((half - muladd(k, LN2_LO, tail)) - f))


def log2_sum(k, f, half, tail):
    return muladd(f - (half - tail), INV_LN2, k)


def log10_sum(k, f, half, tail):
    first = upper(f - half)
    rest = ((f - first) - half) + tail
    a, b = k * LOG10_2_HI, first * INV_LN10_HI
    out = a + b
    return out + (((a - out) + b) + muladd(k, LOG10_2_LO, muladd(first, INV_LN10_LO, rest * INV_LN10)))


def log_special(x):
    out = NAN if x < 0.0 else x
    return -INF if x == 0.0 else out


def log_normal(x):
    k, f, half, tail = log_normal_parts(x)
    return log_sum(k, f, half, tail)


def log2_normal(x):
    k, f, half, tail = log_normal_parts(x)
    return log2_sum(k, f, half, tail)


def log10_normal(x):
    k, f, half, tail = log_normal_parts(x)
    return log10_sum(k, f, half, tail)


def log(x):
    good = (x > 0.0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log_sum(k, f, half, tail) if good else special


def log2(x):
    good = (x > 0.0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log2_sum(k, f, half, tail) if good else special


def log10(x):
    good = (x > 0.0) & (x <= LARGEST)
    k, f, half, tail = log_parts(x if good else 1.0)
    special = log_special(x)
    return log10_sum(k, f, half, tail) if good else special


def log1p(x):
    u = 1.0 + x
    good = (u > 0.0) & (u <= LARGEST)
    v = u if good else 1.0
    lost = (1.0 - (v - x)) if v > 2.0 else (x - (v - 1.0))
    lost = lost if good else 0.0
    k, f, half, tail = log_normal_parts(v)
    j = 30.0 if k > 30.0 else k
    inverse = bits_to_f32((f32_to_bits(MAGIC - j) + 127) << 23) * muladd(f, muladd(f, 0.85, -1.0), 1.0)
    out = muladd(lost, inverse, log_sum(k, f, half, tail))
    out = x if np.fabs(x) < 1e-8 else out
    special = log_special(u)
    return out if good else special


def softplus(x):
    return (0.0 if x < 0.0 else x) + log1p(exp(-np.fabs(x)))


# --- hyperbolic -----------------------------------------------------------------------------------


def sinh(x):
    a = np.fabs(x)
    p, k = exp_parts(a)
    t = scale(p, k - 1.0)
    far = t - 0.25 / t
    z = a * a
    y = z * z
    a0 = muladd(0.008330271, z, 0.16666716)
    p = muladd(0.00020373201, y, a0)
    near = muladd(a * z, p, a)
    return np.copysign(near if a < 1.0 else far, x)


def cosh(x):
    p, k = exp_parts(np.fabs(x))
    t = scale(p, k - 1.0)
    return t + 0.25 / t


def tanh(x):
    a = np.fabs(x)
    v = 10.0 if a > 10.0 else a
    far = 1.0 - 2.0 / (exp_normal(2.0 * v) + 1.0)
    z = a * a
    y = z * z
    w = y * y
    a0 = muladd(0.13332544, z, -0.33333316)
    a1 = muladd(0.021050546, z, -0.053847525)
    b0 = muladd(a1, y, a0)
    p = muladd(-0.0062425425, w, b0)
    near = muladd(a * z, p, a)
    return np.copysign(near if a < 0.55 else far, x)


def asinh(x):
    a = np.fabs(x)
    huge = a > 1e4
    b = 1.0 if huge else a
    s = np.sqrt(b * b + 1.0)
    v = s + b
    lost = b - (v - s)
    far = muladd(lost, s - b, log_normal(a if huge & (a <= LARGEST) else v)) + (LN2 if huge else 0.0)
    z = a * a
    y = z * z
    w = y * y
    a0 = muladd(0.07498165, z, -0.16666622)
    a1 = muladd(0.028681096, z, -0.04438578)
    a2 = muladd(0.005402736, z, -0.016358236)
    b0 = muladd(a1, y, a0)
    p = muladd(a2, w, b0)
    near = muladd(a * z, p, a)
    out = near if a < 0.7 else far
    return x if (a > LARGEST) | (a < 1e-4) else np.copysign(out, x)


def acosh(x):
    t = x - 1.0
    small = t <= 1.0
    huge = x > 1e4
    b = 1.0 if huge else t
    s = np.sqrt(2.0 * b if small else b * (b + 2.0))
    v = b + 1.0 + s
    v = v if x > 1.0 else 1.0
    far = log_normal(x if huge & (x <= LARGEST) else v) + (LN2 if huge else 0.0)
    z = t * t
    y = z * z
    a0 = muladd(0.018745044, t, -0.08333309)
    a1 = muladd(0.0017881702, t, -0.005546281)
    a2 = muladd(8.274071e-05, t, -0.0005067216)
    b0 = muladd(a1, z, a0)
    p = muladd(a2, y, b0)
    near = muladd(s * t, p, s)
    far = x if x > LARGEST else far
    return far if x > 2.0 else near


def atanh(x):
    a = np.fabs(x)
    inside = a < 1.0
    v = (1.0 + a) / (1.0 - (a if inside else 0.0))
    far = 0.5 * log_normal(v if v <= LARGEST else 1.0)
    edge = INF if a == 1.0 else NAN
    far = far if inside else edge
    z = a * a
    y = z * z
    w = y * y
    a0 = muladd(0.20002455, z, 0.33333302)
    a1 = muladd(0.11816646, z, 0.14223753)
    a2 = muladd(0.17639004, z, 0.051595375)
    b0 = muladd(a1, y, a0)
    p = muladd(a2, w, b0)
    near = muladd(a * z, p, a)
    return x if a < 1e-4 else np.copysign(near if a < 0.5 else far, x)


# --- powers ---------------------------------------------------------------------------------------


def power_normal(x, y):
    y = np.float64(y)
    return like(1.0, x) if x == 1.0 else np.float32(power_short(np.float64(x), y))


def power_any(x, y):
    # in float64: without the second part of the logarithm that is less work than float32 with it
    x, y = np.float64(x), np.float64(y)
    a = np.fabs(x)
    good = (a > 0.0) & (a < math.inf)
    return np.float32(power_special(x, y, power_short(a if good else np.float64(1.0), y)))


def cbrt(x):
    a = np.fabs(x)
    good = (a > 0.0) & (a <= LARGEST)
    tiny = a < TINY
    bits = f32_to_bits((a * 16777216.0 if tiny else a) if good else 1.0)
    e = bits_to_f32((np.uint32(bits) >> np.uint32(23)) | np.uint32(0x4B000000)) - TWO23
    m = bits_to_f32((bits & FRACTION) | ONE_BITS)
    # 127 = 3 * 42 + 1
    third = muladd(e - 2.0, 0.3333333333333333, MAGIC)
    j = muladd(third - MAGIC, -3.0, e - 1.0)
    z = m * m
    a0 = muladd(0.5870422, m, 0.55285907)
    a1 = muladd(0.023094594, m, -0.16292189)
    p = muladd(a1, z, a0)
    p = p * (1.0 if j == 0.0 else 1.2599210498948732 if j == 1.0 else 1.5874010519681996)
    m = m * (1.0 if j == 0.0 else 2.0 if j == 1.0 else 4.0)
    t = upper(p)
    cube = t * t * t
    root = muladd(-t, (cube - m) / (cube + cube + m), t)
    shift = 127 - 42 - 8 if tiny else 127 - 42
    root = root * bits_to_f32((f32_to_bits(third) + shift) << 23)
    return np.copysign(root, x) if good else x


def hypot(x, y):
    # squares of float32 numbers neither overflow nor lose digits in float64
    x, y = np.float64(x), np.float64(y)
    out = np.sqrt(x * x + y * y)
    return INF if (np.fabs(x) > LARGEST) | (np.fabs(y) > LARGEST) else np.float32(out)
