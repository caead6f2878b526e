"""Numerical calculus on samples: gradients, integrals, interpolation, unwrapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.ops.axes import axes_tuple, axis_index
from tapegrad.ops.movement import narrow, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite
from tapegrad.ops.table import Domain, Sample, ns, public
from tapegrad.spec import result_dtype
from tapegrad.tensor import Tensor, tensor_from_array


def along(x: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector as an array of ``ndim`` axes that extends over one of them."""
    return reshaped(x, (1,) * axis + (x._spec.size,) + (1,) * (ndim - axis - 1))


# --- differences ----------------------------------------------------------------------------------


def _spacings(name: str, shape: tuple[int, ...], axes: Sequence[int], given: tuple) -> list[Any]:
    """One distance, or one vector of coordinates, per axis."""
    if not given:
        return [1.0] * len(axes)
    if len(given) == 1 and as_operand(given[0], name)._spec.ndim == 0:
        return [given[0]] * len(axes)
    if len(given) != len(axes):
        raise TypeError(f"{name}: invalid number of arguments: {len(given)} spacings for {len(axes)} axes")
    out: list[Any] = []
    for axis, value in zip(axes, given):
        v = as_operand(value, name)
        if v._spec.ndim > 1:
            raise ValueError(f"{name}: distances must be either scalars or 1d, not of shape {v.shape}")
        if v._spec.ndim == 1 and v._spec.size != shape[axis]:
            raise ValueError(
                f"{name}: when 1d, distances must match the length of the corresponding dimension: "
                f"{v.shape} for axis {axis} of shape {shape}"
            )
        out.append(value if v._spec.ndim == 0 else v)
    return out


def _gradient_along(f: Tensor, axis: int, h: Any, edge_order: int) -> Tensor:
    n, ndim = f._spec.shape[axis], f._spec.ndim

    def part(start: int, count: int) -> Tensor:
        return narrow(f, axis, start, count)

    if isinstance(h, Tensor) and h._spec.ndim == 1:
        steps = ns.diff(cast(h, f._spec.dtype))

        def step(k: int, count: int = 1) -> Any:
            return along(narrow(steps, 0, k, count), axis, ndim)

        before, after = step(0, n - 2), step(1, n - 2)
        both = before + after
        # The derivative of the parabola through three points (Fornberg 1988).
        inner = (
            -after / (before * both) * part(0, n - 2)
            + (after - before) / (before * after) * part(1, n - 2)
            + before / (after * both) * part(2, n - 2)
        )
    else:

        def step(k: int, count: int = 1) -> Any:
            return h

        inner = (part(2, n - 2) - part(0, n - 2)) / (2.0 * h)
    if edge_order == 1:
        first = (part(1, 1) - part(0, 1)) / step(0)
        last = (part(n - 1, 1) - part(n - 2, 1)) / step(n - 2)
    elif isinstance(h, Tensor) and h._spec.ndim == 1:
        a, b = step(0), step(1)
        first = -(2.0 * a + b) / (a * (a + b)) * part(0, 1) + (a + b) / (a * b) * part(1, 1)
        first = first - a / (b * (a + b)) * part(2, 1)
        a, b = step(n - 3), step(n - 2)
        last = b / (a * (a + b)) * part(n - 3, 1) - (a + b) / (a * b) * part(n - 2, 1)
        last = last + (2.0 * b + a) / (b * (a + b)) * part(n - 1, 1)
    else:
        first = (-1.5 * part(0, 1) + 2.0 * part(1, 1) - 0.5 * part(2, 1)) / h
        last = (0.5 * part(n - 3, 1) - 2.0 * part(n - 2, 1) + 1.5 * part(n - 1, 1)) / h
    return ns.concat((first, inner, last), axis=axis)


