"""Identities that are exact in floating point: what they leave is read in place of the row.

``x * 1``, ``x / 1``, ``x - 0.0``, ``x + (-0.0)``, ``x ** 1``, ``-(-x)``, copies (``positive``, ``detach``),
a choice whose condition is known, and a broadcast whose reader broadcasts by itself.  Not ``x * 0`` nor ``x
+ 0.0``:
they differ for infinities, NaN and -0.0.
"""

from __future__ import annotations

import functools

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, DTYPE, KIND, KIND_ELEMENTWISE, NDIM, SHAPE
from tapegrad.engine.tiles import LAST_REAL
from tapegrad.ops.table import INPUT, ROWS
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SPEC, Trace, X

__all__ = ["redirect", "simplify"]

NONE, COPY, TIMES, OVER, MINUS, PLUS, POWER, NEGATE, CHOOSE, SECOND, BROADCAST, MASK = range(12)


@functools.cache
def _roles(n_rows: int) -> np.ndarray:
    """Per opcode, which identity it may fall under."""
    roles = np.zeros(n_rows, np.int64)
    names = {
        "argument": COPY, "detach": COPY, "function_result": COPY, "positive": COPY, "multiply": TIMES,
        "divide": OVER, "subtract": MINUS, "add": PLUS, "power": POWER, "negative": NEGATE, "where": CHOOSE,
        "replace_value": SECOND, "broadcast_to": BROADCAST, "unless_zero": MASK,
    }  # fmt: skip
    for name, role in names.items():
        roles[ROWS[name].op] = role
    return roles


@jit
def _negative_zero(value):
    return value == 0.0 and np.copysign(1.0, value) < 0.0


@jit
def _broadcasts_to(specs, a, b, target):
    """Whether specs ``a`` and ``b`` (-1: a number) broadcast to the shape of ``target``."""
    nd = specs[target, NDIM]
    for k in range(1, nd + 1):
        n = specs[target, SHAPE + nd - k]
        if n == 1:
            continue
        fits = False
        for s in (a, b):
            if s >= 0 and specs[s, NDIM] >= k and specs[s, SHAPE + specs[s, NDIM] - k] == n:
                fits = True
        if not fits:
            return False
    return True


@jit
def _find(code, consts, known, info, specs, roles, same):
    """``same[i]``: the slot that row ``i`` equals (itself: none); operands are redirected in place.

    ``known[i]`` is 1 or 2 for a boolean constant that is false or true.
    """
    changed = 0
    for i in range(len(code)):
        same[i] = i
        op, spec = code[i, OP], code[i, SPEC]
        arity = info[op, ARITY]
        for k in range(arity):
            o = code[i, X + k]
            if o >= 0 and same[o] != o:
                code[i, X + k] = same[o]
                changed += 1
        if info[op, KIND] == KIND_ELEMENTWISE and arity <= 2:
            for k in range(arity):
                o = code[i, X + k]
                if o < 0 or roles[code[o, OP]] != BROADCAST or arity == 1:
                    continue
                other = code[i, X + 1 - k]
                a = code[code[o, X], SPEC]
                b = code[other, SPEC] if other >= 0 else -1
                # the kernel's dtype comes from the operands, which a broadcast does not change
                if b >= 0 and _broadcasts_to(specs, a, b, spec):
                    code[i, X + k] = code[o, X]
                    changed += 1
        role = roles[op]
        if specs[spec, DTYPE] > LAST_REAL and role not in (COPY, SECOND, CHOOSE, BROADCAST):
            role = NONE  # a product with 1 is not the same complex number if a part is not finite
        if role in (NONE, BROADCAST):
            if role == BROADCAST and code[code[i, X], SPEC] == spec:
                same[i] = code[i, X]
            continue
        x, y = code[i, X], code[i, X + 1]
        target = -1
        if role == COPY:
            target = x
        elif role == SECOND:
            target = y
        elif role == TIMES:
            if y < 0 and consts[-y - 1] == 1.0:
                target = x
            elif x < 0 and consts[-x - 1] == 1.0:
                target = y
        elif role in (OVER, POWER):
            if y < 0 and consts[-y - 1] == 1.0:
                target = x
        elif role == MINUS:
            if y < 0 and consts[-y - 1] == 0.0 and not _negative_zero(consts[-y - 1]):
                target = x
        elif role == PLUS:
            if y < 0 and _negative_zero(consts[-y - 1]):
                target = x
            elif x < 0 and _negative_zero(consts[-x - 1]):
                target = y
        elif role == NEGATE:
            if x >= 0 and code[x, OP] == op:
                target = code[x, X]
        elif role == MASK:
            if x < 0 and consts[-x - 1] != 0.0:
                target = y
        elif role == CHOOSE and x >= 0 and known[x]:
            target = y if known[x] == 2 else code[i, X + 2]
        elif role == CHOOSE and x < 0:
            target = y if consts[-x - 1] != 0.0 else code[i, X + 2]
        if target >= 0 and code[target, SPEC] == spec:
            same[i] = target
            changed += 1
    return changed


def redirect(trace: Trace, code: np.ndarray, same: np.ndarray) -> Trace:
    """The trace with ``same[slot]`` read in place of each slot."""
    from dataclasses import replace

    return replace(
        trace,
        code=code,
        outputs=[int(same[i]) for i in trace.outputs],
        guards=[g._replace(slot=int(same[g.slot])) for g in trace.guards],
    )


def simplify(trace: Trace) -> Trace:
    """Apply the identities; rows that nothing reads any more are left for ``remove_dead``."""
    library.refresh()
    code = trace.code.copy()
    known = np.zeros(len(code), np.int64)
    for slot, a in trace.constants.items():
        if a.dtype.kind == "b" and a.size == 1 and code[slot, OP] == INPUT.op:
            known[slot] = 1 + int(a.reshape(()))
    same = np.empty(len(code), np.int64)
    if not _find(code, trace.consts, known, library.info, spec_table.rows, _roles(len(library.info)), same):
        return trace
    return redirect(trace, code, same)
