"""Trigonometric functions of arguments up to NEAR, and their inverses."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single_circular as twin
from tapegrad.kernels.math.constants import (
    LARGEST,
    MAGIC,
    PI,
    PI_REST,
    PIO2,
    PIO2_REST,
    PIO4,
    PIO4_REST,
)
from tapegrad.kernels.memory import f64_to_bits, muladd
from tapegrad.kernels.twins import single

OPERANDS = np.float64


NEAR = 1e6  # sin_near and its like reduce arguments up to here
TWO_OVER_PI = 0.6366197723675814
# pi / 2 in pieces of 33 bits, whose products with integers below 2**20 are exact
PIO2_1, PIO2_2 = 1.5707963267341256, 6.077100506303966e-11
PIO2_3, PIO2_4 = 2.0222662487111665e-21, 8.4784276603689e-32


def _reduce(x):
    """``r, low, q``: ``x = (q + 4 n) pi / 2 + r + low``, ``q`` in the last bits."""
    t = muladd(x, TWO_OVER_PI, MAGIC)
    k = t - MAGIC
    a = muladd(k, -PIO2_1, x)
    w = k * PIO2_2
    b = a - w
    low = (a - b) - w
    w = k * PIO2_3
    r = b - w
    low = muladd(k, -PIO2_4, low + ((b - r) - w))
    s = r + low
    return s, low - (s - r), f64_to_bits(t)


def _sin_kernel(r, low):
    z = r * r
    y = z * z
    a0 = muladd(0.008333333333323313, z, -0.16666666666666638)
    a1 = muladd(2.755731385247943e-06, z, -0.0001984126983037004)
    a2 = muladd(1.589787721299221e-10, z, -2.5050779523019283e-08)
    b0 = muladd(a1, y, a0)
    p = muladd(a2, y * y, b0)
    return r + muladd(r * z, p, low * muladd(z, -0.5, 1.0))


def _cos_kernel(r, low):
    z = r * r
    y = z * z
    a0 = muladd(-0.0013888888888882592, z, 0.04166666666666666)
    a1 = muladd(-2.755731557384228e-07, z, 2.4801587294166022e-05)
    a2 = muladd(-1.1366928300215725e-11, z, 2.0875875265104896e-09)
    b0 = muladd(a1, y, a0)
    p = muladd(a2, y * y, b0)
    half = 0.5 * z
    w = 1.0 - half
    lost = muladd(-0.5, muladd(r, r, -z), -(r * low))  # where muladd is fused: what z's rounding lost
    return w + (((1.0 - w) - half) + muladd(y, p, lost))


@single(twin.sin_near)
def sin_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = c if q & 1 else s
    out = -out if q & 2 else out
    return x if np.fabs(x) < 1e-9 else out


@single(twin.cos_near)
def cos_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = s if q & 1 else c
    return -out if (q + 1) & 2 else out


@single(twin.tan_near)
def tan_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = (-c if q & 1 else s) / (s if q & 1 else c)
    return x if np.fabs(x) < 1e-9 else out


def _angle(a, b):
    """The angle of the point ``(b, a)``, both nonnegative, their sum finite.

    The tangent is turned by 0, 45 or 90 degrees so that it lies within ``sqrt(2) - 1``.
    """
    low = (a < 0.4142135623730951 * b) | (a == 0)
    high = a > 2.414213562373095 * b
    num = -b if high else a - b
    num = a if low else num
    den = a if high else a + b
    den = b if low else den
    r = num / (1.0 if den == 0 else den)
    turn = PIO2 if high else PIO4
    rest = PIO2_REST if high else PIO4_REST
    turn = 0.0 if low else turn
    rest = 0.0 if low else rest
    z = r * r
    y = z * z
    w = y * y
    a0 = muladd(0.19999999999978754, z, -0.333333333333333)
    a1 = muladd(0.11111110883506863, z, -0.14285714282425716)
    a2 = muladd(0.07692103148152789, z, -0.09090900378384816)
    a3 = muladd(0.058509745932371, z, -0.06663557384129518)
    a4 = muladd(0.03837858684824363, z, -0.05052381638241955)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(-0.018233568751106908, y, a4)
    c0 = muladd(b1, w, b0)
    p = muladd(b2, w * w, c0)
    return turn + (r + muladd(r * z, p, rest))


@single(twin.atan)
def atan(x):
    x = np.float64(x)
    return np.copysign(_angle(np.fabs(x), 1.0), x)


@single(twin.atan2)
def atan2(x, y):
    x, y = np.float64(x), np.float64(y)
    a, b = np.fabs(x), np.fabs(y)
    scale = 1.9010815379079637e-211 if (a > 1e300) | (b > 1e300) else 1.0  # the sum must not overflow
    both = (a > LARGEST) & (b > LARGEST)
    angle = _angle(1.0 if both else a * scale, 1.0 if both else b * scale)
    back = PI - (angle - PI_REST)
    return np.copysign(back if np.copysign(1.0, y) < 0 else angle, x)


def _arc(a):
    """``s, t``: ``asin(a) = s + t`` for ``a <= 0.5``, else ``asin(a) = pi / 2 - 2 (s + t)``."""
    small = a <= 0.5
    z = a * a if small else 0.5 * (1.0 - a)
    s = a if small else np.sqrt(z)
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(0.07500000000336601, z, 0.1666666666666541)
    a1 = muladd(0.03038195912546376, z, 0.04464285682863238)
    a2 = muladd(0.01735970109907984, z, 0.022371758307679568)
    a3 = muladd(0.012168994250310058, z, 0.013885269971146044)
    a4 = muladd(0.019525866202000728, z, 0.006528881555544244)
    a5 = muladd(0.03190983521183607, z, -0.01622060092881528)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(a5, y, a4)
    c0 = muladd(b1, w, b0)
    p = muladd(b2, v, c0)
    return s, s * z * p


@single(twin.asin)
def asin(x):
    x = np.float64(x)
    a = np.fabs(x)
    s, t = _arc(a)
    far = PIO2 - 2.0 * s
    far = far + (((PIO2 - far) - 2.0 * s) + (PIO2_REST - 2.0 * t))
    return np.copysign(s + t if a <= 0.5 else far, x)


@single(twin.acos)
def acos(x):
    x = np.float64(x)
    a = np.fabs(x)
    s, t = _arc(a)
    small = a <= 0.5
    # pi / 2 - asin(x), or pi - 2 asin(...)
    two_s, two_t = 2.0 * s, 2.0 * t
    u = np.copysign(s, x) if small else two_s
    v = np.copysign(t, x) if small else two_t
    high = PIO2 if small else PI
    rest = PIO2_REST if small else PI_REST
    w = high - u
    turned = w + (((high - w) - u) + (rest - v))
    return two_s + two_t if x > 0.5 else turned
