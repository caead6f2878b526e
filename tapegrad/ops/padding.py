"""Padding, in all of NumPy's modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.ops.axes import axis_index, contiguous
from tapegrad.ops.movement import broadcasted, narrow, set_movement
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.tensor import Tensor, tensor_from_array

Widths = list[tuple[int, int]]

STATISTICS = ("maximum", "mean", "median", "minimum")
OPTIONS = {
    "constant": {"constant_values"},
    "reflect": {"reflect_type"},
    "symmetric": {"reflect_type"},
    "linear_ramp": {"end_values"},
    **{name: {"stat_length"} for name in STATISTICS},
    **{name: set() for name in ("edge", "wrap", "empty")},
}


def _widths(pad_width: Any, ndim: int) -> Widths:
    if isinstance(pad_width, dict):  # of some axes
        found: Widths = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            found[axis_index("pad", axis, ndim)] = (width, width) if np.ndim(width) == 0 else tuple(width)
        pad_width = found if ndim else 0
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu":
        raise TypeError("pad: pad_width must be of integral type")
    if (widths < 0).any():
        raise ValueError("pad: index can't contain negative values")
    return [(int(a), int(b)) for a, b in _pairs("pad_width", widths, ndim)]


def _pairs(what: str, value: Any, ndim: int) -> Any:
    """Something for before and after each axis."""
    value = np.asarray(value)
    try:
        return np.broadcast_to(value, (ndim, 2))
    except ValueError:
        raise ValueError(f"pad: {what} of shape {value.shape} does not fit an array of {ndim} axes") from None


def _into(x: Tensor, widths: Widths, values: Any) -> Tensor:
    """``x`` among constants."""
    shape = x._spec.shape
    hole = np.broadcast_to(np.zeros((), x._spec.dtype), shape)
    base = np.pad(hole, widths or 0, mode="constant", constant_values=values)
    strides = contiguous(base.shape)
    start = sum(before * s for (before, _), s in zip(widths, strides))
    return set_movement(tensor_from_array(base), x, shape, strides, start if x._spec.size else 0)


def _constant(x: Tensor, widths: Widths, values: Any) -> Tensor:
    if isinstance(values, Tensor) and values._spec.ndim == 0 and values.requires_grad:
        inside = np.pad(np.ones(x._spec.shape, bool), widths or 0)  # so that gradients reach the constant
        return ns.where(inside, _into(x, widths, 0), cast(values, x._spec.dtype))
    return _into(x, widths, values._realize() if isinstance(values, Tensor) else values)


def _beside(x: Tensor, k: int, before: Tensor | None, after: Tensor | None) -> Tensor:
    parts = [p for p in (before, x, after) if p is not None]
    return ns.concat(parts, axis=k) if len(parts) > 1 else x


def _repeated(part: Tensor, k: int, n: int) -> Tensor:
    shape = part._spec.shape
    return broadcasted(part, (*shape[:k], n, *shape[k + 1 :]))


def _ramp(x: Tensor, k: int, width: tuple[int, int], ends: Any) -> Tensor:
    """Straight lines from the edge to a value at the end."""
    n, ndim, whole = x._spec.shape[k], x._spec.ndim, x._spec.kind not in "fc"

    def line(side: int) -> Tensor | None:
        count, end = width[side], ends[side]
        if not count:
            return None
        edge = narrow(x, k, n - 1 if side else 0, 1)
        edge = cast(edge, np.dtype("float64")) if whole else edge
        steps = np.arange(count)[::-1] if side else np.arange(count)  # 0 at the end
        steps = steps.reshape((-1,) + (1,) * (ndim - k - 1)).astype(edge._spec.dtype)
        out = steps * ((edge - float(end)) / count) + float(
            end
        )  # in NumPy's order, for it rounds integers down
        return cast(ns.floor(out), x._spec.dtype) if whole else cast(out, x._spec.dtype)

    return _beside(x, k, line(0), line(1))


def _statistic(x: Tensor, k: int, width: tuple[int, int], lengths: Any, mode: str) -> Tensor:
    n = x._spec.shape[k]
    names: dict[str, Callable] = {"maximum": ns.max, "mean": ns.mean, "median": ns.median, "minimum": ns.min}

    def value(side: int) -> Tensor | None:
        if not width[side]:
            return None
        m = n if lengths[side] is None else min(int(lengths[side]), n)
        if m == 0 and mode in ("maximum", "minimum"):
            raise ValueError("pad: stat_length of 0 yields no value for padding")
        part = narrow(x, k, 0 if side == 0 else n - m, m)
        found = names[mode](part, axis=k, keepdims=True)
        if x._spec.kind in "iu" and found._spec.differentiable:
            found = ns.round(found)
        return _repeated(cast(found, x._spec.dtype), k, width[side])

    return _beside(x, k, value(0), value(1))


def _odd(x: Tensor, k: int, width: tuple[int, int], include: bool) -> Tensor:
    """Reflected in points: twice the edge less what lies on the other side, as often as it takes."""
    period = x._spec.shape[k]
    left, right = width
    if period == 1 and not include:  # as NumPy has it
        return _beside(
            x, k, _repeated(x, k, left) if left else None, _repeated(x, k, right) if right else None
        )
    skip = 0 if include else 1
    while left or right:
        n = x._spec.shape[k]
        whole = n // period * period if include else (n - 1) // (period - 1) * (period - 1) + 1
        a, b = min(left, whole - skip), min(right, whole - skip)
        before = after = None
        if a:
            before = narrow(x, k, 0, 1) * 2 - ns.flip(narrow(x, k, skip, a), axis=k)
        if b:
            after = narrow(x, k, n - 1, 1) * 2 - ns.flip(narrow(x, k, n - skip - b, b), axis=k)
        x = _beside(x, k, before, after)
        left, right = left - a, right - b
    return x


@public(
    reference=np.pad,
    samples=[
        Sample(((3, 4),), args=(1,)),
        Sample(((3,),), {"constant_values": 2.0}, args=((1, 2),)),
        Sample(((3, 4),), {"mode": "edge"}, args=(((1, 2), (0, 3)),)),
        Sample(((4, 5),), {"mode": "reflect"}, args=(2,)),
        Sample(((4, 5),), {"mode": "symmetric"}, args=(2,)),
        Sample(((4, 5),), {"mode": "wrap"}, args=(2,)),
        Sample(((3, 4),), {"mode": "linear_ramp", "end_values": (1, -2)}, args=(((1, 2), (0, 3)),)),
        Sample(((3, 4),), {"mode": "mean", "stat_length": 2}, args=(((1, 2), (0, 3)),)),
        Sample(((3, 4),), {"mode": "maximum"}, args=(1,)),
        Sample(((4,),), {"mode": "reflect", "reflect_type": "odd"}, args=((5, 2),)),
        Sample(((3, 2),), {"mode": "symmetric", "reflect_type": "odd"}, args=(3,)),
    ],
    method=False,
)
@composite
def pad(
    x: Any,
    /,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str | None = None,
) -> Tensor:
    """Pad an array, with NumPy's arguments.

    Parameters
    ----------
    pad_width : int, (before, after), one such pair per axis, or a dict of these by axis
    mode : str
        ``"constant"``, ``"edge"``, ``"reflect"``, ``"symmetric"``, ``"wrap"``, ``"linear_ramp"``,
        ``"maximum"``, ``"mean"``, ``"median"``, ``"minimum"`` or ``"empty"`` (zeros).
    constant_values : number, or as ``pad_width``
        With ``"constant"``; default 0.  Gradients reach a tensor without axes.
    end_values : number, or as ``pad_width``
        With ``"linear_ramp"``: what lines from the edges end with; default 0.
    stat_length : int, or as ``pad_width``
        With maxima, means, medians and minima: of how many elements at the edge; default all.
    reflect_type : {"even", "odd"}
        With reflections: in lines, or in points.

    Raises
    ------
    ValueError
        If the mode is unknown or takes no such option, or a width is negative.
    TypeError
        If a width is not an integer.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.pad(tg.tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    x = as_operand(x, "pad")
    shape = x._spec.shape
    widths = _widths(pad_width, len(shape))
    if not isinstance(mode, str) or mode not in OPTIONS:
        raise ValueError(f"pad: mode {mode!r} is not supported")
    options = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    if unknown := {name for name, value in options.items() if value is not None} - OPTIONS[mode]:
        raise ValueError(f"pad: unsupported keyword arguments for mode {mode!r}: {sorted(unknown)}")
    if mode in ("constant", "empty"):
        return _constant(x, widths, 0 if constant_values is None else constant_values)
    if reflect_type not in ("even", "odd", None):
        raise ValueError(f"pad: reflect_type must be 'even' or 'odd', not {reflect_type!r}")
    ends = _pairs("end_values", 0 if end_values is None else end_values, len(shape))
    lengths = _pairs("stat_length", stat_length, len(shape))
    for k, width in enumerate(widths):
        if width == (0, 0):
            continue
        if shape[k] == 0:
            raise ValueError(f"pad: can't extend empty axis {k} of shape {shape} in mode {mode!r}")
        if mode == "linear_ramp":
            x = _ramp(x, k, width, ends[k])
        elif mode in STATISTICS:
            x = _statistic(x, k, width, lengths[k], mode)
        elif reflect_type == "odd":
            x = _odd(x, k, width, mode == "symmetric")
        else:
            x = ns.take(x, np.pad(np.arange(shape[k]), width, mode=mode), axis=k)  # type: ignore[call-overload]
    return x
