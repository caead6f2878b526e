"""Distributions of vectors and of categories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.ops.record import as_operand, composite
from tapegrad.ops.stats.distribution import floating, scipy_reference
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__: list[str] = []

LOG_2PI = math.log(2.0 * math.pi)
SUM_ERROR = 1e-9  # SciPy's tolerance for what should sum to one


# --- multivariate normal --------------------------------------------------------------------------


def _definite(x: Any, mean: Any, a: Any) -> tuple:
    return x, mean, a @ a.swapaxes(-1, -2) + np.eye(a.shape[-1], dtype=a.dtype)


NORMAL_SAMPLES = (
    Sample(((3,), (3,), (3, 3)), prepare=_definite),
    Sample(((2, 3), (3,), (3, 3)), prepare=_definite),
)


@public(
    home="stats",
    name="multivariate_normal.logpdf",
    reference=scipy_reference("multivariate_normal", "logpdf"),
    samples=NORMAL_SAMPLES,
)
@composite
def _normal_logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Tensor:
    """The logarithm of the density of normal vectors at ``x``.

    Parameters
    ----------
    x : array_like, shape (..., n)
    mean : array_like, shape (..., n), optional
        Default: zeros.
    cov : array_like, shape (..., n, n), (n,) or a number
        The covariance; a vector holds the variances, a number one variance for all.  Only the lower triangle
        is read.  Leading axes of all are broadcast.
    allow_singular : bool
        Must be false.

    Returns
    -------
    Tensor, shape (...)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    numpy.linalg.LinAlgError
        When the value is computed, if the covariance is not positive definite.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.multivariate_normal.logpdf([0.5, 1.0], [0.0, 0.0], [[1.0, 0.5], [0.5, 2.0]]).shape
    ()
    """
    if allow_singular:
        raise TypeError("multivariate_normal.logpdf: allow_singular=True is not supported")
    given = [x, 0.0 if mean is None else mean, cov]
    x, mean, cov = floating([as_operand(v, "multivariate_normal.logpdf") for v in given])
    if cov.ndim == 0 or (cov.ndim == 1 and x.ndim):
        n = max(x.shape[-1] if x.ndim else 1, cov.shape[-1] if cov.ndim else 1)
        cov = cov * np.eye(n, dtype=cov.dtype)
    n = cov.shape[-1]
    if cov.ndim < 2 or cov.shape[-2] != n:
        raise ValueError(f"multivariate_normal.logpdf: a covariance of shape {cov.shape} is not square")
    deviation = x - mean
    if deviation.ndim == 0:
        deviation = ns.reshape(deviation, (1,))
    if deviation.shape[-1] != n:
        if n != 1:
            raise ValueError(
                f"multivariate_normal.logpdf: vectors of shape {deviation.shape} and a covariance of shape "
                f"{cov.shape}"
            )
        deviation = ns.expand_dims(deviation, axis=-1)
    factor = ns.linalg.cholesky(cov)
    white = ns.linalg.solve_triangular(factor, ns.expand_dims(deviation, axis=-1), lower=True)
    squares = ns.sum(ns.square(white), axis=(-2, -1))
    logs = ns.sum(ns.log(ns.linalg.diagonal(factor)), axis=-1)
    return -0.5 * (squares + n * LOG_2PI) - logs


@public(
    home="stats",
    name="multivariate_normal.pdf",
    reference=scipy_reference("multivariate_normal", "pdf"),
    samples=NORMAL_SAMPLES,
)
@composite
def _normal_pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Tensor:
    """The density of normal vectors at ``x``; arguments as for ``logpdf``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.multivariate_normal.pdf([0.5, 1.0]).shape
    ()
    """
    return ns.exp(_normal_logpdf(x, mean, cov, allow_singular))


# --- Dirichlet, multinomial -----------------------------------------------------------------------


def _simplex(x: Any, alpha: Any) -> tuple:
    x = x * x + 0.5
    return x / x.sum(0), alpha * alpha + 0.5


DIRICHLET_SAMPLES = (
    Sample(((3,), (3,)), prepare=_simplex),
    Sample(((3, 2), (3,)), prepare=_simplex),
)


@public(
    home="stats",
    name="dirichlet.logpdf",
    reference=scipy_reference("dirichlet", "logpdf"),
    samples=DIRICHLET_SAMPLES,
)
@composite
def _dirichlet_logpdf(x: Any, alpha: Any) -> Tensor:
    """The logarithm of the density of the Dirichlet distribution at ``x``.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, ...)
        Shares, along the *first* axis as in SciPy.
    alpha : array_like, shape (n,)

    Returns
    -------
    Tensor, shape (...)
        Minus infinity where shares are negative or do not sum to one (SciPy raises an error).

    Raises
    ------
    ValueError
        If the numbers of shares and parameters differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.dirichlet.logpdf([0.25, 0.75], [2.0, 3.0]).shape
    ()
    """
    x, alpha = floating([as_operand(x, "dirichlet.logpdf"), as_operand(alpha, "dirichlet.logpdf")])
    if alpha.ndim != 1 or not x.ndim or x.shape[0] != alpha.shape[0]:
        raise ValueError(f"dirichlet.logpdf: shares of shape {x.shape} and parameters of shape {alpha.shape}")
    outside = ns.any(ns.less(x, 0.0), axis=0)
    tolerance = max(SUM_ERROR, 16 * x.shape[0] * float(np.finfo(x.dtype).eps))
    outside = ns.logical_or(outside, ns.greater(ns.abs(ns.sum(x, axis=0) - 1.0), tolerance))
    powers = ns.reshape(alpha - 1.0, (-1, *[1] * (x.ndim - 1)))
    inside = ns.where(ns.less(x, 0.0), 1.0, x)
    constant = ns.lgamma(ns.sum(alpha)) - ns.sum(ns.lgamma(alpha))
    out = ns.where(outside, -np.inf, constant + ns.sum(ns.xlogy(powers, inside), axis=0))
    return ns.where(ns.all(ns.greater(alpha, 0.0)), out, np.nan)


@public(
    home="stats",
    name="dirichlet.pdf",
    reference=scipy_reference("dirichlet", "pdf"),
    samples=DIRICHLET_SAMPLES,
)
@composite
def _dirichlet_pdf(x: Any, alpha: Any) -> Tensor:
    """The density of the Dirichlet distribution at ``x``; arguments as for ``logpdf``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.dirichlet.pdf([0.25, 0.75], [2.0, 3.0]).shape
    ()
    """
    return ns.exp(_dirichlet_logpdf(x, alpha))


@public(
    home="stats",
    name="multinomial.logpmf",
    reference=scipy_reference("multinomial", "logpmf"),
    samples=(
        Sample(
            ((3,),),
            prefix=(np.array([1, 0, 2], np.int8), 3),
            prepare=lambda p: ((p * p + 0.5) / (p * p + 0.5).sum(-1),),
        ),
    ),
)
@composite
def _multinomial_logpmf(x: Any, n: Any, p: Any) -> Tensor:
    """The logarithm of the probability of the counts ``x`` in ``n`` trials.

    Parameters
    ----------
    x : array_like, shape (..., k)
        Counts.
    n : int or array_like, shape (...)
        Number of trials: where counts do not sum to it the probability is 0.
    p : array_like, shape (..., k)
        Probabilities; as in SciPy the last one is what is left of one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.multinomial.logpmf([1, 2], 3, [0.25, 0.75]).shape
    ()
    """
    x, n, p = floating([as_operand(v, "multinomial.logpmf") for v in (x, n, p)])
    last = 1.0 - ns.sum(p[..., :-1], axis=-1, keepdims=True)
    p = ns.concatenate([p[..., :-1], last], axis=-1)
    wrong = ns.any(ns.logical_or(ns.less(x, 0.0), ns.not_equal(x, ns.floor(x))), axis=-1)
    wrong = ns.logical_or(wrong, ns.not_equal(ns.sum(x, axis=-1), n))
    counts = ns.where(ns.less(x, 0.0), 0.0, x)
    out = ns.lgamma(n + 1.0) + ns.sum(ns.xlogy(counts, p) - ns.lgamma(counts + 1.0), axis=-1)
    return ns.where(wrong, -np.inf, out)


# --- categories -----------------------------------------------------------------------------------


def _categorical_reference(k: Any, p: Any) -> Any:
    p = np.asarray(p)
    p = p / p.sum(-1, keepdims=True)
    return np.log(np.take_along_axis(p, np.asarray(k)[..., None], -1)[..., 0])


@public(
    home="stats",
    name="categorical.logpmf",
    reference=_categorical_reference,
    samples=(Sample(((2, 3),), prefix=(np.array([1, 2]),), prepare=lambda p: (p * p + 0.5,)),),
)
@composite
def _categorical_logpmf(k: Any, p: Any = None, *, logits: Any = None) -> Tensor:
    """The logarithm of the probability of category ``k``.

    Parameters
    ----------
    k : integer array_like, shape (...)
        Categories, counted from 0.
    p : array_like, shape (..., n), optional
        Probabilities; they are divided by their sum.
    logits : array_like, shape (..., n), optional
        Logarithms of probabilities up to a constant, instead of ``p``.

    Returns
    -------
    Tensor, shape (...)

    Raises
    ------
    TypeError
        If not exactly one of ``p`` and ``logits`` is given, or ``k`` is not of integers.
    IndexError
        When the value is computed, if there is no such category.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.categorical.logpmf(1, [0.25, 0.75])
    tensor(-0.2877)
    >>> tg.stats.categorical.logpmf([0, 1], logits=[[0.0, 0.0], [1.0, 1.0]])
    tensor([-0.6931, -0.6931])
    """
    if (p is None) == (logits is None):
        raise TypeError("categorical.logpmf: either p or logits must be given")
    k = as_operand(k, "categorical.logpmf")
    if k.dtype.kind not in "iu":
        raise TypeError(f"categorical.logpmf: categories must be integers, not {k.dtype}")
    if logits is not None:
        logs = ns.log_softmax(floating([as_operand(logits, "categorical.logpmf")])[0], axis=-1)
    else:
        (p,) = floating([as_operand(p, "categorical.logpmf")])
        logs = ns.log(p) - ns.log(ns.sum(p, axis=-1, keepdims=True))
    shape = np.broadcast_shapes(k.shape, logs.shape[:-1])
    where = ns.expand_dims(ns.broadcast_to(k, shape), axis=-1)
    every = ns.broadcast_to(logs, (*shape, logs.shape[-1]))
    return ns.squeeze(ns.take_along_axis(every, where, axis=-1), axis=-1)


@public(
    home="stats",
    name="categorical.pmf",
    reference=lambda k, p: np.exp(_categorical_reference(k, p)),
    samples=(Sample(((2, 3),), prefix=(np.array([1, 2]),), prepare=lambda p: (p * p + 0.5,)),),
)
@composite
def _categorical_pmf(k: Any, p: Any = None, *, logits: Any = None) -> Tensor:
    """The probability of category ``k``; arguments as for ``logpmf``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stats.categorical.pmf(1, [1.0, 3.0])
    tensor(0.7500)
    """
    return ns.exp(_categorical_logpmf(k, p, logits=logits))
