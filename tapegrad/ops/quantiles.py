"""Order statistics: medians, quantiles, percentiles, and the same without the NaNs.

Slices are sorted; a quantile then is a weighted mean of two neighbours, so its derivative goes to these
two.  It jumps where elements change places: among equal elements it goes to those that a stable sort puts
there, and at an order statistic itself all of it goes to that element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.ops.axes import axes_tuple, size_of, strip_axes
from tapegrad.ops.movement import broadcasted, narrow, permuted, reshaped
from tapegrad.ops.numeric import floating
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.reduce import torch_names
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
WHOLE: dict[str, Callable] = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}
REFUSED = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation")


def _check_method(name: str, method: str) -> None:
    if method in REFUSED:
        raise ValueError(f"{name}: method {method!r} is not supported")
    if method not in CONTINUOUS and method not in WHOLE and method != "midpoint":
        known = ", ".join([*CONTINUOUS, *WHOLE, "midpoint"])
        raise ValueError(f"{name}: {method!r} is not a valid method; use one of {known}")


def _rows(
    name: str, x: Any, axis: Any, whole: bool = False
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """``x`` with the axes it is reduced over merged into the last one; its shape, and those axes."""
    x = as_operand(x, name) if whole else floating(x, name)
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
    if method == "midpoint":
        both = [ns.take_along_axis(y, cast(f(place), INT64), axis=-1) for f in (ns.floor, ns.ceil)]
        return ns.where(ns.equal(both[0], both[1]), both[0], 0.5 * both[0] + 0.5 * both[1])
    rounded = {"lower": ns.floor, "higher": ns.ceil, "nearest": ns.round}[method](place)
    return ns.take_along_axis(y, cast(rounded, INT64), axis=-1)


def _quantiles(
    name: str, x: Any, q: Any, axis: Any, method: str, keepdims: bool, skip: bool, scale: float = 1.0
) -> Tensor:
    _check_method(name, method)
    y, shape, axes = _rows(name, x, axis, method in WHOLE)
    q = as_operand(q, name)
    value = q._value
    if value is not None and value.size and not (value.min() >= 0 and value.max() <= scale):
        raise ValueError(f"{name}: q must be in the range [0, {scale:g}], got {value}")
    q = floating(q, name)
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
        y = ns.sort(y)
        if skip:
            count = ns.sum(ns.logical_not(ns.isnan(y)), axis=-1, keepdims=True)
            out = _at(y, flat, count, method)  # of no elements: NaN, which comes first then
        else:
            out = _at(y, flat, n, method)
            if y._spec.floating:
                last = narrow(y, len(lead), n - 1, 1)  # a NaN, which sorts last, must show
                out = ns.where(ns.isnan(last), last, out)
    out = permuted(out, (len(lead), *range(len(lead))))
    return reshaped(out, (*q._spec.shape, *strip_axes(shape, axes, keepdims)))


QUANTILE_SAMPLES = (
    Sample(((5,),), args=(0.3,)),
    Sample(((3, 4),), {"axis": 0}, args=(np.float32([0.25, 0.5, 1.0]),)),
    Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}, args=(0.6,)),
    *[Sample(((3, 4),), {"axis": 1, "method": m}, args=(np.float32([[0.125, 0.75]]),)) for m in WHOLE],
    Sample(((6,),), {"method": "midpoint"}, args=(0.3,)),
    *[Sample(((2, 5),), {"axis": 1, "method": m}, args=(0.4,)) for m in CONTINUOUS if m != "linear"],
)


PERCENTILE_SAMPLES = (
    Sample(((5,),), args=(30.0,)),
    Sample(((3, 4),), {"axis": 0, "method": "hazen"}, args=(np.float32([25, 50, 100]),)),
)


@public(reference=np.quantile, samples=QUANTILE_SAMPLES)
@composite
def quantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False, **names: Any
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
        ``"normal_unbiased"``.  NumPy's other methods are not supported.
    keepdims : bool

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
    return _quantiles("quantile", x, q, axis, method, keepdims, False)


@public(reference=np.percentile, samples=PERCENTILE_SAMPLES, method=False)
@composite
def percentile(x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Tensor:
    """Percentiles: `quantile` with ``q`` from 0 to 100.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.percentile(tg.tensor([3.0, 1.0, 2.0]), 50)
    tensor(2.)
    """
    return _quantiles("percentile", x, q, axis, method, keepdims, False, 100.0)


@public(reference=np.nanquantile, samples=QUANTILE_SAMPLES)
@composite
def nanquantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False, **names: Any
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
    return _quantiles("nanquantile", x, q, axis, method, keepdims, True)


@public(reference=np.nanpercentile, samples=PERCENTILE_SAMPLES, method=False)
@composite
def nanpercentile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Percentiles of the elements that are not NaN: `nanquantile` with ``q`` from 0 to 100.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanpercentile(tg.tensor([3.0, tg.nan, 2.0]), 50)
    tensor(2.5000)
    """
    return _quantiles("nanpercentile", x, q, axis, method, keepdims, True, 100.0)


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
