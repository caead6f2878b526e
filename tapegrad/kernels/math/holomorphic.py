"""Elementary functions of complex numbers, with the special values of C99's annex G.

Each is the body for complex operands of the function of that name (`kernels.twins.on_complex`), computed
in float64.  Formulas with square roots and inverse functions are Kahan's ("Branch cuts for complex
elementary functions", 1987): signs of zero decide on which side of a branch cut a number lies.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad.kernels.math import exponential, hyperbolic, logarithm
from tapegrad.kernels.math import power as powers
from tapegrad.kernels.math.circular import NEAR, atan2, cos_near, sin_near
from tapegrad.kernels.memory import imag, join, real
from tapegrad.kernels.twins import boxed

OPERANDS = np.float64
INF, NAN, PI = math.inf, math.nan, math.pi
LN2, INV_LN2, INV_LN10 = math.log(2.0), 1.0 / math.log(2.0), 1.0 / math.log(10.0)
HUGE = 1e150  # beyond it squares overflow
BOX = 700.0  # where both parts are no larger, functions have quicker forms without branches
FAR = 709.0  # beyond it exp(x) may overflow where exp(x) * cos(y) does not
SMALL = 1e-290

# The functions of real numbers, by names of their own.
exp_, expm1_, log_, log1p_ = exponential.exp, exponential.expm1, logarithm.log, logarithm.log1p
sinh_, cosh_, asinh_, hypot_ = hyperbolic.sinh, hyperbolic.cosh, hyperbolic.asinh, powers.hypot


def sine(x):
    return sin_near(x) if np.fabs(x) <= NEAR else np.sin(x)


def cosine(x):
    return cos_near(x) if np.fabs(x) <= NEAR else np.cos(x)


# --- arithmetic -----------------------------------------------------------------------------------


def divide(z, w):
    """``z / w`` by Smith's method (1962), as NumPy; a zero divisor divides both parts."""
    a, b = np.float64(real(z)), np.float64(imag(z))
    c, d = np.float64(real(w)), np.float64(imag(w))
    if np.fabs(c) >= np.fabs(d):
        if c == 0.0 and d == 0.0:
            return join(a / np.fabs(c), b / np.fabs(c))
        ratio = d / c
        scale = 1.0 / (c + d * ratio)
        return join((a + b * ratio) * scale, (b - a * ratio) * scale)
    ratio = c / d
    scale = 1.0 / (d + c * ratio)
    return join((a * ratio + b) * scale, (b * ratio - a) * scale)


def reciprocal(z):
    return divide(join(1.0, 0.0), z)


def round(z):
    return join(np.rint(np.float64(real(z))), np.rint(np.float64(imag(z))))


# --- exponentials and logarithms ------------------------------------------------------------------


def scaled(x, factor):
    """``exp(x) * factor``, where ``exp(x)`` itself may overflow."""
    if x > FAR and np.fabs(factor) < INF:
        half = exp_(0.5 * x)
        return 0.0 if factor == 0.0 else (half * factor) * half
    return exp_(x) * factor


