"""Reductions over axes: sums, products, extremes, truth.

The recorder brings every reduction into the form ``[outer, n, inner]``: axes that do not lie together
are moved to the end first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels import reduce as kernels
from tapegrad.ops.axes import axes_tuple, axis_index, behind, size_of, split_at, strip_axes
from tapegrad.ops.movement import broadcasted, permuted, reshaped
from tapegrad.ops.record import as_operand, cast, record
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import BOOL, DTYPES, INT64, Spec, broadcast_shapes, dtype_index
from tapegrad.tensor import Tensor

__all__ = ["keep_axes", "reduce_axes", "torch_names"]

UINT64 = np.dtype("uint64")


def torch_names(name: str, names: dict[str, Any], axis: Any, keepdims: bool = False) -> tuple[Any, bool]:
    """Let PyTorch's ``dim`` and ``keepdim`` stand for ``axis`` and ``keepdims``."""
    for key, value in names.items():
        if key == "dim":
            axis = value
        elif key == "keepdim":
            keepdims = value
        else:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
    return axis, keepdims


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype that NumPy adds up in."""
    if dtype.kind == "u":
        return UINT64
    return dtype if dtype.kind in "fc" else INT64


def keep_axes(g: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A reduction's result (or cotangent), with the reduced axes back as axes of length one."""
    return reshaped(g, strip_axes(x._spec.shape, axes, True))


