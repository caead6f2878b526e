"""Arrays whose elements are all equal: computed once, as a scalar, and broadcast afterwards.

The cotangent of a sum is such an array, and so is what a derivative rule makes of it as long as no other
array comes in; a row that reads a broadcast and another array of its shape reads the scalar (``simplify``).
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, KIND, KIND_ELEMENTWISE, SIZE
from tapegrad.ops.record import Signature
from tapegrad.ops.table import ROWS
from tapegrad.spec import Spec, intern_spec
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SPEC, Trace, X

__all__ = ["compute_uniform_once"]


@jit
def _find(code, info, specs, broadcast, uniform):
    """``uniform[i]``: 1 for a broadcast of one element, 2 for an elementwise row of nothing else."""
    count = 0
    for i in range(len(code)):
        uniform[i] = 0
        op = code[i, OP]
        if specs[code[i, SPEC], SIZE] <= 1:
            continue
        if op == broadcast:
            uniform[i] = 1 if specs[code[code[i, X], SPEC], SIZE] == 1 else 0
        elif info[op, KIND] == KIND_ELEMENTWISE:
            all_uniform = info[op, ARITY] > 0
            for k in range(info[op, ARITY]):
                o = code[i, X + k]
                if o >= 0 and uniform[o] == 0 and specs[code[o, SPEC], SIZE] != 1:
                    all_uniform = False
            if all_uniform:
                uniform[i] = 2
                count += 1
    return count


def compute_uniform_once(trace: Trace) -> Trace:
    """Turn elementwise rows that read only uniform arrays into scalar rows and a broadcast."""
    code = trace.code
    broadcast, reshape = ROWS["broadcast_to"], ROWS["reshape"]
    uniform = np.zeros(len(code), np.int64)
    if not (code[:, OP] == broadcast.op).any() or not _find(
        code, library.info, spec_table.rows, broadcast.op, uniform
    ):
        return trace
    signatures = list(trace.signatures)
    known: dict[tuple[int, Spec, Spec], int] = {}

    def signature(row: object, x: Spec, out: Spec) -> int:
        key = (id(row), x, out)
        if key not in known:
            strides = (0,) * out.ndim
            static = {"shape": out.shape, "strides": strides}
            params = (out.ndim, *out.shape, *strides, 1)
            known[key] = len(signatures)
            signatures.append(Signature(row, (x,), static, out, params))  # type: ignore[arg-type]
        return known[key]

    rows: list[np.ndarray] = []
    new = np.empty(len(code), np.int64)
    scalar: dict[int, int] = {}  # old slot of a uniform array -> new slot of its element, of shape ()
    origin: list[int] = []

    def append(i: int, *words: int) -> int:
        rows.append(np.array(words, np.int64))
        origin.append(i)
        return len(rows) - 1

    def element(i: int, o: int) -> int:
        """The new slot of the one value that ``o`` has, of shape ()."""
        if o not in scalar:
            source = int(code[o, X]) if uniform[o] == 1 else o
            spec = trace.spec(source)
            slot = int(new[source])
            if spec.shape:
                flat = intern_spec((), spec.dtype)
                slot = append(i, reshape.op, flat.id, slot, 0, 0, signature(reshape, spec, flat))
            scalar[o] = slot
        return scalar[o]

    for i in range(len(code)):
        row = code[i].copy()
        arity = int(library.info[row[OP], ARITY])
        if uniform[i] == 2:
            spec = trace.spec(i)
            for k in range(arity):
                if row[X + k] >= 0:
                    row[X + k] = element(i, int(row[X + k]))
            flat = intern_spec((), spec.dtype)
            row[SPEC] = flat.id
            slot = scalar[i] = append(i, *row)
            new[i] = append(i, broadcast.op, spec.id, slot, 0, 0, signature(broadcast, flat, spec))
            continue
        for k in range(arity):
            if row[X + k] >= 0:
                row[X + k] = new[row[X + k]]
        new[i] = append(i, *row)
    places = trace.places.take(origin)
    return trace.with_rows(np.array(rows), new, signatures=signatures, places=places)