def exp_inside(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    e = exp_(x)
    return join(e * cos_near(y), e * sin_near(y))


@boxed(exp_inside)
def exp(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    if y == 0.0:
        return join(exp_(x), y)
    if x == -INF and not np.fabs(y) < INF:
        return join(0.0, 0.0)
    if x == INF and not np.fabs(y) < INF:
        return join(INF, NAN)
    return join(scaled(x, cosine(y)), scaled(x, sine(y)))


def exp2(z):
    return exp(join(LN2 * np.float64(real(z)), LN2 * np.float64(imag(z))))


def expm1(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    if y == 0.0:
        return join(expm1_(x) + 0.0, y)
    if not np.fabs(y) < INF or x > FAR:
        w = exp(join(x, y))
        return join(np.float64(real(w)) - 1.0, np.float64(imag(w)))
    half = sine(0.5 * y)
    return join(expm1_(x) * cosine(y) - 2.0 * half * half, exp_(x) * sine(y))


def log_abs(x, y):
    """Logarithm of ``hypot(x, y)``; near the unit circle from the distance to it."""
    a, b = np.fabs(x), np.fabs(y)
    high = a if a > b else b
    low = b if a > b else a
    if (high > 0.5) & (high < 2.0):
        return 0.5 * log1p_((high - 1.0) * (high + 1.0) + low * low)
    return log_(hypot_(x, y))


def log(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    return join(log_abs(x, y), atan2(y, x))


def log2(z):
    w = log(z)
    return join(np.float64(real(w)) * INV_LN2, np.float64(imag(w)) * INV_LN2)


def log10(z):
    w = log(z)
    return join(np.float64(real(w)) * INV_LN10, np.float64(imag(w)) * INV_LN10)


def log1p(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    if y == 0.0 and x >= -1.0:
        return join(log1p_(x), y)
    size = log_abs(1.0 + x, y)
    if (np.fabs(x) < 0.5) & (np.fabs(y) < 0.5):
        size = 0.5 * log1p_(x * (2.0 + x) + y * y)
    return join(size, atan2(y, 1.0 + x))


def sigmoid(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    if x < 0.0:
        e = exp(join(x, y))
        return divide(e, join(1.0 + np.float64(real(e)), np.float64(imag(e))))
    e = exp(join(-x, -y))
    return divide(join(1.0, 0.0), join(1.0 + np.float64(real(e)), np.float64(imag(e))))


# --- powers and roots -----------------------------------------------------------------------------


def sqrt(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    if x == 0.0 and y == 0.0:
        return join(0.0, y)
    if np.fabs(y) == INF:
        return join(INF, y)
    if x == INF:
        return join(INF, y if y != y else np.copysign(0.0, y))
    if x == -INF:
        return join(y if y != y else 0.0, np.copysign(INF, y))
    factor = 1.0
    a, b = np.fabs(x), np.fabs(y)
    if (a > 1e307) | (b > 1e307):
        factor, a, b = 2.0, 0.25 * a, 0.25 * b
    elif (a < SMALL) & (b < SMALL):
        factor, a, b = 7.450580596923828e-09, a * 1.8014398509481984e16, b * 1.8014398509481984e16
    t = np.sqrt(0.5 * (a + hypot_(a, b)))
    other = factor * (b / (2.0 * t))
    t = factor * t
    if x >= 0.0:
        return join(t, np.copysign(other, y))
    return join(other, np.copysign(t, y))


def rsqrt(z):
    return divide(join(1.0, 0.0), sqrt(z))


def power(z, w):
    """Small whole exponents by multiplication, others by ``exp(w log(z))``; ``z ** 0`` is 1."""
    a, b = np.float64(real(z)), np.float64(imag(z))
    c, d = np.float64(real(w)), np.float64(imag(w))
    if c == 0.0 and d == 0.0:
        return join(1.0, 0.0)
    if a == 0.0 and b == 0.0:
        if c > 0.0 and d == d:
            return join(0.0, 0.0)
        return join(NAN, NAN)
    if d == 0.0 and c == np.rint(c) and np.fabs(c) <= 64.0:
        rest = np.int64(np.fabs(c))
        out, base = join(1.0, 0.0), join(a, b)
        while rest > 0:
            if rest & 1:
                out = out * base
            base = base * base
            rest = rest >> 1
        return divide(join(1.0, 0.0), out) if c < 0.0 else out
    return exp(join(c, d) * log(join(a, b)))


# --- trigonometric and hyperbolic -----------------------------------------------------------------


def sinh_parts(x, y):
    if y == 0.0:
        return join(sinh_(x), y)
    if np.fabs(x) == INF and not np.fabs(y) < INF:
        return join(x, NAN)
    if x == 0.0 and not np.fabs(y) < INF:
        return join(np.copysign(0.0, x), sine(y))
    if np.fabs(x) > FAR and np.fabs(y) < INF:
        return join(np.copysign(0.5, x) * scaled(np.fabs(x), cosine(y)), 0.5 * scaled(np.fabs(x), sine(y)))
    return join(sinh_(x) * cosine(y), cosh_(x) * sine(y))


def cosh_parts(x, y):
    if y == 0.0:
        return join(cosh_(x), np.copysign(0.0, x) * y)
    if np.fabs(x) == INF and not np.fabs(y) < INF:
        return join(INF, NAN)
    if x == 0.0 and not np.fabs(y) < INF:
        return join(cosine(y), np.copysign(0.0, x))
    if np.fabs(x) > FAR and np.fabs(y) < INF:
        return join(0.5 * scaled(np.fabs(x), cosine(y)), np.copysign(0.5, x) * scaled(np.fabs(x), sine(y)))
    return join(cosh_(x) * cosine(y), sinh_(x) * sine(y))


def tanh_parts(x, y):
    if x != x:
        return join(x, y if y == 0.0 else NAN)
    if np.fabs(x) > 22.0:
        if not np.fabs(y) < INF:
            far = np.fabs(x) == INF
            return join(np.copysign(1.0, x) if far else NAN, np.copysign(0.0, y) if far else NAN)
        if np.fabs(x) == INF:
            return join(np.copysign(1.0, x), np.copysign(0.0, y))
        small = 4.0 * sine(y) * cosine(y) * exp_(-2.0 * np.fabs(x))
        return join(np.copysign(1.0, x), np.copysign(0.0, y) if y == 0.0 else small)
    if not np.fabs(y) < INF:
        return join(x if x == 0.0 else NAN, NAN)
    s, c = sine(y), cosine(y)
    t = s / c
    beta = 1.0 + t * t
    sh = sinh_(x)
    rho = np.sqrt(1.0 + sh * sh)
    below = 1.0 + beta * sh * sh
    return join(beta * rho * sh / below, t / below)


def sinh_inside(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    return join(sinh_(x) * cos_near(y), cosh_(x) * sin_near(y))


def cosh_inside(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    return join(cosh_(x) * cos_near(y), sinh_(x) * sin_near(y))


def sin_inside(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    return join(sin_near(x) * cosh_(y), cos_near(x) * sinh_(y))


def cos_inside(z):
    x, y = np.float64(real(z)), np.float64(imag(z))
    return join(cos_near(x) * cosh_(y), -(sin_near(x) * sinh_(y)))


@boxed(sinh_inside)
def sinh(z):
    return sinh_parts(np.float64(real(z)), np.float64(imag(z)))


@boxed(cosh_inside)
def cosh(z):
    return cosh_parts(np.float64(real(z)), np.float64(imag(z)))


def tanh(z):
    return tanh_parts(np.float64(real(z)), np.float64(imag(z)))


# sin(z) = -i sinh(iz), and so on.
@boxed(sin_inside)
def sin(z):
    w = sinh_parts(-np.float64(imag(z)), np.float64(real(z)))
    return join(np.float64(imag(w)), -np.float64(real(w)))


@boxed(cos_inside)
def cos(z):
    return cosh_parts(-np.float64(imag(z)), np.float64(real(z)))


def tan(z):
    w = tanh_parts(-np.float64(imag(z)), np.float64(real(z)))
    return join(np.float64(imag(w)), -np.float64(real(w)))


# --- their inverses -------------------------------------------------------------------------------


def asin_parts(x, y):
    if x != x or y != y:
        if np.fabs(x) == INF:
            return join(y, x)
        return join(x if x == 0.0 else NAN, y if np.fabs(y) == INF else NAN)
    if (np.fabs(x) > HUGE) | (np.fabs(y) > HUGE):
        return join(atan2(x, np.fabs(y)), np.copysign(log_abs(0.5 * x, 0.5 * y) + 2.0 * LN2, y))
    below, above = sqrt(join(1.0 - x, -y)), sqrt(join(1.0 + x, y))
    a, b = np.float64(real(below)), np.float64(imag(below))
    c, d = np.float64(real(above)), np.float64(imag(above))
    size = asinh_(a * d - b * c)
    return join(atan2(x, a * c - b * d), size if y == y else y)


def acos_parts(x, y):
    if x != x or y != y:
        if np.fabs(x) == INF:
            return join(NAN, INF)
        return join(0.5 * PI if x == 0.0 else NAN, -y if np.fabs(y) == INF else NAN)
    if (np.fabs(x) > HUGE) | (np.fabs(y) > HUGE):
        return join(atan2(np.fabs(y), x), np.copysign(log_abs(0.5 * x, 0.5 * y) + 2.0 * LN2, -y))
    below, above = sqrt(join(1.0 - x, -y)), sqrt(join(1.0 + x, y))
    a, b = np.float64(real(below)), np.float64(imag(below))
    c, d = np.float64(real(above)), np.float64(imag(above))
    return join(2.0 * atan2(a, c), asinh_(c * b - d * a))


def atanh_parts(x, y):
    if x != x or y != y:
        if np.fabs(y) == INF:
            return join(0.0, np.copysign(0.5 * PI, y))
        known = (x == 0.0) | (np.fabs(x) == INF)
        return join(np.copysign(0.0, x) if known else NAN, NAN)
    if (np.fabs(x) > HUGE) | (np.fabs(y) > HUGE):
        a, b = np.fabs(x), np.fabs(y)
        high = a if a > b else b
        low = b if a > b else a
        ratio = low / high if high < INF else 0.0
        whole = a / high / high / (1.0 + ratio * ratio) if high < INF else 0.0
        return join(np.copysign(whole, x), np.copysign(0.5 * PI, y))
    if y == 0.0 and np.fabs(x) < 1.0:
        return join(0.5 * (log1p_(x) - log1p_(-x)), y)
    away = (1.0 - np.fabs(x)) * (1.0 - np.fabs(x)) + y * y
    if away == 0.0:
        return join(np.copysign(INF, x), np.copysign(0.0, y))
    whole = 0.25 * log1p_(4.0 * np.fabs(x) / away)
    return join(np.copysign(whole, x), 0.5 * atan2(2.0 * y, (1.0 - np.fabs(x)) * (1.0 + np.fabs(x)) - y * y))


def asin(z):
    return asin_parts(np.float64(real(z)), np.float64(imag(z)))


def acos(z):
    return acos_parts(np.float64(real(z)), np.float64(imag(z)))


def atan(z):
    w = atanh_parts(-np.float64(imag(z)), np.float64(real(z)))
    return join(np.float64(imag(w)), -np.float64(real(w)))


def asinh(z):
    w = asin_parts(-np.float64(imag(z)), np.float64(real(z)))
    return join(np.float64(imag(w)), -np.float64(real(w)))


def acosh(z):
    w = acos_parts(np.float64(real(z)), np.float64(imag(z)))
    # acosh(z) is i acos(z) or -i acos(z), whichever has a real part that is not negative
    if np.copysign(1.0, np.float64(imag(w))) > 0.0:
        return join(np.float64(imag(w)), -np.float64(real(w)))
    return join(-np.float64(imag(w)), np.float64(real(w)))


def atanh(z):
    return atanh_parts(np.float64(real(z)), np.float64(imag(z)))
