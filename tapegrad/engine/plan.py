"""Planning a run: what is needed, how instructions group, what is written to memory.

One plan serves a look at a value (forward only) and a backward pass.  All of it is a few linear scans
over the flat arrays; nothing is allocated per instruction.

*Groups* run in order of creation.  A structured or movement instruction is a group of its own.  An
elementwise instruction joins the youngest group of its shape if none of its operands is computed in a
later group (a *region*); joining moves it forward past instructions that do not depend on it, which a
tape in SSA form allows.  A full sum joins the region that computes its operand, as a *sink*.

Three phases surround the reverse loop.  ``BEFORE``: values that derivative rules read from memory.
``DURING``: what a region recomputes, tile by tile, just before it runs in reverse; if everything it
reads is in memory by then, its wanted results are computed here too, so that the last region of a
loss is run once, not twice.  ``AFTER``: the rest.
"""

from __future__ import annotations

from tapegrad._jit import jit
from tapegrad.engine.layout import (
    ACTIVE, ADDR, ADJ, ADJ_CLASS, AFTER, ARITY, BEFORE, BIG, CLASS, DTYPE, DURING, FREED_ERROR,
    G_KIND, G_PHASES, G_REVERSE, G_SPEC, G_START, G_STOP, GRAD, GROUP, ITEMSIZE, KIND, KIND_ELEMENTWISE,
    KIND_INPUT, KIND_MOVEMENT, KIND_STRUCTURED, LOST_ERROR, MUTATED_ERROR, NEED, OP, OP_MASK,
    REVERSE, ROLE, ROLE_DEPENDS, ROLE_HELD, ROLE_ROOT, ROLE_TARGET, ROLE_WATCHED, RULES, SHAPE_ID, SIG,
    SINK, SIZE, SMALL_HELD, SMALL_SAVED, SPEC, STATE, STORE, T_ADJ_BIG, T_ADJ_HELD,
    T_ADJ_SAVED, T_BIG, T_ERROR, T_GROUPS, T_HELD, T_MISSING, T_SAVED, T_WHERE, USES, USES_OUT, USES_X, WANT, X,
)  # fmt: skip
from tapegrad.engine.tiles import kernel_dtype
from tapegrad.spec import BIG as BIG_BYTES
from tapegrad.tape import FREED, MUTATED

__all__ = ["activity", "plan"]

REGION_LIMIT = 256  # instructions: bounds the registers of a region
READ_LATER = 2  # a value of NEED: something that runs after the reverse loop reads it


@jit
def activity(n, code, slots, info, have_templates, missing, restricted):
    """Find which slots a cotangent reaches; list signatures whose templates have to be traced.

    Returns the number of entries written to ``missing``.
    """
    if restricted:
        for i in range(n):
            op = code[i, OP] & OP_MASK
            if slots[i, ROLE] & ROLE_TARGET:
                slots[i, ROLE] |= ROLE_DEPENDS
            elif code[i, OP] & GRAD and info[op, RULES]:
                for k in range(info[op, ARITY]):
                    o = code[i, X + k]
                    if o >= 0 and slots[o, ROLE] & ROLE_DEPENDS:
                        slots[i, ROLE] |= ROLE_DEPENDS
    found = 0
    for i in range(n - 1, -1, -1):
        if slots[i, ROLE] & ROLE_ROOT:
            slots[i, ACTIVE] = 1
        if not slots[i, ACTIVE] or not code[i, OP] & GRAD:
            continue
        op = code[i, OP] & OP_MASK
        if not info[op, RULES]:
            continue
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o < 0 or not code[o, OP] & GRAD:
                continue
            if restricted and not slots[o, ROLE] & ROLE_DEPENDS:
                continue
            if info[op, KIND] == KIND_ELEMENTWISE and info[op, USES + k] < 0:
                continue
            if info[op, KIND] == KIND_STRUCTURED:
                s = 3 * code[i, SIG] + k
                if have_templates[s] == 0:
                    have_templates[s] = -1
                    missing[found] = s
                    found += 1
                elif have_templates[s] == -2:
                    continue  # the rule gives no cotangent for this operand
            slots[o, ACTIVE] = 1
            slots[i, REVERSE] = 1
    return found


