"""The incomplete gamma functions, their derivatives by both arguments, and their inverses.

Values: the series below ``max(a, 1)``, the continued fraction above, Temme's form of the complement for
small arguments (Gil, Segura and Temme 2012), quadrature where ``a`` is large.  Derivatives by ``a`` are
integrals of the density with polynomials in the logarithm of the variable: the series is differentiated
term by term, the upper tail integrated.  The side is so chosen that the first derivative's integrand has
one sign.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.beta import BERNOULLI
from tapegrad.kernels.math.called import (
    digamma,
    exp,
    expm1,
    gamma,
    kl_div,
    lgamma_positive,
    log,
    log1p,
    log_ratio,
    ndtri,
    power_any,
    trigamma,
    zeta,
)
from tapegrad.kernels.math.constants import INF, LARGEST, NAN
from tapegrad.kernels.math.gamma import lgamma_near_two, stirling_rest
from tapegrad.kernels.math.quadrature import CUT, HALF, NODES, WEIGHTS, exp_rest
from tapegrad.kernels.twins import apart

OPERANDS = np.float64
SQRT_2PI = 2.5066282746310007
MANY = 200.0  # from here on quadrature


@apart
def poisson(x, y):
    """``y**x exp(-y) / gamma(x + 1)`` (Loader 2000)."""
    a, x = np.float64(x), np.float64(y)
    if x > LARGEST:
        return 0.0
    if a >= 8.0:
        return exp(-stirling_rest(1.0 / a) - kl_div(a, x)) / (SQRT_2PI * np.sqrt(a))
    return 0.0 if x > 1e3 else power_any(x, a) * exp(-x) / gamma(a + 1.0)


@apart
def gammainc_x(x, y):
    """The density ``y**(x - 1) exp(-y) / gamma(x)``."""
    a, x = np.float64(x), np.float64(y)
    if (a < 0) | (x < 0) | (a != a) | (x != x):
        return NAN
    if x == 0:
        return INF if a < 1.0 else 1.0 if a == 1.0 else 0.0
    p = poisson(a, x)
    return 0.0 if p == 0 else p * (a / x)


def _moment(order, s, second, third):
    """What multiplies the density in its derivative: the complete Bell polynomial."""
    if order == 0:
        return 1.0
    if order == 1:
        return s
    if order == 2:
        return s * s + second
    return s * (s * s + 3.0 * second) + third


@apart
def _series(order, a, x):
    """Lower tail: the sum of ``x**(a + k) exp(-x) / gamma(a + k + 1)``, or its derivative by ``a``."""
    term = poisson(a, x)
    b = a + 1.0
    s = second = third = 0.0
    if order > 0:
        s = log(x) - digamma(b)
    if order > 1:
        second = -trigamma(b)
    if order > 2:
        third = 2.0 * zeta(3.0, b)
    out, k = 0.0, 0.0
    while k < 10000.0:
        part = term * _moment(order, s, second, third)
        out += part
        if (term <= 1e-18 * np.fabs(out)) & (np.fabs(part) <= 1e-17 * np.fabs(out)):
            break
        r = 1.0 / b
        term *= x * r
        s -= r
        second += r * r
        third -= 2.0 * r * r * r
        b += 1.0
        k += 1.0
        if term == 0:
            break
    return out


@apart
def _fraction(a, x):
    """Upper tail, by Legendre's continued fraction (modified Lentz algorithm)."""
    b = x + 1.0 - a
    c = 1e300
    d = 1.0 / b
    h = d
    k = 1.0
    while k < 10000.0:
        factor = -k * (k - a)
        b += 2.0
        d = factor * d + b
        d = 1.0 / (1e-300 if d == 0 else d)
        c = b + factor / c
        c = 1e-300 if c == 0 else c
        step = d * c
        h *= step
        if np.fabs(step - 1.0) < 2e-16:
            break
        k += 1.0
    return gammainc_x(a, x) * x * h


@apart
def _small_complement(a, x):
    """Upper tail of ``x <= 1``, where it is the greater one: no ``1 - p``."""
    log_gamma = a * lgamma_near_two(a) - log1p(a) if a < 0.5 else lgamma_positive(a + 1.0)
    lower = a * log(x) - log_gamma
    out, term, k = 0.0, 1.0, 0.0
    while k < 200.0:
        k += 1.0
        term *= -x / k
        part = a * term / (a + k)
        out += part
        if np.fabs(part) <= 1e-18 * np.fabs(out):
            break
    return -expm1(lower) - exp(lower) * out


@apart
def _score(a, x):
    """``log(x) - digamma(a)``."""
    if a < 10.0:
        return log(x) - digamma(a)
    r = 1.0 / a
    z = r * r
    out, power = 0.0, 1.0
    for k in range(8):
        out += BERNOULLI[k] * power
        power *= z
    return log_ratio(x, a) + r * (0.5 + r * out)


