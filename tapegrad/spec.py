"""Shapes and dtypes: interned ``Spec`` objects, and NumPy's promotion rules.

A *spec* is a shape with a dtype.  Specs are interned, so "same shape and dtype" is one identity test
on the record path, and the engine reads shapes from one flat table by ``spec.id``.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

__all__ = [
    "DTYPES",
    "MAX_DIMS",
    "Spec",
    "broadcast_shapes",
    "complex_dtype",
    "dtype_index",
    "intern_spec",
    "real_dtype",
    "result_dtype",
    "table",
]

MAX_DIMS = 16
DTYPE_NAMES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
DTYPES = tuple(np.dtype(name) for name in DTYPE_NAMES)
dtype_index = {dtype: i for i, dtype in enumerate(DTYPES)}
BOOL, INT64, FLOAT32, FLOAT64 = (np.dtype(n) for n in ("bool", "int64", "float32", "float64"))
COMPLEX64, COMPLEX128 = np.dtype("complex64"), np.dtype("complex128")
BIG = 1 << 16  # bytes: results at least this large get buffers of their own

# Columns of the engine's table of specs.
SIZE, ITEMSIZE, DTYPE, NDIM, SHAPE_ID, SHAPE = 0, 1, 2, 3, 4, 5
COLUMNS = 32  # a power of two, at least SHAPE + MAX_DIMS


class Spec:
    """A shape and a dtype, interned: two equal specs are one object."""

    __slots__ = (
        "big", "differentiable", "dtype", "floating", "id", "joined", "kind", "nbytes", "ndim", "shape",
        "size",
    )  # fmt: skip

    shape: tuple[int, ...]
    dtype: np.dtype
    id: int
    size: int
    ndim: int
    nbytes: int
    floating: bool  # real floating point
    differentiable: bool  # floating point, real or complex
    big: bool
    kind: str
    joined: dict[Spec, Spec]  # by another of the same floating dtype: what both broadcast to

    def __repr__(self) -> str:
        return f"{short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple:
        return intern_spec, (self.shape, self.dtype)


def short_name(dtype: np.dtype) -> str:
    """``f64`` for float64, ``i32`` for int32, ``b1`` for bool."""
    return "b1" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize * 8}"


class _SpecTable:
    """All specs of the process, as objects and as one flat array for the engine."""

    def __init__(self) -> None:
        self.by_key: dict[tuple, Spec] = {}
        self.by_id: list[Spec] = []
        self.shape_ids: dict[tuple[int, ...], int] = {}
        self.rows = np.zeros((256, COLUMNS), np.int64)
        self.lock = threading.Lock()


table = _SpecTable()


def intern_spec(shape: tuple[int, ...], dtype: np.dtype) -> Spec:
    """Return the one ``Spec`` for ``shape`` and ``dtype``.

    Raises
    ------
    ValueError
        If the shape has more than ``MAX_DIMS`` dimensions.
    TypeError
        If the dtype is not one that tapegrad computes with.
    """
    spec = table.by_key.get((shape, dtype))
    return spec if spec is not None else _new_spec(shape, dtype)


def _new_spec(shape: tuple[int, ...], dtype: np.dtype) -> Spec:
    dtype = np.dtype(dtype)
    shape = tuple(int(n) for n in shape)
    if dtype not in dtype_index:
        raise TypeError(f"dtype {dtype} is not supported; use one of {', '.join(DTYPE_NAMES)}")
    dtype = DTYPES[dtype_index[dtype]]  # equal dtypes need not be one object, but are compared by identity
    if len(shape) > MAX_DIMS:
        raise ValueError(f"shape {shape} has {len(shape)} dimensions; at most {MAX_DIMS} are supported")
    with table.lock:
        spec = table.by_key.get((shape, dtype))
        if spec is not None:
            return spec
        spec = Spec()
        size = 1
        for n in shape:
            size *= n
        spec.shape, spec.dtype, spec.size, spec.ndim = shape, dtype, size, len(shape)
        spec.nbytes = size * dtype.itemsize
        spec.kind = dtype.kind
        spec.joined = {}
        spec.floating = dtype.kind == "f"
        spec.differentiable = dtype.kind in "fc"
        spec.big = spec.nbytes >= BIG
        spec.id = len(table.by_id)
        if spec.id == len(table.rows):
            rows = np.zeros((2 * len(table.rows), COLUMNS), np.int64)
            rows[: spec.id] = table.rows
            table.rows = rows
        row = table.rows[spec.id]
        row[SIZE], row[ITEMSIZE], row[DTYPE] = size, dtype.itemsize, dtype_index[dtype]
        row[NDIM] = spec.ndim
        row[SHAPE_ID] = table.shape_ids.setdefault(shape, len(table.shape_ids))
        row[SHAPE : SHAPE + spec.ndim] = shape
        table.by_id.append(spec)
        table.by_key[(shape, dtype)] = spec
        return spec


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's broadcasting, with the operation's name in the error."""
    ndim = max(map(len, shapes))
    out = [1] * ndim
    for shape in shapes:
        for k in range(1, len(shape) + 1):
            n = shape[-k]
            if n != 1:
                if out[-k] not in (1, n):
                    listed = " ".join(str(s) for s in shapes)
                    raise ValueError(f"{name}: operands could not be broadcast together with shapes {listed}")
                out[-k] = n
    return tuple(out)


def complex_dtype(dtype: np.dtype) -> np.dtype:
    """The complex dtype of a dtype's precision."""
    return COMPLEX64 if dtype is FLOAT32 or dtype is COMPLEX64 else COMPLEX128


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of a complex dtype's parts; any other stays as it is."""
    return {COMPLEX64: FLOAT32, COMPLEX128: FLOAT64}.get(dtype, dtype)


def result_dtype(*values: Any) -> np.dtype:
    """NumPy 2's promotion: Python scalars are weak, dtypes are not.

    Each value is a dtype or a Python ``bool``, ``int``, ``float`` or ``complex``.
    """
    dtypes = [v for v in values if isinstance(v, np.dtype)]
    scalars = [v for v in values if not isinstance(v, np.dtype)]
    if not dtypes:
        if any(isinstance(s, complex) for s in scalars):
            return COMPLEX128
        if any(isinstance(s, float) for s in scalars):
            return FLOAT64
        return BOOL if all(isinstance(s, bool) for s in scalars) else INT64
    dtype = dtypes[0]
    for other in dtypes[1:]:
        if other is not dtype:
            dtype = np.promote_types(dtype, other)
    for s in scalars:
        if isinstance(s, complex):
            dtype = complex_dtype(dtype)
        elif isinstance(s, float) and dtype.kind not in "fc":
            dtype = FLOAT64
        elif isinstance(s, int) and not isinstance(s, bool) and dtype.kind == "b":
            dtype = INT64
    return dtype
