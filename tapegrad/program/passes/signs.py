"""Signs: negations move outward and disappear into additions and subtractions.

``(-a) * b`` is ``-(a * b)`` to the last bit, and ``c + (-a)`` is ``c - a``; derivative rules are full of
both.  A negation that cannot be moved on, or where the sign of a zero would change, stays: before a sum or
a matrix product, too, as terms that cancel give +0.0.
"""

from __future__ import annotations

import functools

import numpy as np

from tapegrad._jit import allocate, jit, release, stack
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, KIND, KIND_MOVEMENT
from tapegrad.ops.table import ROWS
from tapegrad.spec import DTYPE as SPEC_DTYPE
from tapegrad.spec import DTYPES
from tapegrad.spec import table as spec_table
from tapegrad.trace import COLUMNS, OP, SPEC, Trace, X

__all__ = ["move_signs"]

NONE, NEGATE, PRODUCT, ADD, SUBTRACT, SQUARE, LINEAR, MASK = range(8)


@functools.cache
def _roles(n_rows: int) -> np.ndarray:
    roles = np.zeros(n_rows, np.int64)
    names = {
        "negative": NEGATE, "multiply": PRODUCT, "divide": PRODUCT, "add": ADD, "subtract": SUBTRACT,
        "square": SQUARE, "abs": SQUARE, "unless_zero": MASK,
    }  # fmt: skip
    for name, role in names.items():
        roles[ROWS[name].op] = role
    return roles


@jit
def _move(code, info, roles, floating, negative, add, subtract, wanted, out, new, flip, origin):
    """Write the rows anew; returns how many.

    Row ``i`` is ``new[i]``, negated if ``flip[i]``; ``wanted[i]`` must not be.  ``origin`` maps back.
    """
    n = 0
    done = allocate(2 * len(code))  # negations that had to be written
    for k in range(2 * len(code)):
        done[k] = -1
    a, f = stack(3), stack(3)
    for i in range(len(code)):
        op = code[i, OP]
        role = roles[op]
        arity = info[op, ARITY]
        flip[i] = 0
        if info[op, KIND] == KIND_MOVEMENT:
            role = LINEAR
        if not floating[code[i, SPEC]]:
            role = NONE
        for k in range(arity):
            o = code[i, X + k]
            a[k] = new[o] if o >= 0 else o
            f[k] = flip[o] if o >= 0 else 0
        result = op
        if role == NEGATE and code[i, X] >= 0:
            new[i] = a[0]
            flip[i] = 1 - f[0]
            if wanted[i] and flip[i]:
                flip[i] = 0
                role = NONE
            else:
                continue
        if role == PRODUCT and not wanted[i]:
            flip[i] = f[0] ^ f[1]
            f[0] = f[1] = 0
        elif role == ADD and f[0] + f[1] == 1:
            result = subtract
            if f[0]:
                a[0], a[1] = a[1], a[0]
            f[0] = f[1] = 0
        elif role == SUBTRACT and f[1]:
            if f[0]:
                a[0], a[1] = a[1], a[0]  # -x - -y
            else:
                result = add
            f[0] = f[1] = 0
        elif role == SQUARE:
            f[0] = 0
        elif role == LINEAR and not wanted[i]:
            flip[i] = f[0]
            f[0] = 0
        elif role == MASK:
            f[0] = 0
            if not wanted[i]:
                flip[i] = f[1]
                f[1] = 0
        for k in range(arity):
            if not f[k]:
                continue
            if done[a[k]] < 0:
                for c in range(COLUMNS):
                    out[n, c] = 0
                out[n, OP] = negative
                out[n, SPEC] = out[a[k], SPEC]
                out[n, X] = a[k]
                origin[n] = i
                done[a[k]] = n
                n += 1
            a[k] = done[a[k]]
        for c in range(COLUMNS):
            out[n, c] = code[i, c]
        out[n, OP] = result
        for k in range(arity):
            out[n, X + k] = a[k]
        origin[n] = i
        new[i] = n
        n += 1
    release(done)
    return n


def move_signs(trace: Trace) -> Trace:
    """Move negations outward."""
    n = len(trace)
    negative = ROWS["negative"].op
    if not (trace.code[:, OP] == negative).any():
        return trace
    floating = np.array([d.kind == "f" for d in DTYPES])[spec_table.rows[: len(spec_table.by_id), SPEC_DTYPE]]
    wanted = np.zeros(n, np.uint8)
    for slot in (*trace.outputs, *(g.slot for g in trace.guards)):
        wanted[slot] = 1
    out = np.empty((2 * n, COLUMNS), np.int64)
    new, origin = np.empty(n, np.int64), np.empty(2 * n, np.int64)
    flip = np.empty(n, np.int64)
    info = library.info
    m = _move(
        trace.code, info, _roles(len(info)), floating, negative, ROWS["add"].op, ROWS["subtract"].op, wanted,
        out, new, flip, origin,
    )  # fmt: skip
    places = trace.places.take(origin[:m])
    new[flip != 0] = -1  # nothing outside refers to them
    return trace.with_rows(out[:m].copy(), new, places=places)
