"""``__array_ufunc__``: what ``np.sin(t)``, ``array + t``, ``np.add.reduce(t)`` and their like do.

Derived from the table: the row or public function that names the ufunc as its reference, or else the one of
its name.  ``.reduce`` and ``.accumulate`` are the public functions that say what they fold or scan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.interop.arguments import NOTHING, names_of, refuse
from tapegrad.interop.functions import no_counterpart
from tapegrad.interop.writing import begin, values, write_all
from tapegrad.ops.index import index_add
from tapegrad.ops.record import OPERAND_TYPES, as_operand, cast, elementwise_functions, record_elementwise
from tapegrad.ops.table import PUBLIC, Kind, Row, ns, rows
from tapegrad.tensor import Tensor

__all__ = ["array_ufunc"]

CASTINGS = ("safe", "same_kind", "unsafe")
RANK = "buifc"  # kinds of dtypes: Python numbers become any that comes later


@functools.cache
def _target(ufunc: np.ufunc) -> Row | Callable | None:
    """What answers a ufunc: an elementwise row, a public function, or nothing."""
    name = ufunc.__name__
    elementwise = [row for row in rows if row.kind is Kind.ELEMENTWISE and row.public]
    for row in elementwise:
        if row.reference is ufunc:
            return row
    for entry in PUBLIC.values():
        if entry.reference is ufunc:
            return entry.function
    for row in elementwise:
        if name in (row.name, *row.aliases) and not row.home:
            return row
    named = PUBLIC.get(name)
    return None if named is None else named.function


@functools.cache
def _quick(ufunc: np.ufunc) -> Callable | None:
    """The function of a ufunc's row, called from `array_ufunc`: the user's frame is the second above it."""
    row = _target(ufunc)
    return elementwise_functions(row, depth=2)["function"] if isinstance(row, Row) else None


@functools.cache
def _repeated(ufunc: np.ufunc, way: str) -> Callable | None:
    """The public function that folds (or scans) an axis with a ufunc."""
    return next((e.function for e in PUBLIC.values() if getattr(e, way) == ufunc.__name__), None)


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Answer a ufunc or one of its methods with recorded operations."""
    operands = [x for x in (*inputs, *kwargs.get("out", ())) if x is not None]
    if method == "at":
        del operands[1]  # what to index with
    if not all(isinstance(x, OPERAND_TYPES) for x in operands):
        return NotImplemented
    if method == "__call__" and not kwargs:
        quick = _quick(ufunc)
        if quick is not None:
            return quick(*inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    return METHODS[method](name, ufunc, inputs, kwargs)


# --- calls ----------------------------------------------------------------------------------------


def _call(name: str, ufunc: np.ufunc, inputs: tuple, options: dict[str, Any]) -> Any:
    target = _target(ufunc)
    if target is None:
        raise no_counterpart(name)
    if not options:
        return _apply(target, inputs, {})
    outs = options.pop("out", None)
    where = options.pop("where", True)
    dtype = options.pop("dtype", None)
    casting = options.pop("casting", "same_kind")
    options.pop("subok", None)  # results are Tensors in any case
    if options.pop("order", "K") not in ("K", "C", "A"):
        raise refuse(name, "order")
    if casting not in CASTINGS:
        raise refuse(name, "casting")
    for option in ("signature", "sig"):
        if options.pop(option, None) is not None:
            raise refuse(name, option)
    begin(outs or ())
    if where is not True and outs is None:
        raise TypeError(f"{name}: the argument 'where' needs 'out': elsewhere, there would be no values")
    if dtype is not None and isinstance(target, Row) and target.dtype_rule in ("bool", "test", "logical"):
        if np.dtype(dtype) != np.dtype(bool):
            raise refuse(name, f"dtype={np.dtype(dtype)}")
        dtype = None  # the result's only dtype
    if dtype is not None:
        inputs = tuple([_converted(name, x, np.dtype(dtype), casting) for x in inputs])
    result = _apply(target, inputs, {k: v for k, v in options.items() if v is not NOTHING}, name)
    if dtype is not None and getattr(result, "dtype", None) != np.dtype(dtype):
        raise refuse(name, f"dtype={np.dtype(dtype)}")
    return result if outs is None else write_all(name, outs, result, where, casting)


def _apply(target: Row | Callable, inputs: tuple, options: dict[str, Any], name: str = "") -> Any:
    if options:
        known = () if isinstance(target, Row) else names_of(target)
        for option in options:
            if option not in known:
                raise refuse(name, option)
    return record_elementwise(target, inputs) if isinstance(target, Row) else target(*inputs, **options)


def _converted(name: str, x: Any, dtype: np.dtype, casting: str) -> Any:
    """An operand as ``dtype=`` wants it; Python numbers count for their kind alone."""
    own = np.result_type(type(x)) if isinstance(x, (bool, int, float, complex)) else as_operand(x, name).dtype
    weak = isinstance(x, (bool, int, float, complex)) and RANK.index(own.kind) <= RANK.index(dtype.kind)
    if not weak and not np.can_cast(own, dtype, casting):
        raise TypeError(f"{name}: cannot cast an operand from {own} to {dtype} with casting rule {casting!r}")
    return cast(as_operand(x, name), dtype)


# --- methods --------------------------------------------------------------------------------------


def _repeat(way: str) -> Callable:
    def method(name: str, ufunc: np.ufunc, inputs: tuple, options: dict[str, Any]) -> Any:
        target = _repeated(ufunc, way)
        if target is None:
            raise no_counterpart(name)
        x = as_operand(inputs[0], name)
        outs = options.pop("out", None)
        named = {k: v for k, v in options.items() if v is not NOTHING and v is not DEFAULTS.get(k, NOTHING)}
        axis = named.pop("axis", 0)
        if named.get("initial", 0) is None:
            raise refuse(name, "initial=None")
        if x.ndim == 0 and axis in (0, -1):
            axis = None
        begin(outs or ())
        result = _apply(target, (x,), {"axis": axis, **named}, name)
        return result if outs is None else write_all(name, outs, result)

    return method


DEFAULTS = {"dtype": None, "keepdims": False, "where": True}


def _outer(name: str, ufunc: np.ufunc, inputs: tuple, options: dict[str, Any]) -> Any:
    x, y = [as_operand(v, name) for v in inputs]
    x = ns.reshape(x, x.shape + (1,) * y.ndim)
    return _call(name, ufunc, (x, y), options)


def _at(name: str, ufunc: np.ufunc, inputs: tuple, options: dict[str, Any]) -> None:
    """``np.add.at(x, i, y)``: add to elements, in place, to each as often as it is named."""
    x, indices, *rest = inputs
    if not isinstance(x, Tensor):
        ufunc.at(x, *[values(name, v) for v in (indices, *rest)])
        return
    if ufunc not in (np.add, np.subtract):
        raise no_counterpart(name)
    (y,) = rest
    x._check_in_place()
    if not np.can_cast(as_operand(y, name).dtype, x.dtype, "same_kind"):
        raise TypeError(f"{name}: cannot cast what is added from {as_operand(y).dtype} to {x.dtype}")
    y = as_operand(y, name)
    x._take(index_add(name, x, indices, ns.negative(y) if ufunc is np.subtract else y), name)


def _reduceat(name: str, ufunc: np.ufunc, inputs: tuple, options: dict[str, Any]) -> Any:
    raise no_counterpart(name)


METHODS: dict[str, Callable] = {
    "__call__": _call,
    "reduce": _repeat("folds"),
    "accumulate": _repeat("scans"),
    "outer": _outer,
    "at": _at,
    "reduceat": _reduceat,
}
