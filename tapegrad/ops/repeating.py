"""Repeating, rolling, triangles."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np

from tapegrad.ops.axes import also_named, as_shape, axis_index, contiguous
from tapegrad.ops.joining import CONCAT2
from tapegrad.ops.movement import STRIDED, narrow, reshaped
from tapegrad.ops.record import as_operand, composite, record, record_layout
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor


@public(
    reference=lambda x, shift, axis=None: np.roll(x, shift, axis),
    samples=[
        Sample(((3, 4),), args=(2,)),
        Sample(((3, 4),), {"axis": 1}, args=(-1,)),
        Sample(((3, 4),), {"axis": (0, 1)}, args=((1, 2),)),
    ],
)
@also_named(shifts="shift", dims="axis")
def roll(x: Any, /, shift: Any, axis: Any = None) -> Tensor:
    """Shift elements along axes; those that fall off the end come in at the front.

    Parameters
    ----------
    shift : int or tuple of int
    axis : int or tuple of int, optional
        Default: the flattened array is shifted.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.roll(tg.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    x = as_operand(x, "roll")
    shape = x._spec.shape
    if axis is None:
        return reshaped(roll(reshaped(x, (x._spec.size,)), shift, 0), shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(axes) == 1 and len(shifts) > 1:
        axes = tuple(axes) * len(shifts)
    if len(axes) != len(shifts):
        raise ValueError(f"roll: shift {shift} and axis {axis} must have the same length")
    for a, s in zip(axes, shifts):
        k = axis_index("roll", a, len(shape))
        n = shape[k]
        by = operator.index(s) % n if n else 0
        if by:
            parts = narrow(x, k, n - by, by), narrow(x, k, 0, n - by)
            x = record(CONCAT2, parts, {"axis": k})
    return x


@public(
    reference=lambda x, reps: np.tile(x, reps),
    samples=[Sample(((3,),), args=(2,)), Sample(((2, 3),), args=((2, 1, 2),))],
)
@also_named(reps=None, dims=None)
def tile(x: Any, /, *repetitions: Any) -> Tensor:
    """Repeat the whole array along axes.

    Parameters
    ----------
    repetitions : int or sequence of int
        How often along each axis; missing ones in front are 1.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tile(tg.tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    x = as_operand(x, "tile")
    reps = as_shape("tile", repetitions[0] if len(repetitions) == 1 else repetitions)
    ndim = max(len(reps), x._spec.ndim)
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x._spec.ndim) + x._spec.shape
    if any(r < 0 for r in reps):
        raise ValueError(f"tile: repetitions must not be negative, got {reps}")
    strides = contiguous(shape)
    spread = tuple(itertools.chain(*zip(reps, shape)))
    steps = tuple(itertools.chain(*[(0, s) for s in strides]))
    wide = record_layout(STRIDED, x, spread, steps, 0)
    return reshaped(wide, tuple([r * n for r, n in zip(reps, shape)]))


@public(
    reference=lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    samples=[
        Sample(((3, 2),), args=(2,)),
        Sample(((3, 2),), {"axis": 1}, args=(3,)),
        Sample(((3, 2),), {"axis": 0}, args=([1, 0, 2],)),
    ],
    aliases=("repeat_interleave",),
)
@also_named(dim="axis")
def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis (NumPy's meaning; PyTorch's ``repeat`` is `tile`).

    Parameters
    ----------
    repeats : int or sequence of int
        How often, for all or for each element along the axis.
    axis : int, optional
        Default: the flattened array.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.repeat(tg.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    x = as_operand(x, "repeat")
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    shape = x._spec.shape
    axis = axis_index("repeat", axis, len(shape))
    counts = np.asarray(repeats._realize() if isinstance(repeats, Tensor) else repeats)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError("repeat: repeats must be integers that are not negative")
    if counts.ndim == 0 or counts.size == 1:
        times = int(counts.reshape(()))
        strides = contiguous(shape)
        spread = (*shape[: axis + 1], times, *shape[axis + 1 :])
        steps = (*strides[: axis + 1], 0, *strides[axis + 1 :])
        wide = record_layout(STRIDED, x, spread, steps, 0)
        return reshaped(wide, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))
    if counts.shape != (shape[axis],):
        raise ValueError(
            f"repeat: operands could not be broadcast together with shape ({shape[axis]},) {counts.shape}"
        )
    return ns.take(x, np.repeat(np.arange(shape[axis]), counts), axis=axis)


@public(reference=np.trace, samples=[Sample(((3, 4),)), Sample(((3, 3),), {"offset": -1})])
def trace(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Tensor:
    """Sum of a diagonal (of the first two axes, unless others are named).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.trace(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    return ns.sum(ns.diagonal(as_operand(x, "trace"), offset, axis1, axis2), axis=-1, dtype=dtype)


def _triangle(name: str, x: Any, k: int, lower: bool) -> Tensor:
    x = as_operand(x, name)
    if x._spec.ndim < 2:
        raise ValueError(f"{name}: at least two axes are needed, not shape {x._spec.shape}")
    mask = np.tri(*x._spec.shape[-2:], k=k if lower else k - 1, dtype=bool)
    return ns.where(mask if lower else ~mask, x, False if x._spec.kind == "b" else 0)


@public(reference=np.tril, samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"k": -1})])
@also_named(diagonal="k")
@composite
def tril(x: Any, /, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes: zeros above diagonal ``k``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tril(tg.ones((2, 2))).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return _triangle("tril", x, k, True)


@public(reference=np.triu, samples=[Sample(((3, 4),)), Sample(((2, 3, 3),), {"k": 1})])
@also_named(diagonal="k")
@composite
def triu(x: Any, /, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes: zeros below diagonal ``k``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.triu(tg.ones((2, 2))).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    return _triangle("triu", x, k, False)
