"""What follows from sorting: partitions, orders by several keys, bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index
from tapegrad.ops.record import as_operand
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor

__all__: list[str] = []

SAMPLES = (Sample(((5,),), args=(2,)), Sample(((3, 4),), {"axis": 0}, args=((0, 1),)))


def _check_kth(name: str, x: Tensor, kth: Any, axis: int | None) -> None:
    shape = x._spec.shape
    n = x._spec.size if axis is None else shape[axis_index(name, axis, len(shape))]
    places = np.asarray(kth.detach().numpy() if isinstance(kth, Tensor) else kth)
    if places.dtype.kind not in "iu":
        raise TypeError(f"{name}: kth must be integers, not {places.dtype}")
    if places.size and not -n <= places.min() <= places.max() < n:
        raise ValueError(f"{name}: kth(={kth}) out of bounds ({n}) for shape {shape}, axis {axis}")


def _partition(x: Any, kth: Any, axis: int | None = -1) -> Any:
    return np.sort(x, axis)  # which is a partition


_partition.stands_for = np.partition  # type: ignore[attr-defined]


@public(reference=_partition, samples=SAMPLES, method=False)
def partition(x: Any, /, kth: Any, axis: int | None = -1, kind: Any = None) -> Tensor:
    """Elements along an axis with the ``kth`` in its place, smaller ones in front of it: sorted, in fact.

    Parameters
    ----------
    kth : int or sequence of int
    axis : int or None
        ``None`` flattens first.
    kind : str, optional
        Accepted for NumPy's sake.

    Raises
    ------
    ValueError
        If ``kth`` is out of bounds.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.partition(tg.tensor([3.0, 1.0, 2.0]), 1)
    tensor([1., 2., 3.])
    """
    x = as_operand(x, "partition")
    _check_kth("partition", x, kth, axis)
    return ns.sort(x, axis=axis)


def _argpartition(x: Any, kth: Any, axis: int | None = -1) -> Any:
    return np.argsort(x, axis, kind="stable")


_argpartition.stands_for = np.argpartition  # type: ignore[attr-defined]


@public(reference=_argpartition, samples=SAMPLES, method=False, differentiable=False)
def argpartition(x: Any, /, kth: Any, axis: int | None = -1, kind: Any = None) -> Tensor:
    """Indices that partition along an axis (they sort it, in fact); arguments as for `partition`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.argpartition(tg.tensor([3.0, 1.0, 2.0]), 1)
    tensor([1, 2, 0])
    """
    x = as_operand(x, "argpartition")
    _check_kth("argpartition", x, kth, axis)
    return ns.argsort(x, axis=axis)


@public(
    reference=np.lexsort,
    samples=[Sample(((6,), (6,)), packed=True), Sample(((2, 4), (2, 4)), {"axis": 0}, packed=True)],
    method=False,
    differentiable=False,
)
def lexsort(keys: Sequence[Any], /, axis: int = -1) -> Tensor:
    """Indices that sort by several keys along an axis; the last key is the most important.

    Parameters
    ----------
    keys : sequence of array_like
        Equal shapes.

    Raises
    ------
    ValueError
        If there are none, or their shapes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.lexsort(([3, 1, 2], [1, 2, 1]))
    tensor([2, 0, 1])
    """
    values = [as_operand(k, "lexsort") for k in keys]
    if not values:
        raise ValueError("lexsort: need sequence of keys with len > 0")
    if len({v._spec.shape for v in values}) > 1:
        raise ValueError(f"lexsort: all keys need to be the same shape, got {[v.shape for v in values]}")
    order = ns.argsort(values[0], axis=axis)
    for v in values[1:]:  # each sorting keeps the order of equal elements
        order = ns.take_along_axis(
            order, ns.argsort(ns.take_along_axis(v, order, axis=axis), axis=axis), axis=axis
        )
    return order


@public(
    reference=np.digitize,
    samples=[Sample(((2, 3),), args=(np.array([-0.5, 0.1, 0.9]),))],
    method=False,
    differentiable=False,
)
def digitize(x: Any, /, bins: Any, right: bool = False) -> Tensor:
    """The bin that each element falls into: the number of edges below it, as int64.

    Parameters
    ----------
    bins : array_like, one axis
        Edges, ascending or descending.
    right : bool
        Whether a bin holds its upper edge rather than its lower one.

    Raises
    ------
    ValueError
        If the edges have no order, where they are known already.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.digitize(tg.tensor([0.5, 1.5, 2.0]), [0.0, 1.0, 2.0])
    tensor([1, 2, 3])
    """
    edges = as_operand(bins, "digitize")
    if edges._spec.ndim != 1:
        raise ValueError(f"digitize: bins must have one axis, not shape {edges.shape}")
    known = edges.detach().numpy()
    steps = np.diff(known)
    if (steps >= 0).all():
        return ns.searchsorted(edges, x, side="left" if right else "right")
    if not (steps <= 0).all():
        raise ValueError("digitize: bins must be monotonically increasing or decreasing")
    found = ns.searchsorted(ns.flip(edges), x, side="left" if right else "right")
    return ns.subtract(known.size, found)
