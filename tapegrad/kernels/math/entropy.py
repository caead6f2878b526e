"""Entropies: ``x log(x)`` and ``x log(x / y)``, accurate where the arguments are close."""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.constants import INF, LARGEST
from tapegrad.kernels.math.logarithm import log, log_positive
from tapegrad.kernels.memory import muladd

OPERANDS = np.float64


def atanh_rest(s):
    """``(atanh(v) / v - 1) / v**2`` where ``s = v**2``, up to 0.35 squared."""
    z = s * s
    y = z * z
    w = y * y
    a0 = muladd(0.19999999999999313, s, 0.3333333333333333)
    a1 = muladd(0.11111111082881904, s, 0.1428571428593752)
    a2 = muladd(0.07692238937860695, s, 0.09090910917635671)
    a3 = muladd(0.05858412956185385, s, 0.0666827299707004)
    a4 = muladd(0.034608640855915224, s, 0.05489716615717448)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(0.08329257195775112, z, a4)
    c0 = muladd(b1, y, b0)
    return muladd(b2, w, c0)


def entr(x):
    x = np.float64(x)
    out = -x * log(x)
    out = 0.0 if x == 0 else out
    return -INF if x < 0 else out


def _close(x, y):
    """``v, near``: ``(x - y) / (x + y)``, in halves lest it overflows, and whether it is below 0.35."""
    v = (0.5 * x - 0.5 * y) / (0.5 * x + 0.5 * y)
    return v, np.fabs(v) < 0.35


def _log_ratio(x, y):
    """``log(x / y)`` of positive, finite numbers."""
    v, near = _close(x, y)
    ratio = x / y
    fair = (ratio > 1e-300) & (ratio < 1e300)
    far = log_positive(ratio if fair else x) - (0.0 if fair else log_positive(y))
    s = v * v if near else 0.0
    return 2.0 * v * muladd(s, atanh_rest(s), 1.0) if near else far


def log_ratio(x, y):
    x, y = np.float64(x), np.float64(y)
    good = (x > 0) & (y > 0) & (x <= LARGEST) & (y <= LARGEST)
    out = _log_ratio(x if good else 1.0, y if good else 1.0)
    return out if good else log(x) - log(y)


def rel_entr(x, y):
    x, y = np.float64(x), np.float64(y)
    good = (x > 0) & (y > 0)
    finite = (x <= LARGEST) & (y <= LARGEST)
    out = x * _log_ratio(x if good & finite else 1.0, y if good & finite else 1.0)
    out = x * (log(x) - log(y)) if good & (not finite) else out
    edge = 0.0 if (x == 0) & (y >= 0) else INF
    edge = x + y if (x != x) | (y != y) else edge
    return out if good else edge


def kl_div(x, y):
    """``x log(x / y) - x + y``; near ``x = y`` by a series without cancellation (Loader 2000)."""
    x, y = np.float64(x), np.float64(y)
    good = (x > 0) & (y > 0)
    finite = (x <= LARGEST) & (y <= LARGEST)
    a, b = (x if good & finite else 1.0), (y if good & finite else 1.0)
    v, near = _close(a, b)
    s = v * v if near else 0.0
    d = a - b
    out = d * v + 2.0 * a * v * (s * atanh_rest(s)) if near else a * _log_ratio(a, b) - d
    out = out if finite else x * (log(x) - log(y)) - x + y
    edge = y if (x == 0) & (y >= 0) else INF
    edge = x + y if (x != x) | (y != y) else edge
    return out if good else edge
