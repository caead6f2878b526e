"""The interpreter: one forward loop, one reverse loop.

Both walk the plan's groups and dispatch on opcodes through the table of kernel addresses.  A
structured instruction is reversed by running its *template*: the short tape that its derivative rule
recorded when it was traced once.
"""

from __future__ import annotations

from tapegrad._jit import call6, fill_bytes, jit
from tapegrad.engine.layout import (
    ACTIVE, ADDR, ADJ, AFTER, ARITY, DTYPE, DURING, G_KIND, G_PHASES, G_REVERSE, G_SPEC, G_START, G_STOP,
    GRAD, ITEMSIZE, KIND, KIND_ELEMENTWISE, KIND_INPUT, KIND_MOVEMENT, OP, OP_MASK, SIG, SIZE, SPEC, STORE,
    TOUCHED, WANT, X, Y, Z,
)  # fmt: skip
from tapegrad.engine.tiles import accumulate, kernel_dtype, run_region

__all__ = ["forward_loop", "reverse_loop"]

# A template's first rows stand for the cotangent, the result and up to three operands.
TEMPLATE_INPUTS = 5


@jit
def _call_structured(code, specs, info, kernels, starts, params, i, op, out):
    """Run one structured or movement instruction; returns the kernel's status."""
    dtype = kernel_dtype(code, specs, info, i, op)
    arity = info[op, ARITY]
    x = code[code[i, X], ADDR]
    y = code[code[i, Y], ADDR] if arity > 1 else 0
    z = code[code[i, Z], ADDR] if arity > 2 else 0
    q = code[i, Z] if arity < 3 else 0
    p = params + 8 * starts[code[i, SIG]]
    return call6(kernels[op, dtype, 0], out, x, y, z, p, q)


@jit
def forward_loop(
    n_groups, groups, members, phase, code, slots, specs, info, kernels, consts, starts, params, buffer,
    scratch, failed,
):  # fmt: skip
    """Run every group's members that are wanted in ``phase``; returns a status, 0 for success."""
    regs, loads, stores, zeros, forward, backward, sums = scratch
    for g in range(n_groups):
        if not groups[g, G_PHASES] & phase:
            continue
        if groups[g, G_KIND] == KIND_ELEMENTWISE:
            status = run_region(
                code, slots, specs, info, kernels, consts, members, groups[g, G_START], groups[g, G_STOP],
                groups[g, G_SPEC], phase, False, buffer, regs, loads, stores, zeros, forward, backward, sums,
            )  # fmt: skip
            i = members[groups[g, G_START]]
        else:
            i = members[groups[g, G_START]]
            if code[i, ADDR] or not slots[i, WANT] & phase:
                continue
            op = code[i, OP] & OP_MASK
            status = _call_structured(
                code, specs, info, kernels, starts, params, i, op, slots[i, STORE]
            )
            code[i, ADDR] = slots[i, STORE]
        if status:
            failed[0] = i
            return status
    return 0


