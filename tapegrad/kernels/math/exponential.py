"""Exponentials, and the logistic function."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single as twin
from tapegrad.kernels.math.constants import INV_LN2, LN2, LN2_HI, LN2_LO, MAGIC, clamp, scale, scale_once
from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd
from tapegrad.kernels.twins import single, within

OPERANDS = np.float64

NORMAL = (-86.0, 86.0)


def exp_factor(r):
    """``z, q`` with ``exp(r) = 1 + r + z * q``, for ``abs(r) <= log(2) / 2``."""
    z = r * r
    y = z * z
    a0 = muladd(0.16666666666666685, r, 0.5)
    a1 = muladd(0.008333333333316621, r, 0.04166666666666673)
    a2 = muladd(0.00019841269897356907, r, 0.0013888888888858183)
    a3 = muladd(2.755723393199656e-06, r, 2.4801587374223816e-05)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    p = muladd(b1, y, b0)
    q = muladd(r, 2.5112348213072172e-08, 2.755723297166814e-07)
    q = muladd(z, 2.092705633378101e-09, q)
    return z, muladd(y * y, q, p)


def exp_parts(x):
    """``p, k`` with ``exp(x) = p * 2**k``."""
    v = clamp(x, -800.0, 800.0)
    k = muladd(v, INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, v))
    z, q = exp_factor(r)
    return 1.0 + muladd(z, q, r), k


@single(twin.exp_normal)
def exp_normal(x):
    """`exp` of numbers in NORMAL, in which the result is far from over- and underflow."""
    x = np.float64(x)
    k = muladd(x, INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, x))
    z, q = exp_factor(r)
    return scale_once(1.0 + muladd(z, q, r), k)


@within(exp_normal, *NORMAL)
@single(twin.exp)
def exp(x):
    p, k = exp_parts(np.float64(x))
    return scale(p, k)


@single(twin.exp2_normal)
def exp2_normal(x):
    x = np.float64(x)
    k = (x + MAGIC) - MAGIC
    r = (x - k) * LN2
    z, q = exp_factor(r)
    return scale_once(1.0 + muladd(z, q, r), k)


@within(exp2_normal, *NORMAL)
@single(twin.exp2)
def exp2(x):
    v = clamp(np.float64(x), -1200.0, 1200.0)
    k = (v + MAGIC) - MAGIC
    r = (v - k) * LN2
    z, q = exp_factor(r)
    return scale(1.0 + muladd(z, q, r), k)


def _expm1_parts(x):
    """``p, q, k`` with ``expm1(x) = (p + q) * 2**k``, for ``-45 < x < 800``."""
    k = muladd(x, INV_LN2, MAGIC) - MAGIC
    high, low = muladd(k, -LN2_HI, x), k * LN2_LO
    r = high - low
    z, q = exp_factor(r)
    p = r + muladd(z, q, (high - r) - low)
    j = 60.0 if k > 60.0 else k
    return p, 1.0 - bits_to_f64((f64_to_bits(MAGIC - j) + 1023) << 52), k


@single(twin.expm1)
def expm1(x):
    x = np.float64(x)
    p, q, k = _expm1_parts(clamp(x, -45.0, 800.0))
    out = scale(p + q, k)
    return x if np.fabs(x) < 1e-17 else out


@single(twin.sigmoid_normal)
def sigmoid_normal(x):
    x = np.float64(x)
    e = exp_normal(-np.fabs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


@within(sigmoid_normal, *NORMAL)
@single(twin.sigmoid)
def sigmoid(x):
    x = np.float64(x)
    e = exp(-np.fabs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)
