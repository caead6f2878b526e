"""Whether values are close, equal, real: comparisons for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.record import as_inexact, as_operand, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__: list[str] = []


@public(
    reference=np.isclose,
    samples=[Sample(((2, 3), (3,)), {"rtol": 0.5, "atol": 0.1})],
    differentiable=False,
)
@composite
def isclose(x: Any, y: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether ``abs(x - y) <= atol + rtol * abs(y)``; infinities are close to themselves alone.

    Parameters
    ----------
    rtol, atol : number or array_like
        Relative and absolute tolerance.
    equal_nan : bool
        Whether NaN is close to NaN.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isclose(tg.tensor([1.0, 2.0]), [1.0 + 1e-9, 2.1])
    tensor([ True, False])
    """
    x, y = as_inexact(x, "isclose"), as_inexact(y, "isclose")
    near = ns.less_equal(ns.abs(ns.subtract(x, y)), ns.add(ns.multiply(ns.abs(y), rtol), atol))
    close = ns.logical_or(ns.logical_and(near, ns.isfinite(y)), ns.equal(x, y))
    if equal_nan:
        close = ns.logical_or(close, ns.logical_and(ns.isnan(x), ns.isnan(y)))
    return close


@public(reference=None, samples=[], differentiable=False, looks=True)
def allclose(x: Any, y: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close, as `isclose` says; a Python bool.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.allclose(tg.tensor([1.0, 2.0]), [1.0 + 1e-9, 2.0])
    True
    """
    return bool(ns.all(isclose(x, y, rtol, atol, equal_nan)))


@public(reference=None, samples=[], differentiable=False, method=False, looks=True)
def array_equal(x: Any, y: Any, /, equal_nan: bool = False) -> bool:
    """Whether two arrays have the same shape and elements; a Python bool.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.array_equal(tg.tensor([1.0, 2.0]), [1.0, 2.0])
    True
    """
    x, y = as_operand(x, "array_equal"), as_operand(y, "array_equal")
    if x._spec.shape != y._spec.shape:
        return False
    same = ns.equal(x, y)
    if equal_nan:
        same = ns.logical_or(same, ns.logical_and(ns.isnan(x), ns.isnan(y)))
    return bool(ns.all(same))


@public(reference=np.isreal, samples=[Sample(((3,),))], differentiable=False, method=False)
def isreal(x: Any, /) -> Tensor:
    """Whether the imaginary part is zero.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isreal(tg.tensor([1.0 + 0j, 1j]))
    tensor([ True, False])
    """
    return ns.equal(ns.imag(x), 0)


@public(reference=np.iscomplex, samples=[Sample(((3,),))], differentiable=False, method=False)
def iscomplex(x: Any, /) -> Tensor:
    """Whether the imaginary part is not zero.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.iscomplex(tg.tensor([1.0 + 0j, 1j]))
    tensor([False,  True])
    """
    return ns.not_equal(ns.imag(x), 0)
