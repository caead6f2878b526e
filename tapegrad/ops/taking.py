"""Functions that index: taking along axes, masks, positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index
from tapegrad.ops.gathers import gather_along
from tapegrad.ops.index import FULL, getitem
from tapegrad.ops.movement import broadcasted, reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import INT64, broadcast_shapes
from tapegrad.tensor import Tensor, tensor_from_array


@public(
    reference=lambda x, idx, axis=None: np.take(x, idx, axis),
    samples=[
        Sample(((3, 4),), {"axis": 1}, args=([0, 2, -1, 0],)),
        Sample(((3, 4),), {"axis": 0}, args=([[0, 2], [1, 1]],)),
        Sample(((3, 4),), args=([5, 0],)),
    ],
)
def take(x: Any, indices: Any, /, axis: int | None = None) -> Tensor:
    """Elements along an axis, by index.

    Parameters
    ----------
    indices : int, array_like or Tensor of integers
        Any shape, which takes the axis's place in the result's shape.
    axis : int, optional
        Default: the flattened array.

    Raises
    ------
    IndexError
        If an index is out of bounds.

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
    return getitem(x, (FULL,) * k + (indices,))


@public(reference=lambda x, dim, index: np.take(x, index, dim), samples=[Sample(((3, 4),), args=(1, [0, 2]))])
def index_select(x: Any, dim: int, index: Any) -> Tensor:
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
)
def take_along_axis(x: Any, indices: Any, /, axis: int | None = -1) -> Tensor:
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
    x, idx = as_operand(x, "take_along_axis"), as_operand(indices, "take_along_axis")
    if idx._spec.kind not in "iu":
        raise IndexError(f"take_along_axis: indices must be integers, not {idx._spec.dtype}")
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    k = axis_index("take_along_axis", axis, x._spec.ndim)
    a, b = x._spec.shape, idx._spec.shape
    if len(a) != len(b):
        raise ValueError(f"take_along_axis: shapes {a} and {b} must have as many axes")
    joint = broadcast_shapes("take_along_axis", a[:k] + (1,) + a[k + 1 :], b[:k] + (1,) + b[k + 1 :])
    n = a[k]
    if idx._value is not None and idx._spec.size and not -n <= idx._value.min() <= idx._value.max() < n:
        raise IndexError(f"take_along_axis: index out of bounds for axis {k} with size {n} (shape {a})")
    x = broadcasted(x, (*joint[:k], n, *joint[k + 1 :]))
    idx = broadcasted(cast(idx, INT64), (*joint[:k], b[k], *joint[k + 1 :]))
    return gather_along(x, idx, k)


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
    return getitem(broadcasted(x, shape), np.broadcast_to(mask, shape))


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
