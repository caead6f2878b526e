"""Dead code: rows that no output and no guard depends on are dropped."""

from __future__ import annotations

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY
from tapegrad.trace import COLUMNS, Trace, X

__all__ = ["compact", "remove_dead"]


@jit
def _mark(code, info, live):
    """Extend ``live`` to all that live rows read; returns how many rows live."""
    count = 0
    for i in range(len(code) - 1, -1, -1):
        if live[i] == 0:
            continue
        count += 1
        for k in range(info[code[i, 0], ARITY]):
            o = code[i, X + k]
            if o >= 0:
                live[o] = 1
    return count


@jit
def compact(code, info, live, new, out):
    """Copy live rows to ``out``, renumbered; ``new`` gets each slot's number, -1 for dropped ones."""
    m = 0
    for i in range(len(code)):
        if live[i] == 0:
            new[i] = -1
            continue
        new[i] = m
        for c in range(COLUMNS):
            out[m, c] = code[i, c]
        for k in range(info[code[i, 0], ARITY]):
            o = code[i, X + k]
            if o >= 0:
                out[m, X + k] = new[o]
        m += 1


def remove_dead(trace: Trace) -> Trace:
    """Drop rows that nothing needs."""
    library.refresh()
    n = len(trace)
    live = np.zeros(n, np.uint8)
    # arguments stay: who calls the program from machine code passes all of them
    for slot in (*trace.outputs, *(g.slot for g in trace.guards), *trace.inputs):
        if slot >= 0:
            live[slot] = 1
    m = _mark(trace.code, library.info, live)
    if m == n:
        return trace
    new, code = np.empty(n, np.int64), np.empty((m, COLUMNS), np.int64)
    compact(trace.code, library.info, live, new, code)
    return trace.with_rows(code, new)
