"""Sums, products and extremes of numbered groups; adding at indices."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import segments as kernels
from tapegrad.ops.axes import also_named, axis_index, size_of
from tapegrad.ops.gathers import _lane_numbers, _scatter_shape, gather, scatter_add
from tapegrad.ops.movement import every_lane, narrow, permuted, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, record
from tapegrad.ops.scans import _linear
from tapegrad.ops.table import ROWS, Row, Sample, ns, public, structured
from tapegrad.spec import INT64, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

# --- rows -----------------------------------------------------------------------------------------


def _extreme_rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor, width: int, shape: tuple[int, ...]) -> Tensor:
    # Ties share evenly; where the result is NaN, the NaNs share.
    own = x._spec.shape
    hit = ns.logical_or(ns.equal(x, gather(out, y, width, own)), ns.isnan(x))
    count = scatter_add(cast(hit, x._spec.dtype), y, width, shape)
    share = g / ns.maximum(count, 1.0)
    return ns.where(hit, gather(share, y, width, own), 0.0)


def _extreme_batch(name: str) -> Any:
    def batch(
        n: int, batched: Sequence[bool], x: Tensor, idx: Tensor, width: int, shape: tuple[int, ...]
    ) -> Tensor | None:
        if not width:
            return None
        numbers = _lane_numbers(n, batched[1], idx, size_of(shape) // width)
        x = x if batched[0] else every_lane(x, n)
        return record(ROWS[name], (x, numbers), {"width": width, "shape": (n, *shape)})

    return batch


def _extreme(name: str, kernel: Any, what: str) -> Row:
    return structured(
        name,
        kernel,
        2,
        _scatter_shape,
        rules=(_extreme_rule, None),
        batch=_extreme_batch(name),
        kink="ties share evenly",
        doc=f"The {what} of the blocks of equal number; zeros for numbers without any.",
    )


SCATTER_MAX = _extreme("scatter_max", kernels.scatter_max, "greatest")
SCATTER_MIN = _extreme("scatter_min", kernels.scatter_min, "least")

# --- segments -------------------------------------------------------------------------------------


def _prepare(name: str, x: Any, ids: Any, count: Any) -> tuple[Tensor, Tensor, int, int, tuple[int, ...]]:
    """Operand, numbers, width of a block, number of segments, shape of the result."""
    x, ids = as_operand(x, name), as_operand(ids, name)
    if ids._spec.kind not in "iu":
        raise TypeError(f"{name}: segment_ids must be integers, not {ids.dtype}")
    if ids._spec.ndim != 1 or x._spec.shape[:1] != ids._spec.shape:
        raise ValueError(
            f"{name}: segment_ids of shape {ids.shape} do not number the rows of shape {x.shape}"
        )
    if count is None:
        value = ids.numpy()
        count = int(value.max()) + 1 if value.size else 0
    count = operator.index(count)
    known = ids._value
    if known is not None and known.size and not 0 <= known.min() <= known.max() < count:
        bad = known[(known < 0) | (known >= count)].flat[0]
        raise IndexError(f"{name}: segment {bad} is out of bounds for {count} segments")
    shape = x._spec.shape
    return x, cast(ids, INT64), size_of(shape[1:]), count, (count, *shape[1:])


def _counts(ids: Tensor, count: int) -> Tensor:
    return scatter_add(tensor_from_array(np.ones(ids._spec.shape, np.int64)), ids, 1, (count,))


def _beside(counts: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One number per segment, to be broadcast against ``shape``."""
    return reshaped(counts, (shape[0], *[1] * (len(shape) - 1)))


IDS = np.array([2, 0, 2, 4, 0])


def _reference(ufunc: Any, empty: float) -> Any:
    def reference(x: Any, ids: Any, num_segments: int | None = None) -> Any:
        n = int(ids.max()) + 1 if num_segments is None else num_segments
        out = np.full((n, *x.shape[1:]), empty, x.dtype)
        for k in set(ids.tolist()):
            out[k] = ufunc.reduce(x[ids == k], axis=0)
        return out

    return reference


SAMPLES = (
    Sample(((5,),), args=(IDS,)),
    Sample(((5, 2),), {"num_segments": 6}, args=(IDS,)),
    Sample(((5, 2, 2),), args=(np.zeros(5, np.int64), 1)),
)


@public(reference=_reference(np.add, 0), samples=SAMPLES, method=False)
def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """Sums of rows of equal number, as JAX's ``segment_sum``.

    Parameters
    ----------
    data : array_like, shape (n, ...)
    segment_ids : array_like of integers, shape (n,)
        The segment of each row; in any order.
    num_segments : int, optional
        How many segments there are; default one more than the greatest number, which is looked at.

    Returns
    -------
    Tensor, shape (num_segments, ...); zeros for segments without rows.

    Raises
    ------
    IndexError
        If a number is negative or not less than ``num_segments``.
    ValueError
        If there are not as many numbers as rows.
    TypeError
        If they are no integers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.segment_sum(tg.tensor([1.0, 2.0, 4.0]), [1, 0, 1])
    tensor([2., 5.])
    """
    x, ids, width, _, shape = _prepare("segment_sum", data, segment_ids, num_segments)
    x = cast(x, INT64) if x._spec.kind == "b" else x
    return scatter_add(x, ids, width, shape)


