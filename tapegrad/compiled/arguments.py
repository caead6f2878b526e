"""Arguments and results of compiled functions: what is data, what is static, what may be written to."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import os
import types
import weakref
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tapegrad.compiled.recording import plain_array
from tapegrad.tensor import Tensor

__all__ = ["Static", "WeakMethod", "as_array", "check_apart", "check_out", "is_data", "line_of", "reference"]

INT64_LIMIT = 1 << 63


class Static:
    """A static argument, among the leaves."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def is_data(leaf: Any) -> bool:
    """Whether a leaf is an input; static if not."""
    if leaf.__class__ is int:
        return -INT64_LIMIT <= leaf < INT64_LIMIT
    if isinstance(leaf, np.generic):
        return leaf.dtype.kind in "biufc"
    return leaf.__class__ in (float, complex, bool) or isinstance(leaf, (Tensor, np.ndarray))


def as_array(leaf: Any) -> np.ndarray | None:
    """A leaf as the array it is computed with; ``None`` for a static one."""
    kind = leaf.__class__
    if kind is np.ndarray:
        return plain_array(leaf)
    if not is_data(leaf):
        return None
    if isinstance(leaf, Tensor):
        return leaf._compute()
    return np.array(leaf, np.int64) if kind is int else plain_array(np.asarray(leaf))


def check_out(target: Any, shape: tuple, dtype: np.dtype) -> None:
    if not isinstance(target, np.ndarray):
        raise TypeError(f"compile: out must hold arrays, not {type(target).__name__}")
    if target.shape != shape or target.dtype != dtype:
        raise ValueError(
            f"compile: out has shape {target.shape} and dtype {target.dtype}; expected {shape} and {dtype}"
        )
    if not (target.flags.c_contiguous and target.flags.writeable):
        raise ValueError("compile: out must be C-contiguous and writeable")


def check_apart(targets: Collection[np.ndarray]) -> None:
    """Refuse results that would be written over each other."""
    if len(targets) < 2:
        return
    spans = sorted((a.ctypes.data, a.nbytes) for a in targets if a.nbytes)
    for (at, nbytes), (following, _) in itertools.pairwise(spans):
        if at + nbytes > following:
            raise ValueError("compile: the arrays of out share memory; each result needs memory of its own")


def line_of(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code is not None else "-"


class WeakMethod:
    """A method that does not keep its object alive."""

    def __init__(self, function: Callable, instance: Any) -> None:
        self.__func__ = function
        self._instance = reference(instance)
        functools.update_wrapper(self, function, updated=())
        bound = types.MethodType(function, instance)
        with contextlib.suppress(TypeError, ValueError):
            self.__signature__ = inspect.signature(bound)

    @property
    def __self__(self) -> Any:
        return self._instance()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self._instance(), *args, **kwargs)


def reference(instance: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(instance)
    except TypeError:
        return lambda: instance
