"""Reductions and scans that leave NaNs out.

A NaN is replaced by what does not matter (0 in a sum, minus infinity in a maximum), so its cotangent is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.kernels import nan as kernels
from tapegrad.ops.axes import axes_tuple, axis_index, behind
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_inexact, as_operand, composite, record
from tapegrad.ops.reduce import _arg_shape, masked, torch_names
from tapegrad.ops.table import ROWS, Row, Sample, ns, public, structured
from tapegrad.tensor import Tensor


def _without_nan(name: str, x: Any, value: float) -> Tensor:
    x = as_operand(x, name)
    return ns.where(ns.isnan(x), value, x) if x._spec.differentiable else x


def _missing(x: Any) -> tuple:
    """Some elements, a whole row among them, become NaN: ``0 * inf``."""
    gone = np.zeros((3, 4), bool)
    gone[0, 1] = gone[2, 3] = gone[1] = True
    return (x + np.where(gone, np.nan, 0.0).astype("float32"),)


def _some(x: Any) -> tuple:
    gone = np.zeros((3, 4))
    gone[0, 1] = gone[2, 3] = np.nan
    return (x + gone.astype("float32"),)


SAMPLES = (
    Sample(((3, 4),)),
    Sample(((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    Sample(((3, 4),), {"axis": 0}, prepare=_some),
)


@public(reference=np.nansum, samples=(*SAMPLES, Sample(((3, 4),), {"axis": 1}, prepare=_missing)))
@composite
def nansum(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
    **names: Any,
) -> Tensor:
    """The sum of the elements that are not NaN; arguments as for `sum`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nansum(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(3.)
    """
    options = {"keepdims": keepdims, "initial": initial, "where": where, **names}
    return ns.sum(_without_nan("nansum", x, 0.0), axis=axis, dtype=dtype, **options)


@public(
    reference=np.nanprod, samples=(*SAMPLES, Sample(((3, 4),), {"axis": 1}, prepare=_missing)), method=False
)
@composite
def nanprod(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
) -> Tensor:
    """The product of the elements that are not NaN; arguments as for `prod`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanprod(tg.tensor([3.0, tg.nan, 2.0]))
    tensor(6.)
    """
    options = {"keepdims": keepdims, "initial": initial, "where": where}
    return ns.prod(_without_nan("nanprod", x, 1.0), axis=axis, dtype=dtype, **options)


def _counted(
    name: str, x: Any, axis: Any, dtype: Any, where: Any
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[int, ...]]:
    """Elements, which of them count and how many do (with the axes kept), and the axes."""
    x = as_inexact(x if dtype is None else ns.astype(x, dtype), name)
    axes = axes_tuple(name, axis, x._spec.ndim)
    there = masked(name, ns.logical_not(ns.isnan(x)), where, False)
    count = ns.astype(ns.sum(there, axis=axes, keepdims=True), x._spec.dtype)
    return x, (there, count), axes


def _shrunk(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    return x if keepdims else ns.squeeze(x, axis=axes)


@public(reference=np.nanmean, samples=SAMPLES)
@composite
def nanmean(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    where: Any = None,
    **names: Any,
) -> Tensor:
    """The mean of the elements that are not NaN (NaN if there are none); arguments as for `mean`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanmean(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(1.5000)
    """
    if names:
        axis, keepdims = torch_names("nanmean", names, axis, keepdims)
    x, (there, count), axes = _counted("nanmean", x, axis, dtype, where)
    total = ns.sum(ns.where(there, x, 0.0), axis=axes, keepdims=True)
    return _shrunk(total / count, axes, keepdims)


def _spread(
    name: str,
    x: Any,
    axis: Any,
    dtype: Any,
    ddof: float,
    keepdims: bool,
    where: Any,
    mean: Any,
    correction: Any,
    root: bool,
) -> Tensor:
    if correction is not None:
        if ddof != 0:
            raise ValueError(f"{name}: ddof and correction can't be provided simultaneously")
        ddof = correction
    x, (there, count), axes = _counted(name, x, axis, dtype, where)
    if mean is None:
        mean = ns.sum(ns.where(there, x, 0.0), axis=axes, keepdims=True) / count
    d = ns.where(there, x - mean, 0.0)
    freedom = (ns.real(count) if count._spec.kind == "c" else count) - float(ddof)
    freedom = ns.where(ns.greater(freedom, 0.0), freedom, math.nan)
    if root:  # the norm's derivative is 0 where it is 0
        norm = ns.vector_norm(d, axis=axes, keepdims=True)
        return _shrunk(norm / ns.sqrt(freedom), axes, keepdims)
    squares = ns.square(ns.real(d)) + ns.square(ns.imag(d)) if d._spec.kind == "c" else d * d
    return _shrunk(ns.sum(squares, axis=axes, keepdims=True) / freedom, axes, keepdims)


@public(
    reference=np.nanvar,
    samples=(*SAMPLES, Sample(((3, 4),), {"ddof": 1, "axis": 1}, prepare=_some)),
    method=False,
)
@composite
def nanvar(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Tensor:
    """The variance of the elements that are not NaN.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Default all.
    dtype : dtype, optional
        To compute in; integers become float64.
    ddof : float
        Subtracted from the count that is divided by; NaN where nothing is left of it.  ``correction`` is
        the array API's name for it.
    keepdims : bool
    where : array_like of bool, optional
        Which elements to look at.
    mean : array_like, optional
        The mean along the axes, kept with length one, if it is known already.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanvar(tg.tensor([1.0, tg.nan, 3.0]))
    tensor(1.)
    """
    return _spread("nanvar", x, axis, dtype, ddof, keepdims, where, mean, correction, False)


@public(
    reference=np.nanstd,
    samples=(*SAMPLES, Sample(((3, 4),), {"ddof": 1, "axis": 1}, prepare=_some)),
    method=False,
)
@composite
def nanstd(
    x: Any,
    /,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation of the elements that are not NaN; arguments as for `nanvar`.

    Where it is 0, so is its derivative.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanstd(tg.tensor([1.0, tg.nan, 3.0]))
    tensor(1.)
    """
    return _spread("nanstd", x, axis, dtype, ddof, keepdims, where, mean, correction, True)


def _extreme(
    name: str, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any, greatest: bool
) -> Tensor:
    x = as_operand(x, name)
    function = ns.max if greatest else ns.min
    options = {"axis": axis, "keepdims": keepdims, "initial": initial, "where": where}
    if not x._spec.differentiable:
        return function(x, **options)
    gone = ns.isnan(x)
    out = function(ns.where(gone, -math.inf if greatest else math.inf, x), **options)
    if initial is not None:
        return out
    return ns.where(ns.all(gone, axis=axis, keepdims=keepdims), math.nan, out)


@public(reference=np.nanmax, samples=SAMPLES, method=False)
@composite
def nanmax(
    x: Any, /, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Tensor:
    """The greatest of the elements that are not NaN (NaN if there are none); arguments as for `max`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanmax(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(2.)
    """
    return _extreme("nanmax", x, axis, keepdims, initial, where, True)


@public(reference=np.nanmin, samples=SAMPLES, method=False)
@composite
def nanmin(
    x: Any, /, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Tensor:
    """The least of the elements that are not NaN (NaN if there are none); arguments as for `min`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanmin(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(1.)
    """
    return _extreme("nanmin", x, axis, keepdims, initial, where, False)


# --- positions ------------------------------------------------------------------------------------


def _batch(name: str) -> Any:
    def batch(n: int, batched: Any, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
        return record(ROWS[name], (x,), {"axes": behind(axes), "keepdims": keepdims})

    return batch


def _positions(name: str, kernel: Any, what: str) -> Row:
    return structured(
        name,
        kernel,
        1,
        _arg_shape(name),
        batch=_batch(name),
        result="int64",
        split="reduce",
        refusal="all-NaN slice encountered",
        doc=f"First position of the {what} element that is not NaN.",
    )


NANARGMAX = _positions("nanargmax", kernels.nanargmax, "greatest")
NANARGMIN = _positions("nanargmin", kernels.nanargmin, "least")


def _position(row: Row, plain: Any, x: Any, axis: Any, keepdims: bool) -> Tensor:
    x = as_operand(x, row.name)
    if not x._spec.differentiable:
        return plain(x, axis=axis, keepdims=keepdims)
    if axis is None:
        out = record(row, (reshaped(x, (x._spec.size,)),), {"axes": (0,), "keepdims": False})
        return reshaped(out, (1,) * x._spec.ndim) if keepdims else out
    return record(row, (x,), {"axes": (axis_index(row.name, axis, x._spec.ndim),), "keepdims": keepdims})


ARG_SAMPLES = (Sample(((3, 4),)), Sample(((3, 4),), {"axis": 0, "keepdims": True}, prepare=_some))


@public(reference=np.nanargmax, samples=ARG_SAMPLES, differentiable=False, method=False)
def nanargmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The first position of the greatest element that is not NaN, as int64.

    Parameters
    ----------
    axis : int, optional
        Default: the position in the flattened array.
    keepdims : bool

    Raises
    ------
    ValueError
        If all elements of a slice are NaN (when the value is computed; a ``LinAlgError``, which is one).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanargmax(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(2)
    """
    return _position(NANARGMAX, ns.argmax, x, axis, keepdims)


@public(reference=np.nanargmin, samples=ARG_SAMPLES, differentiable=False, method=False)
def nanargmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The first position of the least element that is not NaN; as `nanargmax`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nanargmin(tg.tensor([1.0, tg.nan, 2.0]))
    tensor(0)
    """
    return _position(NANARGMIN, ns.argmin, x, axis, keepdims)


# --- scans ----------------------------------------------------------------------------------------

SCAN_SAMPLES = (
    Sample(((5,),)),
    Sample(((3, 4),), {"axis": 0}),
    Sample(((3, 4),), {"axis": 1}, prepare=_some),
)


@public(reference=np.nancumsum, samples=SCAN_SAMPLES, method=False)
@composite
def nancumsum(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running sums in which NaN counts as 0; arguments as for `cumulative_sum`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nancumsum(tg.tensor([1.0, tg.nan, 2.0]))
    tensor([1., 1., 3.])
    """
    return ns.cumulative_sum(_without_nan("nancumsum", x, 0.0), axis=axis, dtype=dtype)


@public(reference=np.nancumprod, samples=SCAN_SAMPLES, method=False)
@composite
def nancumprod(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running products in which NaN counts as 1; arguments as for `cumulative_prod`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nancumprod(tg.tensor([3.0, tg.nan, 2.0]))
    tensor([3., 3., 6.])
    """
    return ns.cumulative_prod(_without_nan("nancumprod", x, 1.0), axis=axis, dtype=dtype)


# --- in place of NaN ------------------------------------------------------------------------------


@public(
    reference=np.nan_to_num,
    samples=(Sample(((3, 4),), prepare=_some), Sample(((3, 4),), {"nan": 2.0, "posinf": 1.0}, prepare=_some)),
    kink="0 by what is replaced",
)
@composite
def nan_to_num(
    x: Any,
    /,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """Finite numbers in place of NaN and infinities; their cotangents are 0.

    Parameters
    ----------
    copy : bool
        Must be true: values never change in place here.
    nan : float
    posinf, neginf : float, optional
        Default: the largest number of the dtype, and the most negative one.

    Raises
    ------
    ValueError
        If ``copy`` is false.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nan_to_num(tg.tensor([1.0, tg.nan, tg.inf]), posinf=9.0)
    tensor([1., 0., 9.])
    """
    if not copy:
        raise ValueError("nan_to_num: copy=False is not supported")
    x = as_operand(x, "nan_to_num")
    if not x._spec.differentiable:
        return ns.positive(x) if x._spec.kind != "b" else ns.logical_or(x, False)
    if x._spec.kind == "c":
        parts = [nan_to_num(part, True, nan, posinf, neginf) for part in (ns.real(x), ns.imag(x))]
        return ns.complex(*parts)
    limits = np.finfo(x._spec.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    x = ns.where(ns.isnan(x), nan, x)
    return ns.where(ns.equal(x, math.inf), high, ns.where(ns.equal(x, -math.inf), low, x))
