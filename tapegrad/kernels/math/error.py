"""The error functions, and the distribution function of the normal distribution."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single_error as twin
from tapegrad.kernels.math.constants import INV_LN2, LN2_HI, LN2_LO, MAGIC, clamp, scale, scale_once, upper
from tapegrad.kernels.math.exponential import exp_factor
from tapegrad.kernels.memory import muladd
from tapegrad.kernels.twins import single

OPERANDS = np.float64


def _erf_small(x):
    """``erf(x)`` for ``abs(x) <= 1``."""
    z = x * x
    y = z * z
    w = y * y
    a0 = muladd(-0.3761263890318375, z, 0.12837916709551256)
    a1 = muladd(-0.026866170645077875, z, 0.11283791670954885)
    a2 = muladd(-0.0008548326981424848, z, 0.005223977624828423)
    a3 = muladd(-1.4925595771789235e-05, z, 0.00012055331132932687)
    a4 = muladd(-1.6350396223989035e-07, z, 1.6461008474704305e-06)
    a5 = muladd(-1.137495735410562e-09, z, 1.4660328945167828e-08)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(a5, y, a4)
    c0 = muladd(b1, w, b0)
    c1 = muladd(5.960689230459806e-11, w, b2)
    p = muladd(c1, w * w, c0)
    return muladd(x, p, x)


def exp_times(high, low, c, p):
    """``exp(-high - low) * (c + p)`` without its last factor ``2**k``, and ``k``; ``p`` is small."""
    k = muladd(high, -INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, -high)) - low
    z, q = exp_factor(r)
    return c + muladd(c + p, muladd(z, q, r), p), k


def _erfc_positive(x):
    """``p, k``: ``erfc(x) = p * 2**k`` for ``0.5 <= x <= 28``.

    ``(1 + 2 x) exp(x**2) erfc(x)`` is smooth in ``(x - 4) / (x + 4)`` (Shepherd and Laframboise 1981).
    The square is taken in two parts, or its rounding would show in the exponential.
    """
    t = (x - 4.0) / (x + 4.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.1396211168405625, t, -4.3403381080401144e-17)
    a1 = muladd(0.06809705425468976, t, 0.015379652102618845)
    a2 = muladd(0.09373283499847576, t, -0.10103906603624195)
    a3 = muladd(0.037167515534961275, t, -0.06633036581390032)
    a4 = muladd(0.005031970006080486, t, -0.016197734034610337)
    a5 = muladd(-0.00019925688660340246, t, -0.0007577734746046276)
    a6 = muladd(-2.439836597613704e-05, t, 0.00015062260620086486)
    a7 = muladd(5.707248495988639e-06, t, -1.1225024840553991e-05)
    a8 = muladd(-8.206271524301713e-07, t, 3.000210946035199e-07)
    a9 = muladd(1.0417890904903166e-07, t, 6.662047887129078e-08)
    a10 = muladd(-9.976021914494084e-09, t, -1.207485456840996e-08)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(a10, y, b4)
    d0 = muladd(c1, w, c0)
    p = muladd(c2, w * w, d0)
    first = upper(x)
    p, k = exp_times(first * first, (x - first) * (x + first), 1.2329951186255526, p)
    return p / (1.0 + 2.0 * x), k


@single(twin.erf)
def erf(x):
    x = np.float64(x)
    a = np.fabs(x)
    p, k = _erfc_positive(clamp(a, 0.5, 6.0))
    far = np.copysign(1.0 - scale_once(p, k), x)
    near = _erf_small(x)
    return near if a < 1.0 else far


@single(twin.erfc)
def erfc(x):
    x = np.float64(x)
    a = np.fabs(x)
    p, k = _erfc_positive(clamp(a, 0.5, 28.0))
    tail = scale(p, k)
    other = 2.0 - tail
    far = other if x < 0 else tail
    near = 1.0 - _erf_small(x)
    return near if a < 0.6 else far


@single(twin.ndtr)
def ndtr(x):
    # with polynomials of its own: x / sqrt(2), rounded, would spoil the last digit of erfc
    x = np.float64(x)
    a = np.fabs(x)
    v = clamp(a, 0.67, 39.5)
    t = (v - 5.0) / (v + 5.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.09155228183400894, t, 2.4400129772916082e-17)
    a1 = muladd(0.01000235238522087, t, 0.03103036842596306)
    a2 = muladd(0.02453696324391392, t, -0.026401042966281513)
    a3 = muladd(0.006522000664941987, t, -0.015170415402904213)
    a4 = muladd(7.791614638666728e-06, t, -0.001676072342281259)
    a5 = muladd(-5.360763104413655e-05, t, 0.0001823341436352123)
    a6 = muladd(9.059842986810474e-06, t, -9.896146924682212e-06)
    a7 = muladd(-1.3071168779897509e-06, t, -7.006647357422151e-08)
    a8 = muladd(1.951863174424362e-07, t, 1.2713259611331913e-07)
    a9 = muladd(-2.9318220575841316e-08, t, -2.518900973854791e-08)
    a10 = muladd(3.1660893145181898e-09, t, 2.7664657483529603e-09)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(a10, y, b4)
    d0 = muladd(c1, w, c0)
    p = muladd(c2, w * w, d0)
    first = upper(v)
    high, low = 0.5 * (first * first), 0.5 * ((v - first) * (v + first))
    p, k = exp_times(high, low, 0.46151582985003775, p)
    tail = scale(p / (1.0 + v), k)
    other = 1.0 - tail
    far = other if x > 0 else tail
    z = x * x
    y = z * z
    w = y * y
    a0 = muladd(-0.06649038006690544, z, 0.3989422804014327)
    a1 = muladd(-0.0011873282154743379, z, 0.009973557010035577)
    a2 = muladd(-9.44465567182634e-06, z, 0.00011543468753707101)
    a3 = muladd(-4.121919975095603e-08, z, 6.659666901945167e-07)
    a4 = muladd(-1.008753737523551e-10, z, 2.2607938072789027e-09)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    c0 = muladd(b1, w, b0)
    p = muladd(a4, w * w, c0)
    near = muladd(x, p, 0.5)
    return near if a < 0.67 else far
