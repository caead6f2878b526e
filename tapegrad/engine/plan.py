"""Planning a run: what is needed, how instructions group, what is written to memory.

One plan serves a look at a value (forward only) and a backward pass.  All of it is a few linear scans
over flat arrays, seen as bare pointers (``code[8 * i + OP]``): NumPy indexing inside Numba checks for
negative indices, and that alone made planning twice as slow.

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

from tapegrad._jit import at, jit, words
from tapegrad.engine.layout import (
    ACTIVE,
    ADDR,
    ADJ,
    ADJ_CLASS,
    AFTER,
    ARITY,
    BEFORE,
    BIG,
    CLASS,
    DTYPE,
    DURING,
    F_BIG,
    F_CODE,
    F_FOUND,
    F_GROUPS,
    F_INFO,
    F_KERNELS,
    F_LAST,
    F_MEMBERS,
    F_MISSING,
    F_SLOTS,
    F_SPECS,
    F_TEMPLATES,
    F_TOTALS,
    F_USES,
    FREED_ERROR,
    G_KIND,
    G_PHASES,
    G_REVERSE,
    G_SPEC,
    G_START,
    G_STOP,
    GRAD,
    GROUP,
    ITEMSIZE,
    KIND,
    KIND_ELEMENTWISE,
    KIND_INPUT,
    KIND_MOVEMENT,
    KIND_STRUCTURED,
    LOST_ERROR,
    MUTATED_ERROR,
    NEED,
    OP,
    OP_MASK,
    REVERSE,
    ROLE,
    ROLE_DEPENDS,
    ROLE_HELD,
    ROLE_ROOT,
    ROLE_TARGET,
    ROLE_WATCHED,
    RULES,
    SHAPE_ID,
    SIG,
    SINK,
    SIZE,
    SMALL_HELD,
    SMALL_SAVED,
    SPEC,
    STATE,
    STORE,
    T_ADJ_BIG,
    T_ADJ_HELD,
    T_ADJ_SAVED,
    T_BIG,
    T_CHANGED,
    T_ERROR,
    T_GROUPS,
    T_HELD,
    T_MEMBERS,
    T_MISSING,
    T_PHASES,
    T_SAVED,
    T_TEMPLATES,
    T_WHERE,
    TEMPLATE_ERROR,
    TOTALS,
    USES,
    USES_OUT,
    USES_X,
    WANT,
    WIDEN_ERROR,
    X,
)  # fmt: skip
from tapegrad.engine.tiles import N_DTYPES, WHICH, kernel_dtype
from tapegrad.spec import BIG as BIG_BYTES
from tapegrad.tape import CUT, FREED, MUTATED

__all__ = ["plan"]

REGION_LIMIT = 256  # instructions: bounds the registers of a region
READ_LATER = 2  # a value of NEED: something that runs after the reverse loop reads it


@jit
def rule_reads(code, info, template_uses, i, op, k):
    """The values that the rule of operand ``k`` reads, as bits; -1 if the operand gets no cotangent."""
    kind = info[8 * op + KIND]
    if kind == KIND_ELEMENTWISE:
        return info[8 * op + USES + k]
    if kind == KIND_STRUCTURED:
        return template_uses[3 * code[8 * i + SIG] + k]
    return 0


@jit
def flows(code, slots, info, template_uses, i, op, k):
    """Whether instruction ``i``, run in reverse, sends a cotangent to its operand ``k``."""
    o = code[8 * i + X + k]
    return (
        o >= 0
        and slots[16 * o + ACTIVE] != 0
        and code[8 * o + OP] & GRAD != 0
        and rule_reads(code, info, template_uses, i, op, k) >= 0
    )


@jit
def _require(kernels, missing, totals, op, dtype, which, result):
    """List a kernel that has not been built yet."""
    if kernels[(op * N_DTYPES + dtype) * WHICH + which]:
        return
    count = totals[T_MISSING]
    for m in range(count):
        if missing[4 * m] == op and missing[4 * m + 1] == dtype and missing[4 * m + 2] == which:
            return
    missing[4 * count] = op
    missing[4 * count + 1] = dtype
    missing[4 * count + 2] = which
    missing[4 * count + 3] = result
    totals[T_MISSING] += 1


@jit
def _depends(n, code, slots, info):
    """Mark what the requested inputs flow into."""
    for i in range(n):
        op = code[8 * i + OP] & OP_MASK
        if slots[16 * i + ROLE] & ROLE_TARGET:
            slots[16 * i + ROLE] |= ROLE_DEPENDS
        elif code[8 * i + OP] & GRAD and info[8 * op + RULES]:
            for k in range(info[8 * op + ARITY]):
                o = code[8 * i + X + k]
                if o >= 0 and slots[16 * o + ROLE] & ROLE_DEPENDS:
                    slots[16 * i + ROLE] |= ROLE_DEPENDS


@jit
def _reach(lo, n, code, slots, info, templates, template_uses, found, totals, backward, restricted):
    """From the youngest slot down: where cotangents reach, and which values are needed."""
    for i in range(n - 1, lo - 1, -1):
        op = code[8 * i + OP] & OP_MASK
        arity = info[8 * op + ARITY]
        role = slots[16 * i + ROLE]
        if backward:
            if role & ROLE_ROOT:
                slots[16 * i + ACTIVE] = 1
            if slots[16 * i + ACTIVE] and code[8 * i + OP] & GRAD and info[8 * op + RULES]:
                if code[8 * i + STATE] & CUT:
                    totals[T_ERROR] = FREED_ERROR
                    totals[T_WHERE] = i
                    return
                for k in range(arity):
                    o = code[8 * i + X + k]
                    if o < 0 or not code[8 * o + OP] & GRAD:
                        continue
                    if restricted and not slots[16 * o + ROLE] & ROLE_DEPENDS:
                        continue
                    if info[8 * op + KIND] == KIND_STRUCTURED:
                        s = 3 * code[8 * i + SIG] + k
                        if templates[s] == 0:
                            templates[s] = -1
                            found[totals[T_TEMPLATES]] = s
                            totals[T_TEMPLATES] += 1
                            totals[T_ERROR] = TEMPLATE_ERROR
                    reads = rule_reads(code, info, template_uses, i, op, k)
                    if reads < 0:
                        continue
                    slots[16 * o + ACTIVE] = 1
                    slots[16 * i + REVERSE] = 1
                    if reads and code[8 * i + STATE] & FREED:
                        totals[T_ERROR] = FREED_ERROR
                        totals[T_WHERE] = i
                        return
                    if reads & USES_OUT:
                        slots[16 * i + NEED] = 1
                        if code[8 * i + STATE] & MUTATED and i < code[8 * i + STATE] >> 8:
                            totals[T_ERROR] = MUTATED_ERROR
                            totals[T_WHERE] = i
                            totals[T_CHANGED] = i
                            return
                    for j in range(arity):
                        p = code[8 * i + X + j]
                        if reads & (USES_X << j) and p >= 0:
                            slots[16 * p + NEED] = 1
                            if code[8 * p + STATE] & MUTATED and i < code[8 * p + STATE] >> 8:
                                totals[T_ERROR] = MUTATED_ERROR
                                totals[T_WHERE] = i
                                totals[T_CHANGED] = p
                                return
        if role & ROLE_HELD:
            slots[16 * i + NEED] = 1
        if slots[16 * i + NEED] and not code[8 * i + ADDR]:
            if info[8 * op + KIND] == KIND_INPUT:
                totals[T_ERROR] = LOST_ERROR
                totals[T_WHERE] = i
                return
            for k in range(arity):
                o = code[8 * i + X + k]
                if o >= lo:
                    slots[16 * o + NEED] = 1
                elif o >= 0 and not code[8 * o + ADDR]:
                    totals[T_ERROR] = WIDEN_ERROR
                    return


@jit
def _group(lo, n, code, slots, groups, members, specs, info, last_of_shape, totals, region_limit):
    """Gather instructions into groups, and list the members of each in tape order."""
    n_groups = 0
    for i in range(lo, n):
        compute = slots[16 * i + NEED] and not code[8 * i + ADDR]
        if not compute and not slots[16 * i + REVERSE]:
            continue
        op = code[8 * i + OP] & OP_MASK
        kind = info[8 * op + KIND]
        sink = info[8 * op + SINK] != 0
        fusible = kind == KIND_ELEMENTWISE or sink
        spec = code[8 * code[8 * i + X] + SPEC] if sink else code[8 * i + SPEC]
        shape = specs[32 * spec + SHAPE_ID]
        earliest = 0
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o < 0 or slots[16 * o + GROUP] < 0:
                continue
            g = slots[16 * o + GROUP]
            if not (
                fusible
                and groups[8 * g + G_KIND] == KIND_ELEMENTWISE
                and specs[32 * code[8 * o + SPEC] + SHAPE_ID] == shape
                and not info[8 * (code[8 * o + OP] & OP_MASK) + SINK]
                and not slots[16 * o + ROLE] & ROLE_WATCHED
            ):
                g += 1
            if g > earliest:
                earliest = g
        g = -1
        if fusible:
            g = last_of_shape[shape]
            if g < earliest or groups[8 * g + G_STOP] >= region_limit:
                g = -1
        if g < 0:
            g = n_groups
            n_groups += 1
            groups[8 * g + G_STOP] = 0
            groups[8 * g + G_KIND] = KIND_ELEMENTWISE if fusible else kind
            groups[8 * g + G_SPEC] = spec
            groups[8 * g + G_PHASES] = 0
            groups[8 * g + G_REVERSE] = 0
            if fusible:
                last_of_shape[shape] = g
        slots[16 * i + GROUP] = g
        groups[8 * g + G_STOP] += 1
        if slots[16 * i + REVERSE]:
            groups[8 * g + G_REVERSE] = 1
    position = 0
    for g in range(n_groups):
        if groups[8 * g + G_KIND] == KIND_ELEMENTWISE:
            last_of_shape[specs[32 * groups[8 * g + G_SPEC] + SHAPE_ID]] = -1
        groups[8 * g + G_START] = position
        position += groups[8 * g + G_STOP]
        groups[8 * g + G_STOP] = groups[8 * g + G_START]
    for i in range(lo, n):
        g = slots[16 * i + GROUP]
        if g >= 0:
            members[groups[8 * g + G_STOP]] = i
            groups[8 * g + G_STOP] += 1
    totals[T_GROUPS] = n_groups
    totals[T_MEMBERS] = position


@jit
def _phases(code, slots, groups, members, info, template_uses, totals):
    """Decide when each wanted value is computed, for a backward pass."""
    position = totals[T_MEMBERS]
    for m in range(position - 1, -1, -1):
        i = members[m]
        g = slots[16 * i + GROUP]
        op = code[8 * i + OP] & OP_MASK
        arity = info[8 * op + ARITY]
        region = groups[8 * g + G_KIND] == KIND_ELEMENTWISE
        if slots[16 * i + REVERSE]:
            for k in range(arity):
                if not flows(code, slots, info, template_uses, i, op, k):
                    continue
                reads = rule_reads(code, info, template_uses, i, op, k)
                if reads & USES_OUT and not code[8 * i + ADDR]:
                    slots[16 * i + WANT] |= DURING if region and not info[8 * op + SINK] else BEFORE
                for j in range(arity):
                    o = code[8 * i + X + j]
                    if reads & (USES_X << j) and o >= 0 and not code[8 * o + ADDR]:
                        slots[16 * o + WANT] |= DURING if region and slots[16 * o + GROUP] == g else BEFORE
        want = slots[16 * i + WANT]
        if want:
            for k in range(arity):
                o = code[8 * i + X + k]
                if o >= 0 and not code[8 * o + ADDR]:
                    if want & BEFORE:
                        slots[16 * o + WANT] |= BEFORE
                    if want & DURING:
                        slots[16 * o + WANT] |= DURING if slots[16 * o + GROUP] == g else BEFORE
    # Values wanted only by somebody who holds them: computed while their region runs in reverse if all
    # that it reads is in memory by then, else afterwards.
    for g in range(totals[T_GROUPS]):
        fits = groups[8 * g + G_REVERSE] != 0 and groups[8 * g + G_KIND] == KIND_ELEMENTWISE
        if fits:
            for m in range(groups[8 * g + G_START], groups[8 * g + G_STOP]):
                i = members[m]
                if not slots[16 * i + NEED] or code[8 * i + ADDR] or slots[16 * i + WANT] & BEFORE:
                    continue
                op = code[8 * i + OP] & OP_MASK
                for k in range(info[8 * op + ARITY]):
                    o = code[8 * i + X + k]
                    absent = o >= 0 and not code[8 * o + ADDR] and slots[16 * o + GROUP] != g
                    if absent and not slots[16 * o + WANT] & BEFORE:
                        fits = False
        groups[8 * g + G_PHASES] = DURING if fits else AFTER
    for m in range(position - 1, -1, -1):
        i = members[m]
        wanted = slots[16 * i + ROLE] & ROLE_HELD or slots[16 * i + NEED] == READ_LATER
        if not wanted or code[8 * i + ADDR]:
            continue
        if slots[16 * i + WANT] & BEFORE:
            slots[16 * i + CLASS] = SMALL_SAVED  # a later phase reads it: it has to stay
            continue
        slots[16 * i + WANT] |= groups[8 * slots[16 * i + GROUP] + G_PHASES]
        op = code[8 * i + OP] & OP_MASK
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o >= 0:
                slots[16 * o + NEED] = READ_LATER


@jit
def _memory_class(
    code, slots, groups, members, specs, info, kernels, template_uses, missing, totals, backward, keep_all
):
    """Decide which values and cotangents are in memory; list kernels that are needed."""
    for g in range(totals[T_GROUPS]):
        groups[8 * g + G_PHASES] = 0
    for m in range(totals[T_MEMBERS]):
        i = members[m]
        g = slots[16 * i + GROUP]
        op = code[8 * i + OP] & OP_MASK
        sink = info[8 * op + SINK] != 0
        region = groups[8 * g + G_KIND] == KIND_ELEMENTWISE
        result = specs[32 * code[8 * i + SPEC] + DTYPE]
        dtype = kernel_dtype(code, specs, info, i, op)
        if not backward and not code[8 * i + ADDR]:
            slots[16 * i + WANT] = AFTER
        want = slots[16 * i + WANT]
        if want:
            if not (region and sink):
                _require(kernels, missing, totals, op, dtype, 0, result)
            if slots[16 * i + ROLE] & ROLE_HELD or not region or sink or keep_all:
                slots[16 * i + CLASS] = SMALL_SAVED
            small = specs[32 * code[8 * i + SPEC] + SIZE] * 8 < BIG_BYTES
            if small and want & BEFORE and want & DURING:
                # Computed before the reverse loop and read in it again: keep it, recompute what is large.
                want = slots[16 * i + WANT] = want & ~DURING
                slots[16 * i + CLASS] = SMALL_SAVED
            groups[8 * g + G_PHASES] |= want
            totals[T_PHASES] |= want
        reverse = slots[16 * i + REVERSE] != 0
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o < 0:
                continue
            outside = not region or slots[16 * o + GROUP] != g
            if outside and slots[16 * o + WANT]:
                slots[16 * o + CLASS] = SMALL_SAVED
            if reverse and flows(code, slots, info, template_uses, i, op, k):
                if outside:
                    slots[16 * o + ADJ_CLASS] = SMALL_SAVED
                if region and not sink:
                    _require(kernels, missing, totals, op, dtype, 1 + k, result)
                elif groups[8 * g + G_KIND] == KIND_MOVEMENT:
                    _require(kernels, missing, totals, op, dtype, 4, result)
        if slots[16 * i + ACTIVE] and (not region or sink):
            slots[16 * i + ADJ_CLASS] = SMALL_SAVED


@jit
def _assign(lo, n, code, slots, specs, big, totals):
    """Give every value and cotangent in memory its place: an offset, or a buffer of its own."""
    for i in range(lo, n):
        role = slots[16 * i + ROLE]
        spec = code[8 * i + SPEC]
        if slots[16 * i + ACTIVE]:
            leaf = not slots[16 * i + REVERSE]
            if leaf or role & (ROLE_ROOT | ROLE_TARGET | ROLE_WATCHED):
                slots[16 * i + ADJ_CLASS] = SMALL_SAVED
            if slots[16 * i + ADJ_CLASS]:
                nbytes = specs[32 * spec + SIZE] * specs[32 * spec + ITEMSIZE]
                if nbytes >= BIG_BYTES:
                    slots[16 * i + ADJ_CLASS] = BIG
                    big[totals[T_BIG] + totals[T_ADJ_BIG]] = -i - 1
                    totals[T_ADJ_BIG] += 1
                elif leaf or role & ROLE_TARGET:
                    slots[16 * i + ADJ_CLASS] = SMALL_HELD
                    slots[16 * i + ADJ] = totals[T_ADJ_HELD]
                    totals[T_ADJ_HELD] += (nbytes + 15) & -16
                else:
                    slots[16 * i + ADJ] = totals[T_ADJ_SAVED]
                    totals[T_ADJ_SAVED] += (nbytes + 63) & -64
        if slots[16 * i + CLASS]:
            nbytes = specs[32 * spec + SIZE] * specs[32 * spec + ITEMSIZE]
            if nbytes >= BIG_BYTES:
                slots[16 * i + CLASS] = BIG
                big[totals[T_BIG] + totals[T_ADJ_BIG]] = i
                totals[T_BIG] += 1
            elif role & ROLE_HELD:
                slots[16 * i + CLASS] = SMALL_HELD
                slots[16 * i + STORE] = totals[T_HELD]
                totals[T_HELD] += (nbytes + 15) & -16
            else:
                slots[16 * i + STORE] = totals[T_SAVED]
                totals[T_SAVED] += (nbytes + 63) & -64


@jit
def plan(frame_array, lo, n, backward, restricted, region_limit, keep_all):
    """Plan a run over slots ``[lo, n)``; the plan is left in the scratch arrays, its size in totals.

    What lies below ``lo`` must be in memory as far as it is needed, else ``WIDEN_ERROR`` is reported: a
    look at a value in a long program costs what is pending, not what the tape holds.

    ``totals[T_ERROR]`` is nonzero if the run is impossible (see ``layout``), or if derivative rules
    have to be traced first: then their numbers are in ``found``.
    """
    frame = words(frame_array)
    code, slots, groups = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_GROUPS])
    members, specs, info = at(frame[F_MEMBERS]), at(frame[F_SPECS]), at(frame[F_INFO])
    kernels, templates, uses = at(frame[F_KERNELS]), at(frame[F_TEMPLATES]), at(frame[F_USES])
    last_of_shape, big, found = at(frame[F_LAST]), at(frame[F_BIG]), at(frame[F_FOUND])
    missing, totals = at(frame[F_MISSING]), at(frame[F_TOTALS])
    for k in range(TOTALS):
        totals[k] = 0
    if restricted:
        _depends(n, code, slots, info)
    _reach(lo, n, code, slots, info, templates, uses, found, totals, backward, restricted)
    if totals[T_ERROR]:
        return
    _group(lo, n, code, slots, groups, members, specs, info, last_of_shape, totals, region_limit)
    if backward:
        _phases(code, slots, groups, members, info, uses, totals)
    _memory_class(
        code, slots, groups, members, specs, info, kernels, uses, missing, totals, backward, keep_all
    )
    _assign(lo, n, code, slots, specs, big, totals)
