"""Small jitted scans over the tape that the driver makes around a run."""

from __future__ import annotations

import numpy as np

from tapegrad._jit import at, jit, words
from tapegrad.engine.edges import accumulate, fill_constant
from tapegrad.engine.layout import (
    ADDR,
    ADJ,
    ADJ_CLASS,
    AREG,
    ARITY,
    CLASS,
    DTYPE,
    F_CODE,
    F_FOUND,
    F_INFO,
    F_SLOTS,
    F_SPECS,
    GRAD,
    GROUP,
    KIND,
    KIND_ELEMENTWISE,
    KIND_INPUT,
    OP,
    OP_MASK,
    REVERSE,
    ROLE,
    ROLE_HELD,
    ROLE_TARGET,
    RULES,
    SIG,
    SIZE,
    SLOT_COLUMNS,
    SMALL_HELD,
    SMALL_SAVED,
    SPEC,
    STATE,
    STORE,
    TOUCHED,
    USES,
    VREG,
    WANT,
    X,
)  # fmt: skip
from tapegrad.tape import CUT, FREED

__all__ = [
    "begin", "clear", "collect_gradients", "collect_held", "forget_values", "free_graph", "list_shared",
    "mark", "place", "renumber", "saves_for_others", "seed",
]  # fmt: skip


NEEDS_PLACE, NEEDS_VALUE = 1, 2  # why a slot is live


@jit
def clear(frame_array, lo, n):
    """Leave the scratch neutral: after every run, so that the next may start above old slots."""
    slots = at(words(frame_array)[F_SLOTS])
    for k in range(SLOT_COLUMNS * lo, SLOT_COLUMNS * n):
        slots[k] = 0
    for i in range(lo, n):
        slots[16 * i + VREG] = slots[16 * i + AREG] = slots[16 * i + GROUP] = -1


def shared(objects, i):
    """Whether others hold entry ``i`` of a list too: words of CPython's list and object headers."""
    return at(at(at(objects)[3])[i])[0] & 0xFFFFFFFF > 1


@jit
def list_shared(objects, n, found):
    """List the entries of a list, given by address, that others hold too; returns how many."""
    count = 0
    for i in range(n):
        if shared(objects, i):
            found[count] = i
            count += 1
    return count


@jit
def begin(frame_array, start, n, tensors):
    """Note which pending slots are held (``tensors``: the list's address); list the inputs among them."""
    frame = words(frame_array)
    code, slots, found = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_FOUND])
    inputs = 0
    for i in range(start, n):
        if code[8 * i + OP] & OP_MASK == KIND_INPUT:
            found[inputs] = i
            inputs += 1
        elif shared(tensors, i):
            slots[16 * i + ROLE] = ROLE_HELD
    return inputs


@jit
def place(frame_array, lo, n, held, saved, grads, cotangents):
    """Turn offsets into addresses, once memory has been allocated."""
    slots = at(words(frame_array)[F_SLOTS])
    for i in range(lo, n):
        c = slots[16 * i + CLASS]
        if c == SMALL_HELD:
            slots[16 * i + STORE] += held
        elif c == SMALL_SAVED:
            slots[16 * i + STORE] += saved
        a = slots[16 * i + ADJ_CLASS]
        if a == SMALL_HELD:
            slots[16 * i + ADJ] += grads
        elif a == SMALL_SAVED:
            slots[16 * i + ADJ] += cotangents


@jit
def seed(frame_array, slot, source):
    """Start the cotangent of a root: one, or the array at ``source``; roots may repeat."""
    frame = words(frame_array)
    code, slots, specs = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_SPECS])
    spec = code[8 * slot + SPEC]
    dtype = specs[32 * spec + DTYPE]
    if source == 0:
        slots[16 * slot + TOUCHED] += 1
        times = float(slots[16 * slot + TOUCHED])
        fill_constant(slots[16 * slot + ADJ], specs[32 * spec + SIZE], dtype, times)
    else:
        accumulate(slots[16 * slot + ADJ], source, specs, spec, spec, dtype, slots[16 * slot + TOUCHED])
        slots[16 * slot + TOUCHED] = 1


@jit
def collect_held(frame_array, n, start):
    """List the slots whose values this run has written for their tensors."""
    frame = words(frame_array)
    slots, found = at(frame[F_SLOTS]), at(frame[F_FOUND])
    k = 0
    for i in range(start, n):
        if slots[16 * i + ROLE] & ROLE_HELD:
            found[k] = i
            k += 1
    return k


