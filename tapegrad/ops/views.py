"""Moving elements: public functions for reshaping, transposing, broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.ops.axes import also_named, as_shape, axes_tuple, axis_index, size_of
from tapegrad.ops.movement import (
    BROADCAST_TO,
    DIAGONAL,
    EXPAND_DIMS,
    FLIP,
    PERMUTE,
    RESHAPE,
    SQUEEZE,
    broadcast_to_layout,
    diagonal_layout,
    expand_dims_layout,
    flip_layout,
    permute_layout,
    reshape_layout,
    squeeze_layout,
    view,
)
from tapegrad.ops.record import as_operand, conjugated, record_layout
from tapegrad.ops.table import Sample, public
from tapegrad.spec import broadcast_shapes
from tapegrad.tensor import Tensor

MATRIX = Sample(((3, 4),))


@public(
    reference=lambda x, shape: np.reshape(x, shape),
    samples=[
        Sample(((3, 4),), args=((2, 6),)),
        Sample(((3, 4),), args=((-1,),)),
        Sample(((),), args=((1, 1),)),
        Sample(((0, 3),), args=((3, 0),)),
    ],
    aliases=("view",),
)
def reshape(x: Any, /, shape: Any, *lengths: Any, order: str = "C", copy: bool | None = None) -> Tensor:
    """Give the same elements another shape, as a view.

    Parameters
    ----------
    x : array_like
    shape : int or sequence of int
        New lengths; one may be -1: it follows from the size.
    *lengths : int
        ``reshape(x, 2, 3)`` is ``reshape(x, (2, 3))``.
    order : {"C"}
    copy : bool, optional
        Whether writes to the result must not be seen in ``x``.

    Returns
    -------
    Tensor of the new shape, same dtype.

    Raises
    ------
    ValueError
        If the sizes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.reshape(tg.tensor([1.0, 2.0, 3.0, 4.0]), (2, -1))
    tensor([[1., 2.],
            [3., 4.]])
    """
    x = as_operand(x, "reshape")
    if order != "C":
        raise ValueError(f"reshape: only order 'C' is supported, not {order!r}")
    new = as_shape("reshape", (shape, *lengths) if lengths else shape)
    layout = reshape_layout(x._spec.shape, new)
    return record_layout(RESHAPE, x, *layout) if copy else view(RESHAPE, x, *layout)


@public(
    reference=lambda x, axes: np.transpose(x, axes),
    samples=[Sample(((2, 3, 4),), args=((2, 0, 1),)), Sample(((2, 3, 4),), args=((-1, 1, 0),))],
    aliases=("permute",),
)
@also_named(dims="axes")
def permute_dims(x: Any, /, axes: Any, *more: Any) -> Tensor:
    """Put the axes in another order, as a view.

    Parameters
    ----------
    x : array_like, n axes
    axes : int or sequence of int
        A permutation of the n axes.
    *more : int
        ``permute_dims(x, 1, 0)`` is ``permute_dims(x, (1, 0))``.

    Raises
    ------
    AxisError
        If an axis is out of bounds.
    ValueError
        If it is not a permutation.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.permute_dims(tg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_operand(x, "permute_dims")
    shape = x._spec.shape
    given = tuple(axes) if isinstance(axes, (tuple, list)) else (axes, *more)
    order = tuple([axis_index("permute_dims", a, len(shape)) for a in given])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"permute_dims: axes {given} are not a permutation for shape {shape}")
    return view(PERMUTE, x, *permute_layout(shape, order))


@public(
    reference=np.transpose,
    samples=[MATRIX, Sample(((2, 3, 4),), {"axes": (1, 2, 0)}), Sample(((5,),))],
)
def transpose(x: Any, /, *order: Any, axes: Any = None, dim0: Any = None, dim1: Any = None) -> Tensor:
    """Reverse the axes, or put them in a given order, as a view.

    Parameters
    ----------
    x : array_like
    axes : sequence of int, optional
        NumPy's meaning: the new order, default reversed.
    dim0, dim1 : int, optional
        PyTorch's meaning: exchange these two.
    *order
        ``axes`` by position, one tuple or separate integers; two integers for a tensor of more than two
        axes are ``dim0`` and ``dim1``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.transpose(tg.zeros((2, 3))).shape
    (3, 2)
    """
    x = as_operand(x, "transpose")
    ndim = x._spec.ndim
    if (dim0 is None) != (dim1 is None) or sum((bool(order), axes is not None, dim0 is not None)) > 1:
        raise TypeError("transpose: give the axes by position, as 'axes', or as 'dim0' and 'dim1'")
    if dim0 is not None:
        return swapaxes(x, dim0, dim1)
    if axes is not None:
        order = (axes,)
    if not order or order == (None,):
        return permute_dims(x, tuple(range(ndim))[::-1])
    if len(order) == 2 and not isinstance(order[0], (tuple, list)):
        return swapaxes(x, *order)
    return permute_dims(x, *order)


