"""The incomplete beta function, its derivatives by all arguments, and its inverse.

Values: the continued fraction of Didonato and Morris (1992), quadrature where a parameter is large.
Derivatives by parameters are integrals of the density with polynomials in the logarithms of the variable
and its complement, taken in the logit of the variable, in which the density is log-concave, over the tail
without the mean.  Of a small parameter terms of the recurrence are split off first, which leaves one above
ENOUGH.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.beta import beta, lgamma_step, psi_series_step, psi_step, trigamma_step
from tapegrad.kernels.math.called import (
    exp,
    expm1,
    gamma,
    kl_div,
    log,
    log1p,
    log_ratio,
    power_any,
    trigamma,
    zeta,
)
from tapegrad.kernels.math.constants import INF, LARGEST, NAN
from tapegrad.kernels.math.gamma import stirling_rest
from tapegrad.kernels.math.quadrature import CUT, HALF, NODES, WEIGHTS, exp_rest, log_rest
from tapegrad.kernels.twins import apart

OPERANDS = np.float64
INV_SQRT_2PI = 0.3989422804014327
MANY = 200.0  # from here on quadrature
PANEL = 12.0  # logits
ENOUGH = 4.0  # of a parameter, for its tail to be short


@apart
def _weight(a, b, x, y):
    """``x**a y**b / B(a, b)`` where ``y = 1 - x``: the density of the logit of the variable."""
    if (a >= 8.0) & (b >= 8.0):
        n = a + b
        rest = stirling_rest(1.0 / n) - stirling_rest(1.0 / a) - stirling_rest(1.0 / b)
        root = np.sqrt(a / n) * np.sqrt(b)
        return INV_SQRT_2PI * root * exp(rest - kl_div(a, n * x) - kl_div(b, n * y))
    if (a < 8.0) & (b < 8.0):
        return power_any(x, a) * power_any(y, b) / beta(a, b)
    if a < b:
        return exp(a * log(x) + b * (log1p(-x) if x < 0.5 else log(y)) + lgamma_step(b, a)) / gamma(a)
    return exp(b * log(y) + a * (log1p(-y) if y < 0.5 else log(x)) + lgamma_step(a, b)) / gamma(b)


def _moment(order, s, r, ss, sr, rr, sss, ssr, rrr):
    """What multiplies the density in its derivative, 10 by ``a`` and 1 by ``b``: Bell polynomials."""
    if order == 0:
        return 1.0
    if order == 10:
        return s
    if order == 1:
        return r
    if order == 20:
        return s * s + ss
    if order == 11:
        return s * r + sr
    if order == 2:
        return r * r + rr
    if order == 30:
        return s * (s * s + 3.0 * ss) + sss
    if order == 21:
        return r * (s * s + ss) + 2.0 * s * sr + ssr
    if order == 12:
        return s * (r * r + rr) + 2.0 * r * sr + ssr
    return r * (r * r + 3.0 * rr) + rrr


@apart
def _fall(a, b, x, y, slope, u):
    """What happens ``u`` logits below ``x``, where the variable is ``t``.

    By how much the density's logarithm has fallen, how steeply it goes on, and ``log((1 - t) / y)``, or
    ``log(x / t)`` where ``x`` is above 1/2.
    """
    n = a + b
    if x <= 0.5:
        far = expm1(-u)
        v = x * far
        if u < 1.0:
            rest = log_rest(v)
            g = x * exp_rest(-u) + rest
            rest += v
        else:
            rest = log1p(v)
            g = rest + x * u
        return slope * u + n * g, slope + n * (x - x * (1.0 + far) / (1.0 + v)), -rest
    far = expm1(u)
    v = y * far
    if u < 1.0:
        rest = log_rest(v)
        g = rest + y * exp_rest(u)
        rest += v
    else:
        rest = log1p(v)
        g = rest - y * u
    return slope * u + n * g, slope + n * ((v + y) / (1.0 + v) - y), rest


@apart
def _scores(a, b, c, d, x, y):
    """``log(x) + digamma(a + b) - digamma(c)``, where ``c + d = a + b``, and the same of ``y`` and ``b``."""
    if (a >= 10.0) & (b >= 10.0):
        n = a + b
        return log_ratio(n * x, a) + psi_series_step(a, b), log_ratio(n * y, b) + psi_series_step(b, a)
    logarithm = log1p(-y) if y < 0.5 else log(x)
    other = log1p(-x) if x < 0.5 else log(y)
    return logarithm + psi_step(c, d), other + psi_step(b, a)


@apart
def _tail(order, a, b, x, y):
    """The integral from 0 to ``x``, which is not above the mean, or its derivative by parameters."""
    weight = _weight(a, b, x, y)
    s = r = ss = sr = rr = sss = ssr = rrr = out = 0.0
    low = a < ENOUGH
    # the logarithms' derivatives, of the density or, if terms are split off, of the first of them
    c, d = (a + 1.0, b - 1.0) if low else (a, b)
    if order > 0:
        s, r = _scores(a, b, c, d, x, y)
        if (order != 10) & (order != 1):
            sr, ss, rr = trigamma(a + b), trigamma_step(c, d), trigamma_step(b, a)
        if (order == 30) | (order == 21) | (order == 12) | (order == 3):
            ssr = -2.0 * zeta(3.0, a + b)
            sss, rrr = ssr + 2.0 * zeta(3.0, c), ssr + 2.0 * zeta(3.0, b)
    while low:  # the integral is weight / a and that for a + 1
        out += weight / a * _moment(order, s, r, ss, sr, rr, sss, ssr, rrr)
        h = 1.0 / (a + b)
        weight *= x / (h * a)
        z = h * h
        t = 2.0 * h * z
        s, r = s + h, r + h
        ss, sr, rr = ss - z, sr - z, rr - z
        sss, ssr, rrr = sss + t, ssr + t, rrr + t
        a += 1.0
        low = a < ENOUGH
        if low:
            h = 1.0 / a
            s -= h
            ss += h * h
            sss -= 2.0 * h * h * h
    slope = a * y - b * x
    slope = 0.0 if slope < 0 else slope
    # where to cut: Newton's method from above, as the fall is convex
    end = 2.0 * CUT / (slope + np.sqrt(slope * slope + 2.0 * CUT * (a + b) * x * y))
    most = 2.0 * CUT / a + (log(x / y) if x > y else 0.0)  # below 1/2 the density falls by a / 2 a logit
    most = 700.0 if most > 700.0 else most
    end = most if end > most else end
    for _ in range(100):
        fall, steep, rest = _fall(a, b, x, y, slope, end)
        step = (CUT - fall) / steep
        end += step
        if np.fabs(step) < 1e-2 * end:
            break
    panels = np.floor(end / PANEL) + 1.0
    half = 0.5 * end / panels
    total = panel = 0.0
    while panel < panels:
        for i in range(2 * HALF):
            k = i if i < HALF else i - HALF
            u = half * (2.0 * panel + 1.0 + (NODES[k] if i < HALF else -NODES[k]))
            fall, steep, rest = _fall(a, b, x, y, slope, u)
            part = WEIGHTS[k] * exp(-fall)
            if order > 0:
                down, up = (u - rest, rest) if x <= 0.5 else (rest, u - rest)
                part *= _moment(order, s - down, r + up, ss, sr, rr, sss, ssr, rrr)
            total += part
        panel += 1.0
    return out + half * total * weight


@apart
def _fraction(a, b, x, y):
    """The integral from 0 to ``x``, which is not far above the mean, by a continued fraction."""
    n = a + b
    c = 1.0
    d = 1.0 - n * x / (a + 1.0)
    d = 1.0 / (1e-300 if d == 0 else d)
    h = d
    k = 1.0
    while k < 10000.0:
        m = a + 2.0 * k
        factor = k * (b - k) * x / ((m - 1.0) * m)
        d = 1.0 + factor * d
        d = 1.0 / (1e-300 if d == 0 else d)
        c = 1.0 + factor / c
        c = 1e-300 if c == 0 else c
        h *= d * c
        factor = -(a + k) * (n + k) * x / (m * (m + 1.0))
        d = 1.0 + factor * d
        d = 1.0 / (1e-300 if d == 0 else d)
        c = 1.0 + factor / c
        c = 1e-300 if c == 0 else c
        step = d * c
        h *= step
        if np.fabs(step - 1.0) < 2e-16:
            break
        k += 1.0
    return _weight(a, b, x, y) * h / a


def _edge(a, b, x):
    """What is known without computing: NaN outside the domain, -1 inside."""
    if (a != a) | (b != b) | (x != x) | (a < 0) | (b < 0) | (x < 0) | (x > 1):
        return NAN
    if ((a == 0) & (b == 0)) | ((a > LARGEST) & (b > LARGEST)):
        return NAN
    if x == 0:
        return 0.0
    if x == 1:
        return 1.0
    if (a == 0) | (b > LARGEST):
        return 1.0
    return 0.0 if (b == 0) | (a > LARGEST) else -1.0


@apart
def _both(a, b, x, y, upper):
    """The upper or the lower tail at ``x = 1 - y``, inside the domain."""
    many = (a > MANY) | (b > MANY)
    below = a * y >= b * x
    if (not many) & ((x if below else y) > 0.98):  # the fraction would be long
        below = x * (a + b + 2.0) <= a + 1.0
    if not below:
        a, b, x, y = b, a, y, x
    small = _tail(0, a, b, x, y) if many else _fraction(a, b, x, y)
    small = 1.0 if small > 1.0 else small
    return 1.0 - small if below == upper else small


@apart
def _value(a, b, x, upper):
    edge = _edge(a, b, x)
    if edge != -1.0:
        return 1.0 - edge if upper else edge
    return _both(a, b, x, 1.0 - x, upper)


def betainc(x, y, z):
    return _value(np.float64(x), np.float64(y), np.float64(z), False)


def betaincc(x, y, z):
    return _value(np.float64(x), np.float64(y), np.float64(z), True)


@apart
def betainc_x(x, y, z):
    """The density."""
    a, b, x = np.float64(x), np.float64(y), np.float64(z)
    if (a != a) | (b != b) | (x != x) | (a <= 0) | (b <= 0) | (x < 0) | (x > 1):
        return NAN
    if x == 0:
        return INF if a < 1.0 else b if a == 1.0 else 0.0
    if x == 1:
        return INF if b < 1.0 else a if b == 1.0 else 0.0
    y = 1.0 - x
    return _weight(a, b, x, y) / (x * y)


@apart
def _derivative(order, a, b, x):
    edge = _edge(a, b, x)
    if edge != -1.0:
        return edge if edge != edge else 0.0
    if (a == 0) | (b == 0):
        return NAN
    y = 1.0 - x
    below = a * y >= b * x
    if not below:  # one minus the same of the other
        a, b, x, y = b, a, y, x
        order = 10 * (order % 10) + order // 10
    out = _tail(order, a, b, x, y)
    return out if below else -out


def betainc_a(x, y, z):
    return _derivative(10, np.float64(x), np.float64(y), np.float64(z))


def betainc_b(x, y, z):
    return _derivative(1, np.float64(x), np.float64(y), np.float64(z))


def betainc_aa(x, y, z):
    return _derivative(20, np.float64(x), np.float64(y), np.float64(z))


def betainc_ab(x, y, z):
    return _derivative(11, np.float64(x), np.float64(y), np.float64(z))


def betainc_bb(x, y, z):
    return _derivative(2, np.float64(x), np.float64(y), np.float64(z))


def betainc_aaa(x, y, z):
    return _derivative(30, np.float64(x), np.float64(y), np.float64(z))


def betainc_aab(x, y, z):
    return _derivative(21, np.float64(x), np.float64(y), np.float64(z))


def betainc_abb(x, y, z):
    return _derivative(12, np.float64(x), np.float64(y), np.float64(z))


def betainc_bbb(x, y, z):
    return _derivative(3, np.float64(x), np.float64(y), np.float64(z))


@apart
def _inverse(a, b, p, q):
    """Newton's method on the logarithm of the smaller tail, concave in the logit of ``x``: it converges.

    Which of ``x`` and ``1 - x`` is sought is what the tail is of.
    """
    if (
        (a != a)
        | (b != b)
        | (p != p)
        | (a <= 0)
        | (b <= 0)
        | (a > LARGEST)
        | (b > LARGEST)
        | (p < 0)
        | (q < 0)
    ):
        return NAN
    if p == 0:
        return 0.0
    if q == 0:
        return 1.0
    lower = p <= q
    wanted = p if lower else q
    z = log(a) - log(b)
    low, high = -745.0, 745.0
    for _ in range(100):
        x, y = _unlogit(z)
        tail = _both(a, b, x, y, not lower)
        density = _weight(a, b, x, y)
        if (tail < wanted) == lower:
            low = z
        else:
            high = z
        step = high - low
        if (tail > 0) & (density > 0):
            step = log_ratio(wanted, tail) * (tail / density)
            step = step if lower else -step
        z += step
        if np.fabs(step) < 1e-14 * (1.0 + np.fabs(z)):
            break
        z = z if (z > low) & (z < high) else 0.5 * (low + high)
    x, y = _unlogit(z)
    return x


def _unlogit(z):
    e = exp(-np.fabs(z))
    less, more = e / (1.0 + e), 1.0 / (1.0 + e)
    return (more if z > 0 else less), (less if z > 0 else more)


def betaincinv(x, y, z):
    a, b, p = np.float64(x), np.float64(y), np.float64(z)
    return _inverse(a, b, p, 1.0 - p)


def betainccinv(x, y, z):
    a, b, q = np.float64(x), np.float64(y), np.float64(z)
    return _inverse(a, b, 1.0 - q, q)
