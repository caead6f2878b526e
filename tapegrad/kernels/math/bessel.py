"""Bessel functions of both kinds, of orders 0 and 1.

Up to 8 polynomials in ``x**2``, over the zeros that lie there; beyond, Hankel's form ``sqrt(2 / (pi x)) (P
cos - Q sin)``, ``P`` and ``Q`` polynomials in ``1 / x**2``: minimax fits of our own.  Errors are relative
to the greater of the value and of ``sqrt(2 / (pi x))``, but relative to the value around the zeros of `j0`
and `j1` below 8.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.circular import NEAR, cos_near, sin_near
from tapegrad.kernels.math.constants import HIGHEST, INF, LARGEST, NAN
from tapegrad.kernels.math.logarithm import log_positive
from tapegrad.kernels.memory import muladd
from tapegrad.kernels.twins import within

OPERANDS = np.float64
INV_SQRT_PI = 0.5641895835477563
TWO_OVER_PI = 0.6366197723675814
# zeros of j0 and j1, each in two parts
Z1, Z1_REST = 2.404825557695773, -1.176691651530894e-16
Z2, Z2_REST = 5.520078110286311, 8.088597146146722e-17
W1, W1_REST = 3.8317059702075125, -1.5269184090088067e-16
W2, W2_REST = 7.015586669815619, -9.414165653410389e-17


def _j0_near(u):
    """`j0` over its zeros, where ``u = x**2 / 32 - 1``, up to ``x = 8``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.002119794289479692, u, 0.0011434937743762545)
    a1 = muladd(-0.0006415390646406127, u, 0.0015636431645931661)
    a2 = muladd(-3.1573425402232216e-05, u, 0.00016977200713998007)
    a3 = muladd(-4.677128021414281e-07, u, 4.36693232463e-06)
    a4 = muladd(-2.7948629485055044e-09, u, 3.9988393487222275e-08)
    a5 = muladd(-8.023488331497413e-12, u, 1.627648448363985e-10)
    a6 = muladd(-1.247805799825582e-14, u, 3.3927090348540653e-13)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(3.894913733125253e-16, z, a6)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    return muladd(c1, w, c0)


def _j1_near(u):
    """``j1(x) / x`` over its zeros, where ``u = x**2 / 32 - 1``, up to ``x = 8``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.0002697522746716368, u, 0.00019498936985895625)
    a1 = muladd(-5.4080032390855674e-05, u, 0.00015860016799369866)
    a2 = muladd(-1.989093515909056e-06, u, 1.224217365301685e-05)
    a3 = muladd(-2.3521922564297418e-08, u, 2.442522260660746e-07)
    a4 = muladd(-1.1696929342087674e-10, u, 1.8268547996133851e-09)
    a5 = muladd(-2.8757914205591117e-13, u, 6.284684783742642e-12)
    a6 = muladd(-3.8286538314846653e-16, u, 1.1381842087332245e-14)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    c1 = muladd(a6, y, b2)
    return muladd(c1, w, c0)


def _y0_near(u):
    """``y0(x) - 2 / pi log(x) j0(x)`` where ``u = x**2 / 32 - 1``, up to ``x = 8``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.8284358903604588, u, -0.38225065445942497)
    a1 = muladd(0.14412632369302497, u, 1.6470964788745432)
    a2 = muladd(0.6721770783431655, u, -1.077547733821527)
    a3 = muladd(0.04636704768138642, u, -0.2189574709622964)
    a4 = muladd(0.0008061586059340217, u, -0.007025741054991921)
    a5 = muladd(5.321318846548132e-06, u, -7.279542368654533e-05)
    a6 = muladd(1.6390850916073858e-08, u, -3.218450384260029e-07)
    a7 = muladd(2.6933363882764976e-11, u, -7.165821806778461e-10)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    return muladd(c1, w, c0)


