"""Polynomials by their coefficients, highest power first, with NumPy's names.

Leading zeros are kept: whether a coefficient is zero would have to be looked at, and its derivative lost.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tapegrad.ops.movement import broadcasted, narrow, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite
from tapegrad.ops.table import Domain, Sample, ns, public
from tapegrad.spec import INT64, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array


def _coefficients(name: str, p: Any) -> Tensor:
    p = as_operand(p, name)
    if p._spec.ndim > 1:
        raise ValueError(f"{name}: coefficients must be one-dimensional, not of shape {p.shape}")
    p = cast(p, INT64) if p._spec.kind == "b" else p
    return reshaped(p, (p._spec.size,))


def _order(name: str, m: Any) -> int:
    m = operator.index(m)
    if m < 0:
        raise ValueError(f"{name}: order must be positive, not {m}")
    return m


@public(
    reference=np.polyval,
    samples=[Sample(((4,), (3,))), Sample(((3,), (2, 2))), Sample(((1,), ()))],
    method=False,
)
@composite
def polyval(p: Any, x: Any) -> Tensor:
    """The value of a polynomial, by Horner's scheme.

    Parameters
    ----------
    p : array_like, one axis
        Coefficients, that of the highest power first.
    x : array_like
        Where to evaluate it.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polyval([3.0, 0.0, 1.0], tg.tensor([2.0, 10.0]))
    tensor([ 13., 301.])
    """
    p, x = _coefficients("polyval", p), as_operand(x, "polyval")
    dtype = result_dtype(p._spec.dtype, x._spec.dtype)
    p, x = cast(p, dtype), cast(x, dtype)
    n = p._spec.size
    if n == 0:
        return tensor_from_array(np.zeros(x._spec.shape, dtype))
    parts = [reshaped(narrow(p, 0, k, 1), ()) for k in range(n)]
    out = broadcasted(parts[0], x._spec.shape)
    for c in parts[1:]:
        out = out * x + c
    return out


@public(
    reference=lambda x, n=None, increasing=False: np.vander(x, n, increasing),
    samples=[Sample(((3,),)), Sample(((3,),), {"n": 5, "increasing": True}), Sample(((3,),), args=(2,))],
    method=False,
)
@composite
def vander(x: Any, /, n: Any = None, increasing: bool = False, *, N: Any = None) -> Tensor:
    """The Vandermonde matrix: powers of ``x``, a column each.

    Parameters
    ----------
    x : array_like, one axis
    n : int, optional
        How many columns; default as many as rows.  ``N`` is NumPy's name for it.
    increasing : bool
        Whether the powers increase from left to right.

    Raises
    ------
    ValueError
        If ``x`` does not have one axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vander(tg.tensor([2.0, 3.0]), 3).tolist()
    [[4.0, 2.0, 1.0], [9.0, 3.0, 1.0]]
    """
    x = as_operand(x, "vander")
    if x._spec.ndim != 1:
        raise ValueError(f"vander: x must be a one-dimensional array, not of shape {x.shape}")
    x = cast(x, INT64) if x._spec.kind == "b" else x
    rows = x._spec.size
    n = rows if n is None and N is None else operator.index(N if n is None else n)
    if n < 0:
        raise ValueError(f"vander: the number of columns must not be negative, got {n}")
    ones = tensor_from_array(np.ones((rows, min(n, 1)), x._spec.dtype))
    columns = broadcasted(reshaped(x, (rows, 1)), (rows, max(n - 1, 0)))
    # Running products: right at zero, to any order.
    powers = ns.cumulative_prod(ns.concat((ones, columns), axis=1), axis=1)
    powers = cast(powers, x._spec.dtype)
    return powers if increasing else ns.flip(powers, axis=1)


def _joined(name: str, a: Any, b: Any, function: Any) -> Tensor:
    """The sum or difference of two polynomials, the shorter one filled up with zeros."""
    a, b = _coefficients(name, a), _coefficients(name, b)
    n = max(a._spec.size, b._spec.size)
    a, b = (ns.pad(t, (n - t._spec.size, 0)) for t in (a, b))
    return function(a, b)


PAIR = (Sample(((4,), (2,))), Sample(((3,), (3,))))


@public(reference=np.polyadd, samples=PAIR, method=False)
@composite
def polyadd(a1: Any, a2: Any) -> Tensor:
    """The sum of two polynomials.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polyadd(tg.tensor([1.0, 2.0]), [9.0, 5.0, 4.0])
    tensor([9., 6., 6.])
    """
    return _joined("polyadd", a1, a2, ns.add)


@public(reference=np.polysub, samples=PAIR, method=False)
@composite
def polysub(a1: Any, a2: Any) -> Tensor:
    """The difference of two polynomials.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polysub(tg.tensor([2.0, 10.0, -2.0]), [3.0, 10.0, -4.0])
    tensor([-1.,  0.,  2.])
    """
    return _joined("polysub", a1, a2, ns.subtract)


@public(reference=np.polymul, samples=PAIR, method=False)
@composite
def polymul(a1: Any, a2: Any) -> Tensor:
    """The product of two polynomials.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polymul(tg.tensor([1.0, 2.0]), [9.0, 5.0, 1.0])
    tensor([ 9., 23., 11.,  2.])
    """
    return ns.convolve(_coefficients("polymul", a1), _coefficients("polymul", a2))


@public(
    reference=np.polyder,
    samples=[Sample(((4,),)), Sample(((5,),), {"m": 2}), Sample(((2,),), {"m": 3})],
    method=False,
)
@composite
def polyder(p: Any, m: int = 1) -> Tensor:
    """The ``m``-th derivative of a polynomial.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polyder(tg.tensor([1.0, 1.0, 1.0, 1.0]))
    tensor([3., 2., 1.])
    """
    p, m = _coefficients("polyder", p), _order("polyder", m)
    n = p._spec.size
    left = max(n - m, 0)
    powers = np.arange(n - 1, n - 1 - left, -1)
    factors = np.ones(left, np.int64)
    for k in range(m):
        factors *= powers - k
    dtype = p._spec.dtype if p._spec.differentiable else INT64
    return ns.multiply(narrow(p, 0, 0, left), tensor_from_array(factors.astype(dtype)))


@public(
    reference=np.polyint,
    samples=[
        Sample(((4,),)),
        Sample(((3,),), {"m": 2, "k": [1, 2]}),
        Sample(((3,), (2,)), prepare=lambda p, k: (p, 2, k)),
    ],
    method=False,
)
@composite
def polyint(p: Any, m: int = 1, k: Any = None) -> Tensor:
    """The ``m``-fold integral of a polynomial.

    Parameters
    ----------
    p : array_like, one axis
    m : int
    k : float or array_like, optional
        Constants of integration, in the order of integration; default 0.

    Raises
    ------
    ValueError
        If there are neither one nor ``m`` constants.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polyint(tg.tensor([3.0, 2.0, 1.0]), k=5.0)
    tensor([1., 1., 1., 5.])
    """
    p, m = _coefficients("polyint", p), _order("polyint", m)
    if m == 0:
        return ns.positive(p)
    p = as_inexact(p, "polyint")
    dtype = p._spec.dtype
    if k is None:
        constants = tensor_from_array(np.zeros(m, dtype))
    else:
        constants = cast(as_operand(k, "polyint"), dtype)
        if constants._spec.ndim > 1 or constants._spec.size not in (1, m):
            raise ValueError(f"polyint: k must be a scalar or {m} numbers, not of shape {constants.shape}")
        constants = broadcasted(reshaped(constants, (constants._spec.size,)), (m,))
    for i in range(m):
        powers = tensor_from_array(np.arange(p._spec.size, 0, -1).astype(dtype))
        p = ns.concat((p / powers, narrow(constants, 0, i, 1)))
    return p


@public(
    reference=np.polyfit,
    samples=[
        Sample(((5,), (5,)), args=(2,), domain=Domain(-1.5, 1.5)),
        Sample(((5,), (5, 2)), args=(1,)),
        Sample(((5,), (5,)), {"w": np.float32([1, 2, 1, 0.5, 1])}, args=(1,)),
    ],
    method=False,
)
@composite
def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The polynomial of degree ``deg`` that fits points best, in the sense of least squares.

    Parameters
    ----------
    x : array_like, shape (m,)
    y : array_like, shape (m,) or (m, k)
    deg : int
    rcond : float, optional
        Singular values of the scaled Vandermonde matrix up to so many times the greatest are taken as zero;
        default ``m`` times the dtype's epsilon.
    full : bool
        Must be false.
    w : array_like, shape (m,), optional
        Weights of the residuals (not of their squares).
    cov : bool or "unscaled"
        Whether to return the covariance matrix of the coefficients, too: scaled by the residuals, or not.

    Returns
    -------
    Tensor, shape (deg + 1,) or (deg + 1, k), highest power first; or a pair of it and the covariance.
        Gradients reach ``x``, ``y`` and ``w``.

    Raises
    ------
    TypeError
        If shapes do not fit.
    ValueError
        If the degree is negative, there are too few points for ``cov``, or ``full`` is true.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.polyfit([0.0, 1.0, 2.0], tg.tensor([1.0, 3.0, 5.0]), 1).round(6)
    tensor([2., 1.])
    """
    if full:
        raise ValueError("polyfit: full=True is not supported; see linalg.lstsq of vander(x, deg + 1)")
    n = operator.index(deg) + 1
    if n < 1:
        raise ValueError("polyfit: expected deg >= 0")
    x, y = as_inexact(x, "polyfit"), as_inexact(y, "polyfit")
    m = x._spec.size
    if x._spec.ndim != 1 or m == 0:
        raise TypeError(f"polyfit: expected a non-empty 1D vector for x, not shape {x.shape}")
    if y._spec.ndim not in (1, 2) or y._spec.shape[0] != m:
        raise TypeError(f"polyfit: expected x and y to have same length, got shapes {x.shape} and {y.shape}")
    a = vander(x, n)
    if w is not None:
        w = as_inexact(w, "polyfit")
        if w._spec.shape != (m,):
            raise TypeError(f"polyfit: expected a 1-d array of {m} weights, not shape {w.shape}")
        a = a * reshaped(w, (m, 1))
        y = y * (reshaped(w, (m, 1)) if y._spec.ndim == 2 else w)
    # Columns of one length: the result is the same, and rcond means something.
    scale = ns.sqrt(ns.sum(ns.square(a.detach()), axis=0))
    eps = float(np.finfo(result_dtype(x._spec.dtype, y._spec.dtype)).eps)
    solution = ns.linalg.lstsq(a / scale, y, m * eps if rcond is None else rcond)
    c = solution[0] / (reshaped(scale, (n, 1)) if y._spec.ndim == 2 else scale)
    if not cov:
        return c
    base = ns.linalg.inv(ns.matmul(ns.matrix_transpose(a), a))
    base = base if y._spec.ndim == 1 else reshaped(base, (n, n, 1))
    if cov == "unscaled":
        return c, base
    if m <= n:
        raise ValueError(
            f"polyfit: {m} points are too few to scale the covariance matrix of {n} coefficients"
        )
    residuals = ns.sum(ns.square(y - ns.matmul(a, c)), axis=0) / float(m - n)
    return c, base * residuals