@apart
def _tail(order, a, x):
    """The integral over a tail, the lower one for ``x <= a`` and else the upper one: its part of one sign.

    With ``t = x exp(-u)`` or ``x exp(u)`` the density falls like ``exp(-slope u - x (exp(u) - 1 - u))``.
    """
    way = -1.0 if x <= a else 1.0
    slope = np.fabs(x - a)
    s = second = third = 0.0
    if order > 0:
        s = _score(a, x)
    if order > 1:
        second = -trigamma(a)
    if order > 2:
        third = 2.0 * zeta(3.0, a)
    # where to cut: Newton's method, from below for the upper tail, from above for the lower one
    end = 2.0 * CUT / (slope + np.sqrt(slope * slope + 2.0 * CUT * x))
    for _ in range(60):
        step = (CUT - slope * end - x * exp_rest(way * end)) / (slope + way * x * expm1(way * end))
        end += step
        if np.fabs(step) < 1e-2 * end:
            break
    total = 0.0
    for i in range(2 * HALF):
        k = i if i < HALF else i - HALF
        u = 0.5 * end * (1.0 + (NODES[k] if i < HALF else -NODES[k]))
        weight = exp(-slope * u - x * exp_rest(way * u))
        total += WEIGHTS[k] * weight * _moment(order, s + way * u, second, third)
    return 0.5 * end * total * (gammainc_x(a, x) * x)


def _edge(a, x):
    """What is known without computing: the lower tail, NaN outside the domain, -1 inside."""
    if (a != a) | (x != x) | (a < 0) | (x < 0):
        return NAN
    if a == 0:
        return 1.0 if x > 0 else NAN
    if a > LARGEST:
        return NAN if x > LARGEST else 0.0
    if x > LARGEST:
        return 1.0
    return 0.0 if x == 0 else -1.0


@apart
def _value(a, x, upper):
    edge = _edge(a, x)
    if edge != -1.0:
        return 1.0 - edge if upper else edge
    if (a > MANY) & (np.fabs(x - a) < 0.5 * a):
        tail, lower = _tail(0, a, x), x <= a
    elif upper & (x <= 1.0) & (a < (-0.4 / log(x) if x < 0.5 else x)):
        tail, lower = _small_complement(a, x), False
    elif x <= (a if a > 1.0 else 1.0):
        tail, lower = _series(0, a, x), True
    else:
        tail, lower = _fraction(a, x), False
    tail = 1.0 if tail > 1.0 else tail
    return 1.0 - tail if lower == upper else tail


def gammainc(x, y):
    return _value(np.float64(x), np.float64(y), False)


def gammaincc(x, y):
    return _value(np.float64(x), np.float64(y), True)


@apart
def _derivative(order, a, x):
    if (a >= 0) & (a < 1e-100):  # where powers of 1 / a overflow the limit has been reached
        a = 1e-100
    edge = _edge(a, x)
    if edge != -1.0:
        return edge if edge != edge else 0.0
    above = x > (a if a > 1.0 else 1.0)
    if above | (a > MANY):
        out = _tail(order, a, x)
        return -out if above else out
    return _series(order, a, x)


def gammainc_1(x, y):
    return _derivative(1, np.float64(x), np.float64(y))


def gammainc_2(x, y):
    return _derivative(2, np.float64(x), np.float64(y))


def gammainc_3(x, y):
    return _derivative(3, np.float64(x), np.float64(y))


@apart
def _guess(a, p, q):
    """The logarithm of about where the lower tail is ``p``, the upper one ``q``."""
    low = (log(p) + lgamma_positive(a + 1.0)) / a
    if a >= 0.5:
        root = 1.0 / (3.0 * np.sqrt(a))
        cube = 1.0 - root * root + root * (ndtri(p) if p < q else -ndtri(q))  # Wilson and Hilferty
        return log(a) + 3.0 * log(cube) if cube > 0.2 else low
    far = -log(q) - lgamma_positive(a)
    return log(far) if (q < p) & (far > 0.2) else low


@apart
def _inverse(a, p, q):
    """Newton's method on the logarithm of the smaller tail, concave in that of ``x``: it converges."""
    if (a != a) | (p != p) | (a < 0) | (a > LARGEST) | (p < 0) | (q < 0):
        return NAN
    if (p == 0) | (q == 0) | (a == 0):
        return 0.0 if p == 0 else INF if q == 0 else NAN
    lower = p <= q
    wanted = p if lower else q
    low, high = -745.0, log(1.5 * a + 1600.0)
    y = _guess(a, p, q)
    y = y if (y > low) & (y < high) else low + 1.0
    for _ in range(100):
        x = exp(y)
        tail = _value(a, x, not lower)
        density = x * gammainc_x(a, x)
        if (tail < wanted) == lower:
            low = y
        else:
            high = y
        step = high - low
        if (tail > 0) & (density > 0):
            step = log_ratio(wanted, tail) * (tail / density)
            step = step if lower else -step
        y += step
        if np.fabs(step) < 1e-14 * (1.0 + np.fabs(y)):
            break
        y = y if (y > low) & (y < high) else 0.5 * (low + high)
    return exp(y)


def gammaincinv(x, y):
    a, p = np.float64(x), np.float64(y)
    return _inverse(a, p, 1.0 - p)


def gammainccinv(x, y):
    a, q = np.float64(x), np.float64(y)
    return _inverse(a, 1.0 - q, q)