@jit
def _run_template(
    s, i, k, code, slots, specs, info, kernels, starts, params, buffer, scratch, spans, t_code, t_slots,
    t_members, t_consts, memory,
):  # fmt: skip
    """Add the cotangent that instruction ``i`` sends to its operand ``k``."""
    regs, loads, stores, zeros, forward, backward, sums = scratch
    begin, end, result = spans[s, 0], spans[s, 1], spans[s, 2]
    target = code[i, X + k]
    op = code[i, OP] & OP_MASK
    t_code[begin, ADDR] = slots[i, ADJ]
    t_code[begin + 1, ADDR] = code[i, ADDR]
    for j in range(info[op, ARITY]):
        t_code[begin + 2 + j, ADDR] = code[code[i, X + j], ADDR]
    raw = code[i, Z] if info[op, ARITY] < 3 else 0
    status = 0
    direct = False
    for r in range(begin + TEMPLATE_INPUTS, end):
        t_op = t_code[r, OP] & OP_MASK
        if info[t_op, KIND] == KIND_INPUT:
            continue  # an array that the rule uses as a constant: its address is part of the template
        out = memory
        nbytes = specs[t_code[r, SPEC], SIZE] * specs[t_code[r, SPEC], ITEMSIZE]
        if r == result and not slots[target, TOUCHED] and t_code[r, SPEC] == code[target, SPEC]:
            out = slots[target, ADJ]
            direct = True
        else:
            memory += (nbytes + 63) & -64
        if info[t_op, KIND] == KIND_ELEMENTWISE:
            t_slots[r, STORE] = out
            t_slots[r, WANT] = AFTER
            status = run_region(
                t_code, t_slots, specs, info, kernels, t_consts, t_members, r, r + 1, t_code[r, SPEC], AFTER,
                False, buffer, regs, loads, stores, zeros, forward, backward, sums,
            )  # fmt: skip
        else:
            if t_slots[r, TOUCHED]:
                t_code[r, Z] = raw
            status = _call_structured(t_code, specs, info, kernels, starts, params, r, t_op, out)
            t_code[r, ADDR] = out
        if status:
            break
    if status == 0:
        if not direct:
            accumulate(
                slots[target, ADJ], t_code[result, ADDR], specs, code[target, SPEC], t_code[result, SPEC],
                specs[code[target, SPEC], DTYPE], slots[target, TOUCHED],
            )  # fmt: skip
        slots[target, TOUCHED] = 1
    for r in range(begin + TEMPLATE_INPUTS, end):
        if info[t_code[r, OP] & OP_MASK, KIND] != KIND_INPUT:
            t_code[r, ADDR] = 0
    return status


@jit
def reverse_loop(
    first, last, groups, members, code, slots, specs, info, kernels, consts, starts, params, buffer,
    scratch, spans, t_code, t_slots, t_members, t_consts, memory, failed,
):  # fmt: skip
    """Run groups ``last - 1`` down to ``first`` in reverse; returns a status, 0 for success."""
    regs, loads, stores, zeros, forward, backward, sums = scratch
    for g in range(last - 1, first - 1, -1):
        if not groups[g, G_REVERSE]:
            continue
        i = members[groups[g, G_START]]
        status = 0
        if groups[g, G_KIND] == KIND_ELEMENTWISE:
            status = run_region(
                code, slots, specs, info, kernels, consts, members, groups[g, G_START], groups[g, G_STOP],
                groups[g, G_SPEC], DURING, True, buffer, regs, loads, stores, zeros, forward, backward, sums,
            )  # fmt: skip
        elif slots[i, TOUCHED]:
            op = code[i, OP] & OP_MASK
            if groups[g, G_KIND] == KIND_MOVEMENT:
                x = code[i, X]
                if slots[x, ACTIVE]:
                    if not slots[x, TOUCHED]:
                        nbytes = specs[code[x, SPEC], SIZE] * specs[code[x, SPEC], ITEMSIZE]
                        fill_bytes(slots[x, ADJ], 0, nbytes)
                        slots[x, TOUCHED] = 1
                    dtype = specs[code[x, SPEC], DTYPE]
                    p = params + 8 * starts[code[i, SIG]]
                    status = call6(
                        kernels[op, dtype, 4], slots[x, ADJ], slots[i, ADJ], 0, 0, p, code[i, Z]
                    )
            else:
                for k in range(info[op, ARITY]):
                    o = code[i, X + k]
                    s = 3 * code[i, SIG] + k
                    if slots[o, ACTIVE] and code[o, OP] & GRAD and spans[s, 2] >= 0 and status == 0:
                        status = _run_template(
                            s, i, k, code, slots, specs, info, kernels, starts, params, buffer, scratch,
                            spans, t_code, t_slots, t_members, t_consts, memory,
                        )  # fmt: skip
        if status:
            failed[0] = i
            return status
    return 0
