"""Continuous distributions, as SciPy parametrises them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapegrad.ops.stats.distribution import Distribution, distribution
from tapegrad.ops.table import ns

__all__: list[str] = []

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
LOG_PI = math.log(math.pi)
LOG_2 = math.log(2.0)


def _line(*shapes: Any) -> tuple:
    return None, None


def _half_line(*shapes: Any) -> tuple:
    return 0.0, None


def _unit(*shapes: Any) -> tuple:
    return 0.0, 1.0


def _positive(*shapes: Any) -> Any:
    """Whether all shape parameters are positive."""
    out = ns.greater(shapes[0], 0.0)
    for s in shapes[1:]:
        out = ns.logical_and(out, ns.greater(s, 0.0))
    return out


# For tests: numbers that fit, made of any numbers.
def _above_zero(*values: Any) -> tuple:
    return tuple([0.25 * v * v + 0.5 for v in values])


def _between(x: Any, *shapes: Any) -> tuple:
    return (0.0625 + 0.875 / (1.0 + x * x), *_above_zero(*shapes))


def _anywhere(x: Any, *shapes: Any) -> tuple:
    return (x, *_above_zero(*shapes))


distribution(
    Distribution(
        "norm",
        (),
        lambda y: -0.5 * ns.square(y) - HALF_LOG_2PI,
        _line,
        0.0,
        "the normal distribution with mean ``loc`` and standard deviation ``scale``",
        cdf=lambda y: ns.ndtr(y),
        sf=lambda y: ns.ndtr(-y),
        logcdf=lambda y: ns.special.log_ndtr(y),
        logsf=lambda y: ns.special.log_ndtr(-y),
        ppf=lambda q: ns.special.ndtri(q),
        example=(0.5,),
    )
)


def _mirrored(q: Any, lower: Callable) -> Any:
    """Quantiles of a symmetric distribution, of those below 1/2."""
    low = ns.less(q, 0.5)
    out = lower(ns.where(low, q, 1.0 - q))
    return ns.where(low, out, -out)


def _t_density(y: Any, df: Any) -> Any:
    normal = ns.isinf(df)
    n = ns.where(normal, 1.0, df)
    square = ns.square(y)
    return ns.t_constant(df) - 0.5 * ns.where(normal, square, (n + 1.0) * ns.log1p(square / n))


def _t_ppf(q: Any, df: Any) -> Any:
    z = ns.special.betaincinv(0.5 * df, 0.5 * df, q)
    return ns.sqrt(df) * (z - 0.5) / ns.sqrt(z * (1.0 - z))


def _log1mexp(x: Any) -> Any:
    """``log(1 - exp(-x))`` of positive numbers."""
    near = ns.less(x, LOG_2)
    return ns.where(near, ns.log(-ns.expm1(-ns.where(near, x, 1.0))), ns.log1p(-ns.exp(-x)))


def _t_quantile(y: Any, df: Any) -> Any:
    """``z`` with ``cdf(y) = betainc(df / 2, df / 2, z)``: smooth in ``y``, and accurate for small ``z``."""
    root = ns.sqrt(ns.square(y) + df)
    tail = df / (2.0 * root * (root + ns.abs(y)))
    return ns.where(ns.less(y, 0.0), tail, 1.0 - tail)


distribution(
    Distribution(
        "t",
        ("df",),
        _t_density,
        _line,
        0.0,
        "Student's t distribution with ``df`` degrees of freedom",
        valid=_positive,
        cdf=lambda y, df: ns.special.betainc(0.5 * df, 0.5 * df, _t_quantile(y, df)),
        sf=lambda y, df: ns.special.betainc(0.5 * df, 0.5 * df, _t_quantile(-y, df)),
        ppf=lambda q, df: _mirrored(q, lambda p: _t_ppf(p, df)),
        arguments=_anywhere,
        example=(0.5, 3.0),
    )
)
distribution(
    Distribution(
        "gamma",
        ("a",),
        lambda y, a: ns.gamma_log(a, y),
        _half_line,
        1.0,
        "the gamma distribution with shape ``a`` (and rate ``1 / scale``)",
        valid=_positive,
        cdf=lambda y, a: ns.special.gammainc(a, y),
        sf=lambda y, a: ns.special.gammaincc(a, y),
        ppf=lambda q, a: ns.special.gammaincinv(a, q),
        arguments=_above_zero,
        example=(0.5, 3.0),
    )
)
distribution(
    Distribution(
        "beta",
        ("a", "b"),
        lambda y, a, b: ns.xlogy(a - 1.0, y) + ns.xlog1py(b - 1.0, -y) - ns.special.betaln(a, b),
        _unit,
        0.5,
        "the beta distribution",
        valid=_positive,
        cdf=lambda y, a, b: ns.special.betainc(a, b, y),
        sf=lambda y, a, b: ns.special.betaincc(a, b, y),
        ppf=lambda q, a, b: ns.special.betaincinv(a, b, q),
        arguments=_between,
        example=(0.5, 2.0, 3.0),
    )
)
distribution(
    Distribution(
        "expon",
        (),
        lambda y: -y,
        _half_line,
        1.0,
        "the exponential distribution with mean ``scale``",
        cdf=lambda y: -ns.expm1(-y),
        sf=lambda y: ns.exp(-y),
        logcdf=lambda y: _log1mexp(y),
        logsf=lambda y: -y,
        ppf=lambda q: -ns.log1p(-q),
        arguments=_above_zero,
        example=(0.5,),
    )
)
distribution(
    Distribution(
        "lognorm",
        ("s",),
        lambda y, s: -0.5 * ns.square(ns.log(y) / s) - ns.log(s * y) - HALF_LOG_2PI,
        lambda s: (5e-324, None),
        1.0,
        "``scale`` times the exponential of a normal variable with standard deviation ``s``",
        valid=_positive,
        cdf=lambda y, s: ns.ndtr(ns.log(y) / s),
        sf=lambda y, s: ns.ndtr(-ns.log(y) / s),
        logcdf=lambda y, s: ns.special.log_ndtr(ns.log(y) / s),
        logsf=lambda y, s: ns.special.log_ndtr(-ns.log(y) / s),
        ppf=lambda q, s: ns.exp(s * ns.special.ndtri(q)),
        arguments=_above_zero,
        example=(0.5, 0.75),
    )
)
distribution(
    Distribution(
        "cauchy",
        (),
        lambda y: -LOG_PI - ns.log1p(ns.square(y)),
        _line,
        0.0,
        "the Cauchy distribution",
        cdf=lambda y: ns.atan2(ns.ones_like(y), -y) / math.pi,
        sf=lambda y: ns.atan2(ns.ones_like(y), y) / math.pi,
        ppf=lambda q: _mirrored(q, lambda p: -1.0 / ns.tan(math.pi * p)),
        example=(0.5,),
    )
)


def _log_half(y: Any) -> Any:
    """``logcdf`` of the Laplace distribution."""
    tail = -ns.abs(y) - LOG_2
    return ns.where(ns.less(y, 0.0), tail, ns.log1p(-ns.exp(tail)))


distribution(
    Distribution(
        "laplace",
        (),
        lambda y: -ns.abs(y) - LOG_2,
        _line,
        0.0,
        "the Laplace distribution (the derivative at its peak is 0)",
        cdf=lambda y: ns.where(ns.less(y, 0.0), 0.5 * ns.exp(-ns.abs(y)), 1.0 - 0.5 * ns.exp(-ns.abs(y))),
        sf=lambda y: ns.where(ns.greater(y, 0.0), 0.5 * ns.exp(-ns.abs(y)), 1.0 - 0.5 * ns.exp(-ns.abs(y))),
        logcdf=lambda y: _log_half(y),
        logsf=lambda y: _log_half(-y),
        ppf=lambda q: _mirrored(q, lambda p: ns.log(2.0 * p)),
        example=(0.5,),
    )
)
distribution(
    Distribution(
        "logistic",
        (),
        lambda y: ns.log_sigmoid(y) + ns.log_sigmoid(-y),
        _line,
        0.0,
        "the logistic distribution",
        cdf=lambda y: ns.sigmoid(y),
        sf=lambda y: ns.sigmoid(-y),
        logcdf=lambda y: ns.log_sigmoid(y),
        logsf=lambda y: ns.log_sigmoid(-y),
        ppf=lambda q: ns.logit(q),
        example=(0.5,),
    )
)
distribution(
    Distribution(
        "weibull_min",
        ("c",),
        lambda y, c: ns.log(c) + ns.xlogy(c - 1.0, ns.where(ns.isinf(y), 1.0, y)) - y**c,
        _half_line,
        1.0,
        "the Weibull distribution of minima with shape ``c``",
        valid=_positive,
        cdf=lambda y, c: -ns.expm1(-(y**c)),
        sf=lambda y, c: ns.exp(-(y**c)),
        logcdf=lambda y, c: _log1mexp(y**c),
        logsf=lambda y, c: -(y**c),
        ppf=lambda q, c: (-ns.log1p(-q)) ** (1.0 / c),
        arguments=_above_zero,
        example=(0.5, 1.5),
    )
)
distribution(
    Distribution(
        "uniform",
        (),
        lambda y: ns.zeros_like(y) * y,
        _unit,
        0.5,
        "the uniform distribution between ``loc`` and ``loc + scale``",
        cdf=lambda y: ns.positive(y),
        sf=lambda y: 1.0 - y,
        ppf=lambda q: ns.positive(q),
        arguments=_between,
        example=(0.5,),
    )
)
distribution(
    Distribution(
        "halfnorm",
        (),
        lambda y: -0.5 * ns.square(y) + (LOG_2 - HALF_LOG_2PI),
        _half_line,
        1.0,
        "the magnitude of a normal variable with standard deviation ``scale``",
        cdf=lambda y: ns.erf(y * math.sqrt(0.5)),
        sf=lambda y: ns.erfc(y * math.sqrt(0.5)),
        logsf=lambda y: LOG_2 + ns.special.log_ndtr(-y),
        ppf=lambda q: math.sqrt(2.0) * ns.special.erfinv(q),
        arguments=_above_zero,
        example=(0.5,),
    )
)
distribution(
    Distribution(
        "invgamma",
        ("a",),
        lambda y, a: -(a + 1.0) * ns.log(y) - 1.0 / y - ns.lgamma(a),
        lambda a: (5e-324, None),
        1.0,
        "the inverse of a gamma variable with shape ``a``",
        valid=_positive,
        cdf=lambda y, a: ns.special.gammaincc(a, 1.0 / y),
        sf=lambda y, a: ns.special.gammainc(a, 1.0 / y),
        ppf=lambda q, a: 1.0 / ns.special.gammainccinv(a, q),
        arguments=_above_zero,
        example=(0.5, 3.0),
    )
)
distribution(
    Distribution(
        "gumbel_r",
        (),
        lambda y: -y - ns.exp(-y),
        _line,
        0.0,
        "the Gumbel distribution of maxima",
        cdf=lambda y: ns.exp(-ns.exp(-y)),
        sf=lambda y: -ns.expm1(-ns.exp(-y)),
        logcdf=lambda y: -ns.exp(-y),
        logsf=lambda y: _log1mexp(ns.exp(-y)),
        ppf=lambda q: -ns.log(-ns.log(q)),
        example=(0.5,),
    )
)
