"""The error functions, and the distribution function of the normal distribution, in float32."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.single import (
    INV_LN2,
    LN2_HI,
    LN2_LO,
    MAGIC,
    clamp,
    exp_factor,
    scale,
    scale_once,
    upper,
)
from tapegrad.kernels.memory import muladd

OPERANDS = np.float32


def _erf_small(x):
    z = x * x
    y = z * z
    w = y * y
    a0 = muladd(-0.37612563, z, 0.12837914)
    a1 = muladd(-0.026840532, z, 0.11283157)
    a2 = muladd(-0.00078536564, z, 0.0051677027)
    b0 = muladd(a1, y, a0)
    b1 = muladd(7.391488e-05, y, a2)
    p = muladd(b1, w, b0)
    return muladd(x, p, x)


def _exp_times(high, low, c, p):
    k = muladd(high, -INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, -high)) - low
    z, q = exp_factor(r)
    return c + muladd(c + p, muladd(z, q, r), p), k


def _erfc_positive(x):
    t = (x - 4.0) / (x + 4.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.13962106, t, -3.475247e-08)
    a1 = muladd(0.06809436, t, 0.015379805)
    a2 = muladd(0.09376947, t, -0.10104425)
    a3 = muladd(0.03698828, t, -0.066262044)
    a4 = muladd(0.0052753626, t, -0.016575567)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    c0 = muladd(b1, y, b0)
    p = muladd(a4, w, c0)
    first = upper(x)
    p, k = _exp_times(first * first, (x - first) * (x + first), 1.2329951186255526, p)
    return p / (1.0 + 2.0 * x), k


def erf(x):
    a = np.fabs(x)
    p, k = _erfc_positive(clamp(a, 0.5, 4.0))
    far = np.copysign(1.0 - scale_once(p, k), x)
    near = _erf_small(x)
    return near if a < 1.0 else far


def erfc(x):
    a = np.fabs(x)
    p, k = _erfc_positive(clamp(a, 0.5, 11.0))
    tail = scale(p, k)
    other = 2.0 - tail
    far = other if x < 0.0 else tail
    near = 1.0 - _erf_small(x)
    return near if a < 0.6 else far


def ndtr(x):
    a = np.fabs(x)
    v = clamp(a, 0.67, 15.0)
    t = (v - 5.0) / (v + 5.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.09155234, t, -1.6424616e-08)
    a1 = muladd(0.010004962, t, 0.031030677)
    a2 = muladd(0.024503194, t, -0.026406467)
    a3 = muladd(0.0066931085, t, -0.0151470015)
    a4 = muladd(-0.0003036624, t, -0.0016571116)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    c0 = muladd(b1, y, b0)
    p = muladd(a4, w, c0)
    first = upper(v)
    high, low = 0.5 * (first * first), 0.5 * ((v - first) * (v + first))
    p, k = _exp_times(high, low, 0.46151582985003775, p)
    tail = scale(p / (1.0 + v), k)
    other = 1.0 - tail
    far = other if x > 0.0 else tail
    z = x * x
    y = z * z
    w = y * y
    a0 = muladd(-0.06649068, z, 0.3989423)
    a1 = muladd(-0.001191093, z, 0.009975559)
    b0 = muladd(a1, y, a0)
    p = muladd(0.00011284678, w, b0)
    near = muladd(x, p, 0.5)
    return near if a < 0.67 else far
