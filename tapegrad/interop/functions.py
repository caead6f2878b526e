"""``__array_function__``: what ``np.sum(t)``, ``np.concatenate([t, u])`` and their like do.

Which function answers is derived from the table: the one that names NumPy's as its reference, or else the one
of the same name in the same namespace (``numpy``, ``numpy.linalg``, ``numpy.fft``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.interop.arguments import Passing
from tapegrad.interop.writing import values
from tapegrad.ops.table import PUBLIC, rows
from tapegrad.tensor import Tensor

__all__ = ["LOOKS", "array_function", "counterpart"]

# Questions about values: answered by NumPy on the values themselves.
LOOKS = frozenset(
    getattr(np, name)
    for name in (
        "allclose",
        "array2string",
        "array_equal",
        "array_equiv",
        "array_repr",
        "array_str",
        "can_cast",
        "common_type",
        "einsum_path",
        "iscomplexobj",
        "isrealobj",
        "may_share_memory",
        "min_scalar_type",
        "ndim",
        "result_type",
        "save",
        "savetxt",
        "savez",
        "savez_compressed",
        "shape",
        "shares_memory",
        "size",
    )
)

# These write into their first argument.
FILLS = frozenset((np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask))

_passings: dict[Callable, Passing | None] = {}


def _space(function: Callable) -> str | None:
    """The namespace inside NumPy's that a function is from: ``""``, ``"linalg"``; ``None`` for others."""
    path = (getattr(function, "__module__", "") or "").split(".")
    if path == ["numpy"]:
        return ""
    return path[1] if path[:1] == ["numpy"] and path[1:] in (["linalg"], ["fft"]) else None


def counterpart(function: Callable) -> Callable | None:
    """The function of ours that does what one of NumPy's does, if there is one."""
    from tapegrad.ops.namespace import exports, function_of, spaces

    space = _space(function)
    for row in rows:
        if row.reference is function and row.public:
            return function_of(row)
    for entry in PUBLIC.values():
        reference = getattr(entry.reference, "stands_for", entry.reference)
        if reference is function:
            return entry.function
    if space is None:
        return None
    found = (spaces.get(space, {}) if space else exports).get(function.__name__)
    return found if callable(found) else None


def full_name(function: Callable) -> str:
    """The name as users write it behind ``np.``."""
    space = _space(function)
    if space is None:
        return f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    return f"{space}.{function.__name__}" if space else function.__name__


def no_counterpart(name: str) -> TypeError:
    """The error for what tapegrad does not have."""
    return TypeError(f"{name}: tapegrad has no such operation; pass detach().numpy() to NumPy instead")


def array_function(self: Tensor, func: Callable, types: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Answer NumPy's functions with recorded operations."""
    if not all(issubclass(t, (Tensor, np.ndarray)) for t in types):
        return NotImplemented
    if func in LOOKS:
        return func(*_looked_at(args), **_looked_at(kwargs))
    if func in _passings:
        passing = _passings[func]
    else:
        target = counterpart(func)
        passing = None if target is None else Passing(full_name(func), func, target)
        _passings[func] = passing
    if passing is None:
        raise no_counterpart(full_name(func))
    filled = args[0] if args else next(iter(kwargs.values()), None)
    if func in FILLS and not isinstance(filled, Tensor):
        named = {k: values(passing.name, x) for k, x in kwargs.items()}
        return func(*[values(passing.name, x) for x in args], **named)
    return passing(args, kwargs)


def _looked_at(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return type(value)(_looked_at(v) for v in value)
    if isinstance(value, dict):
        return {k: _looked_at(v) for k, v in value.items()}
    return value
