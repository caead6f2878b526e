"""Trigonometric functions of arguments up to NEAR, and their inverses, in float32."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.memory import f32_to_bits, muladd

OPERANDS = np.float32

MAGIC = 12582912.0
TWO_OVER_PI = 0.6366197723675814
LARGEST = 3.4028234663852886e38
PI, PI_REST = 3.1415927410125732, -8.742278000372485e-08
PIO2, PIO2_REST = 1.5707963705062866, -4.3711390001862426e-08
PIO4, PIO4_REST = 0.7853981852531433, -2.1855695000931213e-08
# pi / 2 in two pieces, of 33 and 53 bits
PIO2_1, PIO2_2 = np.float64(1.5707963267341256), np.float64(6.077100506506192e-11)


def _reduce(x):
    """``r, q``: ``x = (q + 4 n) pi / 2 + r``, ``q`` in the last bits; subtracted in float64."""
    t = muladd(x, TWO_OVER_PI, MAGIC)
    k = np.float64(t - MAGIC)
    r = muladd(k, -PIO2_2, muladd(k, -PIO2_1, np.float64(x)))
    return np.float32(r), f32_to_bits(t)


def _sin_kernel(r):
    z = r * r
    y = z * z
    a0 = muladd(0.008331925, z, -0.16666651)
    p = muladd(-0.0001948474, y, a0)
    return muladd(r * z, p, r)


def _cos_kernel(r):
    z = r * r
    y = z * z
    y = z * z
    a0 = muladd(-0.0013887117, z, 0.04166664)
    p = muladd(2.4409615e-05, y, a0)
    half = 0.5 * z
    w = 1.0 - half
    return w + muladd(y, p, (1.0 - w) - half)


def sin_near(x):
    r, q = _reduce(x)
    s, c = _sin_kernel(r), _cos_kernel(r)
    out = c if q & 1 else s
    out = -out if q & 2 else out
    return x if np.fabs(x) < 1e-4 else out


def cos_near(x):
    r, q = _reduce(x)
    s, c = _sin_kernel(r), _cos_kernel(r)
    out = s if q & 1 else c
    return -out if (q + 1) & 2 else out


def tan_near(x):
    r, q = _reduce(x)
    s, c = _sin_kernel(r), _cos_kernel(r)
    out = (-c if q & 1 else s) / (s if q & 1 else c)
    return x if np.fabs(x) < 1e-4 else out


def _angle(a, b):
    low = (a < 0.4142135623730951 * b) | (a == 0.0)
    high = a > 2.414213562373095 * b
    num = -b if high else a - b
    num = a if low else num
    den = a if high else a + b
    den = b if low else den
    r = num / (1.0 if den == 0.0 else den)
    turn = PIO2 if high else PIO4
    rest = PIO2_REST if high else PIO4_REST
    turn = 0.0 if low else turn
    rest = 0.0 if low else rest
    z = r * r
    y = z * z
    w = y * y
    a0 = muladd(0.19998527, z, -0.33333316)
    a1 = muladd(0.10598858, z, -0.14244354)
    b0 = muladd(a1, y, a0)
    p = muladd(-0.06089193, w, b0)
    return turn + (r + muladd(r * z, p, rest))


def atan(x):
    return np.copysign(_angle(np.fabs(x), 1.0), x)


def atan2(x, y):
    a, b = np.fabs(x), np.fabs(y)
    scale = 2.3283064365386963e-10 if (a > 1e37) | (b > 1e37) else 1.0  # the sum must not overflow
    both = (a > LARGEST) & (b > LARGEST)
    angle = _angle(1.0 if both else a * scale, 1.0 if both else b * scale)
    back = PI - (angle - PI_REST)
    return np.copysign(back if np.copysign(1.0, y) < 0.0 else angle, x)


def _arc(a):
    small = a <= 0.5
    z = a * a if small else 0.5 * (1.0 - a)
    s = a if small else np.sqrt(z)
    y = z * z
    w = y * y
    a0 = muladd(0.07495314, z, 0.16666752)
    a1 = muladd(0.024187086, z, 0.04546855)
    b0 = muladd(a1, y, a0)
    p = muladd(0.04215593, w, b0)
    return s, s * z * p


def asin(x):
    a = np.fabs(x)
    s, t = _arc(a)
    far = PIO2 - 2.0 * s
    far = far + (((PIO2 - far) - 2.0 * s) + (PIO2_REST - 2.0 * t))
    return np.copysign(s + t if a <= 0.5 else far, x)


def acos(x):
    a = np.fabs(x)
    s, t = _arc(a)
    small = a <= 0.5
    two_s, two_t = 2.0 * s, 2.0 * t
    u = np.copysign(s, x) if small else two_s
    v = np.copysign(t, x) if small else two_t
    high = PIO2 if small else PI
    rest = PIO2_REST if small else PI_REST
    w = high - u
    turned = w + (((high - w) - u) + (rest - v))
    return two_s + two_t if x > 0.5 else turned
