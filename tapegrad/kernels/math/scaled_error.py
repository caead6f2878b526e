"""``exp(x**2) erfc(x)``, its derivatives, and the logarithm of the normal distribution function.

Nothing in these under- or overflows for positive arguments, and their tails keep all digits.  The derivatives
are the scaled repeated integrals ``E_n(x) = exp(x**2) i^n erfc(x)`` (NIST DLMF 7.18), for
``E_n' = -2 (n + 1) E_{n+1}`` has no cancellation, where ``2 x erfcx(x) - 2 / sqrt(pi)`` has.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.constants import HIGHEST, NAN, clamp, scale, upper
from tapegrad.kernels.math.error import exp_times, ndtr
from tapegrad.kernels.math.logarithm import log1p, log_positive
from tapegrad.kernels.memory import muladd

OPERANDS = np.float64
SQRT_HALF = 0.7071067811865476
TWO_OVER_SQRT_PI, ONE_OVER_SQRT_PI = 1.1283791670955126, 0.5641895835477563


def erfcx_positive(x):
    """`erfcx` of ``x >= 0``: ``(1 + 7/4 x) erfcx(x)`` is smooth in ``(x - 4) / (x + 4)``, up to infinity.

    Shepherd and Laframboise 1981.
    """
    v = 1e18 if x > 1e18 else x
    t = (v - 4.0) / (v + 4.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.1545519833305133, t, 8.418934094907471e-17)
    a1 = muladd(0.03905269538565559, t, 0.04079715545456781)
    a2 = muladd(0.07412775366965918, t, -0.07478878560653929)
    a3 = muladd(0.03091608282683841, t, -0.05412668802764068)
    a4 = muladd(0.004303082990345615, t, -0.01366548428296427)
    a5 = muladd(-0.00016447723816849548, t, -0.0006657721997716222)
    a6 = muladd(-2.1585584184004164e-05, t, 0.00012897568365917875)
    a7 = muladd(4.941593003359847e-06, t, -9.453866440162187e-06)
    a8 = muladd(-7.057580478801939e-07, t, 2.2523424654890785e-07)
    a9 = muladd(9.065220120455482e-08, t, 6.541976427483091e-08)
    a10 = muladd(-1.0364389205319358e-08, t, -1.4601267812543008e-08)
    a11 = muladd(7.618862493029473e-10, t, 1.3961816537076065e-09)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(a11, z, a10)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    d0 = muladd(c1, w, c0)
    p = muladd(c2, w * w, d0)
    return (1.095995661000491 + p) / (1.0 + 1.75 * x)


def exp_square(a):
    """``exp(a**2)`` of positive numbers, the square in two parts: its rounding would show."""
    v = clamp(a, 0.0, 28.0)
    first = upper(v)
    p, k = exp_times(-(first * first), -((v - first) * (v + first)), 1.0, 0.0)
    return scale(p, k)


def erfcx(x):
    x = np.float64(x)
    a = np.fabs(x)
    tail = erfcx_positive(a)
    other = 2.0 * exp_square(a) - tail
    return other if x < 0 else tail


def erfcx_1(x):
    """``E_1(x) = 1 / sqrt(pi) - x erfcx(x)``, all digits of it."""
    x = np.float64(x)
    a = np.fabs(x)
    v = 1e18 if a > 1e18 else a
    t = (v - 4.0) / (v + 4.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(-0.20771705949747932, t, -2.897103428695032e-17)
    a1 = muladd(0.10692649328926865, t, 0.022683221314488862)
    a2 = muladd(0.11069102216181462, t, -0.144978714061021)
    a3 = muladd(0.004184570242643238, t, -0.05078700109358914)
    a4 = muladd(-0.015282365271093392, t, 0.015518972859742188)
    a5 = muladd(-0.002294195677953546, t, 0.008065464761181577)
    a6 = muladd(0.00034354637640054416, t, -5.696986289430855e-05)
    a7 = muladd(-1.9156119455313714e-05, t, -0.00010797182560084505)
    a8 = muladd(-1.4632891490813458e-06, t, 2.1071685107605815e-05)
    a9 = muladd(6.733454157080488e-07, t, -3.076813723950914e-06)
    a10 = muladd(-1.4168678170177677e-07, t, 4.14725547343852e-07)
    a11 = muladd(2.113285958687716e-08, t, -4.9796161039656296e-08)
    a12 = muladd(-1.7500442865541115e-09, t, 3.810224219407014e-09)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(a11, z, a10)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    d0 = muladd(c1, w, c0)
    d1 = muladd(a12, w, c2)
    p = muladd(d1, w * w, d0)
    inverse = 1.0 / (1.0 + 1.40625 * a)
    tail = (0.7106661611009005 + p) * inverse * inverse
    # on the other side nothing cancels
    other = ONE_OVER_SQRT_PI + a * (2.0 * exp_square(a) - erfcx_positive(a))
    return other if x < 0 else tail


def erfcx_n(x, y):
    """``E_x(y)`` for an order ``x = 0, 1, ...``.

    By the recurrence ``2 n E_n = E_{n-2} - 2 x E_{n-1}`` upwards where that is stable, by its continued
    fraction (Gautschi 1961) where it is not.
    """
    n, v = np.float64(x), np.float64(y)
    if (v != v) | (n != n) | (n > HIGHEST):
        return NAN
    before, now = TWO_OVER_SQRT_PI, erfcx(v)
    if v < 0.25:
        k = 1.0
        while k <= n:
            before, now = now, (before - 2.0 * v * now) / (2.0 * k)
            k += 1.0
        return now
    k = np.floor(n + 40.0 + 180.0 / (v * v))
    ratio = 0.0
    while k >= 1.0:
        ratio = 0.5 / (v + (k + 1.0) * ratio)
        now = now * ratio if k <= n else now
        k -= 1.0
    return now


def log_ndtr(x):
    x = np.float64(x)
    a = np.fabs(x)
    low = log_positive(0.5 * erfcx_positive(SQRT_HALF * (1e150 if a > 1e150 else a))) - (0.5 * a) * a
    high = log1p(-ndtr(-a))
    return low if x < 0 else high
