"""Statistics, norms and the exponential family, over axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.kernels import normalise as kernels
from tapegrad.ops.axes import axes_tuple, axis_index, behind, size_of, split_at, strip_axes
from tapegrad.ops.movement import broadcasted, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, composite, record
from tapegrad.ops.reduce import SUM, keep_axes, masked, reduce_axes, torch_names
from tapegrad.ops.references import special
from tapegrad.ops.table import ROWS, Out, Sample, ns, public, section, structured
from tapegrad.spec import Spec, real_dtype
from tapegrad.tensor import Tensor

# --- rows -----------------------------------------------------------------------------------------


def _reduced(x: Spec, axes: tuple[int, ...], keepdims: bool) -> Out:
    return Out(strip_axes(x.shape, axes, keepdims), x.dtype, split_at(x.shape, axes))


def _along(x: Spec, axis: int) -> Out:
    return Out(x.shape, x.dtype, split_at(x.shape, (axis,)))


def _sum_along(x: Tensor, axis: int) -> Tensor:
    return record(SUM, (x,), {"axes": (axis,), "keepdims": True})


def _logsumexp_rule(g: Tensor, out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    # The softmax; where every element is -inf all weights are 0 rather than exp(-inf + inf).
    shift = keep_axes(out, x, axes)
    shift = ns.where(ns.equal(shift, -math.inf), 0.0, shift)
    return keep_axes(g, x, axes) * ns.exp(x - shift)


def _norm_rule(g: Tensor, out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    n = keep_axes(out, x, axes)
    zero = ns.equal(n, 0.0)
    return ns.where(zero, 0.0, keep_axes(g, x, axes) * (x / ns.where(zero, 1.0, n)))


def _reduced_batch(name: str) -> Any:
    def batch(n: int, batched: Any, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
        return record(ROWS[name], (x,), {"axes": behind(axes), "keepdims": keepdims})

    return batch


def _along_batch(name: str) -> Any:
    def batch(n: int, batched: Any, x: Tensor, axis: int) -> Tensor:
        return record(ROWS[name], (x,), {"axis": axis + 1})

    return batch


LOGSUMEXP = structured(
    "logsumexp",
    kernels.logsumexp,
    1,
    _reduced,
    rules=(_logsumexp_rule,),
    fastmath=True,
    batch=_reduced_batch("logsumexp"),
    split="reduce",
    doc="Logarithm of the sum of exponentials over consecutive axes.",
)
NORM2 = structured(
    "norm2",
    kernels.norm2,
    1,
    _reduced,
    rules=(_norm_rule,),
    batch=_reduced_batch("norm2"),
    split="reduce",
    kink="0 at 0",
    doc="Euclidean norm over consecutive axes.",
)
SOFTMAX = structured(
    "softmax",
    kernels.softmax,
    1,
    _along,
    rules=(lambda g, out, x, axis: out * (g - _sum_along(g * out, axis)),),
    batch=_along_batch("softmax"),
    split="along",
    doc="Exponentials divided by their sum along an axis.",
)
LOG_SOFTMAX = structured(
    "log_softmax",
    kernels.log_softmax,
    1,
    _along,
    rules=(lambda g, out, x, axis: g - ns.exp(out) * _sum_along(g, axis),),
    fastmath=True,
    batch=_along_batch("log_softmax"),
    split="along",
    doc="Logarithm of the softmax along an axis.",
)

section("reductions over axes")

SAMPLES = (
    Sample(((3, 4),)),
    Sample(((3, 4),), {"axis": 0}),
    Sample(((3, 4),), {"axis": -1, "keepdims": True}),
    Sample(((2, 3, 4),), {"axis": (0, 2)}),
)


WITH_MASK = Sample(((3, 4),), {"axis": 1, "where": np.array([True, False, True, True])})


@public(reference=np.mean, samples=[*SAMPLES, Sample(((),)), WITH_MASK])
@composite
def mean(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    where: Any = None,
    **names: Any,
) -> Tensor:
    """The arithmetic mean.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Which axes to average over; default all.  ``dim`` is PyTorch's name for it.
    dtype : dtype, optional
        To compute in; integers become float64.
    keepdims : bool
        Keep the axes, with length one.
    where : array_like of bool, optional
        Which elements to average.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.mean(tg.tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    if names:
        axis, keepdims = torch_names("mean", names, axis, keepdims)
    if isinstance(dtype, bool):  # PyTorch's second argument is keepdim
        dtype, keepdims = None, dtype
    x = as_inexact(x if dtype is None else ns.astype(x, dtype), "mean")
    axes = axes_tuple("mean", axis, x._spec.ndim)
    total = ns.sum(x, axis=axes, keepdims=keepdims, where=where)
    return total / _count(x, axes, keepdims, where)


def _count(x: Tensor, axes: tuple[int, ...], keepdims: bool, where: Any) -> Any:
    """How many elements a reduction looks at: a number, or a tensor if there is a mask."""
    if where is None or where is True:
        return float(size_of(tuple([x._spec.shape[a] for a in axes])))
    mask = ns.broadcast_to(as_operand(where), x._spec.shape)
    return cast(ns.count_nonzero(mask, axis=axes, keepdims=keepdims), real_dtype(x._spec.dtype))


def _centred(
    name: str,
    x: Any,
    axis: Any,
    dtype: Any,
    correction: Any,
    ddof: Any,
    keepdims: bool,
    where: Any,
    middle: Any,
) -> tuple[Tensor, tuple[int, ...], Any]:
    """Deviations from the mean (0 where masked), the axes, and what squares are divided by."""
    x = as_inexact(x if dtype is None else ns.astype(x, dtype), name)
    axes = axes_tuple(name, axis, x._spec.ndim)
    less = float(correction if ddof is None else ddof)
    divisor = _count(x, axes, keepdims, where) - less
    divisor = ns.maximum(divisor, 0.0) if isinstance(divisor, Tensor) else max(divisor, 0.0)
    if middle is None:
        middle = mean(x, axis=axes, keepdims=True, where=where)
    return masked(name, x - middle, where, 0.0), axes, divisor


@public(reference=np.var, samples=[*SAMPLES, Sample(((5,),), {"ddof": 1}), WITH_MASK])
@composite
def var(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    *,
    correction: float = 0.0,
    ddof: float | None = None,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    **names: Any,
) -> Tensor:
    """The variance: mean squared deviation from the mean.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.
    dtype : dtype, optional
        To compute in; integers become float64.
    correction : float
        Subtracted from the count that is divided by (NumPy's ``ddof``; 1 is PyTorch's default).
    keepdims : bool
    where : array_like of bool, optional
        Which elements to look at.
    mean : array_like, optional
        The mean along the axes, kept with length one, if it is known already.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.var(tg.tensor([1.0, 3.0]))
    tensor(1.)
    """
    if names:
        axis, keepdims = torch_names("var", names, axis, keepdims)
    d, axes, divisor = _centred("var", x, axis, dtype, correction, ddof, keepdims, where, mean)
    squares = ns.square(ns.real(d)) + ns.square(ns.imag(d)) if d._spec.kind == "c" else d * d
    return ns.sum(squares, axis=axes, keepdims=keepdims) / divisor


@public(reference=np.std, samples=[*SAMPLES, Sample(((5,),), {"ddof": 1}), WITH_MASK])
@composite
def std(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    *,
    correction: float = 0.0,
    ddof: float | None = None,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    **names: Any,
) -> Tensor:
    """The standard deviation; arguments as for `var`.  Where it is 0, so is its derivative.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.std(tg.tensor([1.0, 3.0]))
    tensor(1.)
    """
    if names:
        axis, keepdims = torch_names("std", names, axis, keepdims)
    d, axes, divisor = _centred("std", x, axis, dtype, correction, ddof, keepdims, where, mean)
    root = ns.sqrt(divisor) if isinstance(divisor, Tensor) else math.sqrt(divisor)
    d = ns.abs(d) if d._spec.kind == "c" else d
    return ns.divide(reduce_axes(NORM2, d, axes, keepdims), root)


@public(reference=np.ptp, samples=[Sample(((3, 4),)), Sample(((3, 4),), {"axis": 0})])
@composite
def ptp(x: Any, /, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Greatest minus least element.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ptp(tg.tensor([1.0, 4.0, 2.0]))
    tensor(3.)
    """
    return ns.max(x, axis=axis, keepdims=keepdims) - ns.min(x, axis=axis, keepdims=keepdims)


def weights_of(name: str, w: Tensor, shape: tuple[int, ...], axis: Any) -> Tensor:
    """Weights of all elements, given for them or for each place along some axes (in their order)."""
    if w._spec.shape == shape:
        return w
    if axis is None:
        raise TypeError(f"{name}: axis must be given where weights of shape {w.shape} differ from {shape}")
    axes = [axis_index(name, a, len(shape)) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if w._spec.shape != tuple([shape[a] for a in axes]):
        raise ValueError(f"{name}: weights of shape {w.shape} do not fit shape {shape}, axis {axis}")
    w = ns.permute_dims(w, tuple([axes.index(a) for a in sorted(axes)]))
    return broadcasted(reshaped(w, tuple([n if a in axes else 1 for a, n in enumerate(shape)])), shape)


@public(
    reference=np.average,
    samples=[
        Sample(((3, 4),)),
        Sample(((3, 4),), {"axis": 1, "weights": np.float32([1, 2, 3, 2])}),
        Sample(((3, 4),), args=(0, np.float32([1, 2, 3]))),
        Sample(((2, 3, 4), (4, 2)), prepare=lambda x, w: (x, (2, 0), abs(w) + 1, True)),
    ],
    method=False,
    kink="none",
)
@composite
def average(
    x: Any, /, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Any:
    """The weighted mean.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.
    weights : array_like, optional
        Of ``x``'s shape, or one weight for each place along ``axis`` (its axes in that order, if several).
    returned : bool
        Whether to return the sum of the weights, too.
    keepdims : bool

    Returns
    -------
    Tensor, or a pair of it and the sums of weights, of the same shape.

    Raises
    ------
    ValueError
        If the weights' shape is neither ``x``'s nor the axis's.
    TypeError
        If it is not ``x``'s, and no axis is given.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.average(tg.tensor([1.0, 4.0]), weights=[2.0, 1.0])
    tensor(2.)
    """
    x = as_inexact(x, "average")
    if weights is None:
        out = mean(x, axis=axis, keepdims=keepdims)
        n = x._spec.size // out._spec.size if out._spec.size else 0
        return (out, ns.full_like(out, float(n))) if returned else out
    w = weights_of("average", as_inexact(weights, "average"), x._spec.shape, axis)
    total = ns.sum(w, axis=axis, keepdims=keepdims)
    out = ns.sum(x * w, axis=axis, keepdims=keepdims) / total
    return (out, cast(total, out._spec.dtype)) if returned else out


section("norms")


def _vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = np.asarray(x)
    if axis is None:
        out = np.linalg.norm(x.ravel(), ord)
        return out.reshape((1,) * x.ndim) if keepdims else out
    return np.linalg.norm(x, ord, axis, keepdims)


@public(
    reference=_vector_norm,
    samples=[
        Sample(((3, 4),)),
        Sample(((3, 4),), {"axis": 0}),
        Sample(((3, 4),), {"axis": 1, "ord": 1, "keepdims": True}),
        Sample(((3, 4),), {"axis": 1, "ord": 3}),
        Sample(((5,),), {"ord": math.inf}),
        Sample(((5,),), {"ord": -math.inf}),
        Sample(((5,),), {"ord": 0}, differentiable=False),
        Sample(((5,),), {"ord": 2.5}),
    ],
    also=("linalg",),
    kink="0 at 0; greatest and least: ties share evenly",
)
@composite
def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2, **names: Any
) -> Tensor:
    """The norm of vectors.

    Parameters
    ----------
    axis : int or tuple of int, optional
        The axes that a vector extends over; default all.
    ord : float
        2 is the Euclidean norm (safe from overflow; its derivative at 0 is 0), 1 the sum and
        ``inf`` the maximum of magnitudes, ``-inf`` their minimum, 0 the number of nonzero elements;
        any other ``p`` gives ``sum(abs(x) ** p) ** (1 / p)``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vector_norm(tg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if names:
        axis, keepdims = torch_names("vector_norm", names, axis, keepdims)
    x = as_inexact(x, "vector_norm")
    x = ns.abs(x) if x._spec.kind == "c" else x
    axes = axes_tuple("vector_norm", axis, x._spec.ndim)
    if ord == 2:
        return reduce_axes(NORM2, x, axes, keepdims)
    if ord == 1:
        return ns.sum(ns.abs(x), axis=axes, keepdims=keepdims)
    if ord == math.inf:
        return ns.max(ns.abs(x), axis=axes, keepdims=keepdims)
    if ord == -math.inf:
        return ns.min(ns.abs(x), axis=axes, keepdims=keepdims)
    if ord == 0:
        return cast(ns.count_nonzero(x, axis=axes, keepdims=keepdims), x._spec.dtype)
    total = ns.sum(ns.abs(x) ** ord, axis=axes, keepdims=keepdims)
    zero = ns.equal(total, 0.0)
    root = ns.where(zero, 1.0, total) ** (1.0 / ord)
    return ns.where(zero, 0.0, root)


section("exponentials and logarithms")


@public(
    reference=special("logsumexp"), samples=[*SAMPLES, Sample(((),))], also=("special",), folds="logaddexp"
)
@composite
def logsumexp(x: Any, /, axis: Any = None, b: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """``log(sum(b * exp(x)))`` without overflow; minus infinity where nothing is added.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.
    b : array_like, optional
        Factors of the exponentials, broadcast against ``x``.
    keepdims : bool

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.logsumexp(tg.tensor([1000.0, 1000.0]))
    tensor(1000.6931)
    """
    if names:
        axis, keepdims = torch_names("logsumexp", names, axis, keepdims)
    if isinstance(b, bool):  # PyTorch's second argument is keepdim
        b, keepdims = None, b
    x = as_inexact(x, "logsumexp")
    axes = axes_tuple("logsumexp", axis, x._spec.ndim)
    if b is None:
        return reduce_axes(LOGSUMEXP, x, axes, keepdims)
    b = as_inexact(b, "logsumexp")
    if x._spec.shape != b._spec.shape:
        x, b = ns.broadcast_arrays(x, b)
        axes = axes_tuple("logsumexp", axis, x._spec.ndim)
    top = ns.max(x, axis=axes, keepdims=True).detach()
    top = ns.where(ns.isfinite(top), top, 0.0)
    out = ns.log(ns.sum(b * ns.exp(x - top), axis=axes, keepdims=True)) + top
    return out if keepdims else reshaped(out, strip_axes(x._spec.shape, axes, False))


ALONG = (Sample(((3, 4),), {"axis": 0}), Sample(((3, 4),), {"axis": -1}), Sample(((5,),), {"axis": 0}))


@public(reference=special("softmax"), samples=ALONG, also=("special",))
def softmax(x: Any, /, axis: int | None = None, **names: Any) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis (default over all elements, as SciPy's).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.softmax(tg.tensor([1.0, 1.0]), axis=0)
    tensor([0.5000, 0.5000])
    """
    return _normalised(SOFTMAX, x, axis, names)


@public(reference=special("log_softmax"), samples=ALONG, also=("special",))
def log_softmax(x: Any, /, axis: int | None = None, **names: Any) -> Tensor:
    """``log(softmax(x))``, computed without cancellation.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.log_softmax(tg.tensor([1.0, 1.0]), axis=0)
    tensor([-0.6931, -0.6931])
    """
    return _normalised(LOG_SOFTMAX, x, axis, names)


def _normalised(row: Any, x: Any, axis: int | None, names: dict[str, Any]) -> Tensor:
    if names:
        axis, _ = torch_names(row.name, names, axis)
    x = as_inexact(x, row.name)
    if axis is None:
        return reshaped(record(row, (reshaped(x, (x._spec.size,)),), {"axis": 0}), x._spec.shape)
    return record(row, (x,), {"axis": axis_index(row.name, axis, x._spec.ndim)})
