"""Quotients with a gap at zero that is filled: ``sin(x) / x``, ``expm1(x) / x``, ``log1p(x) / x``.

Each is an integral over ``t`` from 0 to 1, and its derivatives of every order are that integral with powers
of ``t`` in it: a series for small arguments, a recurrence for others.  So they are right at and near zero.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.circular import cos_near, sin_near
from tapegrad.kernels.math.constants import HIGHEST, INF, LARGEST, NAN, PI
from tapegrad.kernels.math.exponential import exp, expm1
from tapegrad.kernels.math.logarithm import log1p

OPERANDS = np.float64


def _sin_pi(x):
    """``sin(pi x)``, with all digits near its zeros."""
    k = np.rint(x)
    s = sin_near(PI * (x - k))
    return -s if np.rint(0.5 * k) * 2.0 != k else s


def _cos_pi(x):
    k = np.rint(x)
    c = cos_near(PI * (x - k))
    return -c if np.rint(0.5 * k) * 2.0 != k else c


def sinc(x):
    x = np.float64(x)
    y = PI * x
    small = np.fabs(x) < 1e-9
    huge = np.fabs(x) > LARGEST
    out = _sin_pi(0.0 if small | huge else x) / (1.0 if small | huge else y)
    out = 1.0 if small else out
    return 0.0 if huge else out


def sinc_n(x, y):
    """``integral of t**n cos(pi y t + n pi / 2)``: the derivative of order ``n = x`` over ``pi**n``."""
    n, y = np.float64(x), np.float64(y)
    if (y != y) | (n != n) | (n > HIGHEST):
        return NAN
    if np.fabs(y) > LARGEST:
        return 0.0
    z = PI * y
    if np.fabs(z) < 1.5 + 0.5 * n:
        k = np.floor(0.5 * (n + 1.0))  # the first term whose n-th derivative is not zero
        rest = 2.0 * k - n
        term = z if rest == 1.0 else 1.0
        term = -term if np.floor(0.5 * k) * 2.0 != k else term
        out = 0.0
        for _ in range(40):
            out += term / (2.0 * k + 1.0)
            k += 1.0
            term = -term * (z / (rest + 1.0)) * (z / (rest + 2.0))
            rest += 2.0
        return out
    s, c = _sin_pi(y), _cos_pi(y)
    out = s / z
    k = 1.0
    while k <= n:
        s, c = c, -s  # sin(z + k pi / 2)
        out = (s - k * out) / z
        k += 1.0
    return out


def exprel(x):
    x = np.float64(x)
    small = np.fabs(x) < 1e-17
    v = 1.0 if small else x
    half = exp(0.5 * v)
    out = (half / v) * half if v > 700.0 else expm1(v) / v
    out = 1.0 if small else out
    return INF if x > LARGEST else out


def exprel_n(x, y):
    """``integral of t**n exp(y t)``: the derivative of order ``n = x`` of `exprel`."""
    n, y = np.float64(x), np.float64(y)
    if (y != y) | (n != n) | (n > HIGHEST):
        return NAN
    if y > LARGEST:
        return INF
    if y < -LARGEST:
        return 0.0
    if np.fabs(y) > 30.0 + n:
        half = exp(0.5 * y)
        out = (half / y) * half if y > 700.0 else expm1(y) / y
        k = 1.0
        while k <= n:
            out = (half / y) * half - out * (k / y)
            k += 1.0
        return out
    if y >= 0:
        out, term, k = 0.0, 1.0, 0.0
        while term > 1e-18 * out:
            out += term / (n + k + 1.0)
            k += 1.0
            term = term * y / k
        return out
    term = 1.0 / (n + 1.0)
    out, k = 0.0, 0.0
    while term > 1e-18 * out:
        out += term
        k += 1.0
        term = term * -y / (n + k + 1.0)
    return out * exp(y)


def log1prel(x):
    x = np.float64(x)
    small = np.fabs(x) < 1e-17
    huge = x > LARGEST
    out = log1p(x) / (1.0 if small | huge else x)
    out = 1.0 if small else out
    return 0.0 if huge else out


def log1prel_n(x, y):
    """``integral of (t / (1 + y t))**n / (1 + y t)``: what derivatives of `log1prel` are made of."""
    n, y = np.float64(x), np.float64(y)
    if (y != y) | (n != n) | (n > HIGHEST):
        return NAN
    u = 1.0 / (1.0 + y)
    if (y > -0.25) & (y < 0.75):
        w = y * u
        out, power = 0.0, 1.0
        k = 0.0
        for _ in range(44):
            out += power / (n + k + 1.0)
            power *= w
            k += 1.0
        k = 0.0
        while k <= n:
            out *= u
            k += 1.0
        return out
    out = log1prel(y)
    k = 1.0
    power = 1.0
    while k <= n:
        power *= u
        out = (out - power / k) / y
        k += 1.0
    return out
