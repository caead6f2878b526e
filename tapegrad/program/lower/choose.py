"""Which rows of a trace become machine code: those over float64 numbers, truths, and small arrays of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.ops.table import ROWS, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.spec import BOOL, FLOAT64, Spec
from tapegrad.spec import table as spec_table
from tapegrad.trace import SPEC, Trace

if TYPE_CHECKING:
    from tapegrad.ops.record import Signature

__all__ = ["ALIASES", "ELEMENTWISE", "MAX_ELEMENTS", "lowerable", "positions"]

MAX_ELEMENTS = 16  # of an array whose elements are treated as numbers
MAX_PRODUCTS = 128  # of one small product of matrices
CALL = 2 * MAX_ELEMENTS  # what a call counts for one element: more than any inline row does
MAX_WORK = 1_000_000  # operations of one program: beyond, its code would not fit any cache

# Operations on float64 that are a few instructions; others call the row's kernel.
ELEMENTWISE = frozenset((
    "add", "subtract", "multiply", "divide", "negative", "square", "sqrt", "rsqrt", "reciprocal", "abs",
    "maximum", "minimum", "fmax", "fmin", "clip", "relu", "unless_zero", "equal", "not_equal", "less",
    "less_equal", "greater", "greater_equal", "isnan", "isinf", "isfinite", "astype_bool", "logical_and",
    "logical_or", "logical_xor", "logical_not",
))  # fmt: skip
TRUTHS = frozenset((
    "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_invert", "astype_float64",
))  # fmt: skip
# rows whose result is an operand as it is: which one
ALIASES = {
    "detach": 0, "argument": 0, "function_result": 0, "positive": 0, "replace_value": 1, "astype_float64": 0,
}  # fmt: skip


def _simple(spec: Spec) -> bool:
    return spec.dtype == FLOAT64 or spec.dtype == BOOL


def _small(spec: Spec) -> bool:
    return _simple(spec) and 1 <= spec.size <= MAX_ELEMENTS


def lowerable(trace: Trace) -> tuple[np.ndarray, np.ndarray, int]:
    """Per row, whether it becomes machine code; and about how many operations that is.

    Parameters
    ----------
    trace : Trace

    Returns
    -------
    rows, calls : ndarray of bool
        Which rows, and which of these call a kernel.
    work : int
        Number of operations on numbers; no row is chosen where it would exceed ``MAX_WORK``.
    """
    code = trace.code
    out, calls = np.zeros(len(trace), np.bool_), np.zeros(len(trace), np.bool_)
    work = 0
    known: dict[tuple, int] = {}
    specs = code[:, SPEC].tolist()
    # by columns: a list for each row would have Python look for garbage again and again
    for i, (op, spec, x, y, z, sig) in enumerate(zip(*code.T.tolist())):
        row = table_rows[op]
        operands = (x, y, z)[: row.arity]
        if row.kind is Kind.ELEMENTWISE:
            key: tuple = (op, spec, *[specs[o] if o >= 0 else -1 for o in operands])
        else:
            raw = z if row.arity < 3 else 0
            key = (op, spec, sig, raw, *[specs[o] for o in operands])
        cost = known.get(key)
        if cost is None:
            inputs = [spec_table.by_id[specs[o]] if o >= 0 else None for o in operands]
            signature = trace.signatures[sig] if row.kind in (Kind.MOVEMENT, Kind.STRUCTURED) else None
            raw = z if signature is not None and row.arity < 3 else 0
            cost = known[key] = _cost(row, spec_table.by_id[spec], inputs, signature, raw)
        if cost >= 0:
            out[i] = True
            calls[i] = row.kind is Kind.ELEMENTWISE and cost >= CALL
            work += cost
    if work > MAX_WORK:
        out[:] = calls[:] = False
        work = 0
    return out, calls, work


def _cost(row: Any, spec: Spec, inputs: Sequence[Spec | None], signature: Signature | None, raw: int) -> int:
    """How many operations a row is, -1 if it is left to the interpreter."""
    if row.kind is Kind.INPUT or row.user is not None or not _small(spec):
        return -1
    if row.kind is Kind.MOVEMENT:
        return 0 if inputs[0] is not None and _simple(inputs[0]) else -1
    given = [s for s in inputs if s is not None]
    if not all(_small(s) for s in given):
        return -1
    if row.kind is Kind.ELEMENTWISE:
        return spec.size * _elementwise(row.name, spec, inputs) or -1
    if any(s.dtype != FLOAT64 for s in given) or signature is None:
        return -1
    cost = _STRUCTURED.get(row.name)
    return -1 if cost is None else cost(spec, given, signature, raw)


def _elementwise(name: str, spec: Spec, inputs: Sequence[Spec | None]) -> int:
    """Operations per element, 0 if there is no such instruction."""
    numbers = all(s is None or s.dtype == FLOAT64 for s in inputs)
    if name == "where":
        c, *values = inputs
        chosen = c is not None and c.dtype == BOOL and spec.dtype == FLOAT64
        return int(chosen and all(s is None or s.dtype == FLOAT64 for s in values))
    if numbers:
        if name in ELEMENTWISE or name in ALIASES:
            return 1
        return CALL if spec.dtype == FLOAT64 else 0
    if any(s is None or s.dtype != BOOL for s in inputs):
        return 0
    return int(name in TRUTHS or (name in ALIASES and spec.dtype == BOOL))


def positions(static: dict[str, Any], raw: int) -> list[int]:
    """The elements that a movement names, in order."""
    shape, strides = static["shape"], static["strides"]
    at = np.full(shape, raw, np.int64)
    for k, (n, step) in enumerate(zip(shape, strides)):
        at += (np.arange(n) * step).reshape((n,) + (1,) * (len(shape) - k - 1))
    return at.reshape(-1).tolist()


def _strided(spec: Spec, given: Sequence[Spec], signature: Signature, raw: int) -> int:
    to = positions(signature.static, raw)
    return len(to) if len(set(to)) == len(to) else -1


def _matmul(spec: Spec, given: Sequence[Spec], signature: Signature, raw: int) -> int:
    _, _, _, n, m, k, _, _, _, _, _, batch, _, _, step_out, *_ = signature.params
    work = n * m * k * batch
    return 2 * work if 0 < work <= MAX_PRODUCTS and (step_out or batch == 1) else -1


def _matvec(spec: Spec, given: Sequence[Spec], signature: Signature, raw: int) -> int:
    batch, m, k = signature.params[8], signature.params[13], signature.params[14]
    return 2 * m * k * batch if 0 < m * k * batch <= MAX_PRODUCTS else -1


def _all(spec: Spec, given: Sequence[Spec], signature: Signature, raw: int) -> int:
    return sum(s.size for s in given)


_STRUCTURED = {
    "scatter_strided": _strided, "add_strided": _strided, "clear_strided": _strided, "set_strided": _strided,
    "sum_all": _all, "sum": _all, "prod": _all, "concat2": _all, "stack2": _all,
    "matmul": _matmul, "matvec": _matvec,
}  # fmt: skip
assert all(name in ROWS for name in (*ELEMENTWISE, *TRUTHS, *ALIASES, *_STRUCTURED))
