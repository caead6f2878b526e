"""Logarithms of densities, without cancellation where parameters are large (Loader 2000)."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.beta import betaln, lgamma_step
from tapegrad.kernels.math.called import kl_div as entropy
from tapegrad.kernels.math.called import log, log1p
from tapegrad.kernels.math.constants import INF, LARGEST, NAN
from tapegrad.kernels.math.entropy import kl_div
from tapegrad.kernels.math.gamma import HALF_LOG_2PI, lgamma_positive, stirling_rest
from tapegrad.kernels.math.logarithm import log_positive
from tapegrad.kernels.twins import apart

OPERANDS = np.float64
HALF_LOG_PI = 0.5723649429247001
ENOUGH = 8.0


def gamma_log(x, y):
    """``(x - 1) log(y) - y - lgamma(x)``."""
    a, v = np.float64(x), np.float64(y)
    good = (a > 0) & (v > 0) & (a <= LARGEST) & (v <= LARGEST)
    large = good & (a >= ENOUGH)
    w = v if good else 1.0
    logarithm = log_positive(w)
    c = a if large else ENOUGH
    far = (0.5 * log_positive(c) - logarithm - HALF_LOG_2PI) - stirling_rest(1.0 / c) - kl_div(c, w)
    c = a if good & (not large) else 1.0
    near = (c - 1.0) * logarithm - w - lgamma_positive(c)
    out = far if large else near
    # infinite arguments, and what is at 0
    edge = NAN if (v > LARGEST) & (a > LARGEST) else -INF
    first = 0.0 if a == 1.0 else INF if a < 1.0 else edge
    edge = first if v == 0 else edge
    edge = edge if (a > 0) & (v >= 0) else NAN
    return out if good else edge


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
        return root + rest - entropy(a, n * p) - entropy(b, n * q) - log_p - log_q
    return (a - 1.0) * log_p + (b - 1.0) * log_q - betaln(a, b)


@apart
def t_constant(x):
    """The logarithm of the density at 0 of Student's distribution with ``x`` degrees of freedom."""
    n = np.float64(x)
    if not n > 0:
        return NAN
    return -HALF_LOG_2PI if n > LARGEST else lgamma_step(0.5 * n, 0.5) - 0.5 * log(n) - HALF_LOG_PI
