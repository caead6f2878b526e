"""Joining, splitting, repeating and padding."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import move
from tapegrad.ops.axes import also_named, axis_index, contiguous, size_of, split_at
from tapegrad.ops.movement import (
    EXPAND_DIMS,
    GETITEM,
    STRIDED,
    all_batched,
    expand_dims_layout,
    narrow,
    reshaped,
    view,
)
from tapegrad.ops.record import as_operand, cast, record, record_layout
from tapegrad.ops.table import ROWS, Out, Sample, public, structured
from tapegrad.ops.views import reshape
from tapegrad.spec import Spec, result_dtype
from tapegrad.tensor import Tensor

# --- primitives -----------------------------------------------------------------------------------


def _concat_shape(x: Spec, y: Spec, axis: int) -> Out:
    a, b = x.shape, y.shape
    if len(a) != len(b) or a[:axis] + a[axis + 1 :] != b[:axis] + b[axis + 1 :]:
        raise ValueError(
            f"concat: all dimensions except axis {axis} must match exactly, got shapes {a} and {b}"
        )
    outer, n, inner = split_at(a, (axis,))
    shape = (*a[:axis], n + b[axis], *a[axis + 1 :])
    return Out(shape, x.dtype, (outer, n * inner, b[axis] * inner))


def _stack_shape(x: Spec, y: Spec, axis: int) -> Out:
    outer, inner = size_of(x.shape[:axis]), size_of(x.shape[axis:])
    return Out((*x.shape[:axis], 2, *x.shape[axis:]), x.dtype, (outer, inner, inner))


def _select(g: Tensor, axis: int, i: int) -> Tensor:
    shape, strides = g._spec.shape, contiguous(g._spec.shape)
    new, steps = shape[:axis] + shape[axis + 1 :], strides[:axis] + strides[axis + 1 :]
    return record_layout(STRIDED, g, new, steps, i * strides[axis])


def _join_batch(name: str) -> Any:
    def batch(n: int, batched: Sequence[bool], x: Tensor, y: Tensor, axis: int) -> Tensor:
        return record(ROWS[name], all_batched(n, batched, x, y), {"axis": axis + 1})

    return batch


CONCAT2 = structured(
    "concat2",
    move.concat,
    2,
    _concat_shape,
    rules=(
        lambda g, out, x, y, axis: narrow(g, axis, 0, x._spec.shape[axis]),
        lambda g, out, x, y, axis: narrow(g, axis, x._spec.shape[axis], y._spec.shape[axis]),
    ),
    bits=True,
    batch=_join_batch("concat2"),
    complex=True,
    doc="Two operands joined along an axis.",
)
STACK2 = structured(
    "stack2",
    move.concat,
    2,
    _stack_shape,
    rules=(
        lambda g, out, x, y, axis: _select(g, axis, 0),
        lambda g, out, x, y, axis: _select(g, axis, 1),
    ),
    bits=True,
    batch=_join_batch("stack2"),
    complex=True,
    doc="Two operands of equal shape joined along a new axis.",
)


def _operands(name: str, arrays: Any) -> list[Tensor]:
    values = list(arrays)
    if not values:
        raise ValueError(f"{name}: need at least one array to join")
    tensors = [as_operand(v, name) for v in values]
    dtype = tensors[0]._spec.dtype
    if any(t._spec.dtype is not dtype for t in tensors):
        dtype = result_dtype(*[t._spec.dtype for t in tensors])
        tensors = [cast(t, dtype) for t in tensors]
    return tensors


def _join(tensors: list[Tensor], axis: int) -> Tensor:
    while len(tensors) > 1:
        pairs = [
            record(CONCAT2, (tensors[k], tensors[k + 1]), {"axis": axis})
            for k in range(0, len(tensors) - 1, 2)
        ]
        tensors = pairs + tensors[len(pairs) * 2 :]
    return tensors[0]


# --- joining --------------------------------------------------------------------------------------


@public(
    reference=lambda xs, axis=0: np.concatenate(xs, axis=axis),
    samples=[
        Sample(((2, 3), (4, 3)), packed=True),
        Sample(((2, 3), (2, 1), (2, 2)), {"axis": 1}, packed=True),
        Sample(((2, 3), (4,)), {"axis": None}, packed=True),
        Sample(((0, 3), (2, 3)), packed=True),
    ],
    aliases=("concatenate", "cat"),
    method=False,
)
def concat(arrays: Sequence[Any], /, axis: int | None = 0, *, dim: int | None = None) -> Tensor:
    """Join arrays along an axis they have.

    Parameters
    ----------
    arrays : sequence of array_like
        Equal shapes but for ``axis``; dtypes are promoted.
    axis : int or None
        ``None`` flattens them first.  ``dim`` is PyTorch's name for it.

    Raises
    ------
    ValueError
        If there are none, or the other axes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.concat([tg.tensor([1.0]), tg.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    axis = axis if dim is None else dim
    tensors = _operands("concat", arrays)
    if axis is None:
        tensors = [reshaped(t, (t._spec.size,)) for t in tensors]
        axis = 0
    if tensors[0]._spec.ndim == 0:
        raise ValueError("concat: zero-dimensional arrays cannot be concatenated")
    axis = axis_index("concat", axis, tensors[0]._spec.ndim)
    if len(tensors) == 1:
        return view(GETITEM, tensors[0], tensors[0].shape, contiguous(tensors[0].shape), 0)
    return _join(tensors, axis)


@public(
    reference=lambda xs, axis=0: np.stack(xs, axis=axis),
    samples=[
        Sample(((2, 3), (2, 3)), packed=True),
        Sample(((2, 3), (2, 3), (2, 3)), {"axis": -1}, packed=True),
        Sample(((), (), (), (), ()), packed=True),
    ],
    method=False,
)
def stack(arrays: Sequence[Any], /, axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Join arrays of equal shape along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Equal shapes; dtypes are promoted.
    axis : int
        Where the new axis stands in the result.  ``dim`` is PyTorch's name for it.

    Raises
    ------
    ValueError
        If there are none, or shapes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.stack([tg.tensor(1.0), tg.tensor(2.0), tg.tensor(3.0)])
    tensor([1., 2., 3.])
    """
    tensors = _operands("stack", arrays)
    shape = tensors[0]._spec.shape
    for t in tensors:
        if t._spec.shape != shape:
            raise ValueError(
                f"stack: all input arrays must have the same shape, got {shape} and {t._spec.shape}"
            )
    k = axis_index("stack", axis if dim is None else dim, len(shape) + 1)
    joined = [
        record(STACK2, (tensors[i], tensors[i + 1]), {"axis": k}) for i in range(0, len(tensors) - 1, 2)
    ]
    if len(tensors) % 2:
        joined.append(record_layout(EXPAND_DIMS, tensors[-1], *expand_dims_layout(shape, (k,))))
    return _join(joined, k)


@public(
    reference=np.hstack,
    samples=[Sample(((3,), (2,)), packed=True), Sample(((2, 1), (2, 3)), packed=True)],
    method=False,
)
def hstack(arrays: Sequence[Any], /) -> Tensor:
    """Join along the second axis (the first, for one axis).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.hstack([tg.zeros((2, 1)), tg.zeros((2, 3))]).shape
    (2, 4)
    """
    tensors = [atleast_1d(a) for a in _operands("hstack", arrays)]
    return concat(tensors, 0 if tensors[0]._spec.ndim == 1 else 1)


@public(reference=np.vstack, samples=[Sample(((3,), (2, 3)), packed=True)], method=False)
def vstack(arrays: Sequence[Any], /) -> Tensor:
    """Join along the first axis; one-dimensional arrays are rows.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vstack([tg.zeros(3), tg.zeros((2, 3))]).shape
    (3, 3)
    """
    return concat([atleast_2d(a) for a in _operands("vstack", arrays)], 0)


@public(
    reference=np.column_stack,
    samples=[Sample(((3,), (3, 2)), packed=True)],
    method=False,
)
def column_stack(arrays: Sequence[Any], /) -> Tensor:
    """Join along the second axis; one-dimensional arrays are columns.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.column_stack([tg.zeros(3), tg.zeros((3, 2))]).shape
    (3, 3)
    """
    tensors = _operands("column_stack", arrays)
    return concat([reshaped(t, (t._spec.size, 1)) if t._spec.ndim < 2 else t for t in tensors], 1)


def _at_least(name: str, x: Any, ndim: int) -> Tensor:
    x = as_operand(x, name)
    shape = x._spec.shape
    if len(shape) >= ndim:
        return x
    if ndim == 3 and len(shape) == 2:
        return reshape(x, (*shape, 1))
    if ndim == 3 and len(shape) == 1:
        return reshape(x, (1, *shape, 1))
    return reshape(x, (1,) * (ndim - len(shape)) + shape)


@public(reference=np.atleast_1d, samples=[Sample(((),))], method=False)
def atleast_1d(x: Any, /) -> Tensor:
    """``x`` with at least one axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.atleast_1d(2.0)
    tensor([2.])
    """
    return _at_least("atleast_1d", x, 1)


@public(reference=np.atleast_2d, samples=[Sample(((3,),))], method=False)
def atleast_2d(x: Any, /) -> Tensor:
    """``x`` with at least two axes, new ones in front.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.atleast_2d(tg.zeros(3)).shape
    (1, 3)
    """
    return _at_least("atleast_2d", x, 2)


@public(reference=np.atleast_3d, samples=[Sample(((3, 2),))], method=False)
def atleast_3d(x: Any, /) -> Tensor:
    """``x`` with at least three axes, placed as NumPy does.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.atleast_3d(tg.zeros((3, 2))).shape
    (3, 2, 1)
    """
    return _at_least("atleast_3d", x, 3)


# --- splitting ------------------------------------------------------------------------------------


def _slice_view(x: Tensor, axis: int, start: int, n: int) -> Tensor:
    shape = x._spec.shape
    strides = contiguous(shape)
    new = (*shape[:axis], n, *shape[axis + 1 :])
    return view(GETITEM, x, new, strides, start * strides[axis] if n else 0)


def split_parts(x: Any, sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """NumPy's ``split``: equal parts, or parts that end at the given positions."""
    x = as_operand(x, "split")
    axis = axis_index("split", axis, x._spec.ndim)
    n = x._spec.shape[axis]
    try:
        parts = operator.index(sections)
    except TypeError:
        ends = [slice(None, operator.index(e)).indices(n)[1] for e in sections]
        starts = [0, *ends]
        ends = [*ends, n]
    else:
        if parts <= 0 or n % parts:
            raise ValueError(
                f"split: array split does not result in an equal division: "
                f"shape {x._spec.shape}, axis {axis}, {parts} parts"
            )
        size = n // parts
        starts = list(range(0, n, size)) if size else [0] * parts
        ends = [s + size for s in starts]
    return tuple([_slice_view(x, axis, s, max(e - s, 0)) for s, e in zip(starts, ends)])


@public(
    reference=np.split,
    samples=[Sample(((4, 3),), args=(2,)), Sample(((2, 5),), {"axis": 1}, args=([1, 3],))],
)
@also_named(indices_or_sections="sections")
def split(x: Any, /, sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Split along an axis; the parts are views.

    Parameters
    ----------
    sections : int or sequence of int
        NumPy's meaning: so many equal parts, or the positions where parts begin.
    axis : int

    Raises
    ------
    ValueError
        If equal parts do not come out.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.tolist() for p in tg.split(tg.tensor([1.0, 2.0, 3.0]), [1])]
    [[1.0], [2.0, 3.0]]
    """
    return split_parts(x, sections, axis)


@public(
    reference=lambda x, chunks: [x[:2], x[2:4], x[4:]],
    samples=[Sample(((5, 2),), args=(3,))],
)
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """PyTorch's ``chunk``: at most ``chunks`` parts of equal length, the last may be shorter.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.shape for p in tg.chunk(tg.zeros(5), 2)]
    [(3,), (2,)]
    """
    x = as_operand(x, "chunk")
    axis = axis_index("chunk", dim, x._spec.ndim)
    if chunks <= 0:
        raise ValueError(f"chunk: chunks must be positive, not {chunks}")
    n = x._spec.shape[axis]
    size = -(-n // chunks)
    return split_parts(x, list(range(size, n, size)) if size else chunks, axis)


@public(
    reference=lambda x, axis=0: list(np.moveaxis(x, axis, 0)),
    samples=[Sample(((3, 2),)), Sample(((3, 2),), {"axis": -1})],
    aliases=("unbind",),
)
@also_named(dim="axis")
def unstack(x: Any, /, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts along an axis, without it; the parts are views.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.tolist() for p in tg.unstack(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = as_operand(x, "unstack")
    shape = x._spec.shape
    axis = axis_index("unstack", axis, len(shape))
    strides = contiguous(shape)
    new, steps = shape[:axis] + shape[axis + 1 :], strides[:axis] + strides[axis + 1 :]
    return tuple([view(GETITEM, x, new, steps, i * strides[axis]) for i in range(shape[axis])])
