"""Pooling: maxima and means of windows that slide over signals and images.

The maximum's derivative is shared evenly by equal elements, as everywhere (PyTorch gives all of it to the
first).  ``pool_shares`` hands a window's cotangent to its greatest elements, ``pool_hits`` is its adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import pooling as kernels
from tapegrad.ops.axes import size_of
from tapegrad.ops.convolve import pairs
from tapegrad.ops.movement import all_batched, reshaped
from tapegrad.ops.record import as_inexact, as_operand, composite, record
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor, tensor_from_array

Pair = tuple[int, int]

# --- rows -----------------------------------------------------------------------------------------


def _params(image: tuple, window: Pair, places: Pair, stride: Pair, padding: Pair, dilation: Pair) -> tuple:
    return (size_of(image[:-2]), *image[-2:], *window, *places, *stride, *padding, *dilation)


def _reduced(name: str) -> Any:
    def shape(x: Spec, window: Pair, places: Pair, **more: Pair) -> Out:
        return Out((*x.shape[:-2], *places), x.dtype, _params(x.shape, window, places, **more))

    return shape


def _marked(x: Spec, y: Spec, z: Spec, window: Pair, places: Pair, **more: Pair) -> Out:
    return Out((*y.shape[:-2], *places), x.dtype, _params(y.shape, window, places, **more))


def _shared(x: Spec, y: Spec, z: Spec, window: Pair, places: Pair, **more: Pair) -> Out:
    return Out(y.shape, x.dtype, _params(y.shape, window, places, **more))


def _spread(x: Spec, size: Pair, window: Pair, places: Pair, **more: Pair) -> Out:
    image = (*x.shape[:-2], *size)
    return Out(image, x.dtype, _params(image, window, places, **more))


def _batch(name: str) -> Any:
    def batch(n: int, batched: Sequence[bool], *operands: Tensor, **static: Pair) -> Tensor:
        return record(ROWS[name], all_batched(n, batched, *operands), static)

    return batch


MAX_POOL: Row = structured(
    "max_pool",
    kernels.max_pool,
    1,
    _reduced("max_pool"),
    rules=(lambda g, out, x, **static: record(POOL_SHARES, (g, x, out), static),),
    batch=_batch("max_pool"),
    split="windows",
    kink="ties share evenly",
    doc="The greatest element of each window over the last two axes; NaN if there is one.",
)
POOL_SHARES: Row = structured(
    "pool_shares",
    kernels.pool_shares,
    3,
    _shared,
    rules=(lambda g, out, x, y, z, **static: record(POOL_HITS, (g, y, z), static), None, None),
    linear=(0,),
    batch=_batch("pool_shares"),
    split="windows back",
    doc="A value for each window, shared by the elements of an image that are the window's greatest.",
)
POOL_HITS: Row = structured(
    "pool_hits",
    kernels.pool_hits,
    3,
    _marked,
    rules=(lambda g, out, x, y, z, **static: record(POOL_SHARES, (g, y, z), static), None, None),
    linear=(0,),
    batch=_batch("pool_hits"),
    split="windows",
    doc="Means over windows of what lies where an image has the window's greatest elements.",
)
SUM_POOL: Row = structured(
    "sum_pool",
    kernels.sum_pool,
    1,
    _reduced("sum_pool"),
    rules=(
        lambda g, out, x, **static: record(SUM_POOL_ADJOINT, (g,), {"size": x._spec.shape[-2:], **static}),
    ),
    linear=(0,),
    batch=_batch("sum_pool"),
    split="windows",
    complex=True,
    doc="The sum of each window over the last two axes.",
)
SUM_POOL_ADJOINT: Row = structured(
    "sum_pool_adjoint",
    kernels.sum_pool_adjoint,
    1,
    _spread,
    rules=(lambda g, out, x, size, **static: record(SUM_POOL, (g,), static),),
    linear=(0,),
    batch=_batch("sum_pool_adjoint"),
    split="windows back",
    complex=True,
    doc="A value for each window, added to all of its elements.",
)

# --- arguments ------------------------------------------------------------------------------------


def _places(name: str, n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    """How many windows there are along an axis of ``n`` elements."""
    reach = d * (k - 1) + 1
    if 2 * p > reach:
        raise ValueError(f"{name}: padding {p} must be at most half of the kernel's size {reach}")
    room = n + 2 * p - reach
    if room < 0 or n == 0:
        raise ValueError(f"{name}: a kernel of size {reach} is greater than {n} padded elements")
    count = (room + (s - 1 if ceil else 0)) // s + 1
    if ceil and (count - 1) * s >= n + p:  # the last window must begin before the padding behind
        count -= 1
    return count


def _windows(
    name: str, ndim: int, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: Any
) -> tuple[Tensor, dict[str, Any]]:
    """``x`` as images, and the rows' static arguments."""
    shape = x._spec.shape
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ValueError(f"{name}: takes input of {ndim + 1} or {ndim + 2} axes, not of shape {shape}")
    window = pairs(name, "kernel_size", kernel, ndim)
    step = window if stride is None else pairs(name, "stride", stride, ndim)
    before, apart = pairs(name, "padding", padding, ndim, 0), pairs(name, "dilation", dilation, ndim)
    each = zip(shape[-ndim:], window, step, before, apart)
    places = tuple([_places(name, *numbers, bool(ceil)) for numbers in each])
    static = {"window": window, "places": places, "stride": step, "padding": before, "dilation": apart}
    if ndim == 1:
        x = reshaped(x, (*shape[:-1], 1, shape[-1]))
        static = {k: (0 if k == "padding" else 1, *v) for k, v in static.items()}
    return x, static