@public(
    reference=np.gradient,
    samples=[
        Sample(((5,),)),
        Sample(((3, 4),)),
        Sample(((4, 3),), {"axis": 0, "edge_order": 2}, args=(0.5,)),
        Sample(((5,),), {"edge_order": 2}, args=(np.int8([0, 1, 3, 4, 8]),)),
        Sample(((2, 4),), {"axis": (0, 1)}, args=(2.0, np.int8([0, 1, 3, 4]))),
        Sample(
            ((5,), (5,)),
            {"edge_order": 2},
            prepare=lambda f, x: (f, x.cumsum()),
            domain=Domain(0.5, 2.0),
        ),
    ],
    method=False,
)
@composite
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The derivative of sampled values along axes: central differences, one-sided at the ends.

    Parameters
    ----------
    f : array_like
    *varargs : float or array_like, optional
        Distance of the samples: one number for all axes, or for each axis a number or the samples'
        coordinates (differentiable, too).  Default 1.
    axis : int or tuple of int, optional
        Default all.
    edge_order : {1, 2}
        Order of accuracy at the ends.

    Returns
    -------
    Tensor, or a tuple of them, one per axis, if there are several axes.

    Raises
    ------
    ValueError
        If an axis has fewer than ``edge_order + 1`` samples, or coordinates do not fit.
    TypeError
        If there are neither one nor as many spacings as axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gradient(tg.tensor([1.0, 2.0, 4.0, 7.0]))
    tensor([1.0000, 1.5000, 2.5000, 3.0000])
    """
    f = as_inexact(f, "gradient")
    shape = f._spec.shape
    if axis is None or isinstance(axis, (tuple, list)):  # in the order given, as NumPy has it
        given = range(len(shape)) if axis is None else axis
        axes = [axis_index("gradient", a, len(shape)) for a in given]
        axes_tuple("gradient", tuple(axes), len(shape))
    else:
        axes = [axis_index("gradient", axis, len(shape))]
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order must be 1 or 2, not {edge_order!r}")
    for a in axes:
        if shape[a] < edge_order + 1:
            raise ValueError(
                f"gradient: shape of array too small to calculate a numerical gradient: axis {a} of shape "
                f"{shape}, at least {edge_order + 1} elements are required"
            )
    spacings = _spacings("gradient", shape, axes, varargs)
    out = tuple([_gradient_along(f, a, h, edge_order) for a, h in zip(axes, spacings)])
    return out[0] if len(out) == 1 else out


@public(
    reference=np.ediff1d,
    samples=[Sample(((2, 3),)), Sample(((4,),), {"to_begin": [5, 6], "to_end": 7})],
    method=False,
)
@composite
def ediff1d(x: Any, /, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """Differences of neighbours in the flattened array, with values put before and behind them.

    Raises
    ------
    TypeError
        If these values are of a dtype that does not fit.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ediff1d(tg.tensor([1.0, 4.0, 9.0]), to_end=0.0)
    tensor([3., 5., 0.])
    """
    x = as_operand(x, "ediff1d")
    parts = [ns.diff(reshaped(x, (x._spec.size,)))]
    for extra, at in ((to_begin, 0), (to_end, len(parts) + 1)):
        if extra is not None:
            e = as_operand(extra, "ediff1d")
            if not np.can_cast(e._spec.dtype, x._spec.dtype, "same_kind"):
                raise TypeError(f"ediff1d: values of dtype {e.dtype} do not fit an array of dtype {x.dtype}")
            parts.insert(at, cast(reshaped(e, (e._spec.size,)), x._spec.dtype))
    return ns.concat(parts) if len(parts) > 1 else parts[0]


@public(
    reference=np.unwrap,
    samples=[
        Sample(((6,),), domain=Domain(-8.0, 8.0)),
        Sample(((3, 4),), {"axis": 0, "period": 2.5}),
        Sample(((6,),), {"discont": 4.0}, domain=Domain(-8.0, 8.0)),
    ],
    method=False,
)
@composite
def unwrap(p: Any, /, discont: float | None = None, axis: int = -1, *, period: float = 2 * np.pi) -> Tensor:
    """Undo jumps along an axis: neighbours come to differ by half a period at most.

    What is added is a multiple of the period, hence a constant: the derivative is the identity.

    Parameters
    ----------
    discont : float, optional
        Jumps up to this are left alone; default (and least) half a period.
    axis : int
    period : float

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unwrap(tg.tensor([0.0, 3.0, 7.0]), period=4.0)
    tensor([ 0., -1., -1.])
    """
    p = as_operand(p, "unwrap")
    dtype = result_dtype(p._spec.dtype, period)
    if p._spec.kind == "b":
        p = cast(p, np.dtype("int64"))
    k = axis_index("unwrap", axis, p._spec.ndim)
    d = ns.diff(p.detach(), axis=k)
    whole = np.dtype(dtype).kind in "iu"
    high, odd = divmod(period, 2) if whole else (period / 2, 0)
    low = -high
    fixed = ns.remainder(d - low, period) + low
    if not odd:
        fixed = ns.where(ns.logical_and(ns.equal(fixed, low), ns.greater(d, 0)), high, fixed)
    jump = ns.where(ns.less(ns.abs(d), period / 2 if discont is None else discont), 0, fixed - d)
    jump = cast(ns.cumulative_sum(jump, axis=k), dtype)
    first = tensor_from_array(np.zeros((*p.shape[:k], min(1, p.shape[k]), *p.shape[k + 1 :]), dtype))
    return cast(p, dtype) + ns.concat((first, jump), axis=k)


# --- integrals ------------------------------------------------------------------------------------


def _panels(name: str, y: Any, x: Any, dx: Any, axis: int) -> tuple[Tensor, int]:
    """Areas between neighbouring samples, and the axis they are along."""
    y = as_inexact(y, name)
    k = axis_index(name, axis, y._spec.ndim)
    n = y._spec.shape[k]
    m = max(n - 1, 0)
    if x is None:
        d = dx
        if isinstance(d, (np.ndarray, list, tuple, Tensor)):
            d = as_inexact(d, name)
    else:
        x = as_inexact(x, name)
        if x._spec.ndim == 1:
            if x._spec.size != n:
                raise ValueError(f"{name}: x of shape {x.shape} does not fit axis {k} of shape {y.shape}")
            d = along(ns.diff(x), k, y._spec.ndim)
        else:
            d = ns.diff(x, axis=axis if axis < 0 else k)
    return d * (narrow(y, k, 1, m) + narrow(y, k, 0, m)) / 2.0, k


_NUMPY_TRAPEZOID: Any = getattr(np, "trapezoid", None) or np.trapz  # NumPy 2's name, NumPy 1's


@public(
    reference=_NUMPY_TRAPEZOID,
    samples=[
        Sample(((5,),)),
        Sample(((3, 4),), {"dx": 0.5, "axis": 0}),
        Sample(((3, 4), (4,))),
        Sample(((3, 4), (3, 4)), {"axis": 0}),
    ],
    aliases=("trapz",),
    method=False,
)
@composite
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of samples by the trapezoidal rule.

    Parameters
    ----------
    y : array_like
    x : array_like, optional
        Where the samples were taken: one axis, or ``y``'s shape.  Gradients reach it, too.
    dx : float
        Their distance, if ``x`` is not given.
    axis : int

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.trapezoid(tg.tensor([1.0, 2.0, 4.0]))
    tensor(4.5000)
    """
    area, k = _panels("trapezoid", y, x, dx, axis)
    return ns.sum(area, axis=k)