def _mean_reference(x: Any, ids: Any, num_segments: int | None = None) -> Any:
    total = _reference(np.add, 0)(x / 1, ids, num_segments)
    count = np.bincount(ids, minlength=len(total)).clip(1)
    return total / count.reshape(-1, *[1] * (x.ndim - 1))


@public(reference=_mean_reference, samples=SAMPLES, method=False)
@composite
def segment_mean(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """Means of rows of equal number; zeros for segments without rows.  Arguments as for `segment_sum`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.segment_mean(tg.tensor([1.0, 2.0, 4.0]), [1, 0, 1])
    tensor([2.0000, 2.5000])
    """
    x, ids, width, count, shape = _prepare(
        "segment_mean", as_inexact(data, "segment_mean"), segment_ids, num_segments
    )
    counts = cast(ns.maximum(_counts(ids, count), 1), x._spec.dtype)
    return ns.divide(scatter_add(x, ids, width, shape), _beside(counts, shape))


FULL_SAMPLES = (
    Sample(((5,),), args=(np.array([1, 0, 1, 2, 0]),)),
    Sample(((5, 2),), args=(np.array([1, 0, 1, 2, 0]), 3)),
)


def _empty(dtype: np.dtype, greatest: bool) -> Any:
    """What a segment without rows has as its extreme: the identity, as in JAX."""
    if dtype.kind == "f":
        return -np.inf if greatest else np.inf
    if dtype.kind == "b":
        return not greatest
    limits = np.iinfo(dtype)
    return int(limits.min if greatest else limits.max)


def _segment_extreme(name: str, row: Row, greatest: bool, data: Any, ids: Any, count: Any) -> Tensor:
    x, ids, width, count, shape = _prepare(name, data, ids, count)
    boolean = x._spec.kind == "b"
    x = cast(x, np.dtype("uint8")) if boolean else x
    out = record(row, (x, ids), {"width": width, "shape": shape})
    nothing = _beside(ns.equal(_counts(ids, count), 0), shape)
    out = ns.where(nothing, _empty(np.dtype("bool") if boolean else x._spec.dtype, greatest), out)
    return cast(out, np.dtype("bool")) if boolean else out


@public(reference=_reference(np.maximum, 0), samples=FULL_SAMPLES, method=False)
@composite
def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The greatest of rows of equal number; minus infinity for segments without rows.

    Arguments as for `segment_sum`; equal elements share the derivative evenly.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.segment_max(tg.tensor([1.0, 2.0, 4.0]), [1, 0, 1])
    tensor([2., 4.])
    """
    return _segment_extreme("segment_max", SCATTER_MAX, True, data, segment_ids, num_segments)


@public(reference=_reference(np.minimum, 0), samples=FULL_SAMPLES, method=False)
@composite
def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The least of rows of equal number; infinity for segments without rows.  As `segment_max`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.segment_min(tg.tensor([1.0, 2.0, 4.0]), [1, 0, 1])
    tensor([2., 1.])
    """
    return _segment_extreme("segment_min", SCATTER_MIN, False, data, segment_ids, num_segments)


@public(reference=_reference(np.multiply, 1), samples=SAMPLES, method=False)
@composite
def segment_prod(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """Products of rows of equal number; ones for segments without rows.  Arguments as for `segment_sum`.

    The derivative is right with zeros: rows are sorted by number, and products taken one by one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.segment_prod(tg.tensor([1.5, 2.0, 4.0]), [1, 0, 1])
    tensor([2., 6.])
    """
    x, ids, width, count, shape = _prepare("segment_prod", data, segment_ids, num_segments)
    x = cast(x, INT64) if x._spec.kind == "b" else x
    n = x._spec.shape[0]
    if n == 0 or not width:
        return tensor_from_array(np.ones(shape, x._spec.dtype))
    order = ns.argsort(ids)
    ids, x = ns.take(ids, order), ns.take(x, order, axis=0)
    other = ns.not_equal(narrow(ids, 0, 1, n - 1), narrow(ids, 0, 0, n - 1))
    new = _beside(ns.concat((tensor_from_array(np.ones(1, bool)), other)), x._spec.shape)
    zero = cast(tensor_from_array(np.zeros((), np.int8)), x._spec.dtype)
    running = _linear(ns.where(new, x, zero), ns.where(new, zero, x), 0, False)  # anew in each segment
    last = ns.searchsorted(ids, tensor_from_array(np.arange(count)), side="right") - 1
    there = _beside(ns.greater(_counts(ids, count), 0), shape)
    return ns.where(there, ns.take(running, ns.maximum(last, 0), axis=0), 1)


# --- at indices -----------------------------------------------------------------------------------


def _index_add(x: Any, dim: int, index: Any, source: Any, alpha: float = 1) -> Any:
    out = np.array(x, np.result_type(x, source))
    np.add.at(np.moveaxis(out, dim, 0), index, alpha * np.moveaxis(np.asarray(source), dim, 0))
    return out


@public(
    reference=_index_add,
    samples=[Sample(((3, 4), (3, 3)), prepare=lambda x, source: (x, 1, np.array([0, 2, 0]), source))],
)
@also_named(src="source")
@composite
def index_add(x: Any, /, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """PyTorch's ``index_add``: ``x`` with slices of ``source`` added at indices along an axis.

    Parameters
    ----------
    dim : int
    index : array_like or Tensor of integers, one axis
        Where each slice is added; several may meet.
    source : array_like or Tensor
        ``x``'s shape, but as long as ``index`` along ``dim``.
    alpha : float
        What ``source`` is multiplied by.

    Raises
    ------
    IndexError
        If indices are no integers, or out of bounds.
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.index_add(tg.zeros(3), 0, [2, 0, 2], tg.ones(3))
    tensor([1., 0., 2.])
    """
    name = "index_add"
    x, source, idx = as_operand(x, name), as_operand(source, name), as_operand(index, name)
    if idx._spec.kind not in "iu":
        raise IndexError(f"{name}: indices must be integers, not {idx.dtype}")
    shape = x._spec.shape
    k = axis_index(name, dim, len(shape))
    if idx._spec.ndim != 1 or source._spec.shape != (*shape[:k], idx._spec.size, *shape[k + 1 :]):
        raise ValueError(
            f"{name}: source of shape {source.shape} and index of shape {idx.shape} do not fit {shape}, "
            f"axis {k}"
        )
    known = idx._value
    if known is not None and known.size and not 0 <= known.min() <= known.max() < shape[k]:
        raise IndexError(f"{name}: index out of bounds for axis {k} of shape {shape}")
    dtype = result_dtype(x._spec.dtype, source._spec.dtype)
    source = cast(source, dtype) if alpha == 1 else ns.multiply(cast(source, dtype), alpha)
    front = (k, *[a for a in range(len(shape)) if a != k])
    back = tuple([front.index(a) for a in range(len(shape))])
    moved = tuple([shape[a] for a in front])
    added = scatter_add(permuted(source, front), cast(idx, INT64), size_of(moved[1:]), moved)
    return ns.add(x, permuted(added, back))


@public(
    reference=np.bincount,
    samples=[
        Sample((), args=(np.array([0, 3, 1, 3]),), differentiable=False),
        Sample(((4,),), {"minlength": 6}, prefix=(np.array([0, 3, 1, 3]),)),
    ],
    method=False,
)
@composite
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each integer occurs, or the sum of its weights (to which gradients flow).

    Parameters
    ----------
    x : array_like of integers, one axis, none negative
        Looked at, for the result is one longer than the greatest.
    weights : array_like, optional
        Of ``x``'s shape.
    minlength : int
        Length of the result, at least.

    Raises
    ------
    ValueError
        If ``x`` has another number of axes or negative elements, or weights of another shape.
    TypeError
        If ``x`` is not of integers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.bincount(tg.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    >>> tg.bincount(tg.tensor([0, 2, 2]), tg.tensor([0.5, 1.0, 0.25]))
    tensor([0.5000, 0.0000, 1.2500])
    """
    x = as_operand(x, "bincount")
    if x._spec.ndim != 1:
        raise ValueError(f"bincount: object of too small depth or too deep: shape {x.shape}, not one axis")
    if x._spec.kind not in "iub" and x._spec.size:
        raise TypeError(f"bincount: cannot cast {x.dtype} to integers safely")
    if operator.index(minlength) < 0:
        raise ValueError(f"bincount: minlength must not be negative, got {minlength}")
    value = x.detach().numpy()
    least, most = (int(value.min()), int(value.max())) if value.size else (0, -1)
    if least < 0:
        raise ValueError(f"bincount: list must not contain negative elements, such as {least}")
    n = max(most + 1, operator.index(minlength))
    ids = cast(x, INT64)
    if weights is None:
        return _counts(ids, n)
    w = as_inexact(weights, "bincount")
    if w._spec.shape != x._spec.shape:
        raise ValueError(f"bincount: weights of shape {w.shape} do not have the shape {x.shape} of the list")
    return scatter_add(w, ids, 1, (n,))
