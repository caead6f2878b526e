"""Matrix products: transposed operands are read as they lie, and sums are added to in place.

A row that transposes the last two axes becomes a flag of the product that reads it, or of the product that
it reads (``(x y)' = y' x'``).  ``a + x @ y`` becomes one row that adds the product to ``a``, whose memory it
takes if nobody else wants it: the gradient of a matrix that is used again and again needs no temporary.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tapegrad.ops.axes import contiguous
from tapegrad.ops.record import Signature
from tapegrad.ops.table import ROWS, Kind
from tapegrad.ops.table import rows as table_rows
from tapegrad.program.passes.common import count_readers
from tapegrad.trace import OP, SIG, SPEC, Trace, X, Y, Z

__all__ = ["absorb_transposes", "add_products_in_place"]


class _Signatures:
    """A trace's signatures and those of rewritten rows, each once."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.all = trace, list(trace.signatures)
        self.number: dict[tuple, int] = {}

    def find(self, name: str, slots: tuple[int, ...], specs: tuple, **static: bool) -> int:
        key = (name, specs, *static.values())
        if key not in self.number:
            row = ROWS[name]
            out = row.shape(*specs, **static)  # type: ignore[misc]
            spec = self.trace.spec(slots[-1])
            assert out.shape == spec.shape, f"{name}: {out.shape} in place of {spec.shape}"
            self.number[key] = len(self.all)
            self.all.append(Signature(row, specs, static, spec, tuple(map(int, out.params))))
        return self.number[key]


def _transposes(trace: Trace) -> np.ndarray:
    """Per signature, whether it exchanges the last two axes and does nothing else."""
    out = np.zeros(max(len(trace.signatures), 1), np.bool_)
    for k, s in enumerate(trace.signatures):
        shape = s.in_specs[0].shape if s.row.kind is Kind.MOVEMENT else ()
        if len(shape) >= 2:
            steps = contiguous(shape)
            swapped = (*shape[:-2], shape[-1], shape[-2]), (*steps[:-2], steps[-1], steps[-2])
            out[k] = (s.static["shape"], s.static["strides"]) == swapped and s.in_specs[0].size > 0
    return out


def absorb_transposes(trace: Trace) -> Trace:
    """Let products read transposed operands as they lie, and write transposed results."""
    code = trace.code
    product = ROWS["matmul"].op
    if not (code[:, OP] == product).any():
        return trace
    swaps = _transposes(trace)
    movement = np.array([row.kind is Kind.MOVEMENT for row in table_rows])[code[:, OP]]
    swap = movement & swaps[np.where(movement, code[:, SIG], 0)] & (code[:, Z] == 0)
    if not swap.any():
        return trace
    code = code.copy()
    signatures = _Signatures(trace)
    readers = count_readers(trace)
    flags: dict[int, tuple[bool, bool, bool]] = {}  # of products that have changed
    of_interest = np.flatnonzero(swap | (code[:, OP] == product))
    for i in of_interest.tolist():
        o = int(code[i, X])
        if swap[i]:
            # the product moves to this row; the one it was is left for ``remove_dead``
            if code[o, OP] != product or readers[o] != 1:
                continue
            tx, ty, reduce = flags.get(o) or _flags(trace, o)
            x, y = int(code[o, Y]), int(code[o, X])
            tx, ty = not ty, not tx
        elif swap[o] or swap[int(code[i, Y])]:
            tx, ty, reduce = _flags(trace, i)
            x, y = o, int(code[i, Y])
        else:
            continue
        # a row of products that were moved here is no transposition any more
        if swap[x] and code[x, OP] != product:
            x, tx = int(code[x, X]), not tx
        if swap[y] and code[y, OP] != product:
            y, ty = int(code[y, X]), not ty
        specs = trace.spec(x), trace.spec(y)
        sig = signatures.find("matmul", (x, y, i), specs, tx=tx, ty=ty, reduce=reduce)
        code[i] = product, code[i, SPEC], x, y, 0, sig
        flags[i] = tx, ty, reduce
    return replace(trace, code=code, signatures=signatures.all)


def _flags(trace: Trace, i: int) -> tuple[bool, bool, bool]:
    static = trace.signatures[int(trace.code[i, SIG])].static
    return static["tx"], static["ty"], static["reduce"]


def add_products_in_place(trace: Trace) -> Trace:
    """Rewrite additions of products that nobody else reads."""
    add, product = ROWS["add"].op, ROWS["matmul"].op
    target = ROWS["matmul_add"].op
    code = trace.code
    sums = (code[:, OP] == add) & (code[:, X] >= 0) & (code[:, Y] >= 0)
    first, second = (np.where(sums, code[:, k], 0) for k in (X, Y))  # constants have negative numbers
    sums &= (code[first, OP] == product) | (code[second, OP] == product)
    if not sums.any():
        return trace
    code = code.copy()
    signatures = _Signatures(trace)
    readers = count_readers(trace)
    for i in np.flatnonzero(sums).tolist():
        x, y = int(code[i, X]), int(code[i, Y])
        if code[x, OP] == product and (code[y, OP] != product or y < x):
            x, y = y, x
        whole = code[x, SPEC] == code[y, SPEC] == code[i, SPEC]
        if not whole or code[y, OP] != product or readers[y] != 1 or not trace.spec(i).floating:
            continue
        a, b = int(code[y, X]), int(code[y, Y])
        tx, ty, reduce = _flags(trace, y)
        specs = trace.spec(x), trace.spec(a), trace.spec(b)
        sig = signatures.find("matmul_add", (x, a, b, i), specs, tx=tx, ty=ty, reduce=reduce)
        code[i] = target, code[i, SPEC], x, a, b, sig
    return replace(trace, code=code, signatures=signatures.all)
