"""Inverses of the error function, of its complement, and of the normal distribution function.

Up to 3/4, ``erfinv(x) / x`` is a rational function of ``9/16 - x**2``; beyond, ``erfinv(x)`` is one of
``sqrt(-log(1 - x))``, in two pieces: the shape of Wichura's algorithm AS 241 (1988), with coefficients of our
own, none of them negative, so that nothing cancels.  Numerators and denominators are chosen, then divided.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.constants import INF, NAN
from tapegrad.kernels.math.logarithm import log_positive
from tapegrad.kernels.memory import muladd

OPERANDS = np.float64
SQRT_TWO = 1.4142135623730951


def _inverse(x, q):
    """The ``y`` with ``erf(y) = x`` and ``erfc(y) = q``; from 3/4 on by ``q``."""
    a = np.fabs(x)
    central = a < 0.75
    s = 0.5625 - x * x
    z = s * s
    y = z * z
    a0 = muladd(6.142104202392975, s, 1.0845597967968246)
    a1 = muladd(11.433637233700473, s, 12.614196732678625)
    a2 = muladd(0.5846551536913043, s, 4.428208205903917)
    b0 = muladd(a1, z, a0)
    b1 = muladd(0.011910387271877558, z, a2)
    num = a * muladd(b1, y, b0)
    a0 = muladd(6.181971276407754, s, 1.0)
    a1 = muladd(15.026186581252484, s, 14.218231716472873)
    a2 = muladd(1.393708460525926, s, 7.279809828161694)
    b0 = muladd(a1, z, a0)
    b1 = muladd(0.06765078940559469, z, a2)
    den = muladd(b1, y, b0)
    # from the tail: w = sqrt(-log(q)) from 1.17 to 27.5
    w = np.sqrt(-log_positive(q if (not central) & (q > 0) else 0.25))
    s = w - 1.17
    z = s * s
    y = z * z
    a0 = muladd(2.9887750227708736, s, 0.805931467601295)
    a1 = muladd(3.8694182728976827, s, 4.635657416426088)
    a2 = muladd(0.4854887894486392, s, 1.8448891156584735)
    a3 = muladd(0.0027013294913178745, s, 0.061541828983078764)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    middle_num = muladd(b1, y, b0)
    a0 = muladd(2.455209619029591, s, 1.0)
    a1 = muladd(1.4326524756527461, s, 2.585446866537434)
    a2 = muladd(0.0584224112942422, s, 0.4230833353874688)
    a3 = muladd(9.597705828002092e-09, s, 0.0027006457830606083)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    middle_den = muladd(b1, y, b0)
    s = w - 4.0
    z = s * s
    y = z * z
    a0 = muladd(4.4146537692951835, s, 3.7513593440414827)
    a1 = muladd(0.5553111010334174, s, 2.1460670530379398)
    a2 = muladd(0.006944593756648526, s, 0.08215679729535855)
    a3 = muladd(6.8106326240887574e-06, s, 0.0003167526843903974)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    c0 = muladd(b1, y, b0)
    far_num = muladd(4.9705309370675524e-08, y * y, c0)
    a0 = muladd(0.9017533223001375, s, 1.0)
    a1 = muladd(0.05948635650199131, s, 0.325181017972537)
    a2 = muladd(0.00029046019256440727, s, 0.005798184098632106)
    a3 = muladd(4.970500505419678e-08, s, 6.611929833908106e-06)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    c0 = muladd(b1, y, b0)
    far_den = muladd(6.40035854916702e-16, y * y, c0)
    middle = w < 4.0
    tail_num = middle_num if middle else far_num
    tail_den = middle_den if middle else far_den
    num = num if central else tail_num
    den = den if central else tail_den
    out = num / den
    out = INF if q == 0 else out
    out = out if q >= 0 else NAN
    return np.copysign(out, x)


def erfinv(x):
    x = np.float64(x)
    return _inverse(x, 1.0 - np.fabs(x))


def erfcinv(x):
    x = np.float64(x)
    other = 2.0 - x
    out = _inverse(1.0 - x, x if x < 1.0 else other)
    return 0.0 if x == 1.0 else out


def ndtri(x):
    x = np.float64(x)
    other = 2.0 - 2.0 * x
    out = SQRT_TWO * _inverse(2.0 * x - 1.0, 2.0 * x if x < 0.5 else other)
    return 0.0 if x == 0.5 else out
