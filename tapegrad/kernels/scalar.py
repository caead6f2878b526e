"""The scalar functions of elementwise primitives: values, and what derivative rules may call.

Plain Python functions of NumPy scalars.  Compiled (``tapegrad._jit``) they are the bodies of tile
loops; in rules they are ``f.name``, where each exists in tapegrad's public namespace under the same
name.  Special values are those of NumPy, and of the array API where it says more.

* No branch where a selection (``a if c else b`` on computed values) will do: branches keep a loop
  from being vectorised.
* `like(1, x)` rather than ``1`` where a literal would change the dtype of an integer computation; float
  literals have the dtype of float operands.
* Functions may have bodies of their own for integer and for float32 operands, and quicker ones for
  operands in a range: `kernels.twins`.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad.kernels.math import holomorphic
from tapegrad.kernels.math.bessel import j0, j1, jv_n, y0, y1  # noqa: F401
from tapegrad.kernels.math.bessel_modified import i0, i0e, i0e_1, i0e_n, i1, i1e, iv_n  # noqa: F401
from tapegrad.kernels.math.beta import beta, betaln, binom, lgamma_step, poch, psi_step, trigamma_step  # noqa: F401
from tapegrad.kernels.math.circular import (  # noqa: F401
    NEAR,
    acos,
    asin,
    atan,
    atan2,
    cos_near,
    sin_near,
    tan_near,
)
from tapegrad.kernels.math.densities import beta_log, gamma_log, t_constant  # noqa: F401
from tapegrad.kernels.math.entropy import entr, kl_div, log_ratio, rel_entr  # noqa: F401
from tapegrad.kernels.math.error import erf, erfc, ndtr  # noqa: F401
from tapegrad.kernels.math.exponential import exp, exp2, expm1, sigmoid
from tapegrad.kernels.math.gamma import digamma, lgamma, trigamma, zeta  # noqa: F401
from tapegrad.kernels.math.gamma_function import gamma, gammasgn  # noqa: F401
from tapegrad.kernels.math.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from tapegrad.kernels.math.incomplete_beta import (  # noqa: F401
    betainc,
    betainc_a,
    betainc_aa,
    betainc_aaa,
    betainc_aab,
    betainc_ab,
    betainc_abb,
    betainc_b,
    betainc_bb,
    betainc_bbb,
    betainc_x,
    betaincc,
    betainccinv,
    betaincinv,
)
from tapegrad.kernels.math.incomplete_gamma import (  # noqa: F401
    gammainc,
    gammainc_1,
    gammainc_2,
    gammainc_3,
    gammainc_x,
    gammaincc,
    gammainccinv,
    gammaincinv,
)
from tapegrad.kernels.math.inverse_error import erfcinv, erfinv, ndtri  # noqa: F401
from tapegrad.kernels.math.logarithm import NORMAL, log, log1p, log2, log10, softplus  # noqa: F401
from tapegrad.kernels.math.power import cbrt, hypot, power_any, power_normal  # noqa: F401
from tapegrad.kernels.math.quotients import (  # noqa: F401
    exprel,
    exprel_n,
    log1prel,
    log1prel_n,
    sinc,
    sinc_n,
)
from tapegrad.kernels.math.scaled_error import erfcx, erfcx_1, erfcx_n, log_ndtr  # noqa: F401
from tapegrad.kernels.memory import imag as imaginary
from tapegrad.kernels.memory import join, like
from tapegrad.kernels.memory import real as real_part
from tapegrad.kernels.twins import integers, on_complex, within

DEGREE = math.pi / 180.0


# --- moving and choosing --------------------------------------------------------------------------


def identity(x):
    return x


def second(x, y):
    return y


def truth(x):
    return x != 0


def _cast_integer(x):
    return x


def _cast_complex(x):
    return np.int64(real_part(x))


@on_complex(_cast_complex)
@integers(_cast_integer)
def cast_signed(x):
    return np.int64(x)


@on_complex(_cast_complex)
@integers(_cast_integer)
def cast_unsigned(x):
    # negative numbers wrap around, as they do in NumPy; LLVM leaves the direct conversion undefined
    return np.uint64(x) if x >= 9223372036854775808.0 else np.uint64(np.int64(x))


@on_complex(real_part)
def cast_floating(x):
    return x


def _between_complex(x, low, high):
    u, v = real_part(x), imaginary(x)
    return (u >= low) & (u <= high) & (v >= low) & (v <= high)


@on_complex(_between_complex)
def between(x, low, high):
    return (x >= low) & (x <= high)  # NaN is not


def zeros_like(x):
    return like(0, x)


def where(c, x, y):
    return x if c else y


def unless_zero(x, y):
    return like(0, y) if x == 0 else y


def maximum(x, y):
    return x if (x >= y) | (x != x) else y


def minimum(x, y):
    return x if (x <= y) | (x != x) else y


def fmax(x, y):
    return x if (x >= y) | (y != y) else y


def fmin(x, y):
    return x if (x <= y) | (y != y) else y


def clip(x, y, z):
    low = x if (x >= y) | (x != x) else y
    return low if (low <= z) | (low != low) else z


# --- arithmetic -----------------------------------------------------------------------------------


def add(x, y):
    return x + y


def subtract(x, y):
    return x - y


def multiply(x, y):
    return x * y


def divide(x, y):
    return x / y


def negative(x):
    return -x


def square(x):
    return x * x


def reciprocal(x):
    return like(1, x) / x


def _floor_divide_integer(x, y):
    # both would trap: division by zero, and the smallest integer by -1
    if y == 0:
        return like(0, x)
    if y == -1:
        return like(0, x) - x
    return x // y


@integers(_floor_divide_integer)
def floor_divide(x, y):
    # the steps of Python's divmod: exact even where x / y would round up to an integer
    rest = np.fmod(x, y)
    quotient = (x - rest) / y
    if (rest != 0) & ((rest < 0) != (y < 0)):
        quotient = quotient - like(1, x)
    whole = np.floor(quotient)
    if quotient - whole > 0.5:
        whole = whole + like(1, x)
    ratio = x / y
    if quotient == 0:
        whole = np.copysign(like(0, x), ratio)
    return ratio if y == 0 else whole


def _remainder_integer(x, y):
    return like(0, x) if (y == 0) | (y == -1) else x % y


@integers(_remainder_integer)
def remainder(x, y):
    rest = np.fmod(x, y)
    if rest == 0:
        return np.copysign(rest, y)
    return rest + y if (rest < 0) != (y < 0) else rest


def _fmod_integer(x, y):
    if (y == 0) | (y == -1):
        return like(0, x)
    rest = x % y
    return rest - y if (rest != 0) & ((x < 0) != (y < 0)) else rest


@integers(_fmod_integer)
def fmod(x, y):
    return np.fmod(x, y)


def _power_integer(x, y):
    if y < 0:
        # never recorded (an error), but a replay may bring it
        return like(1, x) if x == 1 else like(0, x)
    one = like(1, y)
    out, base, rest = like(1, x), x, y
    while rest > 0:
        if rest & one:
            out = out * base
        base = base * base
        rest = rest >> one
    return out


@within(power_normal, *NORMAL)
@within(power_any)
@integers(_power_integer)
def power(x, y):
    # the exponents people write, and those their derivatives have
    if y == 2:
        return x * x
    if y == 1:
        return x
    if y == 3:
        return x * x * x
    if y == -1:
        return like(1, x) / x
    if y == -2:
        return (like(1, x) / x) * (like(1, x) / x)
    if y == 0.5:
        return like(math.inf, x) if np.fabs(x) == math.inf else np.sqrt(x) + like(0, x)
    if y == -0.5:
        return like(0, x) if np.fabs(x) == math.inf else like(1, x) / (np.sqrt(x) + like(0, x))
    return power_any(x, y)


# --- signs and rounding ---------------------------------------------------------------------------


def _abs_integer(x):
    return like(0, x) - x if x < 0 else x


@integers(_abs_integer)
def abs(x):
    return np.fabs(x)


def _sign_integer(x):
    return like(1, x) if x > 0 else (like(-1, x) if x < 0 else like(0, x))


@integers(_sign_integer)
def sign(x):
    negative_or_zero = like(-1, x) if x < 0 else like(0, x)
    out = like(1, x) if x > 0 else negative_or_zero
    return x if x != x else out


def copysign(x, y):
    return np.copysign(x, y)


def signbit(x):
    return np.copysign(1.0, x) < 0


def nextafter(x, y):
    return np.nextafter(x, y)


@integers(identity)
def floor(x):
    return np.floor(x)


@integers(identity)
def ceil(x):
    return np.ceil(x)


@integers(identity)
def trunc(x):
    return np.trunc(x)


@integers(identity)
def round(x):
    return np.rint(x)


def heaviside(x, y):
    step = like(1, x) if x > 0 else like(0, x)
    known = x if x != x else step
    return y if x == 0 else known


# --- parts of complex numbers ---------------------------------------------------------------------


def real(x):
    return real_part(x)


def imag(x):
    return imaginary(x)


def _conj_complex(x):
    return join(real_part(x), -imaginary(x))


@on_complex(_conj_complex)
def conj(x):
    return x


def complex(x, y):
    return join(x, y)


def times_i(x):
    return join(-imaginary(x), real_part(x))


def times_minus_i(x):
    return join(imaginary(x), -real_part(x))


def _not_negative_complex(x):
    return real_part(x) >= 0


@on_complex(_not_negative_complex)
def not_negative(x):
    return x >= 0


# --- comparison, logic, bits ----------------------------------------------------------------------


def equal(x, y):
    return x == y


def not_equal(x, y):
    return x != y


def less(x, y):
    return x < y


def less_equal(x, y):
    return x <= y


def greater(x, y):
    return x > y


def greater_equal(x, y):
    return x >= y


def isnan(x):
    return x != x


def isfinite(x):
    return (x - x) == 0


def _isinf_complex(x):
    return (np.fabs(real_part(x)) == math.inf) | (np.fabs(imaginary(x)) == math.inf)


@on_complex(_isinf_complex)
def isinf(x):
    return (x == x) & ((x - x) != 0)


def logical_and(x, y):
    return (x != 0) & (y != 0)


def logical_or(x, y):
    return (x != 0) | (y != 0)


def logical_xor(x, y):
    return (x != 0) != (y != 0)


def logical_not(x):
    return x == 0


def bitwise_and(x, y):
    return x & y


def bitwise_or(x, y):
    return x | y


def bitwise_xor(x, y):
    return x ^ y


def bitwise_invert(x):
    return ~x


def bitwise_left_shift(x, y):
    # shifting a machine word by its width or more is undefined
    return x << y if (y >= 0) & (y < 64) else like(0, x)


def bitwise_right_shift(x, y):
    beyond = like(-1, x) if x < 0 else like(0, x)
    return x >> y if (y >= 0) & (y < 64) else beyond


def gcd(x, y):
    a, b = _abs_integer(x), _abs_integer(y)
    while b != 0:
        # the smallest integer stays negative
        rest = like(0, x) if b == -1 else a % b
        a = b
        b = rest
    return _abs_integer(a)


def lcm(x, y):
    divisor = gcd(x, y)
    return like(0, x) if divisor == 0 else _abs_integer(x) // divisor * _abs_integer(y)


# --- exponentials and logarithms ------------------------------------------------------------------


def logaddexp(x, y):
    high = maximum(x, y)
    distance = like(0, x) if x == y else np.fabs(x - y)  # infinities of one sign
    return high + log1p(exp(-distance))


def log_sigmoid(x):
    return -((like(0, x) if x > 0 else -x) + log1p(exp(-np.fabs(x))))


def logit(x):
    # near 1/2 the logarithms would cancel
    centred = log1p((2.0 * x - 1.0) / (1.0 - x))
    return centred if (x > 0.3) & (x < 0.65) else log(x) - log1p(-x)


def xlogy(x, y):
    return like(0, x) if (x == 0) & (y == y) else x * log(y)


def xlog1py(x, y):
    return like(0, x) if (x == 0) & (y == y) else x * log1p(y)


# --- powers ---------------------------------------------------------------------------------------


def sqrt(x):
    return np.sqrt(x)


def rsqrt(x):
    return like(1, x) / np.sqrt(x)


# --- trigonometric and hyperbolic -----------------------------------------------------------------


@within(sin_near, -NEAR, NEAR)
def sin(x):
    return sin_near(x) if np.fabs(x) <= NEAR else np.sin(np.float64(x))


@within(cos_near, -NEAR, NEAR)
def cos(x):
    return cos_near(x) if np.fabs(x) <= NEAR else np.cos(np.float64(x))


@within(tan_near, -NEAR, NEAR)
def tan(x):
    return tan_near(x) if np.fabs(x) <= NEAR else np.tan(np.float64(x))


def deg2rad(x):
    return x * like(DEGREE, x)


def rad2deg(x):
    return x * like(1.0 / DEGREE, x)


# --- error functions and activations --------------------------------------------------------------


def relu(x):
    return like(0, x) if x <= 0 else x


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x * ndtr(x)


# --- bodies for complex operands ------------------------------------------------------------------

for _function in (
    divide, reciprocal, round, exp, exp2, expm1, log, log2, log10, log1p, sigmoid, sqrt, rsqrt, power, sinh,
    cosh, tanh, sin, cos, tan, asin, acos, atan, asinh, acosh, atanh,
):  # fmt: skip
    on_complex(getattr(holomorphic, _function.__name__))(_function)
