"""Functions that index: taking and putting along axes, masks, positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.axes import also_named, axis_index, contiguous
from tapegrad.ops.gathers import gather_along, scatter_along
from tapegrad.ops.index import FULL, assign, index
from tapegrad.ops.movement import STRIDED, broadcasted, reshaped, scatter_movement
from tapegrad.ops.record import as_operand, cast, composite, record_layout
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import INT64, broadcast_shapes, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

COLUMNS = np.array([[3], [0], [-2]])
ROWS_OF_TWO = np.array([[0, 3], [2, -1]])
ROWS_OF_FOUR = np.array([[0, 2, 1, 1], [1, -3, 2, 0]])


@public(
    reference=lambda x, idx, axis=None, mode="raise": np.take(x, idx, axis, mode=mode),
    samples=[
        Sample(((3, 4),), {"axis": 1}, args=([0, 2, -1, 0],)),
        Sample(((3, 4),), {"axis": 0}, args=([[0, 2], [1, 1]],)),
        Sample(((3, 4),), args=([5, 0],)),
        Sample(((3, 4),), {"mode": "wrap"}, args=([5, -1, 40], 1)),
        Sample(((3, 4),), {"mode": "clip"}, args=([5, -1, 2], 1)),
    ],
)
@also_named(index="indices", dim="axis")
def take(x: Any, /, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
    """Elements along an axis, by index.

    Parameters
    ----------
    indices : int, array_like or Tensor of integers
        Any shape, which takes the axis's place in the result's shape.
    axis : int, optional
        Default: the flattened array.
    mode : {"raise", "wrap", "clip"}
        What indices out of bounds are: errors (negative ones count from the end), taken modulo the length,
        or brought to the nearest that is not (negative ones to 0).

    Raises
    ------
    IndexError
        If an index is out of bounds.
    ValueError
        If the mode is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.take(tg.tensor([1.0, 2.0, 3.0]), [2, 0])
    tensor([3., 1.])
    """
    x = as_operand(x, "take")
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    k = axis_index("take", axis, x._spec.ndim)
    if not isinstance(indices, (Tensor, int)):
        indices = np.asarray(indices, dtype=np.int64 if np.size(indices) == 0 else None)
        if indices.dtype.kind not in "iu":
            raise IndexError(f"take: indices must be integers, not {indices.dtype}")
    if mode != "raise":
        if mode not in ("wrap", "clip"):
            raise ValueError(f"take: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
        n = x._spec.shape[k]
        if n == 0:
            raise IndexError(f"take: cannot do a non-empty take from an empty axes: axis {k} of {x.shape}")
        known = isinstance(indices, int)
        if mode == "wrap":
            indices = indices % n if known else ns.remainder(indices, n)
        else:
            indices = min(max(indices, 0), n - 1) if known else ns.clip(indices, 0, n - 1)
    return index("take", x, (FULL,) * k + (indices,))


def _indices(name: str, value: Any) -> Tensor:
    idx = as_operand(value, name)
    if idx._spec.kind not in "iu":
        raise IndexError(f"{name}: indices must be integers, not {idx._spec.dtype}")
    return idx


def _check_bounds(name: str, idx: Tensor, shape: tuple[int, ...], axis: int) -> None:
    """Refuse indices that are known already and out of bounds; the kernels check the others."""
    n, value = shape[axis], idx._value
    if value is not None and value.size and not -n <= value.min() <= value.max() < n:
        bad = value[(value < -n) | (value >= n)].flat[0]
        raise IndexError(
            f"{name}: index {bad} is out of bounds for axis {axis} with size {n} (shape {shape})"
        )


@public(reference=lambda x, dim, index: np.take(x, index, dim), samples=[Sample(((3, 4),), args=(1, [0, 2]))])
def index_select(x: Any, /, dim: int, index: Any) -> Tensor:
    """PyTorch's name for `take` along an axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.index_select(tg.tensor([1.0, 2.0, 3.0]), 0, tg.tensor([2, 0]))
    tensor([3., 1.])
    """
    return take(x, index, axis=dim)


@public(
    reference=np.take_along_axis,
    samples=[
        Sample(((3, 2),), {"axis": 0}, args=(np.array([[0, 1], [2, -1], [0, 0], [1, 2]]),)),
        Sample(((2, 3),), {"axis": 1}, args=(np.array([[1], [2]]),)),
    ],
    aliases=("take_along_dim",),
)
@also_named(dim="axis")
def take_along_axis(x: Any, /, indices: Any, axis: int | None = -1) -> Tensor:
    """Elements by their index along an axis, one index per place (`argsort`'s result, say).

    Parameters
    ----------
    indices : array_like or Tensor of integers
        As many axes as ``x``; broadcast against it but for ``axis``.

    Raises
    ------
    IndexError
        If indices are no integers, or out of bounds.
    ValueError
        If the numbers of axes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.take_along_axis(tg.tensor([3.0, 1.0, 2.0]), tg.tensor([1, 2, 0]))
    tensor([1., 2., 3.])
    """
    x, idx = as_operand(x, "take_along_axis"), _indices("take_along_axis", indices)
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    k = axis_index("take_along_axis", axis, x._spec.ndim)
    a, b = x._spec.shape, idx._spec.shape
    if len(a) != len(b):
        raise ValueError(f"take_along_axis: shapes {a} and {b} must have as many axes")
    joint = broadcast_shapes("take_along_axis", a[:k] + (1,) + a[k + 1 :], b[:k] + (1,) + b[k + 1 :])
    n = a[k]
    _check_bounds("take_along_axis", idx, a, k)
    x = broadcasted(x, (*joint[:k], n, *joint[k + 1 :]))
    idx = broadcasted(cast(idx, INT64), (*joint[:k], b[k], *joint[k + 1 :]))
    return gather_along(x, idx, k)


@public(
    reference=np.put_along_axis,
    samples=[
        Sample(((3, 4), (3, 1)), args=(1,), prepare=lambda x, v: (x, COLUMNS, v), writes=True),
        Sample(((3, 4), (2, 4)), args=(0,), prepare=lambda x, v: (x, ROWS_OF_FOUR, v), writes=True),
    ],
    method=False,
    kink="of equal places the last write counts",
)
def put_along_axis(x: Tensor, indices: Any, values: Any, axis: int | None) -> None:
    """Write elements by their index along an axis, in place; gradients flow to ``values``.

    Parameters
    ----------
    x : Tensor
    indices : array_like or Tensor of integers
        As many axes as ``x``; broadcast against it but for ``axis``.
    values : array_like or Tensor
        Broadcast to the places; of equal ones the last write counts.
    axis : int or None
        ``None``: the flattened tensor.

    Raises
    ------
    IndexError
        If indices are no integers, or out of bounds.
    ValueError
        If the numbers of axes differ, or the values do not fit.
    RuntimeError
        If ``x`` is a leaf that requires grad, outside ``no_grad``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.zeros(3)
    >>> tg.put_along_axis(x, [2, 0], [1.0, 2.0], 0)
    >>> x
    tensor([2., 0., 1.])
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"put_along_axis: writes into tensors, not {type(x).__name__}")
    x._check_in_place()
    idx = indices if isinstance(indices, Tensor) else np.asarray(indices)
    if idx.dtype.kind not in "iu":
        raise IndexError(f"put_along_axis: indices must be integers, not {idx.dtype}")
    if axis is None:
        x = ns.reshape(x, (x._spec.size,))
        axis = 0
    shape = x._spec.shape
    k = axis_index("put_along_axis", axis, len(shape))
    if len(idx.shape) != len(shape):
        raise ValueError(f"put_along_axis: shapes {shape} and {idx.shape} must have as many axes")
    grid = np.ogrid[tuple([slice(n) for n in shape])]
    assign("put_along_axis", x, (*grid[:k], idx, *grid[k + 1 :]), values)


