"""The logarithm of the gamma function and its derivatives.

For arguments up to 8 the recurrence leads to an interval with a polynomial, beyond there are asymptotic
series.  Products and sums of several steps of the recurrence need one logarithm or one division.
Negative arguments are reflected.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.circular import cos_near, sin_near
from tapegrad.kernels.math.constants import INF, LARGEST, NAN, PI
from tapegrad.kernels.math.logarithm import log, log_normal, log_positive
from tapegrad.kernels.math.power import power_any
from tapegrad.kernels.memory import muladd
from tapegrad.kernels.twins import within

OPERANDS = np.float64
HALF_LOG_2PI = 0.9189385332046728
# The root of digamma, in two parts.
ROOT, ROOT_REST = 1.4616321449683622, 9.549995429965697e-17


def stirling_rest(inverse):
    """``lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2``: what Stirling's formula lacks, ``8 <= x``."""
    z = inverse * inverse
    y = z * z
    w = y * y
    a0 = muladd(-0.0027777777777547633, z, 0.08333333333333333)
    a1 = muladd(-0.0005952324734477855, z, 0.0007936507750040081)
    a2 = muladd(-0.0018606637731218545, z, 0.0008409544100275929)
    b0 = muladd(a1, y, a0)
    b1 = muladd(0.004425106090084716, y, a2)
    return inverse * muladd(b1, w, b0)


def step_product(x, j, base, product):
    y = x - j
    more = y >= 1.5
    return (y if more else base), product * (y if more else 1.0)


def lgamma_near_two(u):
    """``lgamma(2 + u) / u``, for ``abs(u) <= 1/2``."""
    z = u * u
    y = z * z
    w = y * y
    u16 = w * w
    a0 = muladd(0.3224670334241132, u, 0.42278433509846713)
    a1 = muladd(0.020580808427791655, u, -0.06735230105319617)
    a2 = muladd(0.0028905103301963987, u, -0.007385551028853433)
    a3 = muladd(0.0005096695438186023, u, -0.001192753905385923)
    a4 = muladd(9.945715627106355e-05, u, -0.0002231548659943318)
    a5 = muladd(2.0511041513165807e-05, u, -4.4925288330268984e-05)
    a6 = muladd(4.350726954539255e-06, u, -9.443364437010466e-06)
    a7 = muladd(1.0415235846090564e-06, u, -2.0390552911736424e-06)
    a8 = muladd(6.079326147932292e-08, u, -3.8904217069276133e-07)
    a9 = muladd(1.0100882928253318e-07, u, -3.0917943614198404e-07)
    a10 = muladd(1.3104207270209183e-07, u, 2.067288821316815e-07)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(a10, y, b4)
    d0 = muladd(c1, w, c0)
    return muladd(c2, u16, d0)


def lgamma_positive(x):
    """`lgamma` of positive numbers."""
    x = np.float64(x)
    far, tiny, low = x >= 8.0, x < 0.5, x < 1.2
    base, product = step_product(x, 1.0, x, 1.0)
    base, product = step_product(x, 2.0, base, product)
    base, product = step_product(x, 3.0, base, product)
    base, product = step_product(x, 4.0, base, product)
    base, product = step_product(x, 5.0, base, product)
    base, product = step_product(x, 6.0, base, product)
    base, product = (base if x >= 2.5 else x), (product if x >= 2.5 else 1.0)
    v = x if far else product
    v = x if low else v
    v = x * (1.0 + x) if tiny else v
    good = (v > 0) & (v <= LARGEST)
    logarithm = log_positive(v if good else 1.0)
    u = x - 1.0 if low else base - 2.0
    u = x if tiny else u
    p = lgamma_near_two(u)
    near = u * p + (-logarithm if low else logarithm)
    rest = stirling_rest(1.0 / (x if far else 8.0))
    series = muladd(x - 0.5, logarithm - 1.0, (HALF_LOG_2PI - 0.5) + rest)
    out = series if far else near
    edge = INF if (x == 0) | (x > 0) else NAN
    return out if good else edge