@public(
    reference=np.swapaxes,
    samples=[Sample(((2, 3, 4),), args=(0, -1))],
    aliases=("swapdims",),
)
@also_named(dim0="axis1", dim1="axis2")
def swapaxes(x: Any, /, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes, as a view.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.swapaxes(tg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = as_operand(x, "swapaxes")
    ndim = x._spec.ndim
    order = list(range(ndim))
    a, b = axis_index("swapaxes", axis1, ndim), axis_index("swapaxes", axis2, ndim)
    order[a], order[b] = b, a
    return view(PERMUTE, x, *permute_layout(x._spec.shape, tuple(order)))


@public(
    reference=lambda x: np.swapaxes(x, -1, -2),
    samples=[MATRIX, Sample(((2, 3, 4),))],
    also=("linalg",),
)
def matrix_transpose(x: Any, /) -> Tensor:
    """Exchange the last two axes, as a view.

    Raises
    ------
    ValueError
        If there are fewer than two.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.matrix_transpose(tg.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = as_operand(x, "matrix_transpose")
    if x._spec.ndim < 2:
        raise ValueError(f"matrix_transpose: at least two axes are needed, not shape {x._spec.shape}")
    return swapaxes(x, -1, -2)


@public(
    reference=lambda x: np.conj(np.swapaxes(x, -1, -2)),
    samples=[MATRIX, Sample(((2, 3, 4),))],
    also=("linalg",),
)
def adjoint(x: Any, /) -> Tensor:
    """The conjugate with its last two axes exchanged, as ``torch.adjoint``; a view of real numbers.

    Raises
    ------
    ValueError
        If there are fewer than two axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.adjoint(tg.tensor([[1.0 + 2.0j, 0.0]])).tolist()
    [[(1-2j)], [-0j]]
    """
    x = as_operand(x, "adjoint")
    if x._spec.ndim < 2:
        raise ValueError(f"adjoint: at least two axes are needed, not shape {x._spec.shape}")
    return conjugated(swapaxes(x, -1, -2))


@public(
    reference=np.moveaxis,
    samples=[Sample(((2, 3, 4),), args=(0, -1)), Sample(((2, 3, 4),), args=((0, 1), (-1, 0)))],
    aliases=("movedim",),
)
def moveaxis(x: Any, /, source: Any, destination: Any) -> Tensor:
    """Move axes to other positions, as a view; the others keep their order.

    Parameters
    ----------
    source, destination : int or sequence of int
        As many of one as of the other.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.moveaxis(tg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_operand(x, "moveaxis")
    ndim = x._spec.ndim
    given = [a if isinstance(a, (tuple, list)) else (a,) for a in (source, destination)]
    from_, to = [[axis_index("moveaxis", a, ndim) for a in axes] for axes in given]
    if len(from_) != len(to) or len(set(from_)) < len(from_) or len(set(to)) < len(to):
        raise ValueError(f"moveaxis: source {source} and destination {destination} do not correspond")
    order = [k for k in range(ndim) if k not in from_]
    for d, s in sorted(zip(to, from_)):
        order.insert(d, s)
    return view(PERMUTE, x, *permute_layout(x._spec.shape, tuple(order)))


@public(
    reference=np.expand_dims,
    samples=[Sample(((3, 4),), {"axis": 1}), Sample(((3,),), {"axis": (0, -1)})],
    aliases=("unsqueeze",),
)
@also_named(dim="axis")
def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """Insert axes of length one, as a view.

    Parameters
    ----------
    axis : int or tuple of int
        Their positions in the result.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.expand_dims(tg.zeros((2, 3)), axis=-1).shape
    (2, 3, 1)
    """
    x = as_operand(x, "expand_dims")
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = axes_tuple("expand_dims", axis, x._spec.ndim + count)
    return view(EXPAND_DIMS, x, *expand_dims_layout(x._spec.shape, axes))


@public(
    reference=np.squeeze,
    samples=[Sample(((3, 1, 4, 1),)), Sample(((3, 1, 4, 1),), {"axis": 1})],
)
@also_named(dim="axis")
def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Remove axes of length one, as a view.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Which; default all of length one.

    Raises
    ------
    ValueError
        If a named axis has another length.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.squeeze(tg.zeros((2, 1, 3))).shape
    (2, 3)
    """
    x = as_operand(x, "squeeze")
    shape = x._spec.shape
    if axis is None:
        axes = tuple([k for k, n in enumerate(shape) if n == 1])
    else:
        axes = axes_tuple("squeeze", axis, len(shape))
        if any(shape[a] != 1 for a in axes):
            raise ValueError(
                f"squeeze: cannot select an axis to squeeze out which has size not equal to one: "
                f"axis {axis} of shape {shape}"
            )
    return view(SQUEEZE, x, *squeeze_layout(shape, axes))


@public(
    reference=np.broadcast_to,
    samples=[Sample(((4,),), args=((3, 4),)), Sample(((3, 1),), args=((2, 3, 4),))],
)
def broadcast_to(x: Any, /, shape: Any) -> Tensor:
    """Repeat along new leading axes and axes of length one.

    Raises
    ------
    ValueError
        If ``x`` does not broadcast to ``shape``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.broadcast_to(tg.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    x = as_operand(x, "broadcast_to")
    return view(BROADCAST_TO, x, *broadcast_to_layout(x._spec.shape, as_shape("broadcast_to", shape)))


@public(reference=lambda x, *n: np.broadcast_to(x, (3, 4)), samples=[Sample(((3, 1),), args=(-1, 4))])
def expand(x: Any, /, *shape: Any) -> Tensor:
    """PyTorch's ``broadcast_to``: -1 keeps an axis's length.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros((3, 1)).expand(-1, 4).shape
    (3, 4)
    """
    x = as_operand(x, "expand")
    new = as_shape("expand", shape[0] if len(shape) == 1 else shape)
    own = (1,) * (len(new) - x._spec.ndim) + x._spec.shape
    return broadcast_to(x, tuple([o if n == -1 else n for n, o in zip(new, own)]))


@public(
    reference=np.broadcast_arrays,
    samples=[Sample(((3, 1), (4,)))],
    method=False,
)
def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """Broadcast arrays against each other.

    Examples
    --------
    >>> import tapegrad as tg
    >>> [a.shape for a in tg.broadcast_arrays(tg.zeros((3, 1)), tg.zeros((2,)))]
    [(3, 2), (3, 2)]
    """
    tensors = [as_operand(a, "broadcast_arrays") for a in arrays]
    if not tensors:
        return []
    shape = broadcast_shapes("broadcast_arrays", *[t._spec.shape for t in tensors])
    return [broadcast_to(t, shape) for t in tensors]


@public(
    reference=np.flip,
    samples=[MATRIX, Sample(((3, 4),), {"axis": -1})],
)
@also_named(dims="axis")
def flip(x: Any, /, *axes: Any, axis: Any = None) -> Tensor:
    """Reverse the order of elements along axes.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.
    *axes
        ``axis`` by position, one tuple or separate integers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.flip(tg.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    x = as_operand(x, "flip")
    shape = x._spec.shape
    if axes:
        if axis is not None:
            raise TypeError("flip: give the axes by position or as 'axis', not both")
        axis = axes if len(axes) > 1 else axes[0]
    return record_layout(FLIP, x, *flip_layout(shape, axes_tuple("flip", axis, len(shape))))


@public(
    reference=np.diagonal,
    samples=[MATRIX, Sample(((3, 4),), {"offset": 1}), Sample(((2, 3, 3),), {"axis1": 1, "axis2": 2})],
)
@also_named(dim1="axis1", dim2="axis2")
def diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A diagonal of two axes, as the last axis of the result; a view.

    Parameters
    ----------
    offset : int
        0 is the main diagonal, positive ones lie above it.
    axis1, axis2 : int
        The two axes.

    Raises
    ------
    AxisError
        If an axis is out of bounds.
    ValueError
        If they are the same.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diagonal(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    x = as_operand(x, "diagonal")
    shape = x._spec.shape
    if len(shape) < 2:
        raise ValueError(f"diagonal: at least two axes are needed, not shape {shape}")
    first, second = axis_index("diagonal", axis1, len(shape)), axis_index("diagonal", axis2, len(shape))
    if first == second:
        raise ValueError(f"diagonal: axis1 and axis2 must differ, both are {axis1}")
    return view(DIAGONAL, x, *diagonal_layout(shape, int(offset), first, second))


@public(reference=np.ravel, samples=[MATRIX, Sample(((),))])
def ravel(x: Any, /) -> Tensor:
    """All elements along one axis, as a view.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros((2, 3)).ravel().shape
    (6,)
    """
    x = as_operand(x, "ravel")
    return reshape(x, (x._spec.size,))


@public(
    reference=lambda x, **kwargs: np.reshape(x, (2, 12)) if kwargs else np.ravel(x),
    samples=[MATRIX, Sample(((2, 3, 4),), {"start_dim": 1})],
)
def flatten(x: Any, /, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from ``start_dim`` to ``end_dim`` (default all) into one, as a view.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.flatten(tg.zeros((2, 3, 4)), start_dim=1).shape
    (2, 12)
    """
    x = as_operand(x, "flatten")
    shape = x._spec.shape
    if not shape:
        return reshape(x, (1,))
    first = axis_index("flatten", start_dim, len(shape))
    last = axis_index("flatten", end_dim, len(shape))
    if last < first:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = size_of(shape[first : last + 1])
    return reshape(x, (*shape[:first], merged, *shape[last + 1 :]))
