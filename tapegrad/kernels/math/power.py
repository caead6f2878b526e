"""Powers, cube roots, and `hypot`."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single as twin
from tapegrad.kernels.math.constants import (
    FRACTION,
    INF,
    LARGEST,
    LN2,
    MAGIC,
    ONE_BITS,
    TWO52,
    clamp,
    scale,
    upper,
)
from tapegrad.kernels.math.exponential import exp_factor
from tapegrad.kernels.math.power_parts import log2_pair, power_special
from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd, product_error
from tapegrad.kernels.twins import single

OPERANDS = np.float64

THIRD = 0.3333333333333333
CBRT_2, CBRT_4 = 1.2599210498948732, 1.5874010519681996


def power_scaled(first, second, y):
    """``p, k`` with ``2 ** ((first + second) * y) = p 2**k``."""
    w = clamp(y, -7e19, 7e19)  # beyond, the result is 0, 1 or infinite, and products must not overflow
    high = w * first
    low = muladd(w, second, product_error(w, first, high))
    v = clamp(high, -1200.0, 1200.0)
    low = low if v == high else 0.0
    k = ((v + low) + MAGIC) - MAGIC
    r = ((v - k) + low) * LN2
    z, q = exp_factor(r)
    return 1.0 + muladd(z, q, r), k


def _power(first, second, y):
    """``2 ** ((first + second) * y)``."""
    p, k = power_scaled(first, second, y)
    return scale(p, k)


@single(twin.power_normal)
def power_normal(x, y):
    """``x ** y`` for ``x`` in NORMAL."""
    x, y = np.float64(x), np.float64(y)
    first, second = log2_pair(x, 1023.0)
    return 1.0 if x == 1.0 else _power(first, second, y)


@single(twin.power_any)
def power_any(x, y):
    """``x ** y``, without branches."""
    x, y = np.float64(x), np.float64(y)
    a = np.fabs(x)
    tiny = a < 2.2250738585072014e-308
    a = a if (a > 0) & (a <= LARGEST) else 1.0
    first, second = log2_pair(a * 18014398509481984.0 if tiny else a, 1077.0 if tiny else 1023.0)
    return power_special(x, y, _power(first, second, y))


@single(twin.cbrt)
def cbrt(x):
    x = np.float64(x)
    a = np.fabs(x)
    good = (a > 0) & (a <= LARGEST)
    tiny = a < 2.2250738585072014e-308
    bits = f64_to_bits((a * 18014398509481984.0 if tiny else a) if good else 1.0)
    e = bits_to_f64(np.int64(np.uint64(bits) >> np.uint64(52)) | 0x4330000000000000) - TWO52
    m = bits_to_f64((bits & FRACTION) | ONE_BITS)
    # e = 3 third + j: j of 0, 1, 2
    third = muladd(e - 1.0, THIRD, MAGIC)
    j = muladd(third - MAGIC, -3.0, e)
    z = m * m
    y = z * z
    a0 = muladd(0.9500713159986208, m, 0.4471477376256504)
    a1 = muladd(0.38531556217381047, m, -0.6661273296993968)
    a2 = muladd(0.030896927461116858, m, -0.14444525676358116)
    b0 = muladd(a1, z, a0)
    b1 = muladd(-0.002858785531389514, z, a2)
    p = muladd(b1, y, b0)
    p = p * (1.0 if j == 0 else CBRT_2 if j == 1 else CBRT_4)
    m = m * (1.0 if j == 0 else 2.0 if j == 1 else 4.0)
    # one step of Halley's method from 22 bits; the square is exact
    t = upper(p)
    cube = t * t * t
    root = muladd(-t, (cube - m) / (cube + cube + m), t)
    shift = 1023 - 341 - 18 if tiny else 1023 - 341
    root = root * bits_to_f64((f64_to_bits(third) + shift) << 52)
    return np.copysign(root, x) if good else x


@single(twin.hypot)
def hypot(x, y):
    a, b = np.fabs(np.float64(x)), np.fabs(np.float64(y))
    large = a if a > b else b
    small = b if a > b else a
    r = small / (1.0 if large == 0 else large)
    out = large * np.sqrt(muladd(r, r, 1.0))
    return INF if (a > LARGEST) | (b > LARGEST) else out
