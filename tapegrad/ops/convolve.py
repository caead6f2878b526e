"""Functions that convolve: PyTorch's for signals and images, NumPy's for vectors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.convolution import adjoint_by_input, convolution
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_operand, cast, composite, conjugated
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import INT64, result_dtype
from tapegrad.tensor import Tensor

__all__ = ["pairs"]


def pairs(name: str, what: str, value: Any, n: int, least: int = 1) -> tuple[int, ...]:
    """An integer, or one for each of ``n`` axes."""
    try:
        values = (operator.index(value),) * n
    except TypeError:
        try:
            values = tuple([operator.index(v) for v in value])
        except TypeError:
            raise TypeError(f"{name}: {what} must be an integer or {n} of them, not {value!r}") from None
        values = values * n if len(values) == 1 else values
    if len(values) != n or min(values) < least:
        raise ValueError(f"{name}: {what} must be {n} integers from {least}, not {value!r}")
    return values


def _padding(
    name: str, padding: Any, n: int, kernel: Sequence[int], stride: Any, dilation: Any
) -> list[tuple[int, int]]:
    """Zeros before and after, for each axis."""
    if padding == "valid":
        return [(0, 0)] * n
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding='same' is not supported for strided convolutions ({stride})")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return [(t // 2, t - t // 2) for t in totals]
    if isinstance(padding, str):
        raise ValueError(f"{name}: padding must be integers, 'same' or 'valid', not {padding!r}")
    return [(p, p) for p in pairs(name, "padding", padding, n, 0)]


def _operands(name: str, *values: Any) -> list[Tensor]:
    tensors = [as_operand(v, name) for v in values]
    dtype = result_dtype(*[t._spec.dtype for t in tensors])
    if dtype.kind == "b":
        raise TypeError(f"{name}: not defined for booleans; use a cast first")
    return [cast(t, dtype) for t in tensors]


def _convolve(
    name: str,
    n: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    output_padding: Any = None,
) -> Tensor:
    """PyTorch's functions for ``n`` axes; transposed if there is an ``output_padding``."""
    x, w, *rest = _operands(name, x, weight, *(() if bias is None else (bias,)))
    transposed = output_padding is not None
    groups = operator.index(groups)
    if w._spec.ndim != n + 2 or x._spec.ndim not in (n + 1, n + 2):
        raise ValueError(
            f"{name}: takes input of {n + 1} or {n + 2} axes and weights of {n + 2}, not shapes "
            f"{x.shape} and {w.shape}"
        )
    single = x._spec.ndim == n + 1
    x = reshaped(x, (1, *x._spec.shape)) if single else x
    kernel, lengths = w._spec.shape[2:], x._spec.shape[2:]
    channels, outputs = w._spec.shape[1] * groups, w._spec.shape[0]
    if transposed:
        channels, outputs = outputs, channels
    if groups < 1 or w._spec.shape[0] % groups or x._spec.shape[1] != channels or min(kernel) < 1:
        raise ValueError(
            f"{name}: input of shape {x.shape} does not fit weights of shape {w.shape} and {groups} groups"
        )
    if rest and rest[0]._spec.shape != (outputs,):
        raise ValueError(f"{name}: bias of shape {rest[0].shape} for {outputs} outputs")
    stride, dilation = pairs(name, "stride", stride, n), pairs(name, "dilation", dilation, n)
    pads = _padding(name, padding, n, kernel, stride, dilation)
    if transposed:
        extra = pairs(name, "output_padding", output_padding, n, 0)
        size = _full_size(name, lengths, kernel, stride, pads, dilation, extra)
        # What is added behind is less padding there, so that the convolution back gives what was given.
        pads = [(p, q - e) for (p, q), e in zip(pads, extra)]
    elif any(a + p + q < d * (k - 1) + 1 for a, (p, q), d, k in zip(lengths, pads, dilation, kernel)):
        raise ValueError(
            f"{name}: a kernel of shape {kernel}, dilation {dilation}, is greater than the padded input of "
            f"shape {lengths}"
        )
    if n == 1:
        x, w = (reshaped(t, (*t._spec.shape[:2], 1, t._spec.shape[2])) for t in (x, w))
        stride, dilation, pads = (1, *stride), (1, *dilation), [(0, 0), *pads]
    static = {"stride": stride, "padding": (*pads[0], *pads[1]), "dilation": dilation, "groups": groups}
    if transposed:
        out = adjoint_by_input(x, w, size if n == 2 else (1, *size), static)
    else:
        out = convolution(x, w, static)
    if n == 1:
        out = reshaped(out, (*out._spec.shape[:2], out._spec.shape[3]))
    if rest:
        out = ns.add(out, reshaped(rest[0], (outputs, *[1] * n)))
    return reshaped(out, out._spec.shape[1:]) if single else out