def _y1_near(u):
    """``(y1(x) - 2 / pi (log(x) j1(x) - 1 / x)) / x`` where ``u = x**2 / 32 - 1``, up to ``x = 8``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.24337743079193114, u, 0.07075985882118005)
    a1 = muladd(0.23507209206669755, u, 0.02336757172099348)
    a2 = muladd(0.07854786922242525, u, -0.19639839859930203)
    a3 = muladd(0.003422490739919174, u, -0.01962875683311711)
    a4 = muladd(4.46743301256708e-05, u, -0.0004438173434420158)
    a5 = muladd(2.380493052429262e-07, u, -3.601000022588957e-06)
    a6 = muladd(6.169681111288715e-10, u, -1.3153147368107024e-08)
    a7 = muladd(8.76184568256818e-13, u, -2.4995315192109645e-11)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    return muladd(c1, w, c0)


def _p0(u):
    """Cosine part of the modulus at ``x >= 8``, where ``u = 128 / x**2 - 1``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.0005363673192129346, u, 0.9994572757882519)
    a1 = muladd(-2.05274483266835e-07, u, 6.137416081285382e-06)
    a2 = muladd(-1.2121061462277651e-09, u, 1.2803747729028558e-08)
    a3 = muladd(-2.4919862991615392e-11, u, 1.5506413785047762e-10)
    a4 = muladd(-1.007346620321366e-12, u, 4.6742396157126276e-12)
    a5 = muladd(-1.0557439309605987e-13, u, 3.4552155676369563e-13)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    return muladd(b2, w, c0)


def _q0(u):
    """Sine part of the modulus times ``x``, where ``u = 128 / x**2 - 1``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(0.0005466519279472026, u, -0.12444091103610816)
    a1 = muladd(5.684971972443326e-07, u, -1.1817110660350448e-05)
    a2 = muladd(5.146159089768716e-09, u, -4.534974039893558e-08)
    a3 = muladd(1.3648347890666296e-10, u, -7.575682781076898e-10)
    a4 = muladd(6.5377720260657615e-12, u, -2.8875404547226108e-11)
    a5 = muladd(7.916114289133212e-13, u, -1.6472060960995576e-12)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    c1 = muladd(-2.8377754236681626e-13, y, b2)
    return muladd(c1, w, c0)


def _p1(u):
    """Cosine part of the modulus at ``x >= 8``, where ``u = 128 / x**2 - 1``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(0.0008988049416704834, u, 1.0009070262780821)
    a1 = muladd(2.453676640356474e-07, u, -7.959694699686541e-06)
    a2 = muladd(1.360293007997846e-09, u, -1.4708498434976391e-08)
    a3 = muladd(2.7243472252149426e-11, u, -1.7137283601077127e-10)
    a4 = muladd(1.0865186119555517e-12, u, -5.071448192614699e-12)
    a5 = muladd(1.1249811383421322e-13, u, -3.697437042605101e-13)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    return muladd(b2, w, c0)


def _q1(u):
    """Sine part of the modulus times ``x``, where ``u = 128 / x**2 - 1``."""
    z = u * u
    y = z * z
    w = y * y
    a0 = muladd(-0.0007697167057640284, u, 0.3742149922195918)
    a1 = muladd(-6.633568656825226e-07, u, 1.4569614808950644e-05)
    a2 = muladd(-5.720814303719731e-09, u, 5.1361072695335437e-08)
    a3 = muladd(-1.4842836474498852e-10, u, 8.315392552347312e-10)
    a4 = muladd(-7.027788068812129e-12, u, 3.1181320468741406e-11)
    a5 = muladd(-8.413307518767892e-13, u, 1.7637313461319477e-12)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    c1 = muladd(3.006896880393184e-13, y, b2)
    return muladd(c1, w, c0)


def _j0_small(a):
    zeros = ((a - Z1) - Z1_REST) * (a + Z1) * (((a - Z2) - Z2_REST) * (a + Z2))
    return zeros * _j0_near(muladd(a * a, 0.03125, -1.0))


def _j1_small(a):
    zeros = ((a - W1) - W1_REST) * (a + W1) * (((a - W2) - W2_REST) * (a + W2))
    return a * (zeros * _j1_near(muladd(a * a, 0.03125, -1.0)))


def _far(a):
    """``u, inverse, root``: ``128 / a**2 - 1``, ``1 / a`` and ``1 / sqrt(pi a)``, for ``a`` from 8 on."""
    inverse = 1.0 / a
    return muladd(128.0 * inverse, inverse, -1.0), inverse, INV_SQRT_PI * np.sqrt(inverse)


def _wave_0(a, sine, cosine, second):
    """`j0` or, if ``second``, `y0` from 8 on."""
    u, inverse, root = _far(a)
    plus, minus = sine + cosine, sine - cosine
    p, q = _p0(u), _q0(u) * inverse
    return root * (muladd(p, minus, q * plus) if second else muladd(p, plus, -q * minus))


