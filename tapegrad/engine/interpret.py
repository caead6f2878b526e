"""The interpreter: one forward loop, one reverse loop.

Both walk the plan's groups and dispatch on opcodes through the table of kernel addresses.  A
structured instruction is reversed by running its *template*: the short tape that its derivative rule
recorded when it was traced once.
"""

from __future__ import annotations

from tapegrad._jit import at, fill_bytes, invoke, jit, words
from tapegrad.engine.calls import call_split
from tapegrad.engine.edges import accumulate
from tapegrad.engine.layout import (
    ACCUMULATES,
    ACTIVE,
    ADDR,
    ADJ,
    AFTER,
    ARITY,
    DTYPE,
    DURING,
    F_CODE,
    F_CONSTS,
    F_GROUPS,
    F_INFO,
    F_KERNELS,
    F_MEMBERS,
    F_MEMORY,
    F_PARAMS,
    F_RUN_REGION,
    F_SELF,
    F_SHARED,
    F_SLOTS,
    F_SPANS,
    F_SPECS,
    F_STARTS,
    F_T_CODE,
    F_T_CONSTS,
    F_T_MEMBERS,
    F_T_SLOTS,
    F_TOTALS,
    G_KIND,
    G_PHASES,
    G_REVERSE,
    G_SPEC,
    G_START,
    G_STOP,
    GRAD,
    H_LEAST_LENGTH,
    ITEMSIZE,
    KIND,
    KIND_ELEMENTWISE,
    KIND_INPUT,
    KIND_MOVEMENT,
    OP,
    OP_MASK,
    RULES,
    SIG,
    SIZE,
    SPEC,
    SPLIT,
    STORE,
    T_FAILED,
    T_GROUPS,
    TOUCHED,
    WANT,
    X,
    Y,
    Z,
)  # fmt: skip
from tapegrad.engine.tiles import N_DTYPES, WHICH, kernel_dtype

__all__ = ["TEMPLATE_INPUTS", "forward_loop", "reverse_loop"]

# A template's first rows stand for the cotangent, the result and up to three operands.
TEMPLATE_INPUTS = 5


@jit
def _call_structured(frame, code, i, op, out):
    """Run one structured or movement instruction; returns the kernel's status."""
    specs, info, kernels = at(frame[F_SPECS]), at(frame[F_INFO]), at(frame[F_KERNELS])
    dtype = kernel_dtype(code, specs, info, i, op)
    arity = info[8 * op + ARITY]
    x = code[8 * code[8 * i + X] + ADDR]
    y = code[8 * code[8 * i + Y] + ADDR] if arity > 1 else 0
    z = code[8 * code[8 * i + Z] + ADDR] if arity > 2 else 0
    q = code[8 * i + Z] if arity < 3 else 0
    p = frame[F_PARAMS] + 8 * at(frame[F_STARTS])[code[8 * i + SIG]]
    kernel = kernels[(op * N_DTYPES + dtype) * WHICH]
    split = info[8 * op + SPLIT]
    if split:
        operand, result = 32 * code[8 * code[8 * i + X] + SPEC], 32 * code[8 * i + SPEC]
        if max(specs[operand + SIZE], specs[result + SIZE]) >= at(frame[F_SHARED])[H_LEAST_LENGTH]:
            status = call_split(
                frame[F_SHARED], split, kernel, out, x, y, z, p, q, specs[operand + ITEMSIZE],
                specs[result + ITEMSIZE], specs[result + DTYPE],
            )  # fmt: skip
            if status != -1:
                return status
    return invoke(kernel, (out, x, y, z, p, q))


@jit
def _run_region(frame, start, stop, spec, phase, reverse):
    """Run a region of the tape (``tiles.run_region``)."""
    return invoke(
        frame[F_RUN_REGION],
        (
            frame[F_SELF], frame[F_CODE], frame[F_SLOTS], frame[F_CONSTS], frame[F_MEMBERS],
            start, stop, spec, phase, reverse,
        ),
    )  # fmt: skip


@jit
def forward_loop(frame_array, phase):
    """Run every group's members that are wanted in ``phase``; returns a status, 0 for success."""
    frame = words(frame_array)
    code, slots, groups = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_GROUPS])
    members, totals = at(frame[F_MEMBERS]), at(frame[F_TOTALS])
    for g in range(totals[T_GROUPS]):
        if not groups[8 * g + G_PHASES] & phase:
            continue
        start = groups[8 * g + G_START]
        i = members[start]
        status = 0
        if groups[8 * g + G_KIND] == KIND_ELEMENTWISE:
            stop, spec = groups[8 * g + G_STOP], groups[8 * g + G_SPEC]
            status = _run_region(frame, start, stop, spec, phase, 0)
        elif not code[8 * i + ADDR] and slots[16 * i + WANT] & phase:
            status = _call_structured(frame, code, i, code[8 * i + OP] & OP_MASK, slots[16 * i + STORE])
            code[8 * i + ADDR] = slots[16 * i + STORE]
        if status:
            totals[T_FAILED] = i
            return status
    return 0