def _full_size(
    name: str, lengths: Any, kernel: Any, stride: Any, pads: Any, dilation: Any, extra: Any
) -> tuple[int, ...]:
    """The size of a transposed convolution's result."""
    each = zip(lengths, kernel, stride, pads, dilation, extra)
    size = tuple([(a - 1) * s - p - q + d * (k - 1) + e + 1 for a, k, s, (p, q), d, e in each])
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{name}: output_padding {extra} must be less than stride or dilation")
    if min(size) < 1 or min(lengths) < 1:
        raise ValueError(f"{name}: input of shape {lengths} gives output of shape {size}")
    return size


# --- PyTorch's functions --------------------------------------------------------------------------

EVERY2 = (slice(None),) * 2


def _reference(
    x: Any, w: Any, b: Any = None, stride: int = 1, padding: Any = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """The sum of the definition, for any number of axes, in NumPy."""
    n, kernel = w.ndim - 2, w.shape[2:]
    single = x.ndim == n + 1
    x = x[None] if single else x
    total = [dilation * (k - 1) for k in kernel]
    pads = [(t // 2, t - t // 2) for t in total] if padding == "same" else [(padding, padding)] * n
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    places = [(m - t - 1) // stride + 1 for m, t in zip(x.shape[2:], total)]
    out: Any = 0
    for tap in np.ndindex(*kernel):
        starts = [t * dilation for t in tap]
        cut = tuple([slice(t, t + (m - 1) * stride + 1, stride) for t, m in zip(starts, places)])
        part = x[EVERY2 + cut].reshape(len(x), groups, -1, *places)
        weight = w[EVERY2 + tap].reshape(groups, -1, w.shape[1])
        out = out + np.einsum("ngc...,gfc->ngf...", part, weight).reshape(len(x), -1, *places)
    out = out if b is None else out + np.reshape(b, (-1, *[1] * n))
    return out[0] if single else out


@public(
    reference=_reference,
    samples=[
        Sample(((2, 2, 7), (3, 2, 3), (3,))),
        Sample(((2, 7), (2, 2, 2)), {"padding": "same"}),
        Sample(((1, 4, 8), (2, 2, 2)), {"stride": 2, "dilation": 2, "padding": 1, "groups": 2}),
    ],
    method=False,
)
@composite
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """PyTorch's ``conv1d``: the correlation of signals with weights, summed over channels.

    Parameters
    ----------
    input : array_like, shape (images, channels, n) or (channels, n)
    weight : array_like, shape (outputs, channels / groups, k)
    bias : array_like, shape (outputs,), optional
    stride, padding, dilation, groups
        As for `conv2d`.

    Returns
    -------
    Tensor, shape (images, outputs, places) or (outputs, places).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.conv1d(tg.tensor([[1.0, 2.0, 4.0]]), tg.tensor([[[-1.0, 1.0]]]))
    tensor([[1., 2.]])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@public(
    reference=_reference,
    samples=[
        Sample(((2, 2, 4, 5), (3, 2, 3, 2), (3,))),
        Sample(((1, 3, 4), (2, 1, 2, 3)), {"padding": "same"}),
        Sample(((1, 2, 5, 6), (2, 1, 2, 2)), {"stride": 2, "dilation": 2, "padding": 1, "groups": 2}),
        Sample(((1, 1, 5, 5), (1, 1, 2, 2)), {"stride": 3}),
    ],
    method=False,
)
@composite
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """PyTorch's ``conv2d``: the correlation of images with weights, summed over channels.

    Parameters
    ----------
    input : array_like, shape (images, channels, height, width) or (channels, height, width)
    weight : array_like, shape (outputs, channels / groups, k, l)
    bias : array_like, shape (outputs,), optional
        Added to each output channel.
    stride : int or pair of int
        Distance of neighbouring places of the window.
    padding : int, pair of int, "same" or "valid"
        Zeros around the image; ``"same"``, for strides of one, gives results of the image's size.
    dilation : int or pair of int
        Distance of the elements that neighbouring weights meet.
    groups : int
        Channels and outputs are cut into so many groups, each convolved by itself.

    Returns
    -------
    Tensor, shape (images, outputs, rows, columns), without ``images`` if ``input`` has none.

    Raises
    ------
    ValueError
        If shapes and groups do not fit, or the window is larger than the padded image.

    Notes
    -----
    Derivatives are convolutions, so they exist to any order.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.conv2d(tg.ones((1, 1, 3, 3)), tg.ones((1, 1, 2, 2))).shape
    (1, 1, 2, 2)
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def _transposed_reference(
    x: Any,
    w: Any,
    b: Any = None,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Any:
    """The adjoint of the definition, for any number of axes, in NumPy."""
    n, kernel = w.ndim - 2, w.shape[2:]
    full = [(m - 1) * stride + dilation * (k - 1) + 1 + output_padding for m, k in zip(x.shape[2:], kernel)]
    out = np.zeros((len(x), groups, w.shape[1], *full), np.result_type(x, w))
    parts = x.reshape(len(x), groups, -1, *x.shape[2:])
    for tap in np.ndindex(*kernel):
        starts = [t * dilation for t in tap]
        cut = tuple([slice(t, t + (m - 1) * stride + 1, stride) for t, m in zip(starts, x.shape[2:])])
        weight = w[EVERY2 + tap].reshape(groups, -1, w.shape[1])
        out[(slice(None),) + EVERY2 + cut] += np.einsum("ngf...,gfc->ngc...", parts, weight)
    out = out.reshape(len(x), -1, *full)[EVERY2 + tuple([slice(padding, m - padding) for m in full])]
    return out if b is None else out + np.reshape(b, (-1, *[1] * n))


@public(
    reference=_transposed_reference,
    samples=[
        Sample(((2, 2, 5), (2, 3, 3), (3,))),
        Sample(((1, 4, 3), (4, 1, 2)), {"stride": 2, "output_padding": 1, "groups": 2, "padding": 1}),
    ],
    method=False,
)
@composite
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """PyTorch's ``conv_transpose1d``: the adjoint of `conv1d`; arguments as for `conv_transpose2d`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.conv_transpose1d(tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 10.0]]]))
    tensor([[ 1., 12., 20.]])
    """
    return _transposed(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public(
    reference=_transposed_reference,
    samples=[
        Sample(((1, 2, 3, 2), (2, 3, 2, 3), (3,))),
        Sample(((1, 2, 2, 3), (2, 1, 3, 2)), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
        Sample(((1, 1, 2, 2), (1, 1, 2, 2)), {"stride": 3, "dilation": 2}),
    ],
    method=False,
)
@composite
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """PyTorch's ``conv_transpose2d``: the adjoint of `conv2d` by its input.

    Parameters
    ----------
    input : array_like, shape (images, channels, height, width) or (channels, height, width)
    weight : array_like, shape (channels, outputs / groups, k, l)
    bias : array_like, shape (outputs,), optional
    stride, padding, dilation : int or pair of int
        Those of the convolution that this is the adjoint of.
    output_padding : int or pair of int
        Rows and columns that are added at the end: a convolution with strides may leave out some.
    groups : int

    Raises
    ------
    ValueError
        If shapes and groups do not fit, or ``output_padding`` is not less than stride or dilation.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.conv_transpose2d(tg.ones((1, 1, 2, 2)), tg.ones((1, 1, 2, 2)), stride=2).shape
    (1, 1, 4, 4)
    """
    return _transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _transposed(
    name: str,
    n: int,
    x: Any,
    w: Any,
    b: Any,
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    if isinstance(padding, str):
        raise TypeError(f"{name}: padding must be integers, not {padding!r}")
    return _convolve(name, n, x, w, b, stride, padding, dilation, groups, extra)


# --- NumPy's functions ----------------------------------------------------------------------------


def _sliding(name: str, a: Any, v: Any, mode: Any, turned: bool) -> Tensor:
    """Sums of products of ``v`` with each stretch of ``a``; ``turned`` end to end first."""
    a, v = as_operand(a, name), as_operand(v, name)
    for t, what in ((a, "a"), (v, "v")):
        if t._spec.ndim > 1:
            raise ValueError(f"{name}: object too deep for desired array: {what} has shape {t.shape}")
        if t._spec.size == 0:
            raise ValueError(f"{name}: {what} cannot be empty")
    dtype = result_dtype(a._spec.dtype, v._spec.dtype)
    if dtype.kind == "b":
        return ns.not_equal(_sliding(name, cast(a, INT64), cast(v, INT64), mode, turned), 0)
    longer, shorter = (reshaped(cast(t, dtype), (1, 1, 1, t._spec.size)) for t in (a, v))
    back = longer._spec.size < shorter._spec.size
    if back:
        longer, shorter = shorter, longer
    m = shorter._spec.size
    paddings = {"valid": (0, 0), "same": (m // 2, m - m // 2 - 1), "full": (m - 1, m - 1)}
    if mode not in paddings:
        raise ValueError(f"{name}: mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    weight = ns.flip(shorter, axis=3) if turned else shorter
    if not turned:  # the second vector is conjugated, whichever is slid along the other
        longer, weight = (conjugated(longer), weight) if back else (longer, conjugated(weight))
    static = {"stride": (1, 1), "padding": (0, 0, *paddings[mode]), "dilation": (1, 1), "groups": 1}
    out = convolution(longer, weight, static)
    out = reshaped(out, (out._spec.size,))
    return ns.flip(out) if back and not turned else out


SLIDING = (
    Sample(((5,), (3,))),
    Sample(((3,), (4,)), {"mode": "same"}),
    Sample(((6,), (4,)), {"mode": "same"}),
    Sample(((2,), (5,)), {"mode": "valid"}),
    Sample(((5,), (2,)), {"mode": "full"}),
)


@public(reference=np.convolve, samples=SLIDING, method=False)
@composite
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The discrete convolution of two vectors, as NumPy's: coefficients of a product of polynomials.

    Parameters
    ----------
    a, v : array_like, one axis
    mode : {"full", "same", "valid"}
        All places where they overlap, as many as the longer one has, or those where they overlap wholly.

    Raises
    ------
    ValueError
        If one has more than one axis or no elements, or the mode is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.convolve(tg.tensor([1.0, 2.0, 3.0]), [0.0, 1.0, 0.5])
    tensor([0.0000, 1.0000, 2.5000, 4.0000, 1.5000])
    """
    return _sliding("convolve", a, v, mode, True)


@public(reference=np.correlate, samples=SLIDING, method=False)
@composite
def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The cross-correlation of two vectors, as NumPy's; arguments as for `convolve`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.correlate(tg.tensor([1.0, 2.0, 3.0]), [0.0, 1.0, 0.5], mode="same")
    tensor([2.0000, 3.5000, 3.0000])
    """
    return _sliding("correlate", a, v, mode, False)
