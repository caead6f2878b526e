"""Common subexpressions: rows that compute the same from the same are merged."""

from __future__ import annotations

import functools

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, KIND, KIND_ELEMENTWISE, KIND_INPUT
from tapegrad.ops.table import ROWS
from tapegrad.program.passes.simplify import redirect
from tapegrad.trace import OP, SIG, SPEC, Trace, X, Z

__all__ = ["count_readers", "merge_common"]

FREE, COMMUTES, APART = 0, 1, 2  # nothing special; operands may be swapped; never merged

# x + y and y + x are the same number, so are products, comparisons for equality and logic.
COMMUTATIVE = ("add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor")


@functools.cache
def _roles(n_rows: int) -> np.ndarray:
    roles = np.zeros(n_rows, np.int64)
    for name in COMMUTATIVE:
        roles[ROWS[name].op] = COMMUTES
    if "barrier" in ROWS:  # what is recomputed on purpose
        roles[ROWS["barrier"].op] = APART
    return roles


@jit
def _count(code, info, readers):
    for i in range(len(code)):
        for k in range(info[code[i, OP], ARITY]):
            o = code[i, X + k]
            if o >= 0:
                readers[o] += 1


def count_readers(trace: Trace) -> np.ndarray:
    """Per row, how many operands name it; results and guards count as two."""
    readers = np.zeros(len(trace), np.int64)
    _count(trace.code, library.info, readers)
    for slot in (*trace.outputs, *(g.slot for g in trace.guards)):
        readers[slot] += 2
    return readers


@jit
def _merge(code, const_ids, info, roles, table, same):
    """``same[i]``: an earlier row that computes what row ``i`` does; ``table`` is a hash table of rows."""
    mask = len(table) - 1
    merged = 0
    for i in range(len(code)):
        same[i] = i
        op = code[i, OP]
        kind, arity = info[op, KIND], info[op, ARITY]
        for k in range(arity):
            o = code[i, X + k]
            if o >= 0:
                code[i, X + k] = same[o]
            else:
                code[i, X + k] = -const_ids[-o - 1] - 1
        if kind == KIND_INPUT or roles[op] == APART:
            continue
        if roles[op] == COMMUTES and code[i, X] < code[i, X + 1]:
            code[i, X], code[i, X + 1] = code[i, X + 1], code[i, X]
        z = code[i, Z] if arity > 2 or kind != KIND_ELEMENTWISE else 0
        y = code[i, X + 1] if arity > 1 else 0
        sig = code[i, SIG] if kind != KIND_ELEMENTWISE else 0
        h = np.uint64(op) * np.uint64(0x9E3779B97F4A7C15)
        for part in (code[i, SPEC], code[i, X], y, z, sig):
            h = (h ^ np.uint64(part)) * np.uint64(0xFF51AFD7ED558CCD)
            h ^= h >> np.uint64(32)
        at = np.int64(h & np.uint64(mask))
        while table[at] >= 0:
            j = table[at]
            equal = code[j, OP] == op and code[j, SPEC] == code[i, SPEC] and code[j, X] == code[i, X]
            if equal and arity > 1:
                equal = code[j, X + 1] == y
            if equal and (arity > 2 or kind != KIND_ELEMENTWISE):
                equal = code[j, Z] == z
            if equal and kind != KIND_ELEMENTWISE:
                equal = code[j, SIG] == sig
            if equal:
                same[i] = j
                merged += 1
                break
            at = (at + 1) & mask
        if same[i] == i:
            table[at] = i
    return merged


def merge_common(trace: Trace) -> Trace:
    """Merge rows that are equal; those left unread are for ``remove_dead``."""
    n = len(trace)
    code = trace.code.copy()
    bits = np.ascontiguousarray(trace.consts).view(np.int64)
    _, first, inverse = np.unique(bits, return_index=True, return_inverse=True)
    const_ids = first[inverse.reshape(-1)] if len(bits) else np.zeros(1, np.int64)
    table = np.full(1 << max(4, (2 * n).bit_length()), -1, np.int64)
    same = np.empty(n, np.int64)
    if not _merge(code, const_ids, library.info, _roles(len(library.info)), table, same):
        return trace
    return redirect(trace, code, same)
