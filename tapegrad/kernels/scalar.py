"""The scalar functions of elementwise primitives: values, and what derivative rules may call.

Plain Python functions of NumPy scalars.  Compiled (``tapegrad._jit``) they are the bodies of tile
loops; in rules they are ``f.name``, where each exists in tapegrad's public namespace under the same
name.  Special values are those of NumPy, and of the array API where it says more.

* No branch where a selection (``a if c else b`` on computed values) will do: branches keep a loop
  from being vectorised.
* `like(1, x)` rather than ``1`` where a literal would change the dtype of an integer computation.
  float32 operands may be computed in float64; the store rounds.
* A function decorated ``@integers(twin)`` is ``twin`` for integer operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tapegrad.kernels.memory import like
from tapegrad.kernels.vector_math import (  # noqa: F401
    NEAR,
    atan,
    atan2,
    cos_near,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    ndtr,
    sigmoid,
    sin_near,
    sinh,
    softplus,
    tan_near,
    tanh,
)

DEGREE = math.pi / 180.0


def integers(twin: Callable) -> Callable[[Callable], Callable]:
    """Let ``twin`` stand in for the decorated function where the operands are integers."""

    def attach(function: Callable) -> Callable:
        function.integer = twin  # type: ignore[attr-defined]
        return function

    return attach


def near(quick: Callable) -> Callable[[Callable], Callable]:
    """Name the branch-free form of the decorated function, for arguments up to ``NEAR``."""

    def attach(function: Callable) -> Callable:
        function.near = quick  # type: ignore[attr-defined]
        return function

    return attach


# --- moving and choosing --------------------------------------------------------------------------


def identity(x):
    return x


def second(x, y):
    return y


def truth(x):
    return x != 0


def _cast_integer(x):
    return x


@integers(_cast_integer)
def cast_signed(x):
    return np.int64(x)


@integers(_cast_integer)
def cast_unsigned(x):
    # negative numbers wrap around, as they do in NumPy; LLVM leaves the direct conversion undefined
    return np.uint64(x) if x >= 9223372036854775808.0 else np.uint64(np.int64(x))


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
    return x**y


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


# --- exponentials and logarithms ------------------------------------------------------------------


def log10(x):
    return np.log10(x)


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


def cbrt(x):
    big = np.fabs(np.float64(x))
    small = big < 1e-290
    scaled = big * 18014398509481984.0 if small else big
    safe = 1.0 if (scaled == 0) | (scaled - scaled != 0) else scaled
    root = safe ** (1.0 / 3.0)
    # 1/3 is not a double: one step of Newton's method takes the error of the power away
    root = root - (root * root * root - safe) / (3.0 * root * root)
    root = root * 3.814697265625e-06 if small else root
    return np.float64(x) if (x == 0) | (x - x != 0) else np.copysign(root, np.float64(x))


# --- trigonometric and hyperbolic -----------------------------------------------------------------


@near(sin_near)
def sin(x):
    return sin_near(x) if np.fabs(x) <= NEAR else np.sin(np.float64(x))


@near(cos_near)
def cos(x):
    return cos_near(x) if np.fabs(x) <= NEAR else np.cos(np.float64(x))


@near(tan_near)
def tan(x):
    return tan_near(x) if np.fabs(x) <= NEAR else np.tan(np.float64(x))


def asin(x):
    return np.arcsin(x)


def acos(x):
    return np.arccos(x)


def asinh(x):
    return np.arcsinh(x)


def acosh(x):
    return np.arccosh(x)


def atanh(x):
    return np.arctanh(x)


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
