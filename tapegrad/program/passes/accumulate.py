"""Sums of scattered parts: ``a + scatter(g)`` becomes one row that adds ``g`` to ``a`` in place.

The gradient of a loop that reads ``x[0], x[1], ...`` adds up as many arrays of zeros with one element each:
quadratic work, if they are made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tapegrad.ops.record import Signature
from tapegrad.ops.table import ROWS
from tapegrad.trace import OP, SIG, SPEC, Trace, X, Y, Z

__all__ = ["accumulate_in_place"]


def accumulate_in_place(trace: Trace) -> Trace:
    """Rewrite additions of strided scatters."""
    add, scatter = ROWS["add"].op, ROWS["scatter_strided"].op
    target = ROWS["add_strided"]
    code = trace.code
    if not (code[:, OP] == scatter).any():
        return trace
    code = code.copy()
    signatures = list(trace.signatures)
    number: dict[int, int] = {}
    sums = np.flatnonzero((code[:, OP] == add) & (code[:, X] >= 0) & (code[:, Y] >= 0))
    scattered = (code[code[sums, X], OP] == scatter) | (code[code[sums, Y], OP] == scatter)
    for i in sums[scattered].tolist():
        x, y = int(code[i, X]), int(code[i, Y])
        if not code[x, SPEC] == code[y, SPEC] == code[i, SPEC]:
            continue
        if code[y, OP] != scatter:
            if code[x, OP] != scatter:
                continue
            x, y = y, x
        old = int(code[y, SIG])
        if old not in number:
            number[old] = len(signatures)
            signatures.append(_signature(target, trace.signatures[old]))
        code[i] = target.op, code[i, SPEC], x, code[y, X], code[y, Z], number[old]
    return replace(trace, code=code, signatures=signatures)


def _signature(row: object, scatter: Signature) -> Signature:
    """Add what ``scatter`` spreads out."""
    static = {k: scatter.static[k] for k in ("shape", "strides")}
    specs = (scatter.out, scatter.in_specs[0])
    out = row.shape(*specs, **static)  # type: ignore[attr-defined]
    return Signature(row, specs, static, scatter.out, tuple(map(int, out.params)))  # type: ignore[arg-type]
