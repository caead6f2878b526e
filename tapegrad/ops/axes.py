"""Checking axes and shapes: small helpers of the structured and movement operations."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

__all__ = [
    "also_named", "as_shape", "axes_tuple", "axis_index", "behind", "contiguous", "split_at", "strip_axes",
]  # fmt: skip

Function = TypeVar("Function", bound=Callable)


def axis_index(name: str, axis: Any, ndim: int) -> int:
    """Check one axis; return it counted from the front.

    Raises
    ------
    AxisError
        If it is out of bounds.
    TypeError
        If it is not an integer.
    """
    try:
        k = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}: axis must be an integer, not {type(axis).__name__}") from None
    if not -ndim <= k < ndim:
        raise np.exceptions.AxisError(k, ndim, name)
    return k + ndim if k < 0 else k


def also_named(**names: str | None) -> Callable[[Function], Function]:
    """Let arguments be given by the names that other libraries have for them.

    ``also_named(dim="axis")`` passes ``dim=`` on as ``axis=``; ``also_named(shape=None)`` passes
    ``shape=`` on as a last positional argument, for functions that take a variable number of them.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                for other in names.keys() & kwargs.keys():
                    own, value = names[other], kwargs.pop(other)
                    if own is None:
                        args = (*args, value)
                    elif own in kwargs:
                        raise TypeError(f"{function.__name__}: {own!r} and {other!r} are the same argument")
                    else:
                        kwargs[own] = value
            return function(*args, **kwargs)

        call.other_names = names  # type: ignore[attr-defined]  # NumPy's dispatch asks
        return call  # type: ignore[return-value]

    return decorate


def axes_tuple(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Check an axis, several, or ``None`` for all; return them sorted.

    Raises
    ------
    AxisError
        If one is out of bounds.
    ValueError
        If one is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, int):
        return (axis_index(name, axis, ndim),)
    if not isinstance(axis, (tuple, list)):
        return (axis_index(name, axis, ndim),)
    axes = sorted(axis_index(name, a, ndim) for a in axis)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}: duplicate value in axis {tuple(axis)}")
    return tuple(axes)


def as_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of ints; a single integer means one axis."""
    try:
        return (operator.index(shape),)
    except TypeError:
        pass
    try:
        return tuple([operator.index(n) for n in shape])
    except TypeError:
        raise TypeError(f"{name}: a shape must be integers, not {shape!r}") from None


@functools.lru_cache(maxsize=4096)
def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-ordered array."""
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def size_of(shape: tuple[int, ...]) -> int:
    """Number of elements."""
    n = 1
    for k in shape:
        n *= k
    return n


def split_at(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int]:
    """``(outer, n, inner)`` of a shape around consecutive axes."""
    first, last = axes[0], axes[-1]
    return size_of(shape[:first]), size_of(shape[first : last + 1]), size_of(shape[last + 1 :])


def behind(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The same axes of an array that has one more in front."""
    return tuple([k + 1 for k in axes])


def strip_axes(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape that is left of a reduction."""
    if keepdims:
        return tuple([1 if k in axes else n for k, n in enumerate(shape)])
    return tuple([n for k, n in enumerate(shape) if k not in axes])
