"""Numbers in order, and grids of them; gradients reach the tensors that they are made from."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tapegrad.methods import as_dtype, astype, clone
from tapegrad.ops.creation import eye, make
from tapegrad.ops.dtypes import check_device
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import ns
from tapegrad.spec import COMPLEX128, FLOAT64, result_dtype
from tapegrad.tensor import Tensor

__all__ = ["geomspace", "identity", "linspace", "logspace", "meshgrid"]


@composite
def linspace(
    start: Any,
    stop: Any,
    /,
    num: int = 50,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
    axis: int = 0,
    requires_grad: bool = False,
) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``; gradients reach these if they are tensors.

    Parameters
    ----------
    start, stop : number or array_like
        Arrays are broadcast against each other.
    num : int
    dtype : dtype, optional
        Default: floating as ``start`` and ``stop`` are, float64 for numbers and integers.
    endpoint : bool
        Whether ``stop`` is the last number.
    axis : int
        Where the numbers lie in the result, if ``start`` or ``stop`` is an array.

    Raises
    ------
    ValueError
        If ``num`` is negative.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    check_device("linspace", device)
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"linspace: num must not be negative, got {num}")
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        array = np.linspace(start, stop, num, endpoint=endpoint, axis=axis)
        default = COMPLEX128 if array.dtype.kind == "c" else FLOAT64
        return make(array.astype(as_dtype(dtype or default, "linspace")), requires_grad)
    a, b = [as_operand(v, "linspace") for v in (start, stop)]
    wanted = result_dtype(a.dtype, b.dtype, 1.0)
    a, b = ns.broadcast_arrays(cast(a, wanted), cast(b, wanted))
    parts = num - 1 if endpoint else num
    weights = np.arange(num, dtype=wanted) / (parts or 1)
    weights = weights.astype(wanted).reshape((num,) + (1,) * a.ndim)
    # the difference is not formed: exact at both ends, and finite wherever they are
    out = ns.add(ns.multiply(a, 1.0 - weights), ns.multiply(b, weights))
    out = ns.moveaxis(out, 0, axis) if axis else out
    if dtype is not None:
        out = astype(out, as_dtype(dtype, "linspace"), copy=False)
    return out.requires_grad_() if requires_grad else out


@composite
def logspace(
    start: Any,
    stop: Any,
    /,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """Powers of ``base`` whose exponents are evenly spaced; arguments as for `linspace`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    out = ns.power(base, linspace(start, stop, num, endpoint=endpoint, axis=axis))
    return out if dtype is None else astype(out, as_dtype(dtype, "logspace"), copy=False)


@composite
def geomspace(
    start: Any, stop: Any, /, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:
    """Numbers with a constant ratio, from ``start`` to ``stop``; arguments as for `linspace`.

    Raises
    ------
    ValueError
        If an end is zero (NaN, where ends are tensors whose values are not known yet).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.geomspace(1.0, 100.0, 3)
    tensor([  1.,  10., 100.])
    """
    a, b = [as_operand(v, "geomspace") for v in (start, stop)]
    for end in (a, b):
        if end._value is not None and (end._value == 0).any():
            raise ValueError("geomspace: a geometric sequence cannot include zero")
    wanted = result_dtype(a.dtype, b.dtype, 1.0)
    a, b = ns.broadcast_arrays(cast(a, wanted), cast(b, wanted))
    weights = linspace(np.zeros(a.shape), np.ones(a.shape), num, endpoint=endpoint)
    out = ns.multiply(a, ns.power(ns.divide(b, a), cast(weights, wanted)))
    out = ns.moveaxis(out, 0, axis) if axis else out
    return out if dtype is None else astype(out, as_dtype(dtype, "geomspace"), copy=False)


def identity(n: int, dtype: Any = None, *, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(n, dtype=dtype, device=device, requires_grad=requires_grad)


@composite
def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate tensors of the grid that 1-D arrays span; gradients reach the arrays.

    Parameters
    ----------
    *arrays : Tensor or array_like
        Each 0-d or 1-D.
    indexing : {"xy", "ij"}
        Whether the first two axes of the results are exchanged (NumPy's default) or in order.

    Returns
    -------
    list of Tensor
        One per array, all of the same shape.

    Raises
    ------
    ValueError
        If an array has more than one dimension or ``indexing`` is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x, y = tg.meshgrid([1.0, 2.0, 3.0], [10.0, 20.0])
    >>> x + y
    tensor([[11., 12., 13.],
            [21., 22., 23.]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}")
    operands = [as_operand(a, "meshgrid") for a in arrays]
    for t in operands:
        if t.ndim > 1:
            raise ValueError(f"meshgrid: takes 1-D arrays, not one of shape {t.shape}")
    n = len(operands)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    lengths = [operands[k].size for k in order]
    out = []
    for k, t in enumerate(operands):
        own = [1] * n
        own[order.index(k)] = t.size
        # clone: results of broadcasting share elements, which NumPy's meshgrid copies
        out.append(clone(ns.broadcast_to(ns.reshape(t, tuple(own)), tuple(lengths))))
    return out
