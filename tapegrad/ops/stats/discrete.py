"""Distributions of counts, as SciPy parametrises them."""

from __future__ import annotations

from typing import Any

from tapegrad.ops.stats.distribution import Distribution, distribution
from tapegrad.ops.table import ns

__all__: list[str] = []


def _from_zero(*shapes: Any) -> tuple:
    return 0.0, None


def _share(p: Any) -> Any:
    """Whether ``p`` is a probability."""
    return ns.logical_and(ns.greater_equal(p, 0.0), ns.less_equal(p, 1.0))


def _between(p: Any) -> Any:
    return 0.0625 + 0.875 / (1.0 + p * p)


distribution(
    Distribution(
        "poisson",
        ("mu",),
        lambda k, mu: ns.gamma_log(k + 1.0, mu),
        _from_zero,
        0.0,
        "the Poisson distribution with mean ``mu``",
        valid=lambda mu: ns.greater_equal(mu, 0.0),
        cdf=lambda k, mu: ns.special.gammaincc(k + 1.0, mu),
        sf=lambda k, mu: ns.special.gammainc(k + 1.0, mu),
        discrete=True,
        arguments=lambda mu: (mu * mu + 0.5,),
        example=(2, 1.5),
    )
)
distribution(
    Distribution(
        "binom",
        ("n", "p"),
        lambda k, n, p: ns.beta_log(k + 1.0, n - k + 1.0, p) - ns.log1p(n),
        lambda n, p: (0.0, n),
        0.0,
        "the number of successes in ``n`` trials with probability ``p``",
        valid=lambda n, p: ns.logical_and(ns.greater_equal(n, 0.0), _share(p)),
        cdf=lambda k, n, p: _binomial(k, n, p, False),
        sf=lambda k, n, p: _binomial(k, n, p, True),
        discrete=True,
        arguments=lambda n, p: (n * 0.0 + 5.0, _between(p)),
        example=(2, 5, 0.25),
    )
)


def _binomial(k: Any, n: Any, p: Any, above: bool) -> Any:
    last = ns.greater_equal(k, n)  # all counts are at most n
    rest = ns.where(last, 1.0, n - k)
    if above:
        return ns.where(last, 0.0, ns.special.betainc(k + 1.0, rest, p))
    return ns.where(last, 1.0, ns.special.betaincc(k + 1.0, rest, p))


distribution(
    Distribution(
        "nbinom",
        ("n", "p"),
        lambda k, n, p: ns.beta_log(n + 1.0, k + 1.0, p) + ns.log(n / ((n + k) * (n + k + 1.0))),
        _from_zero,
        0.0,
        "the number of failures before ``n`` successes with probability ``p``",
        valid=lambda n, p: ns.logical_and(ns.greater(n, 0.0), _share(p)),
        cdf=lambda k, n, p: ns.special.betainc(n, k + 1.0, p),
        sf=lambda k, n, p: ns.special.betaincc(n, k + 1.0, p),
        discrete=True,
        arguments=lambda n, p: (n * n + 0.5, _between(p)),
        example=(2, 3.5, 0.25),
    )
)
distribution(
    Distribution(
        "bernoulli",
        ("p",),
        lambda k, p: ns.xlogy(k, p) + ns.xlog1py(1.0 - k, -p),
        lambda p: (0.0, 1.0),
        0.0,
        "one trial with probability ``p``",
        valid=_share,
        cdf=lambda k, p: ns.where(ns.less(k, 1.0), 1.0 - p, 1.0),
        sf=lambda k, p: ns.where(ns.less(k, 1.0), p, 0.0),
        discrete=True,
        arguments=lambda p: (_between(p),),
        example=(1, 0.25),
        counts=(0, 1, 1, 0, 1),
    )
)
distribution(
    Distribution(
        "geom",
        ("p",),
        lambda k, p: ns.xlog1py(k - 1.0, -p) + ns.log(p),
        lambda p: (1.0, None),
        1.0,
        "the number of trials up to the first success with probability ``p``",
        valid=lambda p: ns.logical_and(ns.greater(p, 0.0), ns.less_equal(p, 1.0)),
        cdf=lambda k, p: -ns.expm1(ns.xlog1py(k, -p)),
        sf=lambda k, p: ns.exp(ns.xlog1py(k, -p)),
        discrete=True,
        arguments=lambda p: (_between(p),),
        example=(2, 0.25),
        counts=(1, 2, 3, 4, 2),
    )
)
