"""Positions as numbers and as indices, open meshes, and functions applied along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.ops.axes import as_shape, axis_index, contiguous, size_of
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import INT64
from tapegrad.tensor import Tensor

__all__: list[str] = []


def _integers(name: str, value: Any) -> Tensor:
    x = as_operand(value, name)
    if x._spec.kind not in "iu":
        raise TypeError(f"{name}: only integer indices, not {x._spec.dtype}")
    return cast(x, INT64)


def _strides(name: str, shape: tuple[int, ...], order: str) -> tuple[int, ...]:
    if order not in ("C", "F"):
        raise ValueError(f"{name}: order must be 'C' or 'F', not {order!r}")
    return contiguous(shape) if order == "C" else contiguous(shape[::-1])[::-1]


@public(reference=np.unravel_index, samples=[], differentiable=False, method=False)
@composite
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Tensor, ...]:
    """The indices along each axis of positions in a flattened array.

    Parameters
    ----------
    indices : array_like of int
    shape : int or tuple of int
        The array's.
    order : {"C", "F"}
        Whether the last or the first index varies fastest.

    Raises
    ------
    ValueError
        If a position is outside, where positions are known already.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unravel_index(tg.tensor([1, 5]), (2, 3))
    (tensor([0, 1]), tensor([1, 2]))
    """
    x, lengths = _integers("unravel_index", indices), as_shape("unravel_index", shape)
    n, known = size_of(lengths), x._value
    if known is not None and known.size and not 0 <= known.min() <= known.max() < n:
        bad = known[(known < 0) | (known >= n)].flat[0]
        raise ValueError(f"unravel_index: index {bad} is out of bounds for array with size {n}")
    steps = _strides("unravel_index", lengths, order)
    return tuple([ns.remainder(ns.floor_divide(x, s or 1), m) for m, s in zip(lengths, steps)])


@public(reference=np.ravel_multi_index, samples=[], differentiable=False, method=False)
@composite
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Tensor:
    """Positions in a flattened array, of indices along each axis.

    Parameters
    ----------
    multi_index : tuple of array_like of int
        One per axis.
    dims : tuple of int
        The array's shape.
    mode : {"raise", "wrap", "clip"}, or a tuple of these
        What indices out of bounds mean.
    order : {"C", "F"}
        Whether the last or the first index varies fastest.

    Raises
    ------
    ValueError
        If an index is out of bounds, where indices are known already, or their number is wrong.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ravel_multi_index((tg.tensor([0, 1]), tg.tensor([1, 2])), (2, 3))
    tensor([1, 5])
    """
    name = "ravel_multi_index"
    lengths = as_shape(name, dims)
    parts = [_integers(name, part) for part in multi_index]
    modes = mode if isinstance(mode, (tuple, list)) else (mode,) * len(lengths)
    if len(parts) != len(lengths) or len(modes) != len(lengths):
        raise ValueError(f"{name}: needs one index and one mode per axis of shape {lengths}")
    total: Any = 0
    for x, n, step, way in zip(parts, lengths, _strides(name, lengths, order), modes):
        known = x._value
        if way == "wrap":
            x = ns.remainder(x, n)
        elif way == "clip":
            x = ns.clip(x, 0, n - 1)
        elif way != "raise":
            raise ValueError(f"{name}: mode must be 'raise', 'wrap' or 'clip', not {way!r}")
        elif known is not None and known.size and not 0 <= known.min() <= known.max() < n:
            raise ValueError(f"{name}: invalid entry in coordinates array for an axis of length {n}")
        total = ns.add(ns.multiply(x, step), total)
    return total


@public(reference=np.ix_, samples=[], differentiable=False, method=False)
@composite
def ix_(*arrays: Any) -> tuple[Tensor, ...]:
    """An open mesh of vectors: ``x[tg.ix_(rows, columns)]`` is a submatrix.

    Vectors of booleans stand for the positions where they are true.

    Raises
    ------
    ValueError
        If an argument is no vector.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [part.shape for part in tg.ix_([0, 2], [1, 2, 3])]
    [(2, 1), (1, 3)]
    """
    out = []
    for k, value in enumerate(arrays):
        x = as_operand(value, "ix_")
        if x._spec.ndim != 1:
            raise ValueError(f"ix_: needs vectors, not an array of shape {x.shape}")
        if x._spec.kind == "b":
            (x,) = ns.nonzero(x)
        elif x._spec.size == 0:
            x = cast(x, INT64)
        out.append(reshaped(x, tuple([x._spec.size if j == k else 1 for j in range(len(arrays))])))
    return tuple(out)


def _shape_of(name: str, x: Any) -> tuple[int, ...]:
    shape = as_operand(x, name)._spec.shape
    if len(shape) < 2 or (name != "diag_indices_from" and len(shape) != 2):
        raise ValueError(f"{name}: input array must be 2-d, not of shape {shape}")
    return shape


@public(reference=np.tril_indices_from, samples=[], differentiable=False, method=False)
def tril_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of a matrix on and below diagonal ``k``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tril_indices_from(tg.ones((2, 2)))
    (tensor([0, 1, 1]), tensor([0, 0, 1]))
    """
    n, m = _shape_of("tril_indices_from", x)
    return ns.tril_indices(n, k, m)


