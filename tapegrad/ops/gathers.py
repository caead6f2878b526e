"""Primitives of indexing: gathers and scatters by computed indices.

An index names a block of ``width`` contiguous elements, so that rows move as rows.  Kernels check
bounds; what is known when recording is checked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import gather as kernels
from tapegrad.ops.axes import size_of, split_at
from tapegrad.ops.movement import all_batched, every_lane, narrow, reshaped
from tapegrad.ops.record import record
from tapegrad.ops.table import ROWS, Out, Row, ns, structured
from tapegrad.spec import INT64, Spec
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["gather", "gather_along", "index_put", "scatter_along", "wrap_index"]


def _blocks(count: int, width: int, size: int) -> tuple[int, int, int]:
    return (count, width, size // width) if width else (0, 0, 0)


def _gather_shape(x: Spec, idx: Spec, width: int, shape: tuple[int, ...]) -> Out:
    return Out(shape, x.dtype, _blocks(idx.size, width, x.size))


def _scatter_shape(g: Spec, idx: Spec, width: int, shape: tuple[int, ...]) -> Out:
    return Out(shape, g.dtype, _blocks(idx.size, width, size_of(shape)))


def _put_shape(x: Spec, v: Spec, idx: Spec, width: int, unique: bool) -> Out:
    return Out(x.shape, x.dtype, _blocks(idx.size, width, x.size))


def _clear_shape(x: Spec, idx: Spec, width: int) -> Out:
    return Out(x.shape, x.dtype, _blocks(idx.size, width, x.size))


def _last_shape(idx: Spec, blocks: int) -> Out:
    return Out((idx.size + blocks,), INT64, (idx.size, 1, blocks))


def _wrap_shape(idx: Spec, n: int, stride: int) -> Out:
    return Out(idx.shape, INT64, (idx.size, n, stride))


def _along_shape(x: Spec, idx: Spec, axis: int) -> Out:
    outer, n, inner = split_at(x.shape, (axis,))
    return Out(idx.shape, x.dtype, (outer, n, idx.shape[axis], inner))


def _put_along_shape(g: Spec, idx: Spec, axis: int, n: int) -> Out:
    outer, m, inner = split_at(g.shape, (axis,))
    return Out((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype, (outer, n, m, inner))


def gather(x: Tensor, idx: Tensor, width: int, shape: tuple[int, ...]) -> Tensor:
    """``x``'s blocks of ``width`` elements numbered ``idx``, as ``shape``."""
    return record(GATHER, (x, idx), {"width": width, "shape": shape})