@within(lgamma_positive, 0.0)
def lgamma(x):
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    x = np.float64(x)
    a = np.fabs(x)
    out = lgamma_positive(a)
    sine = np.fabs(sin_near(PI * (a - np.rint(a))))
    turned = log(PI / (a * sine)) - out
    turned = -log(a) if a < 1e-20 else turned
    turned = INF if np.floor(x) == x else turned
    return turned if x < 0 else out


def _step_sum(x, j, base, num, den):
    y = x - j
    more = y >= 1.0
    return (y if more else base), (muladd(num, y, den) if more else num), (den * y if more else den)


def digamma_positive(x):
    """`digamma` of positive numbers."""
    x = np.float64(x)
    far, low = x >= 8.0, x < 1.0
    num, den = (-1.0 if low else 0.0), (x if low else 1.0)
    base, num, den = _step_sum(x, 1.0, x, num, den)
    base, num, den = _step_sum(x, 2.0, base, num, den)
    base, num, den = _step_sum(x, 3.0, base, num, den)
    base, num, den = _step_sum(x, 4.0, base, num, den)
    base, num, den = _step_sum(x, 5.0, base, num, den)
    base, num, den = _step_sum(x, 6.0, base, num, den)
    base, num, den = _step_sum(x, 7.0, base, num, den)
    base, num, den = (1.0 if far else base), (1.0 if far else num), (x if far else den)
    quotient = num / den
    v = base + 1.0 if low else base
    u = v - 1.5
    z = u * u
    y = z * z
    w = y * y
    u16 = w * w
    a0 = muladd(-0.4236274212814606, u, 0.951055876031833)
    a1 = muladd(-0.14840492305389014, u, 0.24054248424077398)
    a2 = muladd(-0.06192213327469147, u, 0.09498872445497356)
    a3 = muladd(-0.026975796691371092, u, 0.040760833810761996)
    a4 = muladd(-0.011908219417579392, u, 0.017907252482669854)
    a5 = muladd(-0.005279946275484161, u, 0.007926943999412212)
    a6 = muladd(-0.002345420657747607, u, 0.0035190122987061893)
    a7 = muladd(-0.0010368426676832904, u, 0.001556598478976633)
    a8 = muladd(-0.000484728900893688, u, 0.0007234400394801738)
    a9 = muladd(-0.0001469798888338006, u, 0.0002270191361281352)
    a10 = muladd(-0.00017656152082508403, u, 0.0002598564711702872)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(a10, y, b4)
    d0 = muladd(c1, w, c0)
    p = muladd(c2, u16, d0)
    near = muladd((v - ROOT) - ROOT_REST, p, quotient)
    z = quotient * quotient
    y = z * z
    w = y * y
    a0 = muladd(-0.008333333333303598, z, 0.08333333333333333)
    a1 = muladd(-0.004166654346026479, z, 0.003968253937077258)
    a2 = muladd(-0.02085858217698044, z, 0.007573413708679124)
    a3 = muladd(-0.13525367245543377, z, 0.07105214683178389)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    p = muladd(b1, w, b0)
    series = log_normal(x if far & (x <= LARGEST) else 1.0) - muladd(0.5, quotient, z * p)
    out = series if far else near
    out = x if x > LARGEST else out
    return -np.copysign(INF, x) if x == 0 else out


@within(digamma_positive, 0.0)
def digamma(x):
    # digamma(1 - x) - digamma(x) = pi / tan(pi x)
    x = np.float64(x)
    below = x < 0
    out = digamma_positive(1.0 - x if below else x)
    r = PI * (x - np.rint(x))
    turned = out - PI * cos_near(r) / sin_near(r)
    turned = NAN if np.floor(x) == x else turned
    return turned if below else out


