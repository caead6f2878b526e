"""Primitives of indexing: gathers and scatters by computed indices.

An index names a block of ``width`` contiguous elements, so that rows move as rows.  Kernels check
bounds; what is known when recording is checked there.
"""

from __future__ import annotations

from typing import Any

from tapegrad.kernels import gather as kernels
from tapegrad.ops.axes import size_of, split_at
from tapegrad.ops.movement import narrow, reshaped
from tapegrad.ops.record import record
from tapegrad.ops.table import Out, Row, ns, structured
from tapegrad.spec import INT64, Spec
from tapegrad.tensor import Tensor

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


GATHER = structured(
    "gather",
    kernels.gather,
    2,
    _gather_shape,
    rules=(lambda g, out, x, y, width, shape: scatter_add(g, y, width, x._spec.shape), None),
    bits=True,
    doc="Blocks of the first operand, by number.",
)
SCATTER_ADD = structured(
    "scatter_add",
    kernels.scatter_add,
    2,
    _scatter_shape,
    rules=(lambda g, out, x, y, width, shape: gather(g, y, width, x._spec.shape), None),
    doc="Zeros with blocks added by number: the adjoint of a gather.",
)
INDEX_CLEAR: Row = structured(
    "index_clear",
    kernels.index_clear,
    2,
    _clear_shape,
    rules=(lambda g, out, x, y, width: record(INDEX_CLEAR, (g, y), {"width": width}), None),
    bits=True,
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
    doc="The first operand with numbered blocks replaced by the second.",
)
LAST_WRITES = structured(
    "last_writes", kernels.last_writes, 1, _last_shape, doc="Which of equal indices is the last."
)
WRAP_INDEX = structured(
    "wrap_index", kernels.wrap_index, 1, _wrap_shape, doc="Indices along an axis as element offsets."
)
GATHER_ALONG = structured(
    "gather_along",
    kernels.gather_along,
    2,
    _along_shape,
    rules=(lambda g, out, x, y, axis: scatter_along(g, y, axis, x._spec.shape[axis]), None),
    bits=True,
    doc="Elements by their index along an axis.",
)
SCATTER_ALONG = structured(
    "scatter_along",
    kernels.scatter_along,
    2,
    _put_along_shape,
    rules=(lambda g, out, x, y, axis, n: gather_along(g, y, axis), None),
    doc="Zeros with elements added at indices along an axis.",
)
