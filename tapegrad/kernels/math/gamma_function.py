"""The gamma function itself: accurate up to its largest and down to its smallest values."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.circular import sin_near
from tapegrad.kernels.math.constants import INF, LARGEST, NAN, PI, scale
from tapegrad.kernels.math.gamma import step_product
from tapegrad.kernels.math.power import power_scaled
from tapegrad.kernels.math.power_parts import log2_pair
from tapegrad.kernels.memory import muladd

OPERANDS = np.float64
LOG2_E, LOG2_E_REST = 1.4426950408889634, 2.0355273740931033e-17


def _near(x):
    """``num, den`` with the gamma function ``num / den``, for ``0 < x < 8``."""
    base, num = step_product(x, 1.0, x, 1.0)
    base, num = step_product(x, 2.0, base, num)
    base, num = step_product(x, 3.0, base, num)
    base, num = step_product(x, 4.0, base, num)
    base, num = step_product(x, 5.0, base, num)
    base, num = step_product(x, 6.0, base, num)
    low, tiny = x < 1.5, x < 0.5
    den = x * (1.0 + x) if tiny else x if low else 1.0
    base = (x + 1.0 if low else x) if x < 2.5 else base
    num = num if x >= 2.5 else 1.0
    u = x if tiny else base - 2.0
    # 1 / gamma(2 + u)
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.4227843350984667, u, 1.0)
    a1 = muladd(0.19109110138762683, u, -0.23309373642178347)
    a2 = muladd(-0.0176452445474584, u, -0.02455249000561146)
    a3 = muladd(-0.0008043298249169473, u, 0.008023273027309897)
    a4 = muladd(0.00014559660797551496, u, -0.00036083787219100716)
    a5 = muladd(-2.5913558568039036e-06, u, -1.7545556030922547e-05)
    a6 = muladd(-1.993769895471455e-07, u, 1.3377905008915238e-06)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    c1 = muladd(a6, y, b2)
    return num, den * muladd(c1, w, c0)


def _far(x):
    """``p, k`` with the gamma function ``p 2**k``, for ``8 <= x``: Stirling's formula.

    ``(x / e) ** (x - 1/2)`` is computed as powers are, with a logarithm in two parts.
    """
    first, second = log2_pair(x, 1023.0)
    a = first - LOG2_E
    second += ((first - a) - LOG2_E) - LOG2_E_REST
    p, k = power_scaled(a, second, x - 0.5)
    r = 1.0 / x
    z = r * r
    y = z * z
    w = y * y
    a0 = muladd(0.126695575088853, r, 1.520346901066281)
    a1 = muladd(-0.004076547537549899, r, 0.005278982296340977)
    a2 = muladd(0.0011918642137050024, r, -0.0003488721487615226)
    a3 = muladd(-0.0009280636264485861, r, 0.00010860930491541543)
    a4 = muladd(0.0007921829243306813, r, 9.176731987391786e-05)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    c0 = muladd(b1, y, b0)
    return p * muladd(a4, w, c0), k


def gamma(x):
    """By reflection where negative: ``gamma(x) gamma(-x) = -pi / (x sin(pi x))``."""
    x = np.float64(x)
    a = np.fabs(x)
    near = a < 8.0
    num, den = _near(a if near & (a > 0) else 1.0)
    p, k = _far(8.0 if near else 400.0 if not a <= 400.0 else a)
    rounded = np.rint(a)
    sine = sin_near(PI * (a - rounded)) if a <= LARGEST else 0.0
    sine = -sine if np.rint(0.5 * rounded) * 2.0 != rounded else sine
    whole = sine == 0
    below = x < 0
    p = num / den if near else p
    k = 0.0 if near else k
    turned = (-PI / (1.0 if whole else sine)) / (a * p)
    turned = NAN if whole else turned
    out = scale(turned if below else p, -k if below else k)
    # factorials are exact up to that of 20, which is a multiple of 2**16
    unit = 65536.0 if x > 18.0 else 1.0
    out = np.rint(out / unit) * unit if (x <= 21.0) & (np.floor(x) == x) & (x > 0) else out
    out = np.copysign(INF, x) if x == 0 else out
    out = x if (x != x) | (x > LARGEST) else out
    return NAN if x < -LARGEST else out


def gammasgn(x):
    x = np.float64(x)
    down = np.floor(x)
    odd = np.floor(0.5 * down) * 2.0 != down
    out = -1.0 if odd & (x < 0) else 1.0
    pole = (x < 0) & (down == x)  # minus infinity as well
    out = np.copysign(1.0, x) if x == 0 else out
    return NAN if pole | (x != x) else out
