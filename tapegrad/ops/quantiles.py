"""Order statistics: medians, quantiles, percentiles, and the same without the NaNs.

Slices are sorted; a quantile then is a weighted mean of two neighbours, so its derivative goes to these
two.  It jumps where elements change places: among equal elements it goes to those that a stable sort puts
there, and at an order statistic itself all of it goes to that element.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.ops.axes import axes_tuple, size_of, strip_axes
from tapegrad.ops.composite import weights_of
from tapegrad.ops.movement import broadcasted, narrow, permuted, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, record
from tapegrad.ops.reduce import torch_names
from tapegrad.ops.sort import SEARCHSORTED
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import INT64
from tapegrad.tensor import Tensor, tensor_from_array

# Continuous methods by Hyndman and Fan's (1996) two parameters: the place of quantile q among n is
# n q + alpha + q (1 - alpha - beta) - 1, counted from 0.
CONTINUOUS = {
    "linear": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
WHOLE = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")  # which give an element itself
MEANS = ("midpoint", "averaged_inverted_cdf")  # or the mean of two


def _check_method(name: str, method: str, weights: Any) -> None:
    known = (*CONTINUOUS, *WHOLE, *MEANS)
    if method not in known:
        raise ValueError(f"{name}: {method!r} is not a valid method; use one of {', '.join(known)}")
    if weights is not None and method != "inverted_cdf":
        raise ValueError(f"{name}: only method 'inverted_cdf' supports weights, not {method!r}")


def _rows(
    name: str, x: Any, axis: Any, whole: bool = False
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """``x`` with the axes it is reduced over merged into the last one; its shape, and those axes."""
    x = as_operand(x, name) if whole else as_inexact(x, name)
    shape = x._spec.shape
    axes = axes_tuple(name, axis, len(shape))
    kept = tuple([k for k in range(len(shape)) if k not in axes])
    y = permuted(x, kept + axes)
    n = size_of(tuple([shape[a] for a in axes]))
    return reshaped(y, (*[shape[k] for k in kept], n)), shape, axes


def _between(y: Tensor, low: Tensor, high: Tensor, part: Any) -> Tensor:
    """The elements of rows at ``low`` and ``high`` (places along the last axis), mixed by ``part``."""
    a = ns.take_along_axis(y, low, axis=-1)
    b = ns.take_along_axis(y, high, axis=-1)
    # From the nearer of the two, so that both ends are exact; neighbours that are infinite do not meet.
    d = ns.where(ns.equal(a, b), 0.0, b - a)
    near = ns.less(part, 0.5)
    mixed = ns.where(near, a + d * part, b - d * (1.0 - part))
    return ns.where(ns.equal(part, 0.0), a, mixed)


def _mix(y: Tensor, place: Tensor, count: Any) -> Tensor:
    """Elements at fractional places of sorted rows that have ``count`` elements."""
    place = ns.clip(place, 0.0, ns.maximum(count - 1, 0))
    low = ns.floor(place.detach())
    high = ns.minimum(low + 1.0, ns.maximum(count - 1, 0))
    return _between(y, cast(low, INT64), cast(high, INT64), cast(place - low, y._spec.dtype))


def _at(y: Tensor, q: Tensor, count: Any, method: str) -> Tensor:
    """Quantiles of sorted rows that have ``count`` elements: (..., 1) against (Q,) gives (..., Q)."""
    if method in CONTINUOUS:
        alpha, beta = CONTINUOUS[method]
        if method == "linear":
            return _mix(y, q * (count - 1), count)
        return _mix(y, q * count + (alpha + q * (1.0 - alpha - beta) - 1.0), count)
    place = ns.maximum(q * (count - 1), 0.0).detach()
    if method in ("lower", "higher", "nearest"):
        return _take(y, {"lower": ns.floor, "higher": ns.ceil, "nearest": ns.round}[method](place), count)
    if method == "midpoint":
        return _mean(_take(y, ns.floor(place), count), _take(y, ns.ceil(place), count))
    place = (q * count - 1.0).detach()
    if method == "averaged_inverted_cdf":  # of two where the distribution function has the value q
        upper = ns.floor(place) + 1.0
        return _mean(_take(y, ns.ceil(place), count), _take(y, upper, count))
    if method == "closest_observation":  # the even one (counted from 1) of two that are equally close
        place = place - 0.5
        low = ns.floor(place)
        even = ns.logical_and(ns.equal(place, low), ns.equal(ns.remainder(low, 2.0), 1.0))
        return _take(y, ns.where(even, low, low + 1.0), count)
    return _take(y, ns.ceil(place), count)


def _take(y: Tensor, place: Tensor, count: Any) -> Tensor:
    """The elements of rows at places along the last axis, or at the nearest that exist."""
    place = ns.clip(place, 0.0, ns.maximum(count - 1, 0))
    return ns.take_along_axis(y, cast(place, INT64), axis=-1)


def _mean(a: Tensor, b: Tensor) -> Tensor:
    return ns.where(ns.equal(a, b), a, 0.5 * a + 0.5 * b)  # also of infinities


def _weighted(y: Tensor, w: Tensor, q: Tensor, count: Any) -> Tensor:
    """The first elements of sorted rows up to which a share ``q`` of the weights lies."""
    total = ns.cumulative_sum(cast(w, np.dtype("float64")), axis=-1)
    share = (total / narrow(total, total._spec.ndim - 1, total._spec.shape[-1] - 1, 1)).detach()
    share = ns.where(ns.equal(share, 0.0), -1.0, share)  # what has no weight is not the first
    rows = size_of(share._spec.shape[:-1])
    share = reshaped(share, (rows, share._spec.shape[-1]))
    wanted = broadcasted(
        reshaped(cast(q.detach(), share._spec.dtype), (1, q._spec.size)), (rows, q._spec.size)
    )
    place = record(SEARCHSORTED, (share, wanted), {"right": False})
    return _take(y, reshaped(place, (*y._spec.shape[:-1], q._spec.size)), count)


def _quantiles(
    name: str,
    x: Any,
    q: Any,
    axis: Any,
    method: str,
    keepdims: bool,
    skip: bool,
    scale: float = 1.0,
    weights: Any = None,
) -> Tensor:
    _check_method(name, method, weights)
    y, shape, axes = _rows(name, x, axis, method in WHOLE)
    if weights is not None:
        w = weights_of(name, as_inexact(weights, name), shape, axis)
        if w._value is not None and (w._value < 0).any():
            raise ValueError(f"{name}: weights must be non-negative")
        w = _rows(name, w, axes)[0]
    q = as_operand(q, name)
    value = q._value
    if value is not None and value.size and not (value.min() >= 0 and value.max() <= scale):
        raise ValueError(f"{name}: q must be in the range [0, {scale:g}], got {value}")
    q = as_inexact(q, name)
    q = q / scale if scale != 1.0 else q
    lead, n = y._spec.shape[:-1], y._spec.shape[-1]
    several = q._spec.size
    flat = reshaped(q, (1,) * len(lead) + (several,))
    if n == 0:
        if not skip and (size_of(lead) or not lead):
            raise IndexError(f"{name}: no elements over axes {axes} of shape {shape}")
        none = np.full((1,), np.nan, y._spec.dtype if y._spec.floating else None)
        out = broadcasted(tensor_from_array(none), (*lead, several))
    else:
        count: Any = n
        if weights is None:
            y = ns.sort(y)
        else:
            order = ns.argsort(y)
            y, w = ns.take_along_axis(y, order, axis=-1), ns.take_along_axis(w, order, axis=-1)
        if skip:
            there = ns.logical_not(ns.isnan(y))
            count = ns.sum(there, axis=-1, keepdims=True)  # of no elements: NaN, which comes first then
            if weights is not None:
                w = ns.where(there, w, 0.0)
        out = _at(y, flat, count, method) if weights is None else _weighted(y, w, q, count)
        if not skip and y._spec.floating:
            last = narrow(y, len(lead), n - 1, 1)  # a NaN, which sorts last, must show
            out = ns.where(ns.isnan(last), last, out)
    out = permuted(out, (len(lead), *range(len(lead))))
    return reshaped(out, (*q._spec.shape, *strip_axes(shape, axes, keepdims)))


WEIGHTED = Sample(((3, 4),), {"axis": 1, "method": "inverted_cdf", "weights": [1, 2, 1, 3]}, args=(0.4,))
QUANTILE_SAMPLES = (
    Sample(((5,),), args=(0.3,)),
    Sample(((3, 4),), {"axis": 0}, args=(np.float32([0.25, 0.5, 1.0]),)),
    Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}, args=(0.6,)),
    *[Sample(((3, 4),), {"axis": 1, "method": m}, args=(np.float32([[0.125, 0.75]]),)) for m in WHOLE],
    *[Sample(((6,),), {"method": m}, args=(0.3,)) for m in MEANS],
    *[Sample(((2, 5),), {"axis": 1, "method": m}, args=(0.4,)) for m in CONTINUOUS if m != "linear"],
)


PERCENTILE_SAMPLES = (
    Sample(((5,),), args=(30.0,)),
    Sample(((3, 4),), {"axis": 0, "method": "hazen"}, args=(np.float32([25, 50, 100]),)),
)


@public(reference=np.quantile, samples=(*QUANTILE_SAMPLES, WEIGHTED))
@composite
def quantile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    **names: Any,
) -> Tensor:
    """Quantiles: values below which a share ``q`` of the elements lies.  NaN if there is one.

    Parameters
    ----------
    x : array_like
        Integers become float64.
    q : float or array_like
        From 0 to 1; its shape comes first in the result's.  Gradients reach it, too, with the
        continuous methods.
    axis : int or tuple of int, optional
        Default all.  ``dim`` is PyTorch's name for it.
    method : str
        What to take between two elements: ``"linear"`` (by distance), ``"lower"``, ``"higher"``,
        ``"nearest"``, ``"midpoint"``; and of Hyndman and Fan's continuous definitions
        ``"interpolated_inverted_cdf"``, ``"hazen"``, ``"weibull"``, ``"median_unbiased"`` and
        ``"normal_unbiased"``, and of those that jump ``"inverted_cdf"``, ``"averaged_inverted_cdf"`` and
        ``"closest_observation"``.
    keepdims : bool
    weights : array_like, optional
        With ``"inverted_cdf"``: how much each element counts, none less than 0.  Of ``x``'s shape, or one
        for each place along ``axis``.  The value does not depend on them but where it jumps.

    Raises
    ------
    ValueError
        If ``q`` is outside of its range, or the method unknown.
    IndexError
        If there are no elements.

    Notes
    -----
    The derivative goes to the two elements that the value lies between, and to the one that it is.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.quantile(tg.tensor([3.0, 1.0, 2.0]), [0.5, 0.75])
    tensor([2.0000, 2.5000])
    """
    if names:
        axis, keepdims = torch_names("quantile", names, axis, keepdims)
    return _quantiles("quantile", x, q, axis, method, keepdims, False, 1.0, weights)


@public(reference=np.percentile, samples=PERCENTILE_SAMPLES, method=False)
@composite
def percentile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
) -> Tensor:
    """Percentiles: `quantile` with ``q`` from 0 to 100.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.percentile(tg.tensor([3.0, 1.0, 2.0]), 50)
    tensor(2.)
    """
    return _quantiles("percentile", x, q, axis, method, keepdims, False, 100.0, weights)


@public(reference=np.nanquantile, samples=QUANTILE_SAMPLES)
@composite
def nanquantile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    **names: Any,
) -> Tensor:
    """Quantiles of the elements that are not NaN; NaN where there are none.  Arguments as for `quantile`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanquantile(tg.tensor([3.0, tg.nan, 2.0]), 0.5)
    tensor(2.5000)
    """
    if names:
        axis, keepdims = torch_names("nanquantile", names, axis, keepdims)
    return _quantiles("nanquantile", x, q, axis, method, keepdims, True, 1.0, weights)


@public(reference=np.nanpercentile, samples=PERCENTILE_SAMPLES, method=False)
@composite
def nanpercentile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
) -> Tensor:
    """Percentiles of the elements that are not NaN: `nanquantile` with ``q`` from 0 to 100.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanpercentile(tg.tensor([3.0, tg.nan, 2.0]), 50)
    tensor(2.5000)
    """
    return _quantiles("nanpercentile", x, q, axis, method, keepdims, True, 100.0, weights)


MEDIAN_SAMPLES = (
    Sample(((5,),)),
    Sample(((3, 4),), {"axis": 1}),
    Sample(((4, 3),), {"axis": 0, "keepdims": True}),
    Sample(((2, 3, 4),), {"axis": (0, 2)}),
    Sample(((3, 4),)),
)


@public(reference=np.median, samples=MEDIAN_SAMPLES)
@composite
def median(x: Any, /, axis: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The middle element, or the mean of the two in the middle, as NumPy's.  NaN if there is one.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.  ``dim`` is PyTorch's name for it.
    keepdims : bool

    Notes
    -----
    The derivative goes to the elements in the middle; among equal ones, to those that a stable sort puts
    there.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.median(tg.tensor([3.0, 1.0, 2.0, 10.0]))
    tensor(2.5000)
    """
    if names:
        axis, keepdims = torch_names("median", names, axis, keepdims)
    y, shape, axes = _rows("median", x, axis)
    k, n = y._spec.ndim - 1, y._spec.shape[-1]
    if n == 0:
        out = tensor_from_array(np.full(y._spec.shape[:-1], math.nan, y._spec.dtype))
    else:
        y = ns.sort(y)
        out = ns.mean(narrow(y, k, (n - 1) // 2, 1 if n % 2 else 2), axis=-1, keepdims=True)
        last = narrow(y, k, n - 1, 1)  # a NaN, which sorts last, must show
        out = ns.where(ns.isnan(last), last, out)
    return reshaped(out, strip_axes(shape, axes, keepdims))


@public(reference=np.nanmedian, samples=MEDIAN_SAMPLES)
@composite
def nanmedian(x: Any, /, axis: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The median of the elements that are not NaN; NaN where there are none.  Arguments as for `median`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanmedian(tg.tensor([3.0, tg.nan, 2.0]))
    tensor(2.5000)
    """
    if names:
        axis, keepdims = torch_names("nanmedian", names, axis, keepdims)
    return _quantiles("nanmedian", x, 0.5, axis, "linear", keepdims, True)
