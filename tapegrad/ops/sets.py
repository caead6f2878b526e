"""Sets: the distinct elements of an array, and membership.

How many elements are distinct depends on their values, so the ``unique`` functions look at them: under
`tapegrad.compile` that is a guard.  Values are then taken from the operand, by the positions at which they
occur first, and that is where gradients go.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapegrad.ops.axes import also_named, axis_index
from tapegrad.ops.movement import reshaped
from tapegrad.ops.record import as_operand, cast, composite
from tapegrad.ops.table import Sample, ns, public
from tapegrad.spec import BOOL, INT64, result_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__: list[str] = []


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def _distinct(name: str, x: Any, axis: int | None, equal_nan: bool) -> UniqueAll:
    x = as_operand(x, name)
    shape = x._spec.shape
    if axis is not None:
        axis = axis_index(name, axis, len(shape))
    found = np.unique(
        x.detach().numpy(),
        return_index=True,
        return_inverse=True,
        return_counts=True,
        axis=axis,
        equal_nan=equal_nan,
    )
    first, inverse, counts = [np.asarray(part).astype(np.int64) for part in found[1:]]
    inverse = inverse.reshape(shape if axis is None else (shape[axis],))  # releases of NumPy differ
    values = ns.take(x, first, axis=axis)
    return UniqueAll(values, *map(tensor_from_array, (first, inverse, counts)))


@public(reference=np.unique, samples=[Sample(((7,),)), Sample(((3, 2),), {"axis": 0})], looks=True)
@also_named(dim="axis")
def unique(
    x: Any,
    /,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct elements, in ascending order, with NumPy's arguments (looks at the values).

    Parameters
    ----------
    x : array_like
    return_index, return_inverse, return_counts : bool
        Also return where each distinct element occurs first, which of them each element of ``x`` is, and
        how often each occurs; int64 tensors.
    axis : int, optional
        Distinct slices along an axis; default the distinct elements of the flattened array.
    equal_nan : bool
        Whether NaNs count as one element.
    sorted : bool
        The result is in ascending order in any case.

    Returns
    -------
    Tensor, or a tuple that starts with it.  Gradients go to first occurrences.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique(tg.tensor([3.0, 1.0, 3.0]))
    tensor([1., 3.])
    """
    found = _distinct("unique", x, axis, equal_nan)
    wanted = (return_index, return_inverse, return_counts)
    rest = tuple([part for part, asked in zip(found[1:], wanted) if asked])
    return (found.values, *rest) if rest else found.values


@public(
    reference=lambda x: np.unique(x, equal_nan=False), samples=[Sample(((7,),))], method=False, looks=True
)
def unique_values(x: Any, /) -> Tensor:
    """The distinct elements, in ascending order; no NaN equals another (looks at the values).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique_values(tg.tensor([3.0, 1.0, 3.0]))
    tensor([1., 3.])
    """
    return _distinct("unique_values", x, None, False).values


@public(
    reference=lambda x: np.unique(x, return_counts=True, equal_nan=False),
    samples=[Sample(((7,),))],
    method=False,
    looks=True,
)
def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct elements, as `unique_values`, and how often each occurs.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique_counts(tg.tensor([3.0, 1.0, 3.0])).counts
    tensor([1, 2])
    """
    found = _distinct("unique_counts", x, None, False)
    return UniqueCounts(found.values, found.counts)


def _inverse(x: Any) -> Any:
    values, inverse = np.unique(x, return_inverse=True, equal_nan=False)
    return values, inverse.reshape(np.shape(x))


@public(reference=_inverse, samples=[Sample(((3, 2),))], method=False, looks=True)
def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct elements, as `unique_values`, and which of them each element of ``x`` is.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique_inverse(tg.tensor([3.0, 1.0, 3.0])).inverse_indices
    tensor([1, 0, 1])
    """
    found = _distinct("unique_inverse", x, None, False)
    return UniqueInverse(found.values, found.inverse_indices)


def _all(x: Any) -> Any:
    values, first, inverse, counts = np.unique(x, True, True, True, equal_nan=False)
    return values, first, inverse.reshape(np.shape(x)), counts


@public(reference=_all, samples=[Sample(((3, 2),))], method=False, looks=True)
def unique_all(x: Any, /) -> UniqueAll:
    """The distinct elements, as `unique_values`; where each occurs first, which each element is, and counts.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique_all(tg.tensor([3.0, 1.0, 3.0])).indices
    tensor([1, 0])
    """
    return _distinct("unique_all", x, None, False)