def scatter_add(g: Tensor, idx: Tensor, width: int, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape`` with the blocks of ``g`` added to those numbered ``idx``."""
    return record(SCATTER_ADD, (g, idx), {"width": width, "shape": shape})


def index_put(x: Tensor, v: Tensor, idx: Tensor, width: int, unique: bool) -> Tensor:
    """``x`` with blocks numbered ``idx`` replaced by ``v``; the last of equal indices wins."""
    return record(INDEX_PUT, (x, v, idx), {"width": width, "unique": unique})


def wrap_index(idx: Tensor, n: int, stride: int) -> Tensor:
    """Indices along an axis of length ``n`` as element offsets, negative ones from the end."""
    return record(WRAP_INDEX, (idx,), {"n": n, "stride": stride})


def gather_along(x: Tensor, idx: Tensor, axis: int) -> Tensor:
    """``take_along_axis`` for shapes that agree but for ``axis``."""
    return record(GATHER_ALONG, (x, idx), {"axis": axis})


def scatter_along(g: Tensor, idx: Tensor, axis: int, n: int) -> Tensor:
    """Zeros, of length ``n`` along ``axis``, with ``g`` added at the indices."""
    return record(SCATTER_ALONG, (g, idx), {"axis": axis, "n": n})


def _put_rule(g: Tensor, out: Any, x: Tensor, y: Tensor, z: Tensor, width: int, unique: bool) -> Tensor:
    taken = gather(g, z, width, y._spec.shape)
    if unique or not width:
        return taken
    blocks = x._spec.size // width
    last = narrow(record(LAST_WRITES, (z,), {"blocks": blocks}), 0, 0, z._spec.size)
    wide = reshaped(last, z._spec.shape + (1,) * (y._spec.ndim - z._spec.ndim))
    return ns.where(ns.not_equal(wide, 0), taken, 0.0)


def _lane_numbers(n: int, batched: bool, idx: Tensor, blocks: int) -> Tensor:
    """Numbers of blocks in each element of a batch as numbers in the whole batch."""
    first = np.arange(n, dtype=np.int64).reshape((n,) + (1,) * (idx._spec.ndim - batched)) * blocks
    return ns.add(idx, tensor_from_array(first))


def _gather_batch(
    n: int, batched: Sequence[bool], x: Tensor, idx: Tensor, width: int, shape: tuple[int, ...]
) -> Tensor | None:
    if not width:
        return None
    if batched[0]:
        idx = _lane_numbers(n, batched[1], idx, size_of(x._spec.shape[1:]) // width)
    return gather(x, idx, width, (n, *shape))


def _scatter_batch(
    n: int, batched: Sequence[bool], g: Tensor, idx: Tensor, width: int, shape: tuple[int, ...]
) -> Tensor | None:
    if not width:
        return None
    numbers = _lane_numbers(n, batched[1], idx, size_of(shape) // width)
    return scatter_add(g if batched[0] else every_lane(g, n), numbers, width, (n, *shape))


def _clear_batch(n: int, batched: Sequence[bool], x: Tensor, idx: Tensor, width: int) -> Tensor | None:
    if not width:
        return None
    x = x if batched[0] else every_lane(x, n)
    numbers = _lane_numbers(n, batched[1], idx, size_of(x._spec.shape[1:]) // width)
    return record(INDEX_CLEAR, (x, numbers), {"width": width})


def _put_batch(
    n: int, batched: Sequence[bool], x: Tensor, v: Tensor, idx: Tensor, width: int, unique: bool
) -> Tensor | None:
    if not width:
        return None
    x, v = all_batched(n, batched, x, v)
    numbers = _lane_numbers(n, batched[2], idx, size_of(x._spec.shape[1:]) // width)
    return index_put(x, v, numbers, width, unique)


def _last_batch(n: int, batched: Any, idx: Tensor, blocks: int) -> Tensor:
    count = size_of(idx._spec.shape[1:])
    marks = record(LAST_WRITES, (_lane_numbers(n, True, idx, blocks),), {"blocks": n * blocks})
    first = reshaped(narrow(marks, 0, 0, n * count), (n, count))
    room = reshaped(narrow(marks, 0, n * count, n * blocks), (n, blocks))
    return ns.concat((first, room), axis=1)


def _wrap_batch(lanes: int, batched: Any, idx: Tensor, n: int, stride: int) -> Tensor:
    return wrap_index(idx, n, stride)


def _along_batch(name: str) -> Any:
    def batch(lanes: int, batched: Sequence[bool], x: Tensor, idx: Tensor, **static: int) -> Tensor:
        both = all_batched(lanes, batched, x, idx)
        return record(ROWS[name], both, {**static, "axis": static["axis"] + 1})

    return batch


GATHER = structured(
    "gather",
    kernels.gather,
    2,
    _gather_shape,
    rules=(lambda g, out, x, y, width, shape: scatter_add(g, y, width, x._spec.shape), None),
    bits=True,
    linear=(0,),
    batch=_gather_batch,
    split="gather",
    complex=True,
    doc="Blocks of the first operand, by number.",
)
SCATTER_ADD = structured(
    "scatter_add",
    kernels.scatter_add,
    2,
    _scatter_shape,
    rules=(lambda g, out, x, y, width, shape: gather(g, y, width, x._spec.shape), None),
    linear=(0,),
    batch=_scatter_batch,
    complex=True,
    doc="Zeros with blocks added by number: the adjoint of a gather.",
)
INDEX_CLEAR: Row = structured(
    "index_clear",
    kernels.index_clear,
    2,
    _clear_shape,
    rules=(lambda g, out, x, y, width: record(INDEX_CLEAR, (g, y), {"width": width}), None),
    bits=True,
    in_place=True,
    linear=(0,),
    batch=_clear_batch,
    complex=True,
    doc="The first operand with zeros in numbered blocks.",
)
INDEX_PUT = structured(
    "index_put",
    kernels.index_put,
    3,
    _put_shape,
    rules=(
        lambda g, out, x, y, z, width, unique: record(INDEX_CLEAR, (g, z), {"width": width}),
        _put_rule,
        None,
    ),
    bits=True,
    in_place=True,
    batch=_put_batch,
    complex=True,
    doc="The first operand with numbered blocks replaced by the second.",
)
LAST_WRITES = structured(
    "last_writes",
    kernels.last_writes,
    1,
    _last_shape,
    batch=_last_batch,
    doc="Which of equal indices is the last.",
)
WRAP_INDEX = structured(
    "wrap_index",
    kernels.wrap_index,
    1,
    _wrap_shape,
    batch=_wrap_batch,
    doc="Indices along an axis as element offsets.",
)
GATHER_ALONG = structured(
    "gather_along",
    kernels.gather_along,
    2,
    _along_shape,
    rules=(lambda g, out, x, y, axis: scatter_along(g, y, axis, x._spec.shape[axis]), None),
    bits=True,
    linear=(0,),
    batch=_along_batch("gather_along"),
    complex=True,
    doc="Elements by their index along an axis.",
)
SCATTER_ALONG = structured(
    "scatter_along",
    kernels.scatter_along,
    2,
    _put_along_shape,
    rules=(lambda g, out, x, y, axis, n: gather_along(g, y, axis), None),
    linear=(0,),
    batch=_along_batch("scatter_along"),
    complex=True,
    doc="Zeros with elements added at indices along an axis.",
)
