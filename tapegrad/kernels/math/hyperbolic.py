"""Hyperbolic functions and their inverses."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math import single as twin
from tapegrad.kernels.math.constants import INF, LARGEST, LN2, NAN, scale
from tapegrad.kernels.math.exponential import exp_normal, exp_parts
from tapegrad.kernels.math.logarithm import log_normal
from tapegrad.kernels.memory import muladd
from tapegrad.kernels.twins import single

OPERANDS = np.float64


@single(twin.sinh)
def sinh(x):
    x = np.float64(x)
    a = np.fabs(x)
    p, k = exp_parts(a)
    t = scale(p, k - 1.0)  # half the exponential, which overflows later
    far = t - 0.25 / t
    z = x * x
    y = z * z
    a0 = muladd(0.008333333333333156, z, 0.16666666666666669)
    a1 = muladd(2.7557319155667116e-06, z, 0.0001984126984143233)
    a2 = muladd(1.6057222890911961e-10, z, 2.5052123502684773e-08)
    b0 = muladd(a1, y, a0)
    b1 = muladd(7.760067363062642e-13, y, a2)
    p = muladd(b1, y * y, b0)
    near = muladd(a * z, p, a)
    return np.copysign(near if a < 1.0 else far, x)


@single(twin.cosh)
def cosh(x):
    p, k = exp_parts(np.fabs(np.float64(x)))
    t = scale(p, k - 1.0)
    return t + 0.25 / t


@single(twin.tanh)
def tanh(x):
    x = np.float64(x)
    a = np.fabs(x)
    v = 22.0 if a > 22.0 else a
    far = 1.0 - 2.0 / (exp_normal(2.0 * v) + 1.0)
    z = x * x
    y = z * z
    w = y * y
    a0 = muladd(0.13333333333329953, z, -0.33333333333333326)
    a1 = muladd(0.0218694884216944, z, -0.053968253965302186)
    a2 = muladd(0.003592096044903601, z, -0.008863233083464553)
    a3 = muladd(0.0005885162282268148, z, -0.0014555641402669095)
    a4 = muladd(8.348445166334612e-05, z, -0.00023352927661467835)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(-1.9574480853206922e-05, y, a4)
    c0 = muladd(b1, w, b0)
    p = muladd(b2, w * w, c0)
    near = muladd(a * z, p, a)
    return np.copysign(near if a < 0.55 else far, x)


@single(twin.asinh)
def asinh(x):
    x = np.float64(x)
    a = np.fabs(x)
    huge = a > 1e9  # the square under the root would overflow at 1e154, and 1 no longer counts
    b = 1.0 if huge else a
    s = np.sqrt(b * b + 1.0)
    v = s + b
    lost = b - (v - s)
    # 1 / v = s - b
    far = muladd(lost, s - b, log_normal(a if (huge & (a <= LARGEST)) else v)) + (LN2 if huge else 0.0)
    z = a * a
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(0.07499999999885659, z, -0.16666666666666063)
    a1 = muladd(0.030381941881867148, z, -0.04464285706682159)
    a2 = muladd(0.017352093410323514, z, -0.02237210768613599)
    a3 = muladd(0.011513353882476164, z, -0.013958823325626564)
    a4 = muladd(0.007777905889771371, z, -0.009582933923086264)
    a5 = muladd(0.0034750265711979817, z, -0.005752310650408911)
    a6 = muladd(0.0003036892034488784, z, -0.0014532812473041189)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(a5, y, a4)
    c0 = muladd(b1, w, b0)
    c1 = muladd(a6, w, b2)
    p = muladd(c1, v, c0)
    near = muladd(a * z, p, a)
    out = near if a < 0.7 else far
    return x if (a > LARGEST) | (a < 1e-9) else np.copysign(out, x)


@single(twin.acosh)
def acosh(x):
    # sqrt(2 t) times a polynomial in t = x - 1, as long as t is small
    x = np.float64(x)
    t = x - 1.0
    small = t <= 1.0
    huge = x > 1e9
    b = 1.0 if huge else t
    s = np.sqrt(2.0 * b if small else b * (b + 2.0))
    v = b + 1.0 + s
    far = log_normal(x if huge & (x <= LARGEST) else v if x > 1.0 else 1.0) + (LN2 if huge else 0.0)
    z = t * t
    y = z * z
    w = y * y
    a0 = muladd(0.018749999999958366, t, -0.08333333333333294)
    a1 = muladd(0.0018988714985771482, t, -0.005580357141309841)
    a2 = muladd(0.00027113451957024736, t, -0.0006991296425131516)
    a3 = muladd(4.5079059628074606e-05, t, -0.00010908798755154112)
    a4 = muladd(7.950380175991813e-06, t, -1.8944307813504856e-05)
    a5 = muladd(1.1531579556257459e-06, t, -3.2029873560068677e-06)
    a6 = muladd(6.578671364993105e-08, t, -3.3310069610095237e-07)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(-6.449293841222048e-09, z, a6)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    p = muladd(c1, w, c0)
    near = muladd(s * t, p, s)
    far = x if x > LARGEST else far
    return far if x > 2.0 else near


@single(twin.atanh)
def atanh(x):
    x = np.float64(x)
    a = np.fabs(x)
    inside = a < 1.0
    v = (1.0 + a) / (1.0 - (a if inside else 0.0))
    far = 0.5 * log_normal(v if v <= LARGEST else 1.0)
    edge = INF if a == 1.0 else NAN
    far = far if inside else edge
    z = a * a
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(0.1999999999979581, z, 0.33333333333333987)
    a1 = muladd(0.11111109890847128, z, 0.14285714307981484)
    a2 = muladd(0.07691495752670206, z, 0.09090948427372933)
    a3 = muladd(0.05774490206947696, z, 0.06677932677035003)
    a4 = muladd(0.014584355687004561, z, 0.05981882914133496)
    a5 = muladd(-0.15282754258221976, z, 0.14488042517644129)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    b2 = muladd(a5, y, a4)
    c0 = muladd(b1, w, b0)
    c1 = muladd(0.2247344054296397, w, b2)
    p = muladd(c1, v, c0)
    near = muladd(a * z, p, a)
    return x if a < 1e-9 else np.copysign(near if a < 0.5 else far, x)