@jit
def collect_gradients(frame_array, n):
    """List the slots whose gradients are to be delivered."""
    frame = words(frame_array)
    slots, found = at(frame[F_SLOTS]), at(frame[F_FOUND])
    k = 0
    for i in range(n):
        if slots[16 * i + TOUCHED] and (slots[16 * i + ROLE] & ROLE_TARGET or not slots[16 * i + REVERSE]):
            found[k] = i
            k += 1
    return k


@jit
def saves_for_others(frame_array, n, start, backward):
    """Whether this run computed values for a graph that it did not run in reverse."""
    frame = words(frame_array)
    code, slots, info = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_INFO])
    for i in range(start, n):
        reversed_here = backward and slots[16 * i + REVERSE]
        graph = code[8 * i + OP] & GRAD and info[8 * (code[8 * i + OP] & OP_MASK) + RULES]
        if graph and slots[16 * i + WANT] and not reversed_here:
            return True
    return False


@jit
def forget_values(frame_array, lo, n, failed):
    """Clear the addresses of values that nobody holds (of a run that ``failed``: of all it computed)."""
    frame = words(frame_array)
    code, slots = at(frame[F_CODE]), at(frame[F_SLOTS])
    for i in range(lo, n):
        if slots[16 * i + CLASS] and (failed or not slots[16 * i + ROLE] & ROLE_HELD):
            code[8 * i + ADDR] = 0


@jit
def free_graph(frame_array, n):
    """Mark instructions that ran in reverse as freed; list those whose values an earlier run stored."""
    frame = words(frame_array)
    code, slots, found = at(frame[F_CODE]), at(frame[F_SLOTS]), at(frame[F_FOUND])
    k = 0
    for i in range(n):
        if slots[16 * i + REVERSE]:
            code[8 * i + STATE] |= FREED
            if not slots[16 * i + CLASS] and code[8 * i + ADDR]:
                found[k] = i
                k += 1
    return k


@jit
def mark(n, code_array, info_array, live, edges):
    """Extend ``live`` (tensors somebody holds) to all they depend on; returns how many.

    A live slot needs its operands' values if it has to be computed again or differentiated.  An
    instruction that was freed and whose rule reads values can only ever raise an error: it is cut off
    from its operands, so that a loss that is kept does not keep its program.  ``edges`` are further
    dependencies, (from, to), youngest first: what is needed at ``to`` is the value.
    """
    code, info = words(code_array), words(info_array)
    count = 0
    e = 0
    for i in range(n - 1, -1, -1):
        while e < len(edges) and edges[e, 0] >= i:
            if edges[e, 0] == i and live[i]:
                live[edges[e, 1]] |= np.uint8(NEEDS_VALUE)
            e += 1
        if not live[i]:
            continue
        count += 1
        op = code[8 * i + OP] & OP_MASK
        graph = code[8 * i + OP] & GRAD != 0 and info[8 * op + RULES] != 0
        if code[8 * i + ADDR] and not graph:
            # A value without history: from now on an input.
            code[8 * i + OP] = KIND_INPUT | (code[8 * i + OP] & GRAD)
            continue
        need = np.uint8(0)
        if graph:
            need = np.uint8(NEEDS_VALUE)
            if code[8 * i + STATE] & FREED:
                need = np.uint8(NEEDS_PLACE)
                for k in range(info[8 * op + ARITY]):
                    if info[8 * op + KIND] == KIND_ELEMENTWISE and info[8 * op + USES + k] > 0:
                        need = np.uint8(0)
        if live[i] & NEEDS_VALUE and not code[8 * i + ADDR]:
            need = np.uint8(NEEDS_VALUE)
        if need == 0:
            code[8 * i + STATE] |= CUT
            continue
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o >= 0:
                live[o] |= need
    return count


@jit
def renumber(n, code_array, info_array, live, new, target_array, consts, new_consts, used_signatures):
    """Copy live instructions to the target with new slot numbers; returns the number of constants."""
    code, info, target = words(code_array), words(info_array), words(target_array)
    m = 0
    n_consts = 0
    for i in range(n):
        if not live[i]:
            continue
        new[i] = m
        op = code[8 * i + OP] & OP_MASK
        for c in range(8):
            target[8 * m + c] = code[8 * i + c]
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if code[8 * i + STATE] & CUT:
                target[8 * m + X + k] = m
            elif o >= 0:
                target[8 * m + X + k] = new[o]
            else:
                new_consts[n_consts] = consts[-o - 1]
                n_consts += 1
                target[8 * m + X + k] = -n_consts
        if info[8 * op + KIND] > KIND_ELEMENTWISE:
            used_signatures[code[8 * i + SIG]] = 1
        m += 1
    return n_consts
