"""NumPy's functions that give an array more elements or fewer, and choose among arrays.

Where an argument is a mask, how many elements there are follows from its values: these functions look at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import also_named, as_shape, axis_index, size_of
from tapegrad.ops.movement import broadcasted, reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import broadcast_shapes, result_dtype
from tapegrad.tensor import Tensor

__all__: list[str] = []


def _flat_or_axis(name: str, x: Any, axis: int | None) -> tuple[Tensor, int]:
    x = as_operand(x, name)
    if axis is None:
        return reshaped(x, (x._spec.size,)), 0
    return x, axis_index(name, axis, x._spec.ndim)


def _known(value: Any) -> np.ndarray:
    """A mask or indices, as an array (a look, if it is a tensor)."""
    return np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)


# --- more and fewer -------------------------------------------------------------------------------


@public(
    reference=np.append,
    samples=[Sample(((2, 3), (4,))), Sample(((2, 3), (1, 3)), {"axis": 0})],
    method=False,
)
def append(x: Any, values: Any, /, axis: int | None = None) -> Tensor:
    """``x`` with values behind it: `concat` of the two (flattened, unless an axis is named).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.append(tg.tensor([1.0, 2.0]), 3.0)
    tensor([1., 2., 3.])
    """
    return ns.concat([as_operand(x, "append"), as_operand(values, "append")], axis=axis)


@public(
    reference=np.delete,
    samples=[
        Sample(((5,),), args=(2,)),
        Sample(((3, 4),), {"axis": 1}, args=([0, -1],)),
        Sample(((5,),), args=(slice(1, 3),)),
    ],
    method=False,
)
def delete(x: Any, /, obj: Any, axis: int | None = None) -> Tensor:
    """``x`` without some of its elements along an axis.

    Parameters
    ----------
    obj : int, slice, array_like of int or bool
        Which to leave out.
    axis : int, optional
        Default: of the flattened array.

    Raises
    ------
    IndexError
        If an index is out of bounds.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.delete(tg.tensor([1.0, 2.0, 3.0]), 1)
    tensor([1., 3.])
    """
    x, k = _flat_or_axis("delete", x, axis)
    n = x._spec.shape[k]
    left = np.delete(np.arange(n), obj if isinstance(obj, slice) else _known(obj))
    return ns.take(x, left, axis=k)


@public(
    reference=np.insert,
    samples=[
        Sample(((5,),), args=(1, np.array([8, 9]))),
        Sample(((3, 4),), {"axis": 1}, args=([0, 3, 0], 7)),
        Sample(((3, 4),), {"axis": 0}, args=(slice(None, None, 2), np.arange(4))),
    ],
    method=False,
)
@composite
def insert(x: Any, obj: Any, values: Any, /, axis: int | None = None) -> Tensor:
    """``x`` with values in front of given positions along an axis.

    Parameters
    ----------
    obj : int, slice, array_like of int or bool
        Positions in ``x``.
    values : array_like
        Broadcast to the places; of ``x``'s dtype.
    axis : int, optional
        Default: of the flattened array.

    Raises
    ------
    IndexError
        If a position is out of bounds.
    ValueError
        If the values do not broadcast to the places.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.insert(tg.tensor([1.0, 2.0]), 1, [8.0, 9.0])
    tensor([1., 8., 9., 2.])
    """
    x, k = _flat_or_axis("insert", x, axis)
    shape, ndim = x._spec.shape, x._spec.ndim
    n = shape[k]
    v = cast(as_operand(values, "insert"), x._spec.dtype)
    v = reshaped(v, (1,) * (ndim - v._spec.ndim) + v._spec.shape)
    at = np.arange(n)[obj] if isinstance(obj, slice) else _known(obj)
    if at.dtype.kind == "b":
        at = np.flatnonzero(at)
    if at.size == 0:
        at = at.astype(np.int64)
    if at.dtype.kind not in "iu" or at.ndim > 1:
        raise IndexError(f"insert: positions must be integers along one axis, not {at.dtype} {at.shape}")
    if at.size and not -n <= at.min() <= at.max() <= n:
        raise IndexError(f"insert: a position of {at} is out of bounds for axis {k} of shape {shape}")
    at = np.where(at < 0, at + n, at)
    if at.size == 1:  # all values go there
        if at.ndim == 0:
            v = ns.moveaxis(v, 0, k)
        places = at.reshape(()) + np.arange(v._spec.shape[k])
    else:
        places = at.copy()
        places[np.argsort(at, kind="stable")] += np.arange(at.size)
    count = places.size
    wide = (*shape[:k], count, *shape[k + 1 :])
    if broadcast_shapes("insert", v._spec.shape, wide) != wide:
        raise ValueError(f"insert: could not broadcast values of shape {v.shape} into shape {wide}")
    order = np.full(n + count, -1)
    order[places] = n + np.arange(count)
    order[order < 0] = np.arange(n)
    return ns.take(ns.concat([x, broadcasted(v, wide)], axis=k), order, axis=k)


@public(
    reference=np.resize,
    samples=[Sample(((2, 3),), args=((4, 2),)), Sample(((3,),), args=((2,),))],
    method=False,
)
@also_named(new_shape="shape")
def resize(x: Any, /, shape: Any) -> Tensor:
    """The elements of ``x`` in another shape, begun again as often as it takes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.resize(tg.tensor([1.0, 2.0]), 3)
    tensor([1., 2., 1.])
    """
    x, new = as_operand(x, "resize"), as_shape("resize", shape)
    if any(n < 0 for n in new):
        raise ValueError(f"resize: all elements of the new shape must be non-negative, got {new}")
    n, size = x._spec.size, size_of(new)
    if n == 0 or size == 0:
        return ns.zeros(new, dtype=x._spec.dtype)
    return reshaped(ns.take(reshaped(x, (n,)), np.arange(size) % n), new)


@public(reference=np.trim_zeros, samples=[Sample(((5,),))], method=False, looks=True)
def trim_zeros(x: Any, /, trim: str = "fb", axis: Any = None) -> Tensor:
    """``x`` without zeros in front (``f``) and at the back (``b``); looks at the values.

    Parameters
    ----------
    trim : str
        Made of ``f`` and ``b``.
    axis : int or tuple of int, optional
        Which axes to trim; default all.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.trim_zeros(tg.tensor([0.0, 1.0, 0.0, 2.0, 0.0]))
    tensor([1., 0., 2.])
    """
    x = as_operand(x, "trim_zeros")
    sides = trim.lower()
    if set(sides) - {"f", "b"}:
        raise ValueError(f"trim_zeros: unexpected character in trim={trim!r}")
    ndim = x._spec.ndim
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    there = x.detach().numpy() != 0
    key: list[slice] = [slice(None)] * ndim
    for a in axes:
        k = axis_index("trim_zeros", a, ndim)
        places = np.flatnonzero(there.any(axis=tuple([j for j in range(ndim) if j != k])))
        first, last = (places[0], places[-1] + 1) if places.size else (0, 0)
        key[k] = slice(first if "f" in sides else 0, last if "b" in sides or not places.size else None)
    return x[tuple(key)]


# --- choosing -------------------------------------------------------------------------------------


@public(
    reference=np.compress,
    samples=[
        Sample(((2, 3),), prefix=(np.array([False, True, True]),)),
        Sample(((2, 3),), {"axis": 1}, prefix=(np.array([True, False]),)),
    ],
    method=False,
)
def compress(condition: Any, x: Any, /, axis: int | None = None) -> Tensor:
    """The elements (along an axis) for which a vector of conditions is true.

    Parameters
    ----------
    condition : array_like, one axis
        May be shorter than the axis.
    axis : int, optional
        Default: of the flattened array.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.compress([True, False, True], tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3.])
    """
    x, k = _flat_or_axis("compress", x, axis)
    mask = _known(condition)
    if mask.ndim != 1:
        raise ValueError(f"compress: condition must be a 1-d array, not of shape {mask.shape}")
    return ns.take(x, np.flatnonzero(mask), axis=k)


@public(
    reference=np.extract,
    samples=[Sample(((2, 3),), prefix=(np.array([[True, False, True], [False, True, False]]),))],
    method=False,
)
def extract(condition: Any, x: Any, /) -> Tensor:
    """The elements of ``x``, flattened, for which ``condition``, flattened, is true.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.extract([True, False, True], tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3.])
    """
    return compress(_known(condition).ravel(), x)


@public(reference=np.flatnonzero, samples=[], differentiable=False, method=False, looks=True)
def flatnonzero(x: Any, /) -> Tensor:
    """Positions in the flattened array of elements that are not zero (looks at the values).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.flatnonzero(tg.tensor([0.0, 2.0, 0.0, 4.0]))
    tensor([1, 3])
    """
    x = as_operand(x, "flatnonzero")
    return ns.nonzero(reshaped(x, (x._spec.size,)))[0]


@public(
    reference=np.choose,
    samples=[Sample(((2, 3), (3,)), prefix=(np.array([[0, 1, 1], [1, 0, 1]]),), packed=True)],
    method=False,
)
@composite
def choose(which: Any, choices: Sequence[Any], /, mode: str = "raise") -> Tensor:
    """From each place, the element of the array among ``choices`` that ``which`` names there.

    Parameters
    ----------
    which : array_like of int
    choices : sequence of array_like
        They are broadcast against each other and ``which``.
    mode : {"raise", "wrap", "clip"}
        What numbers without an array mean.

    Raises
    ------
    IndexError
        If a number names no array.
    ValueError
        If the shapes do not broadcast, or the mode is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.choose([0, 1], [tg.tensor([1.0, 2.0]), tg.tensor([8.0, 9.0])])
    tensor([1., 9.])
    """
    index = as_operand(which, "choose")
    if index._spec.kind not in "biu":
        raise TypeError(f"choose: which array must be given by integers, not {index._spec.dtype}")
    arrays = [as_operand(c, "choose") for c in choices]
    if not arrays:
        raise ValueError("choose: needs at least one array to choose from")
    dtype = result_dtype(*[a._spec.dtype for a in arrays])
    shape = broadcast_shapes("choose", index._spec.shape, *[a._spec.shape for a in arrays])
    n = len(arrays)
    index = cast(index, np.dtype("int64"))
    if mode == "wrap":
        index = ns.remainder(index, n)
    elif mode == "clip":
        index = ns.clip(index, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"choose: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
    stacked = ns.stack([broadcasted(cast(a, dtype), shape) for a in arrays])
    if mode == "raise":  # a negative number would count from the end
        index = ns.where(ns.less(index, 0), n, index)
    picked = ns.take_along_axis(stacked, reshaped(broadcasted(index, shape), (1, *shape)), axis=0)
    return reshaped(picked, shape)
