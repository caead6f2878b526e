"""Modified Bessel functions of the first kind, of orders 0 and 1, plain and scaled.

Up to 8 polynomials in ``x**2``, beyond in ``1 / x``: minimax fits of our own.  What derivatives are made
of is positive, so that nothing cancels: integrals of ``(1 - cos t)**n exp(-x (1 - cos t)) / pi`` from 0 to
pi, which but for the sign are the derivatives of `i0e`; and ``I_n(x) / x**n``, whose derivative is ``x``
times the next.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.constants import HIGHEST, INF, LARGEST, NAN
from tapegrad.kernels.math.exponential import exp
from tapegrad.kernels.memory import muladd

OPERANDS = np.float64
INV_SQRT_PI = 0.5641895835477563
INV_SQRT_2PI = 0.3989422804014327


def _i0_near(q):
    """``(i0(x) - 1) / q`` where ``q = x**2 / 4``, up to 16."""
    z = q * q
    y = z * z
    w = y * y
    a0 = muladd(0.24999999999999994, q, 1.0)
    a1 = muladd(0.001736111111110536, q, 0.02777777777777804)
    a2 = muladd(1.9290123452517897e-06, q, 6.944444444508864e-05)
    a3 = muladd(6.151186800871239e-10, q, 3.936759907362263e-08)
    a4 = muladd(7.593906859206888e-14, q, 7.594069024818672e-12)
    a5 = muladd(4.347261291084438e-18, q, 6.277626726765784e-16)
    a6 = muladd(1.1388629149860324e-22, q, 2.6340136689047456e-20)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(9.093304730146954e-25, z, a6)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    return muladd(c1, w, c0)


def _i1_near(q):
    """``(2 i1(x) / x - 1) / q`` where ``q = x**2 / 4``, up to 16."""
    z = q * q
    y = z * z
    w = y * y
    a0 = muladd(0.08333333333333358, q, 0.5)
    a1 = muladd(0.0003472222222242845, q, 0.006944444444443312)
    a2 = muladd(2.7557319330690657e-07, q, 1.1574074072144566e-05)
    a3 = muladd(6.834661569052436e-11, q, 4.9209494836184675e-09)
    a4 = muladd(6.905376797191799e-15, q, 7.593911026150784e-13)
    a5 = muladd(3.424949464649263e-19, q, 5.216652667567336e-17)
    a6 = muladd(1.367685418787831e-23, q, 1.5917043087805744e-21)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    c0 = muladd(b1, y, b0)
    c1 = muladd(a6, y, b2)
    return muladd(c1, w, c0)


def _i0_far(u):
    """``sqrt(x) exp(-x) i0(x)`` where ``u = 16 / x - 1``, from ``x = 8`` on."""
    z = u * u
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(0.003360551983667794, u, 0.4021765094450081)
    a1 = muladd(1.1143033797331654e-05, u, 0.00013621607438969898)
    a2 = muladd(2.9735968141828305e-07, u, 1.4838476726866367e-06)
    a3 = muladd(3.932809757302326e-08, u, 8.872020221130819e-08)
    a4 = muladd(7.538874544080594e-09, u, 2.1567562032183792e-08)
    a5 = muladd(-1.3341449179224847e-08, u, -6.856233807219324e-09)
    a6 = muladd(7.368558905410023e-09, u, -5.0159097587974416e-09)
    a7 = muladd(-3.1781736221199212e-09, u, 6.514905884755861e-09)
    a8 = muladd(1.1406355582057877e-09, u, -4.517003493560116e-09)
    a9 = muladd(-2.9657066494498996e-10, u, 2.1502563231488277e-09)
    a10 = muladd(3.9460952257437644e-11, u, -6.424919101342536e-10)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(8.965532653067806e-11, z, a10)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    d0 = muladd(c1, w, c0)
    return muladd(c2, v, d0)


def _i1_far(u):
    """``sqrt(x) exp(-x) i1(x)`` where ``u = 16 / x - 1``, from ``x = 8`` on."""
    z = u * u
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(-0.009749577193235678, u, 0.38939845902587233)
    a1 = muladd(-1.5038547206178812e-05, u, -0.00021923576383157768)
    a2 = muladd(-3.48385419753344e-07, u, -1.8349102434977454e-06)
    a3 = muladd(-4.313117385522245e-08, u, -1.0001081317009331e-07)
    a4 = muladd(-8.413687264967607e-09, u, -2.339383668302808e-08)
    a5 = muladd(1.3973906824942941e-08, u, 6.847173803828268e-09)
    a6 = muladd(-7.477123608324254e-09, u, 5.5706685627938455e-09)
    a7 = muladd(3.130665222718748e-09, u, -6.937477147560124e-09)
    a8 = muladd(-1.0953067454319821e-09, u, 4.750467468106117e-09)
    a9 = muladd(2.797995713378679e-10, u, -2.249023632304897e-09)
    a10 = muladd(-3.685918535929722e-11, u, 6.70235542328264e-10)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(-9.339995055531707e-11, z, a10)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    d0 = muladd(c1, w, c0)
    return muladd(c2, v, d0)


def _i0e_1_near(u):
    """``exp(-x) (i0(x) - i1(x))`` where ``u = x / 4 - 1``, for ``0 <= x <= 8``."""
    z = u * u
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(-0.04725781426997563, u, 0.02825108172155137)
    a1 = muladd(-0.08734341617550678, u, 0.06678258102057)
    a2 = muladd(-0.11891283886145793, u, 0.10620422614518367)
    a3 = muladd(-0.11355406402535306, u, 0.121697092330656)
    a4 = muladd(-0.07544478022364745, u, 0.09671838626505212)
    a5 = muladd(-0.035880232525212614, u, 0.05412730047023679)
    a6 = muladd(-0.01265994830993183, u, 0.022075299193007603)
    a7 = muladd(-0.003425242031365177, u, 0.006794576952384946)
    a8 = muladd(-0.0007308691822239467, u, 0.001627330085646878)
    a9 = muladd(-0.00012593674948530926, u, 0.00031117284695976493)
    a10 = muladd(-1.784994866096316e-05, u, 4.8562542877210335e-05)
    a11 = muladd(-2.1330864752633554e-06, u, 6.265556447696021e-06)
    a12 = muladd(-2.0963965059601687e-07, u, 7.072164284315638e-07)
    a13 = muladd(-1.8929017085970584e-08, u, 5.3551439042288026e-08)
    a14 = muladd(-1.7599602929452883e-09, u, 8.383634548604695e-09)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(a11, z, a10)
    b6 = muladd(a13, z, a12)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    c3 = muladd(a14, y, b6)
    d0 = muladd(c1, w, c0)
    d1 = muladd(c3, w, c2)
    return muladd(d1, v, d0)


def _i0e_1_far(u):
    """``x**1.5 exp(-x) (i0(x) - i1(x))`` where ``u = 16 / x - 1``, from ``x = 8`` on."""
    z = u * u
    y = z * z
    w = y * y
    v = w * w
    a0 = muladd(0.0053132601242865925, u, 0.20444880670617194)
    a1 = muladd(4.493600841842854e-05, u, 0.0003739692873425615)
    a2 = muladd(2.1678164030199334e-06, u, 8.164113836371119e-06)
    a3 = muladd(4.6726588088537994e-07, u, 8.519657629687638e-07)
    a4 = muladd(4.882404417905817e-09, u, 2.5124416492626455e-07)
    a5 = muladd(-2.2236347816417762e-07, u, -2.1885007831940559e-07)
    a6 = muladd(2.181199903427458e-07, u, 3.2309473535817614e-08)
    a7 = muladd(-1.7978305964203537e-07, u, 5.1695486728128735e-08)
    a8 = muladd(1.4367954477389982e-07, u, -6.841833179376309e-08)
    a9 = muladd(-1.0398913057062283e-07, u, 5.502028624721912e-08)
    a10 = muladd(6.088945464206587e-08, u, -3.239805858137883e-08)
    a11 = muladd(-2.576080675735714e-08, u, 1.3507100594578715e-08)
    a12 = muladd(6.829350836057482e-09, u, -3.540266871421644e-09)
    a13 = muladd(-8.418470519385341e-10, u, 4.3523779390037033e-10)
    b0 = muladd(a1, z, a0)
    b1 = muladd(a3, z, a2)
    b2 = muladd(a5, z, a4)
    b3 = muladd(a7, z, a6)
    b4 = muladd(a9, z, a8)
    b5 = muladd(a11, z, a10)
    b6 = muladd(a13, z, a12)
    c0 = muladd(b1, y, b0)
    c1 = muladd(b3, y, b2)
    c2 = muladd(b5, y, b4)
    d0 = muladd(c1, w, c0)
    d1 = muladd(b6, w, c2)
    return muladd(d1, v, d0)


def _far_point(a):
    """``u, root``: ``16 / a - 1`` and ``1 / sqrt(a)``, for ``a`` from 8 on."""
    v = 8.0 if a < 8.0 else a
    return 16.0 / v - 1.0, 1.0 / np.sqrt(v)


def i0e(x):
    a = np.fabs(np.float64(x))
    near = a < 8.0
    q = 0.25 * a * a if near else 0.0
    u, root = _far_point(a)
    small = exp(-a) * muladd(q, _i0_near(q), 1.0)
    large = _i0_far(u) * root
    return small if near else large


def i1e(x):
    x = np.float64(x)
    a = np.fabs(x)
    near = a < 8.0
    q = 0.25 * a * a if near else 0.0
    u, root = _far_point(a)
    small = exp(-a) * (0.5 * a * muladd(q, _i1_near(q), 1.0))
    large = _i1_far(u) * root
    return np.copysign(small if near else large, x) if x == x else x


def i0(x):
    a = np.fabs(np.float64(x))
    near = a < 8.0
    q = 0.25 * a * a if near else 0.0
    u, root = _far_point(a)
    half = exp(0.5 * a)
    small = muladd(q, _i0_near(q), 1.0)
    large = (_i0_far(u) * root * half) * half
    large = INF if a > LARGEST else large
    return small if near else large


def i1(x):
    x = np.float64(x)
    a = np.fabs(x)
    near = a < 8.0
    q = 0.25 * a * a if near else 0.0
    u, root = _far_point(a)
    half = exp(0.5 * a)
    small = 0.5 * a * muladd(q, _i1_near(q), 1.0)
    large = (_i1_far(u) * root * half) * half
    large = INF if a > LARGEST else large
    return np.copysign(small if near else large, x) if x == x else x


def i0e_1(x):
    """``i0e(x) - i1e(x)`` for ``x >= 0``: the derivative of `i0e`, with the other sign."""
    x = np.float64(x)
    near = x < 8.0
    u, root = _far_point(x)
    small = _i0e_1_near(0.25 * (x if near else 8.0) - 1.0)
    large = _i0e_1_far(u) * root * (root * root)
    return small if near else large


def i0e_n(x, y):
    """The derivative of order ``n = x`` of `i0e` at ``y >= 0``, times ``(-1)**n``.

    ``(1/2)_n 2**n / n! exp(-2 y) 1F1(1/2, n + 1, 2 y)``: a series of positive terms, or the asymptotic one.
    """
    n, y = np.float64(x), np.float64(y)
    if (y != y) | (n != n) | (n > HIGHEST) | (y < 0):
        return NAN
    z = 2.0 * y
    if z > 40.0 + n * n:
        out, term, k = 0.0, 1.0, 0.0
        while (np.fabs(term) > 1e-18 * out) & (k < 60.0):
            out += term
            term *= (n + 0.5 + k) * (0.5 + k) / ((k + 1.0) * z)
            k += 1.0
        out *= INV_SQRT_PI / np.sqrt(z)
        k = 0.0
        while k < n:
            out *= 2.0 * (k + 0.5) / z
            k += 1.0
        return out
    out, term, k = 0.0, 1.0, 0.0
    while term > 1e-18 * out:
        out += term
        term *= (0.5 + k) * z / ((n + 1.0 + k) * (k + 1.0))
        k += 1.0
    out *= exp(-z)
    k = 0.0
    while k < n:
        out *= 2.0 * (k + 0.5) / (k + 1.0)
        k += 1.0
    return out


def iv_n(x, y):
    """``I_n(y) / y**n`` for an order ``n = x``."""
    n, a = np.float64(x), np.fabs(np.float64(y))
    if (a != a) | (n != n) | (n > HIGHEST):
        return NAN
    if a > 30.0 + n * n:
        if a > LARGEST:
            return INF
        out, term, k = 0.0, 1.0, 0.0
        while (np.fabs(term) > 1e-18 * np.fabs(out)) & (k < 60.0):
            out += term
            odd = 2.0 * k + 1.0
            term *= (odd * odd - 4.0 * n * n) / (8.0 * (k + 1.0) * a)
            k += 1.0
        half = exp(0.5 * a)
        out *= INV_SQRT_2PI / np.sqrt(a)
        k = 0.0
        while k < n:
            out /= a
            k += 1.0
        return out * half * half
    q = 0.25 * a * a
    term, k = 1.0, 0.0
    while k < n:
        k += 1.0
        term *= 0.5 / k
    out, k = 0.0, 0.0
    while term > 1e-18 * out:
        out += term
        k += 1.0
        term *= q / (k * (n + k))
    return out
