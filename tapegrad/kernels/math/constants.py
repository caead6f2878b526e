"""Numbers that several families of functions share, in float64, and the scaling by powers of two."""

from __future__ import annotations

import math

import numpy as np

from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd

OPERANDS = np.float64

MAGIC = 6755399441055744.0  # 1.5 * 2**52: added, it leaves the nearest integer in the low bits
TWO52 = 4503599627370496.0
INV_LN2 = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HI, LN2_LO = 0.6931471803691238, 1.9082149292705877e-10  # 32 bits, and the rest
PI, PI_REST = 3.141592653589793, 1.2246467991473532e-16
PIO2, PIO2_REST = 1.5707963267948966, 6.123233995736766e-17
PIO4, PIO4_REST = 0.7853981633974483, 3.061616997868383e-17
ONE_BITS = 0x3FF0000000000000
FRACTION = 0x000FFFFFFFFFFFFF
UPPER = -(1 << 27)  # masks a float64 to 26 bits; a product of two of these is exact
INF, NAN = math.inf, math.nan
HIGHEST = 1000.0  # order of a derivative: what loops count up to has a bound
LARGEST = 1.7976931348623157e308  # not INF: LLVM would test that with integers, which is slower


def clamp(x, low, high):
    v = low if x < low else x
    return high if v > high else v


def upper(x):
    """The first 26 bits of ``x``."""
    return bits_to_f64(f64_to_bits(x) & UPPER)


def scale_once(p, k):
    """``p * 2**k`` for an integer ``k`` between -1022 and 1023."""
    return p * bits_to_f64((f64_to_bits(k + MAGIC) + 1023) << 52)


def scale(p, k):
    """``p * 2**k`` for an integer ``k``, in two steps that over- and underflow as one."""
    t = muladd(k, 0.5, MAGIC)
    u = (k - (t - MAGIC)) + MAGIC
    return p * bits_to_f64((f64_to_bits(t) + 1023) << 52) * bits_to_f64((f64_to_bits(u) + 1023) << 52)