@public(reference=np.isin, samples=[], differentiable=False, method=False)
@composite
def isin(x: Any, elements: Any, /, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of ``x`` is among ``elements``.

    Parameters
    ----------
    x, elements : array_like
        Any shapes.
    assume_unique : bool
        Accepted for NumPy's sake.
    invert : bool
        Whether each is *not* among them.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isin(tg.tensor([1, 2, 3]), [3, 1])
    tensor([ True, False,  True])
    """
    x, elements = as_operand(x, "isin"), as_operand(elements, "isin")
    dtype = result_dtype(x._spec.dtype, elements._spec.dtype)
    dtype = INT64 if dtype is BOOL else dtype
    x = cast(x, dtype)
    n = elements._spec.size
    if n == 0:
        found = ns.zeros(x._spec.shape, dtype=BOOL)
    else:
        ordered = ns.sort(reshaped(cast(elements, dtype), (n,)))
        place = ns.minimum(ns.searchsorted(ordered, x), n - 1)
        found = ns.equal(ns.take(ordered, place), x)
    return ns.logical_not(found) if invert else found


# --- of two arrays --------------------------------------------------------------------------------


def _both(name: str, x: Any, y: Any) -> Tensor:
    x, y = as_operand(x, name), as_operand(y, name)
    dtype = result_dtype(x._spec.dtype, y._spec.dtype)
    return ns.concat([reshaped(cast(v, dtype), (v._spec.size,)) for v in (x, y)])


@public(reference=np.union1d, samples=[Sample(((3,), (2, 2)))], method=False, looks=True)
@composite
def union1d(x: Any, y: Any, /) -> Tensor:
    """The distinct elements of two arrays, in ascending order (looks at the values).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.union1d([3, 1], [2, 3])
    tensor([1, 2, 3])
    """
    return unique(_both("union1d", x, y))


def _members(x: Tensor, y: Any, invert: bool) -> Tensor:
    chosen = isin(x, y, invert=invert).detach().numpy()
    return ns.take(x, np.flatnonzero(chosen))


def _flat_unique(x: Any, name: str, assume_unique: bool) -> Tensor:
    x = as_operand(x, name)
    return reshaped(x, (x._spec.size,)) if assume_unique else unique(x)


@public(
    reference=lambda x, y: np.intersect1d(x, y),
    samples=[Sample(((3,), (2, 2)))],
    method=False,
    looks=True,
)
@composite
def intersect1d(x: Any, y: Any, /, assume_unique: bool = False) -> Tensor:
    """The distinct elements that two arrays share, in ascending order (looks at the values).

    Parameters
    ----------
    assume_unique : bool
        Promises that the elements of each are distinct.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.intersect1d([3, 1], [2, 3])
    tensor([3])
    """
    x, y = as_operand(x, "intersect1d"), as_operand(y, "intersect1d")
    x = cast(x, result_dtype(x._spec.dtype, y._spec.dtype))
    return _members(unique(x), y, False)


@public(
    reference=lambda x, y: np.setdiff1d(x, y),
    samples=[Sample(((4,), (2,)))],
    method=False,
    looks=True,
)
@composite
def setdiff1d(x: Any, y: Any, /, assume_unique: bool = False) -> Tensor:
    """The distinct elements of ``x`` that are not in ``y`` (looks at the values).

    Parameters
    ----------
    assume_unique : bool
        Promises that elements are distinct; they stay in their order then.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.setdiff1d([3, 1], [2, 3])
    tensor([1])
    """
    return _members(_flat_unique(x, "setdiff1d", assume_unique), y, True)


@public(
    reference=lambda x, y: np.setxor1d(x, y),
    samples=[Sample(((3,), (2,)))],
    method=False,
    looks=True,
)
@composite
def setxor1d(x: Any, y: Any, /, assume_unique: bool = False) -> Tensor:
    """The distinct elements that are in one of two arrays only, in ascending order (looks at the values).

    Parameters
    ----------
    assume_unique : bool
        Promises that the elements of each are distinct.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.setxor1d([3, 1], [2, 3])
    tensor([1, 2])
    """
    x, y = as_operand(x, "setxor1d"), as_operand(y, "setxor1d")
    dtype = result_dtype(x._spec.dtype, y._spec.dtype)
    x, y = unique(cast(x, dtype)), unique(cast(y, dtype))
    return ns.sort(ns.concat([_members(x, y, True), _members(y, x, True)]))
