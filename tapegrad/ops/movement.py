"""Movement: reshaping, transposing, broadcasting; no arithmetic, and views of what they move.

Each row's ``layout`` maps the input's shape to ``(shape, strides, offset)`` into the contiguous input.
The results share memory with their operand as PyTorch's do: ``apply_movement`` shows a base through
a view's step, ``write_movement`` writes through it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tapegrad.kernels import move
from tapegrad.ops.axes import contiguous, size_of
from tapegrad.ops.record import record, record_layout
from tapegrad.ops.table import ROWS, Out, Row, movement, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor, _register_view

__all__ = ["apply_movement", "gather_movement", "narrow", "scatter_movement", "write_movement"]

Layout = tuple[tuple[int, ...], tuple[int, ...], int]
Step = tuple[Row, tuple[int, ...], tuple[int, ...], int]
cached = functools.lru_cache(maxsize=4096)

# --- layouts --------------------------------------------------------------------------------------


@cached
def reshape_layout(shape: tuple[int, ...], new: tuple[int, ...]) -> Layout:
    size = size_of(shape)
    if new.count(-1) > 1:
        raise ValueError(f"reshape: can only specify one unknown dimension, got {new}")
    if -1 in new:
        known = -size_of(new)
        if known == 0 or size % known:
            raise ValueError(f"reshape: cannot reshape array of shape {shape} into shape {new}")
        new = tuple([size // known if n == -1 else n for n in new])
    if size_of(new) != size or any(n < 0 for n in new):
        raise ValueError(f"reshape: cannot reshape array of shape {shape} into shape {new}")
    return new, contiguous(new), 0


@cached
def permute_layout(shape: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
    strides = contiguous(shape)
    return tuple([shape[a] for a in axes]), tuple([strides[a] for a in axes]), 0


@cached
def expand_dims_layout(shape: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
    rest = iter(shape)
    new = tuple([1 if k in axes else next(rest) for k in range(len(shape) + len(axes))])
    return new, contiguous(new), 0


@cached
def squeeze_layout(shape: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
    new = tuple([n for k, n in enumerate(shape) if k not in axes])
    return new, contiguous(new), 0


@cached
def broadcast_to_layout(shape: tuple[int, ...], new: tuple[int, ...]) -> Layout:
    extra = len(new) - len(shape)
    if extra < 0 or any(n not in (1, new[k + extra]) for k, n in enumerate(shape)):
        raise ValueError(f"broadcast_to: cannot broadcast shape {shape} to shape {new}")
    strides = contiguous(shape)
    return new, (0,) * extra + tuple([0 if n == 1 else s for n, s in zip(shape, strides)]), 0


@cached
def flip_layout(shape: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
    strides = list(contiguous(shape))
    offset = 0
    for a in axes:
        offset += max(shape[a] - 1, 0) * strides[a]
        strides[a] = -strides[a]
    return shape, tuple(strides), offset


@cached
def diagonal_layout(shape: tuple[int, ...], offset: int, first: int, second: int) -> Layout:
    strides = contiguous(shape)
    down, right = max(-offset, 0), max(offset, 0)
    n = max(min(shape[first] - down, shape[second] - right), 0)
    kept = [k for k in range(len(shape)) if k not in (first, second)]
    start = down * strides[first] + right * strides[second] if n else 0
    new = (*[shape[k] for k in kept], n)
    return new, (*[strides[k] for k in kept], strides[first] + strides[second]), start


def _given(shape: tuple[int, ...], new: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Layout:
    return new, strides, offset


RESHAPE = movement("reshape", reshape_layout, doc="The same elements in another shape.")
PERMUTE = movement("permute_dims", permute_layout, doc="Axes in another order.")
EXPAND_DIMS = movement("expand_dims", expand_dims_layout, doc="New axes of length one.")
SQUEEZE = movement("squeeze", squeeze_layout, doc="Without axes of length one.")
BROADCAST_TO = movement("broadcast_to", broadcast_to_layout, doc="Repeated along axes of length one.")
FLIP = movement("flip", flip_layout, doc="Reversed along axes.")
DIAGONAL = movement("diagonal", diagonal_layout, doc="A diagonal of two axes.")
GETITEM = movement("getitem", _given, doc="Basic indexing: integers, slices, new axes.")
STRIDED = movement("strided", _given, doc="Any strided selection.")

# --- writing and adjoints -------------------------------------------------------------------------


def _strided_params(
    in_shape: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[int, ...]:
    return (len(shape), *shape, *strides, size_of(in_shape))


def _scatter_shape(x: Spec, in_shape: Any, shape: Any, strides: Any) -> Out:
    return Out(in_shape, x.dtype, _strided_params(in_shape, shape, strides))


def _set_shape(x: Spec, v: Spec, shape: Any, strides: Any) -> Out:
    return Out(x.shape, x.dtype, _strided_params(x.shape, shape, strides))


def _clear_shape(x: Spec, shape: Any, strides: Any) -> Out:
    return Out(x.shape, x.dtype, _strided_params(x.shape, shape, strides))


BARRIER: Row = structured(
    "barrier",
    move.copy,
    2,
    lambda x, y: Out(x.shape, x.dtype, (x.size,)),
    rules=(lambda g, out, x, y: g, None),
    bits=True,
    linear=(0,),
    batch=lambda n, batched, x, y: record(BARRIER, (x if batched[0] else every_lane(x, n), y)),
    complex=True,
    doc="The first operand, not before the second is known: what follows is computed again.",
)


def every_lane(x: Tensor, n: int) -> Tensor:
    """``x`` repeated along a new leading axis of length ``n``: shared by a batch, and written as one."""
    shape = x._spec.shape
    return record_layout(STRIDED, x, (n, *shape), (0, *contiguous(shape)), 0)


def all_batched(n: int, batched: Sequence[bool], *operands: Tensor) -> list[Tensor]:
    """Operands of a batch, all of them with the leading axis."""
    return [x if b else every_lane(x, n) for x, b in zip(operands, batched)]


def _strided_batch(name: str) -> Any:
    def batch(
        n: int, batched: Sequence[bool], *operands: Tensor, shape: Any, strides: Any, raw: int
    ) -> Tensor:
        x, *rest = all_batched(n, batched, *operands)
        size = size_of(x._spec.shape[1:])
        return record(ROWS[name], (x, *rest), {"shape": (n, *shape), "strides": (size, *strides)}, raw)

    return batch


def _scatter_batch(
    n: int, batched: Any, x: Tensor, in_shape: Any, shape: Any, strides: Any, raw: int
) -> Tensor:
    return scatter_movement(x, (n, *in_shape), (n, *shape), (size_of(in_shape), *strides), raw)


SCATTER_STRIDED = structured(
    "scatter_strided",
    move.scatter_strided,
    1,
    _scatter_shape,
    rules=(lambda g, out, x, in_shape, shape, strides, raw: gather_movement(g, shape, strides, raw),),
    wants_raw=True,
    linear=(0,),
    batch=_scatter_batch,
    complex=True,
    doc="Zeros with the operand added at strided places: a movement's adjoint.",
)
ADD_STRIDED = structured(
    "add_strided",
    move.add_strided,
    2,
    _set_shape,
    rules=(
        lambda g, out, x, y, shape, strides, raw: g,
        lambda g, out, x, y, shape, strides, raw: gather_movement(g, shape, strides, raw),
    ),
    wants_raw=True,
    in_place=True,
    batch=_strided_batch("add_strided"),
    complex=True,
    doc="The first operand with the second added at strided places.",
)
CLEAR_STRIDED = structured(
    "clear_strided",
    move.clear_strided,
    1,
    _clear_shape,
    rules=(lambda g, out, x, shape, strides, raw: _clear_movement(g, shape, strides, raw),),
    bits=True,
    wants_raw=True,
    in_place=True,
    linear=(0,),
    batch=_strided_batch("clear_strided"),
    complex=True,
    doc="The operand with zeros at strided places.",
)
SET_STRIDED = structured(
    "set_strided",
    move.set_strided,
    2,
    _set_shape,
    rules=(
        lambda g, out, x, y, shape, strides, raw: _clear_movement(g, shape, strides, raw),
        lambda g, out, x, y, shape, strides, raw: gather_movement(g, shape, strides, raw),
    ),
    bits=True,
    wants_raw=True,
    in_place=True,
    batch=_strided_batch("set_strided"),
    complex=True,
    doc="The first operand with the second at strided places.",
)


def gather_movement(x: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Tensor:
    """``out[i] = x.ravel()[offset + sum(i * strides)]``, not a view."""
    return record_layout(STRIDED, x, shape, strides, offset)


def scatter_movement(
    g: Tensor, in_shape: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Tensor:
    """Zeros of ``in_shape`` with ``g`` added where a movement took its elements from."""
    static = {"in_shape": in_shape, "shape": shape, "strides": strides}
    return record(SCATTER_STRIDED, (g,), static, offset)


def set_movement(
    x: Tensor, v: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Tensor:
    """``x`` with ``v`` in the places that a movement would take elements from."""
    return record(SET_STRIDED, (x, v), {"shape": shape, "strides": strides}, offset)


def _clear_movement(x: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Tensor:
    return record(CLEAR_STRIDED, (x,), {"shape": shape, "strides": strides}, offset)


def apply_movement(x: Tensor, step: Step) -> Tensor:
    """Show ``x`` through one step of a view."""
    row, shape, strides, offset = step
    return record_layout(row, x, shape, strides, offset)


def write_movement(target: Tensor, step: Step, value: Tensor) -> Tensor:
    """``target`` with ``value`` written where ``step`` shows it.

    Raises
    ------
    RuntimeError
        If the step shows an element more than once.
    """
    row, shape, strides, offset = step
    spec = target._spec
    if size_of(shape) == spec.size and strides == contiguous(shape):
        return record_layout(RESHAPE, value, spec.shape, contiguous(spec.shape), 0)
    if any(s == 0 and n > 1 for n, s in zip(shape, strides)):
        raise RuntimeError(
            f"{row.name}: unsupported operation: more than one element of the written-to tensor "
            "refers to a single memory location. Please clone() the tensor before performing the operation."
        )
    return set_movement(target, value, shape, strides, offset)


def view(row: Row, x: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Tensor:
    """Record a movement whose result shares memory with ``x``."""
    out = record_layout(row, x, shape, strides, offset)
    _register_view(x, out, ((row, shape, strides, offset),))
    return out


def narrow(x: Tensor, axis: int, start: int, n: int) -> Tensor:
    """``n`` elements from ``start`` along ``axis``, not a view (for rules and composites)."""
    shape = x._spec.shape
    strides = contiguous(shape)
    new = (*shape[:axis], n, *shape[axis + 1 :])
    return record_layout(GETITEM, x, new, strides, start * strides[axis] if n else 0)


def reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` in another shape of the same size, not a view (for rules and composites)."""
    if x._spec.shape == shape:
        return x
    return record_layout(RESHAPE, x, shape, contiguous(shape), 0)


def broadcasted(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x`` broadcast to ``shape``, not a view (for rules and composites)."""
    if x._spec.shape == shape:
        return x
    return record_layout(BROADCAST_TO, x, *broadcast_to_layout(x._spec.shape, shape))


def permuted(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``x`` with axes in another order, not a view (for rules and composites)."""
    if axes == tuple(range(len(axes))):
        return x
    return record_layout(PERMUTE, x, *permute_layout(x._spec.shape, axes))
