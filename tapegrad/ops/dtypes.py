"""Dtypes: conversion, promotion, limits, and what the array API's inspection tells about the namespace."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import methods
from tapegrad.ops.record import as_operand
from tapegrad.spec import DTYPES, FLOAT64, INT64, MAX_DIMS, result_dtype
from tapegrad.tensor import Tensor

__all__ = [
    "__array_namespace_info__",
    "astype",
    "can_cast",
    "finfo",
    "iinfo",
    "is_tensor",
    "isdtype",
    "result_type",
]

SCALARS = (bool, int, float, complex)


def check_device(name: str, device: Any) -> None:
    """Refuse every device but the only one.

    Raises
    ------
    ValueError
        If ``device`` is neither ``None`` nor ``"cpu"``.
    """
    if device is not None and str(device) != "cpu":
        raise ValueError(f'{name}: device {device!r} is not available; the only one is "cpu"')


def _dtype_of(value: Any, name: str) -> np.dtype:
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.dtype
    return methods.as_dtype(value, name)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """Convert ``x`` to ``dtype``.

    Parameters
    ----------
    x : Tensor or array_like
    dtype : dtype
    copy : bool
        Whether to copy where nothing is converted; without, ``x`` itself is returned then.
    device : {None, "cpu"}

    Raises
    ------
    TypeError
        If the dtype is not supported.
    ValueError
        If the device is not ``"cpu"``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.astype(tg.tensor([1, 2]), tg.float64)
    tensor([1., 2.])
    """
    check_device("astype", device)
    return methods.astype(as_operand(x, "astype"), dtype, copy)


def result_type(*values: Any) -> np.dtype:
    """The dtype that an operation on ``values`` (tensors, arrays, dtypes, Python scalars) gives.

    Python scalars count for their kind alone, as in an operation.

    Raises
    ------
    ValueError
        If there are no values.
    TypeError
        If a value is none of these, or its dtype is not supported.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.result_type(tg.float32, tg.int64)
    dtype('float64')
    >>> tg.result_type(tg.tensor([1.0], dtype=tg.float32), 2.0)
    dtype('float32')
    """
    if not values:
        raise ValueError("result_type: at least one array or dtype is required")
    return result_dtype(*[v if type(v) in SCALARS else _dtype_of(v, "result_type") for v in values])


def can_cast(source: Any, to: Any, /) -> bool:
    """Whether NumPy's safe casting allows ``source`` (a dtype or tensor) to become ``to``.

    Raises
    ------
    TypeError
        If a dtype is not supported; for a Python scalar, as its value is not looked at.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.can_cast(tg.int32, tg.float64), tg.can_cast(tg.float64, tg.float32)
    (True, False)
    """
    return bool(np.can_cast(_dtype_of(source, "can_cast"), methods.as_dtype(to, "can_cast")))


# --- kinds ----------------------------------------------------------------------------------------

KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether ``dtype`` is of a kind: a dtype, one of the array API's kind names, or a tuple of them.

    Raises
    ------
    ValueError
        If the kind's name is unknown.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.isdtype(tg.float32, "real floating"), tg.isdtype(tg.int8, (tg.bool, "integral"))
    (True, True)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in KINDS:
        return np.dtype(dtype).kind in KINDS[kind]
    if isinstance(kind, str):
        raise ValueError(f"isdtype: unknown kind {kind!r}; use a dtype or one of {', '.join(KINDS)}")
    return np.dtype(dtype) == np.dtype(kind)


class FloatLimits:
    """Limits of a floating dtype, as Python numbers; what else NumPy's ``finfo`` knows, as there."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.smallest_normal = self.tiny = float(info.smallest_normal)
        self.dtype = np.dtype(info.dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._info, name)

    def __repr__(self) -> str:
        return f"finfo(min={self.min}, max={self.max}, eps={self.eps}, dtype={self.dtype})"


def finfo(dtype: Any, /) -> FloatLimits:
    """Limits of a floating dtype (or of a tensor's).

    Returns
    -------
    object
        With ``bits``, ``eps``, ``max``, ``min``, ``smallest_normal`` as Python numbers, ``dtype``, and
        what NumPy's ``finfo`` has besides.

    Raises
    ------
    ValueError
        If the dtype is not floating.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.finfo(tg.float32).bits
    32
    """
    found = _dtype_of(dtype, "finfo")
    if found.kind not in "fc":
        raise ValueError(f"finfo: data type {found} is not inexact")
    return FloatLimits(np.finfo(found))


def iinfo(dtype: Any, /) -> np.iinfo:
    """Limits of an integer dtype (or of a tensor's): ``bits``, ``max``, ``min``, ``dtype``.

    Raises
    ------
    ValueError
        If the dtype is not an integer one.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.iinfo(tg.int8).max
    127
    """
    found = _dtype_of(dtype, "iinfo")
    if found.kind not in "iu":
        raise ValueError(f"iinfo: data type {found} is not an integer one")
    return np.iinfo(found)


def is_tensor(value: Any, /) -> bool:
    """Whether ``value`` is a `Tensor`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.is_tensor(tg.ones(2)), tg.is_tensor([1.0])
    (True, False)
    """
    return isinstance(value, Tensor)


# --- inspection -----------------------------------------------------------------------------------


class NamespaceInfo:
    """What the array API's ``__array_namespace_info__()`` returns."""

    def capabilities(self) -> dict[str, Any]:
        """What the standard leaves to the library: boolean indexing, shapes that depend on data, axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAX_DIMS}

    def default_device(self) -> str:
        """Where tensors are made."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes that creation functions choose."""
        check_device("default_dtypes", device)
        found = {"real floating": FLOAT64, "integral": INT64, "indexing": INT64}
        wide = [d for d in DTYPES if d.kind == "c"]
        return {**found, "complex floating": wide[-1]} if wide else found

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The supported dtypes, by name: all, or those of a kind or of several."""
        check_device("dtypes", device)
        return {d.name: d for d in DTYPES if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """What the array API lets programs ask about a namespace.

    Returns
    -------
    object
        With the methods ``capabilities()``, ``default_device()``, ``default_dtypes()``, ``devices()`` and
        ``dtypes()``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> sorted(tg.__array_namespace_info__().dtypes(kind="real floating"))
    ['float32', 'float64']
    """
    return NamespaceInfo()
