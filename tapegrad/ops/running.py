"""Running maxima, minima and log-sums along an axis.

Their derivatives are linear recurrences: a cotangent is handed on from place to place, by a factor of at most
one, so nothing overflows and nothing cancels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.kernels import running as kernels
from tapegrad.ops.axes import axis_index, split_at
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, record
from tapegrad.ops.reduce import torch_names
from tapegrad.ops.scans import _linear, _shift
from tapegrad.ops.table import ROWS, Out, Row, Sample, ns, public, structured
from tapegrad.spec import Spec
from tapegrad.tensor import Tensor


def _shape(x: Spec, axis: int) -> Out:
    return Out(x.shape, x.dtype, split_at(x.shape, (axis,)))


def _batch(name: str) -> Any:
    def batch(n: int, batched: Any, x: Tensor, axis: int) -> Tensor:
        return record(ROWS[name], (x,), {"axis": axis + 1})

    return batch


def _extreme_rule(g: Tensor, out: Tensor, x: Tensor, axis: int) -> Tensor:
    # Elements that equal the extreme so far share it evenly.  It changes from stretch to stretch: a
    # recurrence that starts anew at each counts them, and one that runs back adds cotangents up.
    before = _shift(out, axis, 1)
    hit = ns.logical_or(ns.equal(x, out), ns.isnan(x))
    same = ns.logical_or(ns.equal(before, out), ns.logical_and(ns.isnan(before), ns.isnan(out)))
    same = cast(same, x._spec.dtype)
    count = _linear(cast(hit, x._spec.dtype), same, axis, False)
    return ns.where(hit, _linear(g / count, same, axis, True), 0.0)


def _log_rule(g: Tensor, out: Tensor, x: Tensor, axis: int) -> Tensor:
    # t[i] = sum over j >= i of g[j] exp(out[i] - out[j]), each step by exp(out[j-1] - out[j]) <= 1
    nothing = ns.equal(out, -math.inf)
    level = ns.where(nothing, 0.0, out)
    factor = ns.where(nothing, 0.0, ns.exp(_shift(out, axis, 1) - level))
    return ns.where(nothing, 0.0, ns.exp(x - level)) * _linear(g, factor, axis, True)


def _running(name: str, kernel: Any, rule: Any, doc: str, kink: str = "") -> Row:
    rules, batch = (rule,), _batch(name)
    return structured(name, kernel, 1, _shape, rules=rules, batch=batch, split="along", kink=kink, doc=doc)


TIES = "ties share evenly"


RUNNING_MAX = _running("cummax", kernels.running_max, _extreme_rule, "Running maxima along an axis.", TIES)
RUNNING_MIN = _running("cummin", kernels.running_min, _extreme_rule, "Running minima along an axis.", TIES)
LOGCUMSUMEXP = _running(
    "logcumsumexp",
    kernels.logcumsumexp,
    _log_rule,
    "Running logarithms of sums of exponentials along an axis.",
)


def _scan(row: Row, x: Tensor, axis: int | None, names: dict[str, Any]) -> Tensor:
    if names:
        axis, _ = torch_names(row.name, names, axis)
    if axis is None:
        x = reshaped(x, (x._spec.size,))
        axis = 0
    if x._spec.ndim == 0:
        x = reshaped(x, (1,))
    return record(row, (x,), {"axis": axis_index(row.name, axis, x._spec.ndim)})


SAMPLES = (
    Sample(((5,),), {"axis": 0}),
    Sample(((3, 4),), {"axis": 0}),
    Sample(((2, 3, 2),), {"axis": 1}),
    Sample(((3, 4),)),
)


def _accumulated(ufunc: Any) -> Any:
    def reference(x: Any, axis: int | None = None) -> Any:
        return ufunc.accumulate(np.ravel(x) if axis is None else x, axis=axis or 0)

    return reference


@public(reference=_accumulated(np.maximum), samples=SAMPLES, scans="maximum")
def cummax(x: Any, /, axis: int | None = None, **names: Any) -> Tensor:
    """Running maxima along an axis: NumPy's ``maximum.accumulate``.  NaN from the first one on.

    Parameters
    ----------
    axis : int, optional
        Default: over the flattened array.  ``dim`` is PyTorch's name for it.

    Returns
    -------
    Tensor
        Values only, where PyTorch returns indices as well.

    Notes
    -----
    Elements that equal the maximum so far share its derivative evenly.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cummax(tg.tensor([1.0, 3.0, 2.0, 4.0]))
    tensor([1., 3., 3., 4.])
    """
    return _scan(RUNNING_MAX, as_operand(x, "cummax"), axis, names)


@public(reference=_accumulated(np.minimum), samples=SAMPLES, scans="minimum")
def cummin(x: Any, /, axis: int | None = None, **names: Any) -> Tensor:
    """Running minima along an axis; as `cummax`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cummin(tg.tensor([3.0, 1.0, 2.0, 0.0]))
    tensor([3., 1., 1., 0.])
    """
    return _scan(RUNNING_MIN, as_operand(x, "cummin"), axis, names)


@public(reference=_accumulated(np.logaddexp), samples=SAMPLES)
def logcumsumexp(x: Any, /, axis: int | None = None, **names: Any) -> Tensor:
    """Logarithms of running sums of exponentials along an axis, without overflow.

    Parameters
    ----------
    axis : int, optional
        Default: over the flattened array.  ``dim`` is PyTorch's name for it.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.logcumsumexp(tg.tensor([1000.0, 1000.0, 0.0]))
    tensor([1000.0000, 1000.6931, 1000.6931])
    """
    return _scan(LOGCUMSUMEXP, as_inexact(x, "logcumsumexp"), axis, names)
