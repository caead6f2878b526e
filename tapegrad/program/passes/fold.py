"""Constants: rows that read only constants are computed once, when the program is built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tapegrad._jit import jit
from tapegrad.engine.kernel_table import library
from tapegrad.engine.layout import ARITY, KIND, KIND_ELEMENTWISE, KIND_INPUT, SIZE, TYPED_BY
from tapegrad.ops.table import INPUT
from tapegrad.spec import table as spec_table
from tapegrad.trace import OP, SPEC, Trace, X

__all__ = ["fold_constants", "name_scalars"]

LARGEST = 1024  # elements: larger results are computed at each replay rather than kept


@jit
def _find(code, info, specs, fixed, wanted, largest):
    """``fixed[i]``: the value never changes; ``wanted[i]``: a row that does change reads it."""
    count = 0
    for i in range(len(code)):
        op = code[i, OP]
        if info[op, KIND] == KIND_INPUT:
            continue
        fixed[i] = 1 if specs[code[i, SPEC], SIZE] <= largest else 0
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o >= 0 and not fixed[o]:
                fixed[i] = 0
        if not fixed[i]:
            for k in range(info[op, ARITY]):
                o = code[i, X + k]
                if o >= 0 and fixed[o] and info[code[o, OP], KIND] != KIND_INPUT:
                    wanted[o] = 1
                    count += 1
    return count


def fold_constants(trace: Trace) -> Trace:
    """Compute what does not depend on arguments or captures."""
    n = len(trace)
    fixed, wanted = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for slot in trace.constants:
        fixed[slot] = 1
    _find(trace.code, library.info, spec_table.rows, fixed, wanted, LARGEST)
    for slot in (*trace.outputs, *(g.slot for g in trace.guards)):
        if fixed[slot] and trace.row(slot) is not INPUT:
            wanted[slot] = 1
    slots = np.flatnonzero(wanted).tolist()
    if slots:
        trace = _replace(trace, slots, _compute(trace, slots))
    return trace


def _compute(trace: Trace, slots: list[int]) -> list[np.ndarray] | None:
    """The values of fixed slots; ``None`` if a kernel refuses (the replay will say why)."""
    from tapegrad.program.passes.dead import remove_dead
    from tapegrad.program.program import Program

    part = replace(trace, outputs=slots, guards=[], inputs=[], captures=[])
    # rows of arguments stay in the code until dead rows are removed
    program = Program(remove_dead(part), optimised=True)
    status, values = program.run([])
    return values if status < 0 and values is not None else None


def _replace(trace: Trace, slots: list[int], values: list[np.ndarray] | None) -> Trace:
    if values is None:
        return trace
    code, constants = trace.code.copy(), dict(trace.constants)
    for slot, value in zip(slots, values):
        code[slot] = 0
        code[slot, OP], code[slot, SPEC] = INPUT.op, trace.code[slot, SPEC]
        constants[slot] = value
    return replace(trace, code=code, constants=constants)


@jit
def _use_numbers(code, info, numbers):
    """Let elementwise rows name scalar constants; ``numbers[slot]`` is the operand that does, or 0."""
    changed = 0
    for i in range(len(code)):
        op = code[i, OP]
        if info[op, KIND] != KIND_ELEMENTWISE:
            continue
        first, arity = info[op, TYPED_BY], info[op, ARITY]
        for k in range(first, arity):
            o = code[i, X + k]
            if o < 0 or numbers[o] == 0:
                continue
            others = 0  # typed operands that stay: a kernel's dtype comes from a slot
            for j in range(first, arity):
                if j != k and code[i, X + j] >= 0:
                    others += 1
            if others > 0:
                code[i, X + k] = numbers[o]
                changed += 1
    return changed


def name_scalars(trace: Trace) -> Trace:
    """Let elementwise rows name scalar constants instead of reading them."""
    numbers = np.zeros(len(trace), np.int64)
    consts = trace.consts.tolist()
    for slot, a in trace.constants.items():
        if a.shape == () and a.dtype.kind == "f":
            consts.append(float(a))
            numbers[slot] = -len(consts)
    if not numbers.any():
        return trace
    code = trace.code.copy()
    if not _use_numbers(code, library.info, numbers):
        return trace
    return replace(trace, code=code, consts=np.array(consts))