def spread(g: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A reduction's cotangent, repeated along the reduced axes."""
    return broadcasted(keep_axes(g, x, axes), x._spec.shape)


def reduce_axes(row: Row, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """Record a reduction over any axes."""
    shape = x._spec.shape
    if not axes:
        static = {"axes": (0,), "keepdims": False}
        return record(row, (reshaped(x, (1, *shape)),), static)
    if axes[-1] - axes[0] + 1 == len(axes):
        return record(row, (x,), {"axes": axes, "keepdims": keepdims})
    kept = tuple([k for k in range(len(shape)) if k not in axes])
    last = tuple(range(len(kept), len(shape)))
    out = record(row, (permuted(x, kept + axes),), {"axes": last, "keepdims": False})
    return reshaped(out, strip_axes(shape, axes, True)) if keepdims else out


# --- rows -----------------------------------------------------------------------------------------


def _shape(name: str, dtype: np.dtype | None = None, identity: bool = True) -> Any:
    def shape(x: Spec, axes: tuple[int, ...], keepdims: bool) -> Out:
        out = strip_axes(x.shape, axes, keepdims)
        params = split_at(x.shape, axes)
        if not identity and params[1] == 0 and size_of(out):
            raise ValueError(
                f"{name}: zero-size array to reduction operation which has no identity: "
                f"shape {x.shape}, axes {axes}"
            )
        return Out(out, dtype or x.dtype, params)

    return shape


def _sum_shape(x: Spec, axes: tuple[int, ...], keepdims: bool) -> Out:
    return Out(strip_axes(x.shape, axes, keepdims), sum_dtype(x.dtype), split_at(x.shape, axes))


def _arg_shape(name: str) -> Any:
    def shape(x: Spec, axes: tuple[int, ...], keepdims: bool) -> Out:
        params = split_at(x.shape, axes)
        if params[1] == 0:
            raise ValueError(f"{name}: attempt to get {name} of an empty sequence: shape {x.shape}")
        return Out(strip_axes(x.shape, axes, keepdims), INT64, params)

    return shape


def _extreme_rule(g: Tensor, out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    # Ties share evenly; where the result is NaN, the NaNs share.
    hit = ns.logical_or(ns.equal(x, keep_axes(out, x, axes)), ns.isnan(x))
    count = reduce_axes(SUM, cast(hit, x._spec.dtype), axes, True)
    share = keep_axes(g, x, axes) / count
    return ns.where(hit, share, 0.0)


def _prod_rule(g: Tensor, out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    # Products of all others, from both ends: right with any number of zeros, to any order.
    outer, n, inner = split_at(x._spec.shape, axes)
    y = reshaped(x, (outer, n, inner))
    static = {"axis": 1, "exclusive": True}
    before = record(ROWS["cumulative_prod"], (y,), static)
    after = ns.flip(record(ROWS["cumulative_prod"], (ns.flip(y, axis=1),), static), axis=1)
    return reshaped(reshaped(g, (outer, 1, inner)) * (before * after), x._spec.shape)


def _batch(name: str) -> Any:
    def batch(n: int, batched: Any, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
        return record(ROWS[name], (x,), {"axes": behind(axes), "keepdims": keepdims})

    return batch


def _sum_all_batch(n: int, batched: Any, x: Tensor) -> Tensor:
    axes = tuple(range(1, x._spec.ndim))
    return record(SUM, (x,), {"axes": axes, "keepdims": False}) if axes else x


SUM_ALL = structured(
    "sum_all",
    kernels.sum_all,
    1,
    lambda x: Out((), x.dtype, (x.size,)),
    rules=(lambda g, out, x: broadcasted(g, x._spec.shape),),
    sink=True,
    linear=(0,),
    batch=_sum_all_batch,
    doc="Sum of all elements of a floating operand.",
)
SUM = structured(
    "sum",
    kernels.sum_,
    1,
    _sum_shape,
    rules=(lambda g, out, x, axes, keepdims: spread(g, x, axes),),
    linear=(0,),
    batch=_batch("sum"),
    split="reduce",
    complex=True,
    doc="Sum over consecutive axes.",
)
PROD = structured(
    "prod",
    kernels.prod,
    1,
    _sum_shape,
    rules=(_prod_rule,),
    batch=_batch("prod"),
    split="reduce",
    complex=True,
    doc="Product over consecutive axes.",
)
MAX = structured(
    "max",
    kernels.max_,
    1,
    _shape("max", identity=False),
    rules=(_extreme_rule,),
    batch=_batch("max"),
    split="reduce",
    kink="ties share evenly",
    doc="Greatest element over consecutive axes; NaN if there is one.",
)
MIN = structured(
    "min",
    kernels.min_,
    1,
    _shape("min", identity=False),
    rules=(_extreme_rule,),
    batch=_batch("min"),
    split="reduce",
    kink="ties share evenly",
    doc="Least element over consecutive axes; NaN if there is one.",
)
ANY = structured(
    "any",
    kernels.any_,
    1,
    _shape("any", BOOL),
    batch=_batch("any"),
    result="bool",
    split="reduce",
    complex=True,
    doc="Whether any element is not zero.",
)
ALL = structured(
    "all",
    kernels.all_,
    1,
    _shape("all", BOOL),
    batch=_batch("all"),
    result="bool",
    split="reduce",
    complex=True,
    doc="Whether no element is zero.",
)
ARGMAX = structured(
    "argmax",
    kernels.argmax,
    1,
    _arg_shape("argmax"),
    batch=_batch("argmax"),
    result="int64",
    split="reduce",
    doc="First position of the greatest element.",
)
ARGMIN = structured(
    "argmin",
    kernels.argmin,
    1,
    _arg_shape("argmin"),
    batch=_batch("argmin"),
    result="int64",
    split="reduce",
    doc="First position of the least element.",
)

# --- public functions -----------------------------------------------------------------------------

SAMPLES = (
    Sample(((3, 4),)),
    Sample(((3, 4),), {"axis": 0}),
    Sample(((3, 4),), {"axis": -1, "keepdims": True}),
    Sample(((2, 3, 4),), {"axis": (0, 2)}),
    Sample(((2, 3, 4),), {"axis": (0, 1), "keepdims": True}),
    Sample(((),)),
    Sample(((20,),)),
)


def as_dtype(name: str, dtype: Any) -> np.dtype:
    """A ``dtype=`` argument as one of the supported dtypes."""
    found = np.dtype(dtype)
    if found not in dtype_index:
        raise TypeError(f"{name}: dtype {found} is not supported")
    return DTYPES[dtype_index[found]]


def masked(name: str, x: Tensor, where: Any, fill: Any) -> Tensor:
    """``x`` with ``fill`` where the mask ``where`` is false, for a reduction that is to leave these out.

    Raises
    ------
    ValueError
        If the mask does not broadcast to ``x``.
    """
    if where is None or where is True:
        return x
    mask = as_operand(where, name)
    if broadcast_shapes(name, x._spec.shape, mask._spec.shape) != x._spec.shape:
        raise ValueError(f"{name}: a mask of shape {mask.shape} does not broadcast to shape {x.shape}")
    return ns.where(mask, x, fill)


def _add_up(row: Row, x: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any) -> Tensor:
    name = row.name
    x = as_operand(x, name)
    wanted = None
    one = row is PROD
    if isinstance(dtype, bool):  # PyTorch's second argument is keepdim
        dtype, keepdims = None, dtype
    if dtype is not None:
        wanted = as_dtype(name, dtype)
        x = cast(x, wanted)
    if where is not None:
        x = masked(name, x, where, one if x._spec.kind == "b" else int(one))
    axes = axes_tuple(name, axis, x._spec.ndim)
    if initial is not None:
        out = _add_up(row, x, axes, dtype, keepdims, None, None)
        start = cast(as_operand(initial, name), out._spec.dtype)
        if start._spec.ndim:
            raise ValueError(f"{name}: initial must be a scalar, not of shape {start.shape}")
        return ns.multiply(start, out) if one else ns.add(start, out)
    if row is SUM and len(axes) == x._spec.ndim and x._spec.floating:
        out = record(SUM_ALL, (x,))
        return reshaped(out, (1,) * x._spec.ndim) if keepdims else out
    out = reduce_axes(row, x, axes, keepdims)
    return out if wanted is None else cast(out, wanted)


MASK = np.array([True, False, True, True])
WITH_OTHERS = Sample(((3, 4),), {"axis": 1, "initial": 2.5, "where": MASK})


@public(
    reference=np.sum,
    samples=[*SAMPLES, Sample(((0,),)), Sample(((0, 3),), {"axis": 0}), WITH_OTHERS],
    folds="add",
)
def sum(
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
    """Add elements up.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        Which axes to add over; default all.  ``dim`` is PyTorch's name for it.
    dtype : dtype, optional
        To add in; default ``x``'s, with smaller integers and booleans becoming int64.
    keepdims : bool
        Keep the axes, with length one.
    initial : number or 0-d tensor, optional
        What to add to.
    where : array_like of bool, optional
        Which elements to add.

    Returns
    -------
    Tensor, at least as accurate as NumPy's pairwise sum.

    Raises
    ------
    AxisError
        If an axis is out of bounds.
    ValueError
        If the mask does not broadcast to ``x``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    if names:
        axis, keepdims = torch_names("sum", names, axis, keepdims)
    return _add_up(SUM, x, axis, dtype, keepdims, initial, where)


@public(reference=np.prod, samples=[*SAMPLES, Sample(((0,),)), WITH_OTHERS], folds="multiply")
def prod(
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
    """Multiply elements; arguments as for `sum`.  The derivative is right with zeros.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.prod(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    tensor([ 2., 12.])
    """
    if names:
        axis, keepdims = torch_names("prod", names, axis, keepdims)
    return _add_up(PROD, x, axis, dtype, keepdims, initial, where)


def _extreme(
    row: Row, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any, names: dict[str, Any]
) -> Tensor:
    if names:
        axis, keepdims = torch_names(row.name, names, axis, keepdims)
    x = as_operand(x, row.name)
    axes = axes_tuple(row.name, axis, x._spec.ndim)
    if initial is None or x._spec.kind == "c":  # which have no order: the row says so
        if where is not None and where is not True and x._spec.kind != "c":
            raise ValueError(
                f"{row.name}: reduction has no identity, so to use a where mask one has to specify 'initial'"
            )
        return reduce_axes(row, x, axes, keepdims)
    bound = cast(as_operand(initial, row.name), x._spec.dtype)
    if bound._spec.ndim:
        raise ValueError(f"{row.name}: initial must be a scalar, not of shape {bound.shape}")
    if where is not None:
        x = masked(row.name, x, where, _end(x._spec.dtype, row is MIN))
    if size_of(tuple([x._spec.shape[k] for k in axes])) == 0:
        return cast(broadcasted(bound, strip_axes(x._spec.shape, axes, keepdims)), x._spec.dtype)
    out = reduce_axes(row, x, axes, keepdims)
    return ns.maximum(out, bound) if row is MAX else ns.minimum(out, bound)


def _end(dtype: np.dtype, greatest: bool) -> Any:
    """The greatest or the least number of a dtype."""
    if dtype.kind == "f":
        return np.inf if greatest else -np.inf
    if dtype.kind == "b":
        return greatest
    info = np.iinfo(dtype)
    return int(info.max if greatest else info.min)


@public(reference=np.max, samples=[*SAMPLES, WITH_OTHERS], aliases=("amax",), folds="maximum")
def max(
    x: Any,
    /,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
    **names: Any,
) -> Tensor:
    """The greatest element; NaN if there is one.  Equal ones share the derivative evenly.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Which axes to reduce; default all.  ``dim`` is PyTorch's name for it.
    keepdims : bool
        Keep the axes, with length one.
    initial : number or 0-d tensor, optional
        The least result there can be.
    where : array_like of bool, optional
        Which elements to look at; needs ``initial``.

    Raises
    ------
    ValueError
        If there are no elements to choose from.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.max(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([3., 4.])
    """
    return _extreme(MAX, x, axis, keepdims, initial, where, names)


@public(reference=np.min, samples=[*SAMPLES, WITH_OTHERS], aliases=("amin",), folds="minimum")
def min(
    x: Any,
    /,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
    **names: Any,
) -> Tensor:
    """The least element; arguments and conventions as for `max`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.min(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([1., 2.])
    """
    return _extreme(MIN, x, axis, keepdims, initial, where, names)


def _truth(row: Row, x: Any, axis: Any, keepdims: bool, where: Any, names: dict[str, Any]) -> Tensor:
    if names:
        axis, keepdims = torch_names(row.name, names, axis, keepdims)
    x = as_operand(x, row.name)
    if where is not None:
        x = masked(row.name, cast(x, BOOL), where, row is ALL)
    return reduce_axes(row, x, axes_tuple(row.name, axis, x._spec.ndim), keepdims)


WITH_MASK = Sample(((3, 4),), {"axis": 1, "where": MASK})


@public(reference=np.any, samples=[*SAMPLES, WITH_MASK], differentiable=False, folds="logical_or")
def any(x: Any, /, axis: Any = None, keepdims: bool = False, *, where: Any = None, **names: Any) -> Tensor:
    """Whether any element is not zero; a boolean tensor.

    Parameters
    ----------
    axis : int or tuple of int, optional
        Which axes to reduce; default all.  ``dim`` is PyTorch's name for it.
    keepdims : bool
        Keep the axes, with length one.
    where : array_like of bool, optional
        Which elements to look at.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.any(tg.tensor([0.0, 2.0]))
    tensor(True)
    """
    return _truth(ANY, x, axis, keepdims, where, names)


@public(reference=np.all, samples=[*SAMPLES, WITH_MASK], differentiable=False, folds="logical_and")
def all(x: Any, /, axis: Any = None, keepdims: bool = False, *, where: Any = None, **names: Any) -> Tensor:
    """Whether no element is zero; a boolean tensor.  Arguments as for `any`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.all(tg.tensor([0.0, 2.0]))
    tensor(False)
    """
    return _truth(ALL, x, axis, keepdims, where, names)


def _arg(row: Row, x: Any, axis: Any, keepdims: bool, names: dict[str, Any]) -> Tensor:
    if names:
        axis, keepdims = torch_names(row.name, names, axis, keepdims)
    x = as_operand(x, row.name)
    if axis is None:
        out = record(row, (reshaped(x, (x._spec.size,)),), {"axes": (0,), "keepdims": False})
        return reshaped(out, (1,) * x._spec.ndim) if keepdims else out
    k = axis_index(row.name, axis, x._spec.ndim)
    return record(row, (x,), {"axes": (k,), "keepdims": keepdims})


ARG_SAMPLES = (Sample(((3, 4),)), Sample(((3, 4),), {"axis": 0}), Sample(((3, 4),), {"axis": -1}))


@public(reference=np.argmax, samples=ARG_SAMPLES, differentiable=False)
def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The first position of the greatest element (of the first NaN, if there is one), as int64.

    Parameters
    ----------
    axis : int, optional
        Default: the position in the flattened array.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.argmax(tg.tensor([1.0, 3.0, 2.0]))
    tensor(1)
    """
    return _arg(ARGMAX, x, axis, keepdims, names)


@public(reference=np.argmin, samples=ARG_SAMPLES, differentiable=False)
def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The first position of the least element; as `argmax`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.argmin(tg.tensor([1.0, 3.0, 2.0]))
    tensor(0)
    """
    return _arg(ARGMIN, x, axis, keepdims, names)


@public(reference=np.count_nonzero, samples=ARG_SAMPLES, differentiable=False)
def count_nonzero(x: Any, /, axis: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """How many elements are not zero, as int64.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.count_nonzero(tg.tensor([0.0, 2.0, 3.0]))
    tensor(2)
    """
    if names:
        axis, keepdims = torch_names("count_nonzero", names, axis, keepdims)
    return sum(cast(as_operand(x, "count_nonzero"), BOOL), axis=axis, keepdims=keepdims)