@public(reference=np.triu_indices_from, samples=[], differentiable=False, method=False)
def triu_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of a matrix on and above diagonal ``k``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.triu_indices_from(tg.ones((2, 2)))
    (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """
    n, m = _shape_of("triu_indices_from", x)
    return ns.triu_indices(n, k, m)


@public(reference=np.diag_indices_from, samples=[], differentiable=False, method=False)
def diag_indices_from(x: Any, /) -> tuple[Tensor, ...]:
    """Indices of the main diagonal of an array whose axes are all equally long.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diag_indices_from(tg.ones((2, 2)))
    (tensor([0, 1]), tensor([0, 1]))
    """
    shape = _shape_of("diag_indices_from", x)
    if len(set(shape)) > 1:
        raise ValueError(f"diag_indices_from: all dimensions must be of equal length, not {shape}")
    return ns.diag_indices(shape[0], len(shape))


# --- functions along axes -------------------------------------------------------------------------


@public(
    reference=np.apply_along_axis,
    samples=[
        Sample(((3, 4),), prefix=(lambda v: v * v[0], 1)),
        Sample(((2, 3, 2),), prefix=(lambda v: v.sum() * v.sum(), 1)),
    ],
    method=False,
)
def apply_along_axis(func1d: Callable, axis: int, x: Any, /, *args: Any, **kwargs: Any) -> Tensor:
    """Call a function on each vector along an axis; its results stand in place of the axis.

    One call and its operations per vector: what can be written on whole arrays is faster.

    Parameters
    ----------
    func1d : callable
        ``func1d(vector, *args, **kwargs)``, a tensor or number; shapes must not differ from call to call.
    axis : int
    x : array_like

    Raises
    ------
    ValueError
        If there is no vector to call it on.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.apply_along_axis(lambda v: v.sum(), 1, tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([3., 7.])
    """
    x = as_operand(x, "apply_along_axis")
    shape = x._spec.shape
    k = axis_index("apply_along_axis", axis, len(shape))
    others = shape[:k] + shape[k + 1 :]
    if size_of(others) == 0:
        raise ValueError(f"apply_along_axis: cannot apply when any iteration dimensions are 0: {shape}")
    rows = reshaped(ns.moveaxis(x, k, -1), (size_of(others), shape[k]))
    results = [as_operand(func1d(row, *args, **kwargs), "apply_along_axis") for row in rows]
    own = results[0]._spec.shape
    out = reshaped(ns.stack(results), others + own)
    places = tuple(range(len(others), len(others) + len(own)))
    return ns.moveaxis(out, places, tuple(range(k, k + len(own)))) if places else out


@public(
    reference=np.apply_over_axes,
    samples=[Sample(((2, 3, 4),), prefix=(lambda x, axis: x.sum(axis),), args=((0, 2),))],
    method=False,
)
def apply_over_axes(func: Callable, x: Any, axes: Any, /) -> Tensor:
    """Call ``func(x, axis)`` for one axis after the other; axes that it removes are put back.

    Raises
    ------
    ValueError
        If a result has neither as many axes nor one fewer.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.apply_over_axes(tg.sum, tg.ones((2, 3)), (0, 1))
    tensor([[6.]])
    """
    x = as_operand(x, "apply_over_axes")
    ndim = x._spec.ndim
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        k = axis_index("apply_over_axes", axis, ndim)
        out = as_operand(func(x, k), "apply_over_axes")
        if out._spec.ndim == ndim - 1:
            out = ns.expand_dims(out, axis=k)
        if out._spec.ndim != ndim:
            raise ValueError(f"apply_over_axes: a result of shape {out.shape} for one of shape {x.shape}")
        x = out
    return x
