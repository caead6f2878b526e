"""Running sums and products along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.kernels import reduce as kernels
from tapegrad.ops.axes import axis_index, contiguous, split_at
from tapegrad.ops.joining import CONCAT2
from tapegrad.ops.movement import all_batched, narrow, reshaped, scatter_movement
from tapegrad.ops.record import as_operand, cast, composite, record
from tapegrad.ops.reduce import as_dtype, sum_dtype, torch_names
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor, tensor_from_array


def _cumsum_shape(x: Spec, axis: int, reverse: bool) -> Out:
    return Out(x.shape, sum_dtype(x.dtype), (*split_at(x.shape, (axis,)), int(reverse)))


def _cumprod_shape(x: Spec, axis: int, exclusive: bool) -> Out:
    return Out(x.shape, sum_dtype(x.dtype), (*split_at(x.shape, (axis,)), int(exclusive)))


def _linear_shape(b: Spec, a: Spec, axis: int, reverse: bool) -> Out:
    return Out(b.shape, b.dtype, (*split_at(b.shape, (axis,)), int(reverse)))


def _shift(x: Tensor, axis: int, by: int) -> Tensor:
    """Move one place along ``axis`` (``by`` is 1 or -1), zero coming in."""
    shape = x._spec.shape
    strides = contiguous(shape)
    n = max(shape[axis] - 1, 0)
    part = narrow(x, axis, 0 if by > 0 else 1, n)
    offset = strides[axis] if by > 0 and n else 0
    return scatter_movement(part, shape, part._spec.shape, strides, offset)


def _linear(b: Tensor, a: Tensor, axis: int, reverse: bool) -> Tensor:
    return record(LINEAR, (b, a), {"axis": axis, "reverse": reverse})


def _cumprod_rule(g: Tensor, out: Tensor, x: Tensor, axis: int, exclusive: bool) -> Tensor:
    # x[j] stands in every later product: their cotangents, gathered by the transposed recurrence
    # t[j] = g[j] + x[j+1] t[j+1], times the product before j.  No division, so zeros do no harm.
    before = out if exclusive else record(CUMPROD, (x,), {"axis": axis, "exclusive": True})
    return before * _linear(_shift(g, axis, -1) if exclusive else g, x, axis, True)


def _linear_rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor, axis: int, reverse: bool) -> Tensor:
    other = _linear(g, y, axis, not reverse)
    forward, backward = (other, out) if reverse else (out, other)
    return _shift(forward, axis, 1) * backward


def _scan_batch(name: str) -> Any:
    def batch(n: int, batched: Any, *operands: Tensor, axis: int, **static: bool) -> Tensor:
        every = all_batched(n, batched, *operands)
        return record(ROWS[name], every, {"axis": axis + 1, **static})

    return batch


CUMSUM: Row = structured(
    "cumulative_sum",
    kernels.cumsum,
    1,
    _cumsum_shape,
    rules=(lambda g, out, x, axis, reverse: record(CUMSUM, (g,), {"axis": axis, "reverse": not reverse}),),
    linear=(0,),
    batch=_scan_batch("cumulative_sum"),
    split="scan",
    complex=True,
    doc="Running sums along an axis.",
)
CUMPROD = structured(
    "cumulative_prod",
    kernels.cumprod,
    1,
    _cumprod_shape,
    rules=(_cumprod_rule,),
    batch=_scan_batch("cumulative_prod"),
    split="scan",
    complex=True,
    doc="Running products along an axis.",
)
LINEAR = structured(
    "linear_recurrence",
    kernels.linear_recurrence,
    2,
    _linear_shape,
    rules=(
        lambda g, out, x, y, axis, reverse: _linear(g, y, axis, not reverse),
        _linear_rule,
    ),
    linear=(0,),
    batch=_scan_batch("linear_recurrence"),
    complex=True,
    doc="s[j] = x[j] + y[j] s[j-1] along an axis, or its transpose.",
)


def _scan(
    row: Row, name: str, x: Any, axis: int | None, dtype: Any, initial: bool, static: dict[str, Any]
) -> Tensor:
    x = as_operand(x, name)
    wanted = None
    if dtype is not None:
        wanted = as_dtype(name, dtype)
        x = cast(x, wanted)
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    if x._spec.ndim == 0:
        x = reshaped(x, (1,))
    k = axis_index(name, axis, x._spec.ndim)
    out = record(row, (x,), {"axis": k, **static})
    if initial:
        shape = (*out._spec.shape[:k], 1, *out._spec.shape[k + 1 :])
        first = np.full(shape, 0 if row is CUMSUM else 1, out._spec.dtype)
        out = record(CONCAT2, (tensor_from_array(first), out), {"axis": k})
    return out if wanted is None else cast(out, wanted)


SAMPLES = (
    Sample(((5,),), {"axis": 0}),
    Sample(((3, 4),), {"axis": 0}),
    Sample(((2, 3, 2),), {"axis": 1}),
    Sample(((3, 4),)),
)


@public(
    reference=lambda x, axis=None: np.cumsum(x, axis),
    samples=SAMPLES,
    aliases=("cumsum",),
    scans="add",
)
def cumulative_sum(
    x: Any, /, axis: int | None = None, dtype: Any = None, *, include_initial: bool = False, **names: Any
) -> Tensor:
    """Running sums along an axis.

    Parameters
    ----------
    axis : int, optional
        Default: over the flattened array.  ``dim`` is PyTorch's name for it.
    dtype : dtype, optional
        To add in; default as for `sum`.
    include_initial : bool
        Start with a zero, so that the result is one longer.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cumsum(tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """
    if names:
        axis, _ = torch_names("cumulative_sum", names, axis)
    return _scan(CUMSUM, "cumulative_sum", x, axis, dtype, include_initial, {"reverse": False})


@public(
    reference=lambda x, axis=None: np.cumprod(x, axis),
    samples=SAMPLES,
    aliases=("cumprod",),
    scans="multiply",
)
def cumulative_prod(
    x: Any, /, axis: int | None = None, dtype: Any = None, *, include_initial: bool = False, **names: Any
) -> Tensor:
    """Running products along an axis; arguments as for `cumulative_sum`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cumprod(tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2., 6.])
    """
    if names:
        axis, _ = torch_names("cumulative_prod", names, axis)
    return _scan(CUMPROD, "cumulative_prod", x, axis, dtype, include_initial, {"exclusive": False})


@public(
    reference=np.diff,
    samples=[Sample(((5,),)), Sample(((3, 4),), {"axis": 0}), Sample(((3, 5),), {"n": 2})],
)
@composite
def diff(x: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along an axis, taken ``n`` times.

    Parameters
    ----------
    n : int
    axis : int
    prepend, append : array_like, optional
        Put before and after ``x`` first.

    Raises
    ------
    ValueError
        If ``n`` is negative or ``x`` has no axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.diff(tg.tensor([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    x = as_operand(x, "diff")
    if n < 0:
        raise ValueError(f"diff: order must be non-negative but got {n}")
    if x._spec.ndim == 0:
        raise ValueError("diff: at least one axis is needed, not shape ()")
    k = axis_index("diff", axis, x._spec.ndim)
    parts = [x]
    for extra, at in ((prepend, 0), (append, 2)):
        if extra is not None:
            e = as_operand(extra, "diff")
            if e._spec.ndim == 0:
                e = ns.broadcast_to(e, (*x._spec.shape[:k], 1, *x._spec.shape[k + 1 :]))
            parts.insert(at, e)
    x = ns.concat(parts, axis=k) if len(parts) > 1 else x
    for _ in range(n):
        m = max(x._spec.shape[k] - 1, 0)
        after, before = narrow(x, k, 1, m), narrow(x, k, 0, m)
        x = ns.not_equal(after, before) if x._spec.kind == "b" else ns.subtract(after, before)
    return x