@jit
def _run_template(frame, s, i, k):
    """Add the cotangent that instruction ``i`` sends to its operand ``k``."""
    code, slots = at(frame[F_CODE]), at(frame[F_SLOTS])
    specs, info, spans = at(frame[F_SPECS]), at(frame[F_INFO]), at(frame[F_SPANS])
    t_code, t_slots = at(frame[F_T_CODE]), at(frame[F_T_SLOTS])
    memory = frame[F_MEMORY]
    begin, end, result = spans[4 * s], spans[4 * s + 1], spans[4 * s + 2]
    target = code[8 * i + X + k]
    target_spec = code[8 * target + SPEC]
    arity = info[8 * (code[8 * i + OP] & OP_MASK) + ARITY]
    t_code[8 * begin + ADDR] = slots[16 * i + ADJ]
    t_code[8 * begin + 8 + ADDR] = code[8 * i + ADDR]
    for j in range(arity):
        t_code[8 * (begin + 2 + j) + ADDR] = code[8 * code[8 * i + X + j] + ADDR]
    raw = code[8 * i + Z] if arity < 3 else 0
    status = 0
    direct = False
    for r in range(begin + TEMPLATE_INPUTS, end):
        op = t_code[8 * r + OP] & OP_MASK
        if info[8 * op + KIND] == KIND_INPUT:
            continue  # an array that the rule uses as a constant: its address is part of the template
        spec = t_code[8 * r + SPEC]
        add = 0
        if r == result and spec == target_spec and not slots[16 * target + TOUCHED]:
            out = slots[16 * target + ADJ]
            direct = True
        elif r == result and spec == target_spec and info[8 * op + RULES] & ACCUMULATES:
            out = slots[16 * target + ADJ]
            direct = True
            add = 1
        else:
            out = memory
            memory += (specs[32 * spec + SIZE] * specs[32 * spec + ITEMSIZE] + 63) & -64
        if info[8 * op + KIND] == KIND_ELEMENTWISE:
            t_slots[16 * r + STORE] = out
            t_slots[16 * r + WANT] = AFTER
            status = invoke(
                frame[F_RUN_REGION],
                (
                    frame[F_SELF], frame[F_T_CODE], frame[F_T_SLOTS], frame[F_T_CONSTS], frame[F_T_MEMBERS],
                    r, r + 1, spec, AFTER, 0,
                ),
            )  # fmt: skip
        else:
            if t_slots[16 * r + TOUCHED]:
                t_code[8 * r + Z] = raw
            if add:
                t_code[8 * r + Z] = 1
            status = _call_structured(frame, t_code, r, op, out)
            if add:
                t_code[8 * r + Z] = 0
            t_code[8 * r + ADDR] = out
        if status:
            break
    if status == 0:
        if not direct:
            accumulate(
                slots[16 * target + ADJ], t_code[8 * result + ADDR], specs, target_spec,
                t_code[8 * result + SPEC], specs[32 * target_spec + DTYPE], slots[16 * target + TOUCHED],
            )  # fmt: skip
        slots[16 * target + TOUCHED] = 1
    for r in range(begin + TEMPLATE_INPUTS, end):
        if info[8 * (t_code[8 * r + OP] & OP_MASK) + KIND] != KIND_INPUT:
            t_code[8 * r + ADDR] = 0
    return status


@jit
def _scatter(frame, i):
    """Reverse a movement: add its cotangent to the places that it was read from."""
    code, slots, specs = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_SPECS])
    kernels = at(frame[F_KERNELS])
    x = code[8 * i + X]
    if not slots[16 * x + ACTIVE]:
        return 0
    spec = code[8 * x + SPEC]
    if not slots[16 * x + TOUCHED]:
        fill_bytes(slots[16 * x + ADJ], 0, specs[32 * spec + SIZE] * specs[32 * spec + ITEMSIZE])
        slots[16 * x + TOUCHED] = 1
    op = code[8 * i + OP] & OP_MASK
    kernel = kernels[(op * N_DTYPES + specs[32 * spec + DTYPE]) * WHICH + 4]
    p = frame[F_PARAMS] + 8 * at(frame[F_STARTS])[code[8 * i + SIG]]
    return invoke(kernel, (slots[16 * x + ADJ], slots[16 * i + ADJ], 0, 0, p, code[8 * i + Z]))


@jit
def reverse_loop(frame_array, first, last):
    """Run groups ``last - 1`` down to ``first`` in reverse; returns a status, 0 for success."""
    frame = words(frame_array)
    code, slots, groups = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_GROUPS])
    members, info, spans = at(frame[F_MEMBERS]), at(frame[F_INFO]), at(frame[F_SPANS])
    for g in range(last - 1, first - 1, -1):
        if not groups[8 * g + G_REVERSE]:
            continue
        start = groups[8 * g + G_START]
        i = members[start]
        status = 0
        if groups[8 * g + G_KIND] == KIND_ELEMENTWISE:
            stop, spec = groups[8 * g + G_STOP], groups[8 * g + G_SPEC]
            status = _run_region(frame, start, stop, spec, DURING, 1)
        elif slots[16 * i + TOUCHED]:
            if groups[8 * g + G_KIND] == KIND_MOVEMENT:
                status = _scatter(frame, i)
            else:
                for k in range(info[8 * (code[8 * i + OP] & OP_MASK) + ARITY]):
                    o = code[8 * i + X + k]
                    s = 3 * code[8 * i + SIG] + k
                    wanted = slots[16 * o + ACTIVE] and code[8 * o + OP] & GRAD
                    if wanted and spans[4 * s + 2] >= 0 and status == 0:
                        status = _run_template(frame, s, i, k)
        if status:
            at(frame[F_TOTALS])[T_FAILED] = i
            return status
    return 0
