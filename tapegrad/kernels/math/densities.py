"""Logarithms of densities, without cancellation where parameters are large (Loader 2000)."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.beta import betaln, lgamma_step
from tapegrad.kernels.math.called import kl_div, lgamma, log, log1p
from tapegrad.kernels.math.constants import INF, LARGEST, NAN
from tapegrad.kernels.math.gamma import HALF_LOG_2PI, stirling_rest
from tapegrad.kernels.twins import apart

OPERANDS = np.float64
HALF_LOG_PI = 0.5723649429247001
ENOUGH = 8.0


@apart
def gamma_log(x, y):
    """``(x - 1) log(y) - y - lgamma(x)``."""
    a, v = np.float64(x), np.float64(y)
    if (a != a) | (v != v) | (a <= 0) | (v < 0):
        return NAN
    if v == 0:
        return 0.0 if a == 1.0 else -INF if a > 1.0 else INF
    if (v > LARGEST) | (a > LARGEST):
        return NAN if (v > LARGEST) & (a > LARGEST) else -INF
    if a >= ENOUGH:
        return -stirling_rest(1.0 / a) - kl_div(a, v) + (0.5 * log(a) - log(v) - HALF_LOG_2PI)
    return (a - 1.0) * log(v) - v - lgamma(a)


@apart
def beta_log(x, y, z):
    """``(x - 1) log(z) + (y - 1) log(1 - z) - betaln(x, y)``."""
    a, b, p = np.float64(x), np.float64(y), np.float64(z)
    if (a != a) | (b != b) | (p != p) | (a <= 0) | (b <= 0) | (p < 0) | (p > 1):
        return NAN
    if (p == 0) | (p == 1):
        c = a if p == 0 else b
        return INF if c < 1.0 else -INF if c > 1.0 else log(b if p == 0 else a)
    q = 1.0 - p
    log_p = log1p(-q) if q < 0.5 else log(p)
    log_q = log1p(-p) if p < 0.5 else log(q)
    if (a >= ENOUGH) & (b >= ENOUGH):
        n = a + b
        rest = stirling_rest(1.0 / n) - stirling_rest(1.0 / a) - stirling_rest(1.0 / b)
        root = 0.5 * (log(a) + log(b / n)) - HALF_LOG_2PI
        return root + rest - kl_div(a, n * p) - kl_div(b, n * q) - log_p - log_q
    return (a - 1.0) * log_p + (b - 1.0) * log_q - betaln(a, b)


@apart
def t_log(x, y):
    """The logarithm of the density of Student's distribution with ``x`` degrees of freedom."""
    n, t = np.float64(x), np.fabs(np.float64(y))
    if (n != n) | (t != t) | (n <= 0):
        return NAN
    if n > LARGEST:
        return -0.5 * t * t - HALF_LOG_2PI
    ratio = (t / n) * t
    far = ratio > 1e280
    rest = 2.0 * log(t) - log(n) if far else log1p(ratio)
    return lgamma_step(0.5 * n, 0.5) - 0.5 * log(n) - HALF_LOG_PI - 0.5 * (n + 1.0) * rest