def _cumulative_trapezoid(*args: Any, **kwargs: Any) -> Any:
    from scipy.integrate import cumulative_trapezoid

    return cumulative_trapezoid(*args, **kwargs)


@public(
    reference=_cumulative_trapezoid,
    samples=[
        Sample(((5,),)),
        Sample(((3, 4),), {"dx": 0.5, "axis": 0, "initial": 0}),
        Sample(((3, 4), (4,))),
    ],
    method=False,
)
@composite
def cumulative_trapezoid(
    y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: float | None = None
) -> Tensor:
    """Running integrals of samples by the trapezoidal rule, with SciPy's arguments.

    Parameters
    ----------
    y, x, dx, axis
        As for `trapezoid`.
    initial : {0, None}
        With 0 the result starts with it, and is as long as ``y``.

    Raises
    ------
    ValueError
        If ``initial`` is neither.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cumulative_trapezoid(tg.tensor([1.0, 2.0, 4.0]), initial=0)
    tensor([0.0000, 1.5000, 4.5000])
    """
    if initial is not None and initial != 0:
        raise ValueError(f"cumulative_trapezoid: initial must be None or 0, not {initial!r}")
    area, k = _panels("cumulative_trapezoid", y, x, dx, axis)
    return ns.cumulative_sum(area, axis=k, include_initial=initial is not None)