def _wave_1(a, sine, cosine, second):
    """`j1` or, if ``second``, `y1` from 8 on."""
    u, inverse, root = _far(a)
    plus, minus = sine + cosine, sine - cosine
    p, q = _p1(u), _q1(u) * inverse
    return root * (muladd(q, minus, -p * plus) if second else muladd(p, minus, q * plus))


def _circle(a):
    """Sine and cosine of numbers of any size."""
    if a <= NEAR:
        return sin_near(a), cos_near(a)
    return np.sin(a), np.cos(a)


def j0_near(x):
    """`j0` of numbers up to NEAR."""
    a = np.fabs(np.float64(x))
    near = a < 8.0
    v = 8.0 if near else a
    small = _j0_small(a if near else 8.0)
    large = _wave_0(v, sin_near(v), cos_near(v), False)
    return small if near else large


@within(j0_near, -NEAR, NEAR)
def j0(x):
    a = np.fabs(np.float64(x))
    if a < 8.0:
        return _j0_small(a)
    sine, cosine = _circle(a)
    return 0.0 if a > LARGEST else _wave_0(a, sine, cosine, False)


def j1_near(x):
    """`j1` of numbers up to NEAR."""
    x = np.float64(x)
    a = np.fabs(x)
    near = a < 8.0
    v = 8.0 if near else a
    small = _j1_small(a if near else 8.0)
    large = _wave_1(v, sin_near(v), cos_near(v), False)
    out = small if near else large
    return -out if x < 0 else out if x != 0 else x


@within(j1_near, -NEAR, NEAR)
def j1(x):
    x = np.float64(x)
    a = np.fabs(x)
    if a < 8.0:
        return np.copysign(1.0, x) * _j1_small(a)
    sine, cosine = _circle(a)
    out = 0.0 if a > LARGEST else _wave_1(a, sine, cosine, False)
    return -out if x < 0 else out


def y0_near(x):
    """`y0` of positive numbers up to NEAR."""
    x = np.float64(x)
    near = x < 8.0
    v = 8.0 if near else x
    a = x if near else 1.0
    small = muladd(
        TWO_OVER_PI * log_positive(a if a > 0 else 1.0), _j0_small(a), _y0_near(muladd(a * a, 0.03125, -1.0))
    )
    large = _wave_0(v, sin_near(v), cos_near(v), True)
    out = small if near else large
    out = -INF if x == 0 else out
    return out if x >= 0 else NAN


@within(y0_near, 0.0, NEAR)
def y0(x):
    x = np.float64(x)
    if not x > NEAR:
        return y0_near(x)
    sine, cosine = _circle(x)
    return 0.0 if x > LARGEST else _wave_0(x, sine, cosine, True)


def y1_near(x):
    """`y1` of positive numbers up to NEAR."""
    x = np.float64(x)
    near = x < 8.0
    v = 8.0 if near else x
    a = x if near & (x > 0) else 1.0
    small = muladd(
        TWO_OVER_PI,
        muladd(log_positive(a), _j1_small(a), -1.0 / a),
        a * _y1_near(muladd(a * a, 0.03125, -1.0)),
    )
    large = _wave_1(v, sin_near(v), cos_near(v), True)
    out = small if near else large
    out = -INF if x == 0 else out
    return out if x >= 0 else NAN


@within(y1_near, 0.0, NEAR)
def y1(x):
    x = np.float64(x)
    if not x > NEAR:
        return y1_near(x)
    sine, cosine = _circle(x)
    return 0.0 if x > LARGEST else _wave_1(x, sine, cosine, True)


def jv_n(x, y):
    """``J_n(y) / y**n`` for an order ``n = x``: its derivative is ``-y`` times the next."""
    n, a = np.float64(x), np.fabs(np.float64(y))
    if (a != a) | (n != n) | (n > HIGHEST):
        return NAN
    if a > LARGEST:
        return 0.0
    if a > n + 1.0:
        # J_{k+1} = 2 k / a J_k - J_{k-1}
        before, now, k = j0(a), j1(a) / a, 1.0
        if n == 0:
            return before
        inverse = 1.0 / (a * a)
        while k < n:
            before, now = now, (2.0 * k * now - before) * inverse
            k += 1.0
        return now
    q = -0.25 * a * a
    term, k = 1.0, 0.0
    while k < n:
        k += 1.0
        term *= 0.5 / k
    out, k = 0.0, 0.0
    while (np.fabs(term) > 1e-18 * np.fabs(out)) & (k < 500.0):
        out += term
        k += 1.0
        term *= q / (k * (n + k))
    return out
