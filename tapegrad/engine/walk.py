"""Small jitted scans over the tape that the driver makes around a run."""

from __future__ import annotations

from tapegrad._jit import jit
from tapegrad.engine.layout import (
    ADDR, ADJ, ADJ_CLASS, AREG, ARITY, CLASS, DTYPE, GRAD, KIND, KIND_ELEMENTWISE, KIND_INPUT, OP,
    OP_MASK, REVERSE, ROLE, ROLE_HELD, ROLE_TARGET, RULES, SIZE, SLOT_COLUMNS, SMALL_HELD, SMALL_SAVED,
    SPEC, STATE, STORE, TOUCHED, VREG, X,
)  # fmt: skip
from tapegrad.engine.tiles import accumulate, fill_constant
from tapegrad.tape import FREED

__all__ = ["begin", "collect_gradients", "collect_held", "drop_saved", "mark", "place", "renumber", "seed"]


@jit
def begin(n, start, code, slots, counts, unheld, found):
    """Clear the scratch; note which pending slots are held; list inputs that have no address yet."""
    inputs = 0
    for i in range(n):
        for c in range(SLOT_COLUMNS):
            slots[i, c] = 0
        slots[i, VREG] = -1
        slots[i, AREG] = -1
    for i in range(start, n):
        if code[i, OP] & OP_MASK == KIND_INPUT:
            found[inputs] = i
            inputs += 1
        elif counts[i - start] > unheld:
            slots[i, ROLE] = ROLE_HELD
    return inputs


@jit
def place(n, slots, held, saved, grads, cotangents):
    """Turn offsets into addresses, once memory has been allocated."""
    for i in range(n):
        c = slots[i, CLASS]
        if c == SMALL_HELD:
            slots[i, STORE] += held
        elif c == SMALL_SAVED:
            slots[i, STORE] += saved
        a = slots[i, ADJ_CLASS]
        if a == SMALL_HELD:
            slots[i, ADJ] += grads
        elif a == SMALL_SAVED:
            slots[i, ADJ] += cotangents


@jit
def seed(slot, code, slots, specs, source):
    """Start the cotangent of a root: ones, or the array at ``source``; roots may repeat."""
    spec = code[slot, SPEC]
    if source == 0:
        one = 1.0
        if slots[slot, TOUCHED]:
            one = 2.0  # a scalar root given twice
        fill_constant(slots[slot, ADJ], specs[spec, SIZE], specs[spec, DTYPE], one)
    else:
        accumulate(slots[slot, ADJ], source, specs, spec, spec, specs[spec, DTYPE], slots[slot, TOUCHED])
    slots[slot, TOUCHED] = 1


@jit
def collect_held(n, start, slots, found):
    """List the slots whose values this run has written for their tensors."""
    k = 0
    for i in range(start, n):
        if slots[i, ROLE] & ROLE_HELD:
            found[k] = i
            k += 1
    return k


@jit
def collect_gradients(n, slots, found):
    """List the slots whose gradients are to be delivered."""
    k = 0
    for i in range(n):
        if slots[i, TOUCHED] and (slots[i, ROLE] & ROLE_TARGET or not slots[i, REVERSE]):
            found[k] = i
            k += 1
    return k


@jit
def drop_saved(n, code, slots, everything, free, found):
    """Forget addresses of memory that is about to go; list large buffers no longer needed.

    ``everything``: the run failed, or nothing it saved is needed by a later backward.  ``free``: a
    backward pass without ``retain_graph`` is done, what its instructions saved is released.
    """
    k = 0
    for i in range(n):
        c = slots[i, CLASS]
        held = slots[i, ROLE] & ROLE_HELD
        if everything and c and (c != SMALL_HELD and not held or free < 0):
            code[i, ADDR] = 0
        if free > 0 and slots[i, REVERSE]:
            code[i, STATE] |= FREED
            if c == 0 and code[i, ADDR]:
                found[k] = i
                k += 1
    return k


@jit
def mark(n, code, info, live):
    """Extend ``live`` (tensors somebody holds) to all they depend on; returns how many."""
    count = 0
    for i in range(n - 1, -1, -1):
        if not live[i]:
            continue
        count += 1
        op = code[i, OP] & OP_MASK
        if code[i, ADDR] and not (code[i, OP] & GRAD and info[op, RULES]):
            # a value without history: from now on an input
            code[i, OP] = KIND_INPUT | (code[i, OP] & GRAD)
            continue
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o >= 0:
                live[o] = 1
    return count


@jit
def renumber(n, code, info, live, new, target, consts, new_consts, used_signatures):
    """Copy live instructions to ``target`` with new slot numbers; returns the number of constants."""
    m = 0
    n_consts = 0
    for i in range(n):
        if not live[i]:
            continue
        new[i] = m
        op = code[i, OP] & OP_MASK
        for c in range(code.shape[1]):
            target[m, c] = code[i, c]
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o >= 0:
                target[m, X + k] = new[o]
            else:
                new_consts[n_consts] = consts[-o - 1]
                n_consts += 1
                target[m, X + k] = -n_consts
        if info[op, KIND] > KIND_ELEMENTWISE:
            used_signatures[code[i, 5]] = 1
        m += 1
    return n_consts
