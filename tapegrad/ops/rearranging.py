"""NumPy's shorthands that rearrange: splitting, turning, diagonals, windows."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tapegrad.methods import clone
from tapegrad.ops.axes import also_named, as_shape, axis_index, contiguous
from tapegrad.ops.joining import split_parts
from tapegrad.ops.movement import STRIDED, reshaped, scatter_movement
from tapegrad.ops.record import as_operand, record_layout
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__: list[str] = []

MATRIX = Sample(((3, 4),))


@public(reference=np.copy, samples=[MATRIX, Sample(((),))], method=False)
def copy(x: Any, /, order: str = "K") -> Tensor:
    """A copy that gradients flow through.

    Parameters
    ----------
    order : {"K", "C", "A"}
        Accepted for NumPy's sake: values are stored in C order.

    Raises
    ------
    ValueError
        For another order.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.ones(2)
    >>> y = tg.copy(x)
    >>> y += 1.0
    >>> x
    tensor([1., 1.])
    """
    if order not in ("K", "C", "A"):
        raise ValueError(f"copy: order must be 'K', 'C' or 'A', not {order!r}")
    return clone(as_operand(x, "copy"))


# --- splitting ------------------------------------------------------------------------------------


@public(
    reference=np.array_split,
    samples=[Sample(((5, 2),), args=(3,)), Sample(((2, 5),), {"axis": 1}, args=([1, 4],))],
    method=False,
)
@also_named(indices_or_sections="sections")
def array_split(x: Any, /, sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Split along an axis, as `split`; parts need not be equal, the first ones are longer by one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.shape for p in tg.array_split(tg.zeros(5), 3)]
    [(2,), (2,), (1,)]
    """
    x = as_operand(x, "array_split")
    try:
        parts = operator.index(sections)
    except TypeError:
        return split_parts(x, sections, axis)
    if parts <= 0:
        raise ValueError(f"array_split: number of sections must be larger than 0, not {parts}")
    n = x._spec.shape[axis_index("array_split", axis, x._spec.ndim)]
    each, more = np.divmod(n, parts)
    ends = np.cumsum([each + (k < more) for k in range(parts)])
    return split_parts(x, ends[:-1].tolist(), axis)


def _split_along(name: str, x: Any, sections: Any, axis: int) -> tuple[Tensor, ...]:
    x = as_operand(x, name)
    if x._spec.ndim <= (axis or 0) and not (name == "hsplit" and x._spec.ndim == 1):
        raise ValueError(
            f"{name}: works only on arrays of {axis + 1} or more dimensions, not shape {x.shape}"
        )
    return split_parts(x, sections, 0 if name == "hsplit" and x._spec.ndim == 1 else axis)