# --- interpolation --------------------------------------------------------------------------------


def _rising(*operands: Any) -> tuple:
    x, xp, fp = operands
    return x, xp.cumsum(), fp


@public(
    reference=np.interp,
    samples=[
        Sample(((4,), (5,), (5,)), prepare=_rising, domain=Domain(0.5, 2.5)),
        Sample(((2, 3), (5,), (5,)), {"left": -1.0}, prepare=_rising, domain=Domain(0.25, 3.0)),
        Sample(((3,),), args=(np.float32([0, 1, 3]), np.float32([2, -1, 0]))),
        Sample(((3,),), {"period": 4}, args=(np.float32([3, 1, 6.5]), np.float32([2, -1, 0]))),
    ],
    method=False,
    kink="the slope to the right of a sample",
)
@composite
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Tensor:
    """Linear interpolation through the points ``(xp, fp)``, constant outside of them.

    Gradients reach ``x``, ``xp`` and ``fp``.  At a point the derivative by ``x`` is the slope to its right;
    at the last one that to its left.

    Parameters
    ----------
    x : array_like
        Any shape.
    xp, fp : array_like, one axis
        ``xp`` must increase, unless there is a period.
    left, right : float, optional
        Values outside; default the first and the last of ``fp``.
    period : float, optional
        ``x`` and ``xp`` are taken modulo this; then ``left`` and ``right`` mean nothing.

    Raises
    ------
    ValueError
        If ``xp`` and ``fp`` are not vectors of one length, or empty, or the period is zero.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.interp(tg.tensor([0.5, 3.0]), [0.0, 1.0, 2.0], [0.0, 10.0, 30.0])
    tensor([ 5., 30.])
    """
    x, xp, fp = as_inexact(x, "interp"), as_inexact(xp, "interp"), as_inexact(fp, "interp")
    n = xp._spec.size
    if xp._spec.ndim != 1 or fp._spec.shape != xp._spec.shape:
        raise ValueError(f"interp: xp and fp must be vectors of one length, not of {xp.shape} and {fp.shape}")
    if n == 0:
        raise ValueError("interp: array of sample points is empty: xp and fp of shape (0,)")
    if period is not None:
        if period == 0:
            raise ValueError("interp: period must be a non-zero value")
        period = abs(period)
        x, xp = ns.remainder(x, period), ns.remainder(xp, period)
        order = ns.argsort(xp)
        xp, fp = ns.take(xp, order), ns.take(fp, order)
        xp = ns.concat((narrow(xp, 0, n - 1, 1) - period, xp, narrow(xp, 0, 0, 1) + period))
        fp = ns.concat((narrow(fp, 0, n - 1, 1), fp, narrow(fp, 0, 0, 1)))
        n, left, right = n + 2, None, None
    start, end = ns.take(xp, 0), ns.take(xp, n - 1)
    left = ns.take(fp, 0) if left is None else left
    right = ns.take(fp, n - 1) if right is None else right
    if n == 1:
        inside = ns.take(fp, 0)  # for NaN, too, as NumPy has it
    else:
        i = ns.clip(ns.searchsorted(xp, x, side="right"), 1, n - 1)
        low, bottom = ns.take(xp, i - 1), ns.take(fp, i - 1)
        inside = bottom + (x - low) / (ns.take(xp, i) - low) * (ns.take(fp, i) - bottom)
    return ns.where(ns.less(x, start), left, ns.where(ns.greater(x, end), right, inside))
