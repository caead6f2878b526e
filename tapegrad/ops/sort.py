"""Sorting along an axis, and searching in what is sorted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.kernels import sort as kernels
from tapegrad.ops.axes import axis_index, size_of
from tapegrad.ops.gathers import gather_along
from tapegrad.ops.movement import all_batched, narrow, permuted, reshaped
from tapegrad.ops.record import as_operand, cast, record
from tapegrad.ops.reduce import torch_names
from tapegrad.ops.table import Out, Sample, ns, public, structured
from tapegrad.spec import INT64, Spec, result_dtype
from tapegrad.tensor import Tensor


def _argsort_shape(x: Spec, descending: bool) -> Out:
    n = x.shape[-1]
    return Out((2, *x.shape), INT64, (x.size // n if n else 0, n, int(descending)))


def _search_shape(x: Spec, v: Spec, right: bool) -> Out:
    rows = size_of(x.shape[:-1])  # as many rows of values; one row that is searched meets any
    return Out(v.shape, INT64, (rows, x.shape[-1], v.size // rows if rows else 0, int(right)))


def _argsort_batch(n: int, batched: Any, x: Tensor, descending: bool) -> Tensor:
    planes = record(ARGSORT, (x,), {"descending": descending})
    return permuted(planes, (1, 0, *range(2, planes._spec.ndim)))


def _search_batch(n: int, batched: Any, x: Tensor, v: Tensor, right: bool) -> Tensor:
    if batched[0]:
        x, v = all_batched(n, batched, x, v)
        leading = x._spec.shape[:-1]
        wide = (*leading, v._spec.size // size_of(leading) if v._spec.size else 0)
        out = record(SEARCHSORTED, (x, reshaped(v, wide)), {"right": right})
        return reshaped(out, v._spec.shape)
    return record(SEARCHSORTED, (x, v), {"right": right})


ARGSORT = structured(
    "argsort",
    kernels.argsort,
    1,
    _argsort_shape,
    batch=_argsort_batch,
    result="int64",
    kink="equal elements keep their order",
    doc="Stable order along the last axis; a second plane is room to merge in.",
)
SEARCHSORTED = structured(
    "searchsorted",
    kernels.searchsorted,
    2,
    _search_shape,
    batch=_search_batch,
    result="int64",
    doc="Positions in sorted rows: values of each row in its own, or all of them in one.",
)


def _order(x: Tensor, k: int, descending: bool) -> Tensor:
    """Indices that sort along axis ``k``."""
    ndim = x._spec.ndim
    axes = (*[a for a in range(ndim) if a != k], k)
    y = permuted(x, axes)
    planes = record(ARGSORT, (y,), {"descending": descending})
    order = reshaped(narrow(planes, 0, 0, 1), y._spec.shape)
    back = tuple([axes.index(a) for a in range(ndim)])
    return permuted(order, back)


def _prepare(name: str, x: Any, axis: int | None, names: dict[str, Any]) -> tuple[Tensor, int]:
    if names:
        axis, _ = torch_names(name, names, axis)
    x = as_operand(x, name)
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    return x, axis_index(name, axis, x._spec.ndim)


SAMPLES = (Sample(((5,),)), Sample(((3, 4),), {"axis": 0}), Sample(((2, 30),)))


@public(reference=np.argsort, samples=SAMPLES, differentiable=False)
def argsort(
    x: Any,
    /,
    axis: int | None = -1,
    kind: Any = None,
    *,
    descending: bool = False,
    stable: bool = True,
    **names: Any,
) -> Tensor:
    """Indices that sort along an axis, as int64; NaN comes last, equal elements keep their order.

    Parameters
    ----------
    axis : int or None
        ``None`` flattens first.
    kind : str, optional
        Accepted for NumPy's sake; a boolean is ``descending``, as PyTorch takes it.
    descending : bool
    stable : bool
        Always so.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.argsort(tg.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    x, k = _prepare("argsort", x, axis, names)
    return _order(x, k, bool(descending or kind is True))


@public(reference=np.sort, samples=SAMPLES)
def sort(
    x: Any,
    /,
    axis: int | None = -1,
    kind: Any = None,
    *,
    descending: bool = False,
    stable: bool = True,
    **names: Any,
) -> Tensor:
    """Sort along an axis; arguments as for `argsort`.  Gradients go back to where elements came from.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    x, k = _prepare("sort", x, axis, names)
    return gather_along(x, _order(x, k, bool(descending or kind is True)), k)


class TopK(NamedTuple):
    """What `topk` returns."""

    values: Tensor
    indices: Tensor


def _topk(x: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    order = np.argsort(-x if largest else x, axis=dim, kind="stable").take(range(k), axis=dim)
    return np.take_along_axis(x, order, dim), order


@public(reference=_topk, samples=[Sample(((5,),), args=(2,)), Sample(((4, 3),), args=(2, 0, False))])
def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> TopK:
    """The ``k`` greatest (or least) elements along an axis, in order, and where they are.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.topk(tg.tensor([3.0, 1.0, 2.0]), 2).values
    tensor([3., 2.])
    """
    x = as_operand(x, "topk")
    axis = axis_index("topk", dim, x._spec.ndim)
    if not 0 <= k <= x._spec.shape[axis]:
        raise ValueError(f"topk: k={k} is out of range for axis {axis} of shape {x._spec.shape}")
    order = narrow(_order(x, axis, largest), axis, 0, k)
    return TopK(gather_along(x, order, axis), order)


@public(reference=np.searchsorted, samples=[], differentiable=False)
def searchsorted(
    x: Any, v: Any, /, side: str = "left", sorter: Any = None, *, right: bool | None = None
) -> Tensor:
    """Where values would have to be inserted into sorted ``x`` to keep it sorted, as int64.

    Parameters
    ----------
    x : array_like, one axis
    v : array_like
    side : {"left", "right"}
        Before or after equal elements.
    sorter : array_like of integers, optional
        The order that sorts ``x``.
    right : bool, optional
        PyTorch's way to name a side.

    Raises
    ------
    ValueError
        If ``x`` does not have one axis, or ``side`` is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.searchsorted(tg.tensor([1.0, 2.0, 4.0]), tg.tensor([2.0, 3.0]))
    tensor([1, 2])
    """
    x, v = as_operand(x, "searchsorted"), as_operand(v, "searchsorted")
    if x._spec.ndim != 1:
        raise ValueError(f"searchsorted: x must have one axis, not shape {x._spec.shape}")
    if right is not None:
        side = "right" if right else "left"
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', not {side!r}")
    if sorter is not None:
        x = ns.take(x, sorter)
    dtype = result_dtype(x._spec.dtype, v._spec.dtype)
    static = {"right": side == "right"}
    return record(SEARCHSORTED, (cast(x, dtype), cast(v, dtype)), static)