def _flat(x: Tensor, ndim: int) -> Tensor:
    shape = x._spec.shape
    return reshaped(x, (*shape[:-2], shape[-1])) if ndim == 1 else x


def _check_windows(name: str, n: int, k: int, places: int, s: int, p: int, d: int) -> None:
    """Refuse windows whose elements all lie outside, before the first (others begin inside)."""
    for first in range(-p, min(0, places * s - p), s):
        least = first % d  # the first element that is not before the image
        if least >= n or least > first + (k - 1) * d:
            raise ValueError(f"{name}: the window from {first}, dilation {d}, meets none of {n} elements")


def _max_pool(
    name: str,
    ndim: int,
    x: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: Any,
    indices: Any,
) -> Tensor:
    if indices:
        raise ValueError(f"{name}: return_indices=True is not supported")
    x = as_operand(x, name)
    if x._spec.kind == "b":
        raise TypeError(f"{name}: not defined for booleans; use a cast first")
    x, static = _windows(name, ndim, x, kernel, stride, padding, dilation, ceil)
    for k in range(2):
        numbers = [static[key][k] for key in ("window", "places", "stride", "padding", "dilation")]
        _check_windows(name, x._spec.shape[k - 2], *numbers)
    return _flat(record(MAX_POOL, (x,), static), ndim)


def _counts(static: dict[str, Any], size: Sequence[int], include: bool) -> np.ndarray:
    """How many elements each window has, with padding or without."""
    per_axis = []
    for n, k, m, s, p in zip(size, *[static[key] for key in ("window", "places", "stride", "padding")]):
        first = np.arange(m) * s - p
        last = np.minimum(first + k, n + p)
        per_axis.append(last - first if include else np.minimum(last, n) - np.maximum(first, 0))
    return np.multiply.outer(*per_axis)


def _avg_pool(
    name: str,
    ndim: int,
    x: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil: Any,
    include: Any,
    divisor: Any,
) -> Tensor:
    x, static = _windows(name, ndim, as_inexact(x, name), kernel, stride, padding, 1, ceil)
    total = record(SUM_POOL, (x,), static)
    if divisor is not None:
        if divisor == 0:
            raise ValueError(f"{name}: divisor_override must not be zero")
        return _flat(total / divisor, ndim)
    counts = _counts(static, x._spec.shape[-2:], bool(include))
    first = counts.flat[0]
    if (counts == first).all():
        return _flat(total / float(first), ndim)
    return _flat(ns.divide(total, tensor_from_array(counts.astype(x._spec.dtype))), ndim)