def _step_squares(x, j, base, num, den):
    y = x + j
    more = y < 8.0
    square = y * y
    return (
        (y + 1.0 if more else base),
        (muladd(num, square, den) if more else num),
        (den * square if more else den),
    )


def trigamma_positive(x):
    """``zeta(2, x)`` of positive numbers."""
    x = np.float64(x)
    base, num, den = x + 1.0, 0.0, 1.0
    base, num, den = _step_squares(x, 1.0, base, num, den)
    base, num, den = _step_squares(x, 2.0, base, num, den)
    base, num, den = _step_squares(x, 3.0, base, num, den)
    base, num, den = _step_squares(x, 4.0, base, num, den)
    base, num, den = _step_squares(x, 5.0, base, num, den)
    base, num, den = _step_squares(x, 6.0, base, num, den)
    base, num, den = _step_squares(x, 7.0, base, num, den)
    first, r = 1.0 / x, 1.0 / base
    z = r * r
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(-0.03333333333325704, z, 0.16666666666666666)
    a1 = muladd(-0.03333328056647168, z, 0.023809523706708635)
    a2 = muladd(-0.2512796699642031, z, 0.07574425393862043)
    a3 = muladd(-1.2947646935294534, z, 1.0255246802967133)
    b0 = muladd(a1, y, a0)
    b1 = muladd(a3, y, a2)
    c0 = muladd(b1, w, b0)
    p = muladd(-52.129402615657256, v, c0)
    return muladd(first, first, num / den) + muladd(z, muladd(r, p, 0.5), r)


@within(trigamma_positive, 0.0)
def trigamma(x):
    """``zeta(2, x)``, by reflection where negative: it is even around 0 but for ``(pi / sin(pi x))**2``."""
    x = np.float64(x)
    below = x < 0
    out = trigamma_positive(1.0 - x if below else x)
    s = PI / sin_near(PI * (x - np.rint(x)))
    turned = s * s - out
    turned = INF if np.floor(x) == x else turned
    return turned if below else out


# Bernoulli numbers B_2k / (2 k)!
EULER = (
    0.08333333333333333,
    -0.001388888888888889,
    3.306878306878307e-05,
    -8.267195767195768e-07,
    2.08767569878681e-08,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
    5.50900282836023e-18,
    -1.3954464685812522e-19,
)


def _zeta_sum(s, q):
    """``sum((q + k)**-s for k = 0, 1, ...)`` for ``s > 1``, ``q > 0``, by Euler and Maclaurin's formula."""
    a = q + 10.0
    out = tail = 0.0
    for k in range(12):  # the last two: a**-s, a**(1 - s)
        power = power_any(q + k if k < 10 else a, 1.0 - s if k == 11 else -s)
        tail = power if k == 10 else tail
        out += power if k < 10 else 0.5 * power if k == 10 else power / (s - 1.0)
    factor = tail * s / a
    for k in range(12):
        out += EULER[k] * factor
        factor = factor * ((s + 2.0 * k + 1.0) / a) * ((s + 2.0 * k + 2.0) / a)
    return out


def zeta(x, y):
    s, q = np.float64(x), np.float64(y)
    if (s != s) | (q != q):
        return s + q
    if s <= 1.0:
        return INF if s == 1.0 else NAN
    if (q <= 0) & (np.floor(q) == q):
        return INF
    if q > LARGEST:
        return 0.0
    if s > LARGEST:
        return power_any(q, -s)
    if (q < 0) & (np.floor(s) != s):
        return NAN
    # negative q: the sum over all integers, less what lies below
    u = q - np.floor(q)
    sign = 1.0 if np.floor(0.5 * s) * 2.0 == s else -1.0
    out = 0.0
    for part in range(3 if q < 0 else 1):
        term = _zeta_sum(s, q if q > 0 else u if part == 0 else 1.0 - u if part == 1 else 1.0 - q)
        out += term if part == 0 else sign * term if part == 1 else -sign * term
    return out