@jit
def _uses(code, info, template_uses, i, op, k):
    """The values that the rule of operand ``k`` reads, as bits."""
    if info[op, KIND] == KIND_ELEMENTWISE:
        return info[op, USES + k]
    if info[op, KIND] == KIND_STRUCTURED:
        return template_uses[3 * code[i, SIG] + k]
    return 0


@jit
def _flows(code, slots, info, template_uses, i, op, k):
    """Whether instruction ``i`` sends a cotangent to its operand ``k``."""
    o = code[i, X + k]
    return (
        slots[i, REVERSE] != 0
        and o >= 0
        and slots[o, ACTIVE] != 0
        and code[o, OP] & GRAD != 0
        and _uses(code, info, template_uses, i, op, k) >= 0
    )


@jit
def _require(kernels, missing, totals, op, dtype, which, result):
    if kernels[op, dtype, which] == 0:
        k = totals[T_MISSING]
        if k < missing.shape[0]:
            missing[k, 0] = op
            missing[k, 1] = dtype
            missing[k, 2] = which
            missing[k, 3] = result
        totals[T_MISSING] += 1


@jit
def plan(
    n, code, slots, groups, members, specs, info, kernels, template_uses, last_of_shape, big, missing,
    totals, backward, region_limit, keep_all,
):  # fmt: skip
    """Plan a run over slots ``[0, n)``; everything is left in ``slots``, ``groups``, ``totals``."""
    totals[:] = 0

    # What the reverse rules read must still be there.
    if backward:
        for i in range(n - 1, -1, -1):
            if not slots[i, REVERSE]:
                continue
            op = code[i, OP] & OP_MASK
            for k in range(info[op, ARITY]):
                if not _flows(code, slots, info, template_uses, i, op, k):
                    continue
                uses = _uses(code, info, template_uses, i, op, k)
                if uses and code[i, STATE] & FREED:
                    totals[T_ERROR] = FREED_ERROR
                    totals[T_WHERE] = i
                    return
                if uses & USES_OUT:
                    if code[i, STATE] & MUTATED:
                        totals[T_ERROR] = MUTATED_ERROR
                        totals[T_WHERE] = i
                        totals[T_GROUPS] = i
                        return
                    slots[i, NEED] = 1
                for j in range(info[op, ARITY]):
                    o = code[i, X + j]
                    if uses & (USES_X << j) and o >= 0:
                        if code[o, STATE] & MUTATED:
                            totals[T_ERROR] = MUTATED_ERROR
                            totals[T_WHERE] = i
                            totals[T_GROUPS] = o
                            return
                        slots[o, NEED] = 1

    # Needed values, down to what is already in memory.
    for i in range(n - 1, -1, -1):
        if slots[i, ROLE] & ROLE_HELD:
            slots[i, NEED] = 1
        if slots[i, NEED] and code[i, ADDR] == 0:
            op = code[i, OP] & OP_MASK
            if info[op, KIND] == KIND_INPUT:
                totals[T_ERROR] = LOST_ERROR
                totals[T_WHERE] = i
                return
            for k in range(info[op, ARITY]):
                o = code[i, X + k]
                if o >= 0:
                    slots[o, NEED] = 1

    # Groups.
    n_groups = 0
    for i in range(n):
        slots[i, GROUP] = -1
        compute = slots[i, NEED] and code[i, ADDR] == 0
        if not compute and not slots[i, REVERSE]:
            continue
        op = code[i, OP] & OP_MASK
        region = info[op, KIND] == KIND_ELEMENTWISE
        sink = info[op, SINK] != 0
        shape_spec = code[code[i, X], SPEC] if sink else code[i, SPEC]
        shape = specs[shape_spec, SHAPE_ID]
        earliest = 0
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o < 0 or slots[o, GROUP] < 0:
                continue
            g = slots[o, GROUP]
            o_op = code[o, OP] & OP_MASK
            fuses = (
                (region or sink)
                and info[o_op, KIND] == KIND_ELEMENTWISE
                and groups[g, G_SPEC] == shape
                and not slots[o, ROLE] & ROLE_WATCHED
            )
            earliest = max(earliest, g if fuses else g + 1)
        g = -1
        if region or sink:
            g = last_of_shape[shape]
            if g < earliest or groups[g, G_STOP] >= region_limit:
                g = -1
        if g < 0:
            g = n_groups
            n_groups += 1
            groups[g, G_STOP] = 0
            groups[g, G_KIND] = KIND_ELEMENTWISE if region or sink else info[op, KIND]
            groups[g, G_SPEC] = shape
            groups[g, G_PHASES] = 0
            groups[g, G_REVERSE] = 0
            if region or sink:
                last_of_shape[shape] = g
        slots[i, GROUP] = g
        groups[g, G_STOP] += 1
    for g in range(n_groups):
        if groups[g, G_KIND] == KIND_ELEMENTWISE:
            last_of_shape[groups[g, G_SPEC]] = -1
    totals[T_GROUPS] = n_groups

    # Members by group, in tape order.
    position = 0
    for g in range(n_groups):
        groups[g, G_START] = position
        position += groups[g, G_STOP]
        groups[g, G_STOP] = groups[g, G_START]
    for i in range(n):
        g = slots[i, GROUP]
        if g >= 0:
            members[groups[g, G_STOP]] = i
            groups[g, G_STOP] += 1
            if slots[i, REVERSE]:
                groups[g, G_REVERSE] = 1
            op = code[i, OP] & OP_MASK
            groups[g, G_SPEC] = code[code[i, X], SPEC] if info[op, SINK] else code[i, SPEC]

    # What the reverse loop reads, and from there what must run before it.
    if backward:
        for m in range(position - 1, -1, -1):
            i = members[m]
            g = slots[i, GROUP]
            region = groups[g, G_KIND] == KIND_ELEMENTWISE
            op = code[i, OP] & OP_MASK
            if slots[i, REVERSE]:
                for k in range(info[op, ARITY]):
                    if not _flows(code, slots, info, template_uses, i, op, k):
                        continue
                    uses = _uses(code, info, template_uses, i, op, k)
                    if uses & USES_OUT and code[i, ADDR] == 0:
                        slots[i, WANT] |= DURING if region and not info[op, SINK] else BEFORE
                    for j in range(info[op, ARITY]):
                        o = code[i, X + j]
                        if uses & (USES_X << j) and o >= 0 and code[o, ADDR] == 0:
                            inside = region and slots[o, GROUP] == g
                            slots[o, WANT] |= DURING if inside else BEFORE
            if slots[i, WANT] & BEFORE:
                for k in range(info[op, ARITY]):
                    o = code[i, X + k]
                    if o >= 0 and code[o, ADDR] == 0:
                        slots[o, WANT] |= BEFORE
            elif slots[i, WANT] & DURING:
                for k in range(info[op, ARITY]):
                    o = code[i, X + k]
                    if o >= 0 and code[o, ADDR] == 0:
                        slots[o, WANT] |= DURING if slots[o, GROUP] == g else BEFORE
        # Members wanted only by somebody: with the reverse run of their region if what they read
        # will be in memory by then, else afterwards.
        for g in range(n_groups):
            fusable = groups[g, G_REVERSE] != 0 and groups[g, G_KIND] == KIND_ELEMENTWISE
            for m in range(groups[g, G_START], groups[g, G_STOP]):
                i = members[m]
                if not fusable:
                    break
                if not slots[i, NEED] or code[i, ADDR] or slots[i, WANT] & BEFORE:
                    continue
                op = code[i, OP] & OP_MASK
                for k in range(info[op, ARITY]):
                    o = code[i, X + k]
                    if o >= 0 and code[o, ADDR] == 0 and slots[o, GROUP] != g:
                        if not slots[o, WANT] & BEFORE:
                            fusable = False
            groups[g, G_PHASES] = DURING if fusable else AFTER
        for m in range(position - 1, -1, -1):
            i = members[m]
            wanted = slots[i, ROLE] & ROLE_HELD or slots[i, NEED] == READ_LATER
            if not wanted or code[i, ADDR] or slots[i, WANT] & BEFORE:
                continue
            g = slots[i, GROUP]
            slots[i, WANT] |= groups[g, G_PHASES]
            op = code[i, OP] & OP_MASK
            for k in range(info[op, ARITY]):
                o = code[i, X + k]
                if o >= 0:
                    slots[o, NEED] = READ_LATER
        for g in range(n_groups):
            groups[g, G_PHASES] = 0
    else:
        for m in range(position):
            i = members[m]
            if code[i, ADDR] == 0:
                slots[i, WANT] = AFTER

    # What is written to memory, and where cotangents accumulate.
    for m in range(position):
        j = members[m]
        g = slots[j, GROUP]
        op = code[j, OP] & OP_MASK
        region = groups[g, G_KIND] == KIND_ELEMENTWISE
        result = specs[code[j, SPEC], DTYPE]
        dtype = kernel_dtype(code, specs, info, j, op)
        groups[g, G_PHASES] |= slots[j, WANT]
        if slots[j, WANT]:
            if not info[op, SINK]:
                _require(kernels, missing, totals, op, dtype, 0, result)
            if slots[j, ROLE] & ROLE_HELD or not region or info[op, SINK] or keep_all:
                slots[j, CLASS] = SMALL_SAVED
        for k in range(info[op, ARITY]):
            o = code[j, X + k]
            if o < 0:
                continue
            outside = not region or slots[o, GROUP] != g
            if outside and slots[o, WANT]:
                slots[o, CLASS] = SMALL_SAVED
            if _flows(code, slots, info, template_uses, j, op, k):
                if outside:
                    slots[o, ADJ_CLASS] = SMALL_SAVED
                if region and not info[op, SINK]:
                    _require(kernels, missing, totals, op, dtype, 1 + k, result)
                elif groups[g, G_KIND] == KIND_MOVEMENT:
                    _require(kernels, missing, totals, op, dtype, 4, result)
        # Computed before the reverse loop and read in it again: recompute what is large, keep the rest.
        if slots[j, WANT] & BEFORE and slots[j, WANT] & DURING:
            if specs[code[j, SPEC], SIZE] * specs[code[j, SPEC], ITEMSIZE] < BIG_BYTES:
                slots[j, WANT] = BEFORE
                slots[j, CLASS] = SMALL_SAVED
    for i in range(n):
        if slots[i, ACTIVE]:
            op = code[i, OP] & OP_MASK
            role = slots[i, ROLE]
            leaf = not slots[i, REVERSE]
            structured = slots[i, GROUP] >= 0 and groups[slots[i, GROUP], G_KIND] != KIND_ELEMENTWISE
            if role & (ROLE_ROOT | ROLE_TARGET | ROLE_WATCHED) or leaf or structured or info[op, SINK]:
                slots[i, ADJ_CLASS] = SMALL_SAVED
            if slots[i, ADJ_CLASS]:
                nbytes = specs[code[i, SPEC], SIZE] * specs[code[i, SPEC], ITEMSIZE]
                delivered = role & ROLE_TARGET != 0 or leaf
                if nbytes >= BIG_BYTES:
                    slots[i, ADJ_CLASS] = BIG
                    big[totals[T_BIG] + totals[T_ADJ_BIG], 0] = -i - 1
                    big[totals[T_BIG] + totals[T_ADJ_BIG], 1] = nbytes
                    totals[T_ADJ_BIG] += 1
                elif delivered:
                    slots[i, ADJ_CLASS] = SMALL_HELD
                    slots[i, ADJ] = totals[T_ADJ_HELD]
                    totals[T_ADJ_HELD] += (nbytes + 15) & -16
                else:
                    slots[i, ADJ] = totals[T_ADJ_SAVED]
                    totals[T_ADJ_SAVED] += (nbytes + 63) & -64
        if slots[i, CLASS]:
            nbytes = specs[code[i, SPEC], SIZE] * specs[code[i, SPEC], ITEMSIZE]
            if nbytes >= BIG_BYTES:
                slots[i, CLASS] = BIG
                big[totals[T_BIG] + totals[T_ADJ_BIG], 0] = i
                big[totals[T_BIG] + totals[T_ADJ_BIG], 1] = nbytes
                totals[T_BIG] += 1
            elif slots[i, ROLE] & ROLE_HELD:
                slots[i, CLASS] = SMALL_HELD
                slots[i, STORE] = totals[T_HELD]
                totals[T_HELD] += (nbytes + 15) & -16
            else:
                slots[i, STORE] = totals[T_SAVED]
                totals[T_SAVED] += (nbytes + 63) & -64