def _corner(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first elements of ``x`` along every axis, not a view."""
    return x if x._spec.shape == shape else record_layout(STRIDED, x, shape, contiguous(x._spec.shape), 0)


def _check_within(name: str, idx: Tensor, shape: tuple[int, ...], but: int = -1) -> None:
    own = idx._spec.shape
    if len(own) != len(shape) or any(m > n for k, (m, n) in enumerate(zip(own, shape)) if k != but):
        raise ValueError(f"{name}: index of shape {own} does not fit inside shape {shape}, axis {but}")


def _gather(x: Any, dim: int, index: Any) -> Any:
    inside = tuple([slice(None) if k == dim else slice(n) for k, n in enumerate(index.shape)])
    return np.take_along_axis(x[inside], index, dim)


@public(
    reference=_gather,
    samples=[
        Sample(((3, 4),), args=(1, ROWS_OF_TWO)),
        Sample(((4, 4),), args=(0, abs(ROWS_OF_FOUR))),
        Sample(((3, 4),), args=(1, np.zeros((3, 5), int))),
    ],
)
def gather(x: Any, /, dim: int, index: Any) -> Tensor:
    """PyTorch's ``gather``: elements by their index along an axis.

    Unlike `take_along_axis` it does not broadcast; along the other axes ``index`` may be shorter.

    Raises
    ------
    IndexError
        If indices are no integers, or out of bounds.
    ValueError
        If ``index`` does not fit inside ``x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gather(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, tg.tensor([[1], [0]])).tolist()
    [[2.0], [3.0]]
    """
    x, idx = as_operand(x, "gather"), _indices("gather", index)
    shape = x._spec.shape
    k = axis_index("gather", dim, len(shape))
    _check_within("gather", idx, shape, k)
    _check_bounds("gather", idx, shape, k)
    own = idx._spec.shape
    return gather_along(_corner(x, (*own[:k], shape[k], *own[k + 1 :])), cast(idx, INT64), k)


def _scatter_add(x: Any, dim: int, index: Any, source: Any) -> Any:
    out, places = x.copy(), list(np.indices(index.shape))
    places[dim] = index
    np.add.at(out, tuple(places), source[tuple([slice(n) for n in index.shape])])
    return out


@public(
    reference=_scatter_add,
    samples=[
        Sample(((3, 4), (2, 3)), prepare=lambda x, source: (x, 1, ROWS_OF_TWO, source)),
        Sample(((4, 4), (2, 4)), prepare=lambda x, source: (x, 0, abs(ROWS_OF_FOUR), source)),
    ],
)
@also_named(src="source")
@composite
def scatter_add(x: Any, /, dim: int, index: Any, source: Any) -> Tensor:
    """PyTorch's ``scatter_add``: ``x`` with elements of ``source`` added at indices along an axis.

    Parameters
    ----------
    index : array_like or Tensor of integers
        As many axes as ``x`` and ``source``, and no longer than they are (than ``x``, but for ``dim``).
    source : array_like or Tensor

    Raises
    ------
    IndexError
        If indices are no integers, or out of bounds.
    ValueError
        If ``index`` does not fit inside ``x`` and ``source``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.scatter_add(tg.zeros(3), 0, tg.tensor([2, 0, 2]), tg.ones(3))
    tensor([1., 0., 2.])
    """
    x, source, idx = (
        as_operand(x, "scatter_add"),
        as_operand(source, "scatter_add"),
        _indices("scatter_add", index),
    )
    shape, own = x._spec.shape, idx._spec.shape
    k = axis_index("scatter_add", dim, len(shape))
    _check_within("scatter_add", idx, shape, k)
    _check_within("scatter_add", idx, source._spec.shape)
    _check_bounds("scatter_add", idx, shape, k)
    dtype = result_dtype(x._spec.dtype, source._spec.dtype)
    x, source = cast(x, dtype), cast(source, dtype)
    added = scatter_along(_corner(source, own), cast(idx, INT64), k, shape[k])
    if added._spec.shape != shape:
        added = scatter_movement(added, shape, added._spec.shape, contiguous(shape), 0)
    return ns.add(x, added)


@public(
    reference=lambda x, mask: x[np.broadcast_to(mask, x.shape)],
    samples=[Sample(((2, 3),), args=(np.array([True, False, True]),))],
)
def masked_select(x: Any, mask: Any) -> Tensor:
    """The elements where ``mask`` is true, along one axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.masked_select(tg.tensor([1.0, -1.0]), tg.tensor([True, False]))
    tensor([1.])
    """
    mask = mask.numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    x = as_operand(x, "masked_select")
    shape = broadcast_shapes("masked_select", x._spec.shape, mask.shape)
    return index("masked_select", broadcasted(x, shape), np.broadcast_to(mask, shape))


@public(
    reference=lambda x, mask, value: np.where(mask, value, x),
    samples=[Sample(((2, 3),), args=(np.array([True, False, True]), 2))],
)
@composite
def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """``x`` with ``value`` where ``mask`` is true.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.masked_fill(tg.tensor([1.0, -1.0]), tg.tensor([False, True]), 0.0)
    tensor([1., 0.])
    """
    return ns.where(mask, value, as_operand(x, "masked_fill"))


@public(reference=np.nonzero, samples=[], differentiable=False)
def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """Where elements are not zero: one integer tensor per axis (looks at the values).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nonzero(tg.tensor([0.0, 2.0, 0.0, 4.0]))
    (tensor([1, 3]),)
    """
    value = as_operand(x, "nonzero").detach().numpy()
    if value.ndim == 0:
        raise ValueError("nonzero: not defined for zero-dimensional arrays; use atleast_1d(x)")
    return tuple([tensor_from_array(i) for i in np.nonzero(value)])


@public(reference=np.argwhere, samples=[], differentiable=False)
def argwhere(x: Any, /) -> Tensor:
    """Where elements are not zero: one row of indices each (looks at the values).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.argwhere(tg.tensor([0.0, 2.0, 0.0, 4.0])).tolist()
    [[1], [3]]
    """
    return tensor_from_array(np.argwhere(as_operand(x, "argwhere").detach().numpy()))
