"""Elementary functions as calls, for functions with loops and branches, which nobody could vectorise.

To write them in at every use would only make machine code that takes seconds to compile.
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.math.entropy import kl_div as _kl_div
from tapegrad.kernels.math.entropy import log_ratio as _log_ratio
from tapegrad.kernels.math.exponential import exp as _exp
from tapegrad.kernels.math.exponential import expm1 as _expm1
from tapegrad.kernels.math.gamma import digamma as _digamma
from tapegrad.kernels.math.gamma import lgamma as _lgamma
from tapegrad.kernels.math.gamma import lgamma_positive as _lgamma_positive
from tapegrad.kernels.math.gamma import trigamma as _trigamma
from tapegrad.kernels.math.gamma import zeta as _zeta
from tapegrad.kernels.math.gamma_function import gamma as _gamma
from tapegrad.kernels.math.inverse_error import ndtri as _ndtri
from tapegrad.kernels.math.logarithm import log as _log
from tapegrad.kernels.math.logarithm import log1p as _log1p
from tapegrad.kernels.math.power import power_any as _power_any
from tapegrad.kernels.twins import apart

OPERANDS = np.float64


@apart
def kl_div(x, y):
    return _kl_div(x, y)


@apart
def log_ratio(x, y):
    return _log_ratio(x, y)


@apart
def exp(x):
    return _exp(x)


@apart
def expm1(x):
    return _expm1(x)


@apart
def digamma(x):
    return _digamma(x)


@apart
def lgamma(x):
    return _lgamma(x)


@apart
def lgamma_positive(x):
    return _lgamma_positive(x)


@apart
def trigamma(x):
    return _trigamma(x)


@apart
def zeta(x, y):
    return _zeta(x, y)


@apart
def gamma(x):
    return _gamma(x)


@apart
def ndtri(x):
    return _ndtri(x)


@apart
def log(x):
    return _log(x)


@apart
def log1p(x):
    return _log1p(x)


@apart
def power_any(x, y):
    return _power_any(x, y)
