"""Elementary functions without branches, so that LLVM turns a loop over them into SIMD code.

All compute in float64, float32 operands included (the store rounds).  Selections ``a if c else b`` act
on values that exist already, integers and floats meet by their bits, and nothing is called that LLVM
would have to call as well.  Polynomials are minimax fits, computed for these intervals with 40 digits.
Within 2 ulp everywhere (`tests/kernels/test_vector_math.py` measures it); special values are exact.

`muladd(x, y, z)` is ``x * y + z``, rounded once where the machine does that at no cost; the bounds hold
either way.  Long polynomials are summed in pairs of pairs, for the sake of the latency of single calls.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad.kernels.memory import bits_to_f64, f64_to_bits, muladd

MAGIC = 6755399441055744.0  # 1.5 * 2**52: added, it leaves the nearest integer in the low bits
TWO52 = 4503599627370496.0
INV_LN2 = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HI, LN2_LO = 0.6931471803691238, 1.9082149292705877e-10  # 32 bits, and the rest
TWO_OVER_PI = 0.6366197723675814
# pi / 2 in pieces of 33 bits, whose products with integers below 2**20 are exact
PIO2_1, PIO2_2 = 1.5707963267341256, 6.077100506303966e-11
PIO2_3, PIO2_4 = 2.0222662487111665e-21, 8.4784276603689e-32
PI, PI_REST = 3.141592653589793, 1.2246467991473532e-16
PIO2, PIO2_REST = 1.5707963267948966, 6.123233995736766e-17
PIO4, PIO4_REST = 0.7853981633974483, 3.061616997868383e-17
NEAR = 1e6  # sin_near and its like reduce arguments up to here
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
FRACTION = 0x000FFFFFFFFFFFFF
UPPER = -(1 << 27)  # masks a float64 to 26 bits, whose square is exact
INF, NAN = math.inf, math.nan
LARGEST = 1.7976931348623157e308  # not INF: LLVM would test that with integers, which is slower

# --- exponentials ---------------------------------------------------------------------------------


def _exp_factor(r):
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


def _scale(p, k):
    """``p * 2**k`` for an integer ``k``, in two steps that over- and underflow as one."""
    t = muladd(k, 0.5, MAGIC)
    u = (k - (t - MAGIC)) + MAGIC
    return p * bits_to_f64((f64_to_bits(t) + 1023) << 52) * bits_to_f64((f64_to_bits(u) + 1023) << 52)


def _clamp(x, low, high):
    v = low if x < low else x
    return high if v > high else v


def _exp_parts(x):
    """``p, k`` with ``exp(x) = p * 2**k``."""
    v = _clamp(x, -800.0, 800.0)
    k = muladd(v, INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, v))
    z, q = _exp_factor(r)
    return 1.0 + muladd(z, q, r), k


def exp(x):
    p, k = _exp_parts(np.float64(x))
    return _scale(p, k)


def exp2(x):
    v = _clamp(np.float64(x), -1200.0, 1200.0)
    k = (v + MAGIC) - MAGIC
    r = (v - k) * LN2
    z, q = _exp_factor(r)
    return _scale(1.0 + muladd(z, q, r), k)


def _expm1_parts(x):
    """``p, q, k`` with ``expm1(x) = (p + q) * 2**k``, for ``-45 < x < 800``."""
    k = muladd(x, INV_LN2, MAGIC) - MAGIC
    high, low = muladd(k, -LN2_HI, x), k * LN2_LO
    r = high - low
    z, q = _exp_factor(r)
    p = r + muladd(z, q, (high - r) - low)
    j = 60.0 if k > 60.0 else k
    return p, 1.0 - bits_to_f64((f64_to_bits(MAGIC - j) + 1023) << 52), k


def expm1(x):
    x = np.float64(x)
    p, q, k = _expm1_parts(_clamp(x, -45.0, 800.0))
    out = _scale(p + q, k)
    return x if np.fabs(x) < 1e-17 else out


def sigmoid(x):
    x = np.float64(x)
    e = exp(-np.fabs(x))
    return (e if x < 0 else 1.0) / (1.0 + e)


def sinh(x):
    x = np.float64(x)
    a = np.fabs(x)
    p, k = _exp_parts(a)
    t = _scale(p, k - 1.0)  # half the exponential, which overflows later
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


def cosh(x):
    p, k = _exp_parts(np.fabs(np.float64(x)))
    t = _scale(p, k - 1.0)
    return t + 0.25 / t


def tanh(x):
    x = np.float64(x)
    a = np.fabs(x)
    v = 22.0 if a > 22.0 else a
    far = 1.0 - 2.0 / (exp(2.0 * v) + 1.0)
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


# --- logarithms -----------------------------------------------------------------------------------


def _log_parts(x):
    """``k, f, r`` with ``x = 2**k * (1 + f)`` and ``log(1 + f) = f - r``; ``x`` positive, finite."""
    tiny = x < 2.2250738585072014e-308
    h = f64_to_bits(x * 18014398509481984.0 if tiny else x) + (ONE_BITS - SQRT_HALF_BITS)
    e = np.int64(np.uint64(h) >> np.uint64(52))  # AVX2 shifts 64-bit integers only as unsigned
    k = bits_to_f64(e | 0x4330000000000000) - (TWO52 + 1077.0 if tiny else TWO52 + 1023.0)
    f = bits_to_f64((h & FRACTION) + SQRT_HALF_BITS) - 1.0
    s = f / (2.0 + f)
    z = s * s
    y = z * z
    a0 = muladd(0.39999999999522434, z, 0.6666666666666713)
    a1 = muladd(0.2222220032359428, z, 0.28571428722609643)
    a2 = muladd(0.15315914740278466, z, 0.18183483670250283)
    b0 = muladd(a1, y, a0)
    b1 = muladd(0.14778871096877766, y, a2)
    p = muladd(b1, y * y, b0)
    half = 0.5 * f * f
    return k, f, half, s * muladd(z, p, half)


def _log_positive(x):
    k, f, half, tail = _log_parts(x)
    return muladd(k, LN2_HI, -((half - muladd(k, LN2_LO, tail)) - f))


def _log_special(x):
    """What logarithms give outside the positive finite numbers."""
    out = NAN if x < 0 else x
    return -INF if x == 0 else out


def log(x):
    x = np.float64(x)
    good = (x > 0) & (x <= LARGEST)
    out = _log_positive(x if good else 1.0)
    special = _log_special(x)
    return out if good else special


def log2(x):
    x = np.float64(x)
    good = (x > 0) & (x <= LARGEST)
    k, f, half, tail = _log_parts(x if good else 1.0)
    out = muladd(f - (half - tail), INV_LN2, k)
    special = _log_special(x)
    return out if good else special


def log1p(x):
    # log(1 + x) with 1 + x rounded to u, plus what the rounding lost
    x = np.float64(x)
    u = 1.0 + x
    good = (u > 0) & (u <= LARGEST)
    v = u if good else 1.0
    lost = (1.0 - (v - x)) if v > 2.0 else (x - (v - 1.0))
    out = _log_positive(v) + (lost if good else 0.0) / v
    out = x if np.fabs(x) < 1e-17 else out
    special = _log_special(u)
    return out if good else special


def softplus(x):
    x = np.float64(x)
    return (0.0 if x < 0 else x) + log1p(exp(-np.fabs(x)))


# --- trigonometric, of arguments up to NEAR -------------------------------------------------------


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


def sin_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = c if q & 1 else s
    out = -out if q & 2 else out
    return x if np.fabs(x) < 1e-9 else out


def cos_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = s if q & 1 else c
    return -out if (q + 1) & 2 else out


def tan_near(x):
    x = np.float64(x)
    r, low, q = _reduce(x)
    s, c = _sin_kernel(r, low), _cos_kernel(r, low)
    out = (-c if q & 1 else s) / (s if q & 1 else c)
    return x if np.fabs(x) < 1e-9 else out


# --- angles ---------------------------------------------------------------------------------------


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


def atan(x):
    x = np.float64(x)
    return np.copysign(_angle(np.fabs(x), 1.0), x)


def atan2(x, y):
    x, y = np.float64(x), np.float64(y)
    a, b = np.fabs(x), np.fabs(y)
    scale = 1.9010815379079637e-211 if (a > 1e300) | (b > 1e300) else 1.0  # the sum must not overflow
    both = (a > LARGEST) & (b > LARGEST)
    angle = _angle(1.0 if both else a * scale, 1.0 if both else b * scale)
    back = PI - (angle - PI_REST)
    return np.copysign(back if np.copysign(1.0, y) < 0 else angle, x)


def hypot(x, y):
    a, b = np.fabs(np.float64(x)), np.fabs(np.float64(y))
    large = a if a > b else b
    small = b if a > b else a
    r = small / (1.0 if large == 0 else large)
    out = large * np.sqrt(muladd(r, r, 1.0))
    return INF if (a > LARGEST) | (b > LARGEST) else out


# --- error functions ------------------------------------------------------------------------------


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


def _exp_times(high, low, c, p):
    """``exp(-high - low) * (c + p)`` without its last factor ``2**k``, and ``k``; ``p`` is small."""
    k = muladd(high, -INV_LN2, MAGIC) - MAGIC
    r = muladd(k, -LN2_LO, muladd(k, -LN2_HI, -high)) - low
    z, q = _exp_factor(r)
    return c + muladd(c + p, muladd(z, q, r), p), k


def _erfc_positive(x):
    """``erfc(x)`` for ``0.5 <= x <= 28``.

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
    upper = bits_to_f64(f64_to_bits(x) & UPPER)
    p, k = _exp_times(upper * upper, (x - upper) * (x + upper), 1.2329951186255526, p)
    return _scale(p / (1.0 + 2.0 * x), k)


def erf(x):
    x = np.float64(x)
    a = np.fabs(x)
    far = np.copysign(1.0 - _erfc_positive(_clamp(a, 0.5, 28.0)), x)
    near = _erf_small(x)
    return near if a < 1.0 else far


def erfc(x):
    x = np.float64(x)
    a = np.fabs(x)
    tail = _erfc_positive(_clamp(a, 0.5, 28.0))
    other = 2.0 - tail
    far = other if x < 0 else tail
    near = 1.0 - _erf_small(x)
    return near if a < 0.6 else far


def ndtr(x):
    # with polynomials of its own: x / sqrt(2), rounded, would spoil the last digit of erfc
    x = np.float64(x)
    a = np.fabs(x)
    v = _clamp(a, 0.67, 39.5)
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
    upper = bits_to_f64(f64_to_bits(v) & UPPER)
    high, low = 0.5 * (upper * upper), 0.5 * ((v - upper) * (v + upper))
    p, k = _exp_times(high, low, 0.46151582985003775, p)
    tail = _scale(p / (1.0 + v), k)
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
