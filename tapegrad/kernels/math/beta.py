"""The beta function, and differences of `lgamma` and of `digamma`, also of large arguments.

For these, Stirling's formula is subtracted term by term (Didonato and Morris 1992, algorithm 708), so that
nothing cancels; for others the gamma function is small enough to be divided.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.called import digamma, exp, gamma, lgamma, lgamma_positive, log, log1p, trigamma
from tapegrad.kernels.math.constants import INF, LARGEST, NAN
from tapegrad.kernels.math.gamma import HALF_LOG_2PI, stirling_rest
from tapegrad.kernels.twins import apart

OPERANDS = np.float64
# Bernoulli numbers B_2k / (2 k), of digamma's asymptotic series
BERNOULLI = (
    0.08333333333333333,
    -0.008333333333333333,
    0.003968253968253968,
    -0.004166666666666667,
    0.007575757575757576,
    -0.021092796092796094,
    0.08333333333333333,
    -0.4432598039215686,
)


@apart
def lgamma_step(x, y):
    """``lgamma(x + y) - lgamma(x)``."""
    x, y = np.float64(x), np.float64(y)
    z = x + y
    if not ((x > 0) & (z > 0)):
        return lgamma(z) - lgamma(x)
    if z > LARGEST:
        return INF if x <= LARGEST else NAN
    if (x >= 8.0) & (z >= 8.0):
        rest = stirling_rest(1.0 / z) - stirling_rest(1.0 / x)
        return (z - 0.5) * log1p(y / x) + y * (log(x) - 1.0) + rest
    if np.fabs(y) < 1.0:
        change = 0.0  # (1 + y / x) (1 + y / (x + 1)) ... - 1
        while (x < 8.0) | (z < 8.0):
            step = y / x
            change += step + change * step
            x += 1.0
            z += 1.0
        rest = stirling_rest(1.0 / z) - stirling_rest(1.0 / x)
        return (z - 0.5) * log1p(y / x) + y * (log(x) - 1.0) + rest - log1p(change)
    if (x < 8.0) & (z < 8.0) & (x > 1e-290) & (z > 1e-290):
        return log(gamma(z) / gamma(x))
    return lgamma_positive(z) - lgamma_positive(x)


@apart
def psi_step(x, y):
    """``digamma(x + y) - digamma(x)``, all digits of it for positive ``x`` and ``x + y``."""
    x, y = np.float64(x), np.float64(y)
    z = x + y
    if not ((x > 0) & (z > 0)):
        return digamma(z) - digamma(x)
    if z > LARGEST:
        return INF if x <= LARGEST else NAN
    out = 0.0
    while (x < 10.0) | (z < 10.0):
        if np.fabs(y) > 10.0:
            return out + digamma(z) - digamma(x)
        out += y / (x * z)
        x += 1.0
        z += 1.0
    return out + log1p(y / x) + psi_series_step(x, y)


@apart
def psi_series_step(x, y):
    """``psi_step(x, y) - log1p(y / x)`` for ``x`` and ``x + y`` from 10 on: series, term by term."""
    r, s = 1.0 / x, 1.0 / (x + y)
    a, b = r * r, s * s
    total, power, other = 0.0, 1.0, 1.0
    for k in range(8):
        total += BERNOULLI[k] * power  # times a**k + a**(k-1) b + ... + b**k
        other *= b
        power = power * a + other
    d = y * r * s  # 1 / x - 1 / z
    return d * (0.5 + (r + s) * total)


@apart
def trigamma_step(x, y):
    """``trigamma(x + y) - trigamma(x)``, all digits of it for positive ``x`` and ``x + y``."""
    x, y = np.float64(x), np.float64(y)
    z = x + y
    if (not ((x > 0) & (z > 0))) | (z > LARGEST):
        return trigamma(z) - trigamma(x)
    out = 0.0
    while (x < 12.0) | (z < 12.0):
        if np.fabs(y) > 10.0:
            return out + trigamma(z) - trigamma(x)
        r, s = 1.0 / x, 1.0 / z
        out -= (y * r * s) * (r + s)
        x += 1.0
        z += 1.0
    r, s = 1.0 / x, 1.0 / z
    total = 1.0 + 0.5 * (r + s)
    same = power = 1.0  # r**m + r**(m - 1) s + ... + s**m, and s**m
    for k in range(8):
        power *= s
        same = same * r + power
        power *= s
        same = same * r + power
        total += 2.0 * (k + 1.0) * BERNOULLI[k] * same
    return out - (y * r * s) * total


@apart
def _product(x, n):
    """``x (x + 1) ... (x + n - 1)``."""
    out, k = 1.0, 0.0
    while k < n:
        out *= x + k
        k += 1.0
    return out


@apart
def poch(x, y):
    """``gamma(x + y) / gamma(x)``."""
    x, y = np.float64(x), np.float64(y)
    z = x + y
    if (x != x) | (y != y):
        return z
    if (np.floor(y) == y) & (np.fabs(y) < 40.0):
        out = _product(x if y >= 0 else z, np.fabs(y))
        return out if y >= 0 else INF if out == 0 else 1.0 / out
    if (x > 0) & (z > 0):
        if (x < 30.0) & (z < 30.0) & (x > 1e-290):
            return gamma(z) / gamma(x)
        return exp(lgamma_step(x, y))
    if _whole(z) & (not _whole(x)):
        return INF
    if _whole(x) & (not _whole(z)):
        return 0.0
    if _whole(x):  # both: (-1)**y gamma(1 - x) / gamma(1 - z)
        out = exp(-lgamma_step(1.0 - x, -y))
        return out if np.floor(0.5 * y) * 2.0 == y else -out
    if (np.fabs(x) < 100.0) & (np.fabs(z) < 100.0):
        return gamma(z) / gamma(x)
    out = exp(lgamma(z) - lgamma(x))
    return -out if _negative(z) != _negative(x) else out


@apart
def binom(x, y):
    """``gamma(x + 1) / (gamma(y + 1) gamma(x - y + 1))``."""
    n, k = np.float64(x), np.float64(y)
    if (n != n) | (k != k):
        return n + k
    if (n < 0) & (np.floor(n) == n):
        return NAN
    if np.floor(k) == k:
        j = n - k if (np.floor(n) == n) & (k > 0.5 * n) & (n > 0) else k
        if (j >= 0) & (j < 20.0):
            num, den, i = 1.0, 1.0, 0.0
            while i < j:
                i += 1.0
                num *= n + (i - j)
                den *= i
                if num > 1e50:
                    num, den = num / den, 1.0
            return num / den
    if (k > 0) & (n >= k) & (n > 8.0):
        return exp(-betaln_positive(n - k + 1.0, k + 1.0) - log(n + 1.0))
    return 1.0 / ((n + 1.0) * beta(n - k + 1.0, k + 1.0))


@apart
def _positive(x, y):
    """`betaln` of positive numbers ``x <= y``."""
    if y > LARGEST:
        return -INF
    if x >= 8.0:
        h = x / y
        rest = stirling_rest(1.0 / x) + (stirling_rest(1.0 / y) - stirling_rest(1.0 / (x + y)))
        return (HALF_LOG_2PI - 0.5 * log(y)) + (x - 0.5) * log(h / (1.0 + h)) - y * log1p(h) + rest
    if y >= 8.0:
        return lgamma_positive(x) - lgamma_step(y, x)
    if x > 1e-290:
        return log(gamma(x) * (gamma(y) / gamma(x + y)))
    return lgamma_positive(x) + (lgamma_positive(y) - lgamma_positive(x + y))


def _whole(x):
    return (x <= 0) & (np.floor(x) == x)


def _at_pole(x, y):
    """The sign of `beta` for a whole number ``x`` that is not positive, 0 where it is infinite."""
    if (np.floor(y) == y) & (1.0 - x - y > 0):
        return 1.0 if np.floor(0.5 * y) * 2.0 == y else -1.0
    return 0.0


@apart
def betaln(x, y):
    x, y = np.float64(x), np.float64(y)
    if (x != x) | (y != y):
        return x + y
    if (x > 0) & (y > 0):
        return _positive(x if x < y else y, y if x < y else x)
    if _whole(x) | _whole(y):
        a, b = (x, y) if _whole(x) else (y, x)
        return INF if _at_pole(a, b) == 0 else betaln_positive(1.0 - a - b, b)
    return lgamma(x) + lgamma(y) - lgamma(x + y)


@apart
def betaln_positive(x, y):
    if (x > 0) & (y > 0):
        return _positive(x if x < y else y, y if x < y else x)
    return INF


@apart
def beta(x, y):
    x, y = np.float64(x), np.float64(y)
    if (x != x) | (y != y):
        return x + y
    if (x > 0) & (y > 0):
        if (x < 8.0) & (y < 8.0) & (x > 1e-290) & (y > 1e-290):
            a, b = (x, y) if x < y else (y, x)
            return gamma(a) * (gamma(b) / gamma(x + y))
        return exp(betaln_positive(x, y))
    if _whole(x) | _whole(y):
        a, b = (x, y) if _whole(x) else (y, x)
        sign = _at_pole(a, b)
        return INF if sign == 0 else sign * exp(betaln_positive(1.0 - a - b, b))
    if _whole(x + y):
        return 0.0
    if (np.fabs(x) < 100.0) & (np.fabs(y) < 100.0):
        return gamma(x) * (gamma(y) / gamma(x + y))
    odd = _negative(x) != (_negative(y) != _negative(x + y))
    out = exp(lgamma(x) + lgamma(y) - lgamma(x + y))
    return -out if odd else out


def _negative(x):
    """Whether the gamma function is negative."""
    return (x < 0) & (np.floor(0.5 * np.floor(x)) * 2.0 != np.floor(x))