# --- functions ------------------------------------------------------------------------------------


def _reference(function: Any) -> Any:
    """Windows of the padded input, in NumPy."""

    def reference(x: Any, kernel: Any, stride: Any = None, padding: int = 0, dilation: int = 1) -> Any:
        n = x.ndim - 2
        kernel, stride = np.broadcast_to(kernel, n), np.broadcast_to(kernel if stride is None else stride, n)
        outside = 0 if function is np.mean else np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf
        x = np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * n], constant_values=outside)
        reach = [dilation * (k - 1) + 1 for k in kernel]
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, n + 2)))
        cut = tuple([slice(None, None, s) for s in stride]) + (slice(None, None, dilation),) * n
        return function(windows[(slice(None),) * 2 + cut], axis=tuple(range(-n, 0)))

    return reference


ONE_AXIS = Sample(((2, 2, 7),), {"stride": 2, "padding": 1}, args=(3,))
MAX_SAMPLES = (
    Sample(((2, 2, 4, 5),), args=(2,)),
    Sample(((1, 2, 5, 6),), {"stride": 1, "padding": 1}, args=((3, 2),)),
    Sample(((1, 1, 6, 7),), {"stride": (2, 1), "dilation": 2}, args=(2,)),
)


@public(reference=_reference(np.max), samples=[ONE_AXIS], method=False)
@composite
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """PyTorch's ``max_pool1d``: the greatest element of each window; arguments as for `max_pool2d`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    options = (stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool("max_pool1d", 1, input, kernel_size, *options)


@public(reference=_reference(np.max), samples=MAX_SAMPLES, method=False)
@composite
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """PyTorch's ``max_pool2d``: the greatest element of each window of images; NaN if there is one.

    Parameters
    ----------
    input : array_like, shape (images, channels, height, width) or (channels, height, width)
    kernel_size : int or pair of int
        The window's size.
    stride : int or pair of int, optional
        Distance of neighbouring windows; default the window's size.
    padding : int or pair of int
        How far windows reach over the edge, at most half of their size; nothing lies there.
    dilation : int or pair of int
        Distance of neighbouring elements of a window.
    ceil_mode : bool
        Whether there is a last window that reaches further over the edge.
    return_indices : bool
        Must be false.

    Raises
    ------
    ValueError
        If the window is larger than the padded image, or an argument is not supported.

    Notes
    -----
    Equal elements share the derivative evenly, where PyTorch gives all of it to the first of them.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.max_pool2d(tg.reshape(tg.arange(16.0), (1, 4, 4)), 2).tolist()
    [[[5.0, 7.0], [13.0, 15.0]]]
    """
    options = (stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool("max_pool2d", 2, input, kernel_size, *options)


@public(reference=_reference(np.mean), samples=[ONE_AXIS], method=False)
@composite
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """PyTorch's ``avg_pool1d``: the mean of each window; arguments as for `avg_pool2d`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    options = (stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool("avg_pool1d", 1, input, kernel_size, *options)


@public(
    reference=_reference(np.mean),
    samples=[
        Sample(((2, 2, 4, 5),), args=(2,)),
        Sample(((1, 2, 5, 6),), {"stride": 1, "padding": 1}, args=((3, 2),)),
    ],
    method=False,
)
@composite
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Tensor:
    """PyTorch's ``avg_pool2d``: the mean of each window of images.

    Parameters
    ----------
    input, kernel_size, stride, ceil_mode
        As for `max_pool2d`.
    padding : int or pair of int
        Zeros around the image, at most half of the window's size.
    count_include_pad : bool
        Whether these zeros count.
    divisor_override : int, optional
        To divide sums by, instead of the number of elements.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.avg_pool2d(tg.reshape(tg.arange(16.0), (1, 4, 4)), 2).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    options = (stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool2d", 2, input, kernel_size, *options)