@public(reference=np.hsplit, samples=[Sample(((2, 4),), args=(2,))], method=False)
@also_named(indices_or_sections="sections")
def hsplit(x: Any, /, sections: Any) -> tuple[Tensor, ...]:
    """Split along the second axis (the first, for one axis), as `split`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.shape for p in tg.hsplit(tg.zeros((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    return _split_along("hsplit", x, sections, 1)


@public(reference=np.vsplit, samples=[Sample(((4, 2),), args=(2,))], method=False)
@also_named(indices_or_sections="sections")
def vsplit(x: Any, /, sections: Any) -> tuple[Tensor, ...]:
    """Split along the first axis of two or more, as `split`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.shape for p in tg.vsplit(tg.zeros((4, 2)), [1])]
    [(1, 2), (3, 2)]
    """
    x = as_operand(x, "vsplit")
    if x._spec.ndim < 2:
        raise ValueError(f"vsplit: works only on arrays of 2 or more dimensions, not shape {x.shape}")
    return split_parts(x, sections, 0)


@public(reference=np.dsplit, samples=[Sample(((2, 1, 4),), args=(2,))], method=False)
@also_named(indices_or_sections="sections")
def dsplit(x: Any, /, sections: Any) -> tuple[Tensor, ...]:
    """Split along the third axis, as `split`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [p.shape for p in tg.dsplit(tg.zeros((2, 1, 4)), 2)]
    [(2, 1, 2), (2, 1, 2)]
    """
    return _split_along("dsplit", x, sections, 2)


# --- turning --------------------------------------------------------------------------------------


@public(reference=np.flipud, samples=[MATRIX], method=False)
def flipud(x: Any, /) -> Tensor:
    """Reverse the first axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.flipud(tg.tensor([1.0, 2.0]))
    tensor([2., 1.])
    """
    return ns.flip(x, axis=0)


@public(reference=np.fliplr, samples=[MATRIX], method=False)
def fliplr(x: Any, /) -> Tensor:
    """Reverse the second axis.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fliplr(tg.tensor([[1.0, 2.0]]))
    tensor([[2., 1.]])
    """
    return ns.flip(x, axis=1)


@public(
    reference=np.rot90,
    samples=[MATRIX, Sample(((3, 4),), args=(2,)), Sample(((2, 3, 4),), args=(-1, (2, 0)))],
)
@also_named(dims="axes")
def rot90(x: Any, /, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """Turn by ``k`` times 90 degrees, from the first of two axes towards the second.

    Raises
    ------
    ValueError
        If ``axes`` are not two different ones.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.rot90(tg.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    x = as_operand(x, "rot90")
    if len(axes) != 2:
        raise ValueError(f"rot90: needs two axes, not {axes}")
    a, b = [axis_index("rot90", axis, x._spec.ndim) for axis in axes]
    if a == b:
        raise ValueError(f"rot90: axes must be different, not {axes}")
    turns = operator.index(k) % 4
    if turns == 2:
        return ns.flip(x, axis=(a, b))
    if turns == 1:
        return ns.swapaxes(ns.flip(x, axis=b), a, b)
    return ns.flip(ns.swapaxes(x, a, b), axis=b) if turns else ns.flip(x, axis=())


@public(reference=np.rollaxis, samples=[Sample(((2, 3, 4),), args=(2,)), Sample(((2, 3, 4),), args=(0, 3))])
def rollaxis(x: Any, /, axis: int, start: int = 0) -> Tensor:
    """Move an axis in front of axis ``start``, as a view (`moveaxis` is easier to read).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.rollaxis(tg.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    x = as_operand(x, "rollaxis")
    ndim = x._spec.ndim
    k = axis_index("rollaxis", axis, ndim)
    place = start + ndim if start < 0 else start
    if not 0 <= place <= ndim:
        raise np.exceptions.AxisError(f"rollaxis: start {start} is out of bounds for shape {x.shape}")
    return ns.moveaxis(x, k, place - 1 if place > k else place)


# --- diagonals ------------------------------------------------------------------------------------


def _on_diagonal(v: Tensor, k: int) -> Tensor:
    """A square matrix with a vector on diagonal ``k``."""
    n = v._spec.size + abs(k)
    offset = k if k >= 0 else -k * n
    return scatter_movement(v, (n, n), v._spec.shape, (n + 1,), offset if v._spec.size else 0)


@public(
    reference=np.diag,
    samples=[Sample(((3,),)), Sample(((3,),), {"k": 1}), MATRIX, Sample(((3, 4),), {"k": -1})],
)
@also_named(diagonal="k")
def diag(x: Any, /, k: int = 0) -> Tensor:
    """A matrix with a vector on diagonal ``k``, or the diagonal ``k`` of a matrix.

    Raises
    ------
    ValueError
        If ``x`` has neither one axis nor two.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diag(tg.tensor([1.0, 2.0])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    x = as_operand(x, "diag")
    if x._spec.ndim == 1:
        return _on_diagonal(x, operator.index(k))
    if x._spec.ndim != 2:
        raise ValueError(f"diag: input must be 1- or 2-d, not of shape {x.shape}")
    return ns.diagonal(x, k)


@public(reference=np.diagflat, samples=[Sample(((2, 2),)), Sample(((2,),), {"k": -1})])
def diagflat(x: Any, /, k: int = 0) -> Tensor:
    """A matrix with all elements of ``x`` on diagonal ``k``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diagflat(tg.tensor([[1.0, 2.0]])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    x = as_operand(x, "diagflat")
    return _on_diagonal(reshaped(x, (x._spec.size,)), operator.index(k))


# --- windows --------------------------------------------------------------------------------------


@public(
    reference=np.lib.stride_tricks.sliding_window_view,
    samples=[
        Sample(((6,),), args=(3,)),
        Sample(((3, 4),), args=((2, 3),)),
        Sample(((3, 5),), {"axis": 1}, args=(2,)),
    ],
    method=False,
)
def sliding_window_view(x: Any, /, window_shape: Any, axis: Any = None) -> Tensor:
    """All windows of a shape, as further axes at the end; not writable.

    Parameters
    ----------
    window_shape : int or tuple of int
    axis : int or tuple of int, optional
        Along which the windows slide; default all axes, of which the window then needs as many.

    Raises
    ------
    ValueError
        If the numbers of lengths and axes differ, or a window does not fit.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sliding_window_view(tg.tensor([1.0, 2.0, 3.0]), 2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    name = "sliding_window_view"
    x = as_operand(x, name)
    window, shape = as_shape(name, window_shape), list(x._spec.shape)
    given = tuple(range(len(shape))) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = [axis_index(name, a, len(shape)) for a in given]
    if len(axes) != len(window):
        raise ValueError(f"{name}: must have as many lengths as axes, got {window} and {given} for {x.shape}")
    strides = contiguous(x._spec.shape)
    for a, n in zip(axes, window):
        if not 0 <= n <= shape[a]:
            raise ValueError(f"{name}: a window of shape {window} does not fit shape {x.shape}")
        shape[a] -= n - 1
    steps = (*strides, *[strides[a] for a in axes])
    return record_layout(STRIDED, x, (*shape, *window), steps, 0)
