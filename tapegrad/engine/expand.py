"""Sweeps over a tape that append to it: each row is expanded into the rows of a template.

Three sweeps: ``reverse`` (cotangents, from young to old), ``forward`` (tangents, from old to young) and
``batch`` (a leading batch axis).  What an instruction turns into depends on its opcode, on the specs and
on which operands carry something; those integers are the *key* under which `sweeps.store` keeps the
template, in an open-addressing hash table.  So a sweep is a loop over integers.

Nothing here calls Python: a sweep returns a status when it needs something (an unknown template, room,
a hook to be called), Python provides it, and the sweep goes on where it stopped.  New rows are written
straight behind the sealed ones.
"""

from __future__ import annotations

from tapegrad._jit import at, jit, words
from tapegrad.engine.layout import (
    ADDR,
    ARITY,
    GRAD,
    KIND,
    KIND_ELEMENTWISE,
    OP,
    OP_MASK,
    RULES,
    SIG,
    SPEC,
    STATE,
    X,
    Z,
)
from tapegrad.tape import CUT, FREED, MUTATED

__all__ = ["carry_flags", "find", "insert", "mark_dependent", "mark_wanted", "sweep_batch", "sweep_forward",
           "sweep_reverse"]  # fmt: skip

# The frame: addresses of the arrays of a sweep.
(
    E_STATE, E_SOURCE, E_SOURCE_CONSTS, E_CODE, E_CONSTS, E_INFO, E_KEYS, E_VALUES, E_SPANS, E_ROWS,
    E_NUMBERS, E_BASES, E_READY, E_SIGNATURES, E_ARRAYS, E_MARKS, E_MAP, E_WANTED, E_PAUSES, E_IDENTITIES,
) = range(20)  # fmt: skip
EXPAND_FRAME = 32

# The state of a sweep, and what it hands to Python.
(
    NEXT, STOP, N_ROWS, ROW_LIMIT, N_CONSTS, CONST_LIMIT, HASH_MASK, RECORD, RESTRICTED, WHERE, OPERAND,
    CHANGED, NEED_ROWS, NEED_CONSTS, ADD_OP, PICKED,
) = range(16)  # fmt: skip
KEY = 20
KEY_WORDS = 9  # which, op, result or signature, specs of x, y, z, bits of constants
EXPAND_STATE = 32

# What a sweep returns.
DONE, MISSING, UNREADY, ROOM, PAUSED, FREED_AT, MUTATED_AT = range(7)

# A template (one line of ``spans``), and its rows (one line of ``rows`` each).
P_START, P_COUNT, P_RESULT, P_CONST_START, P_CONST_COUNT, P_USES, P_PLAIN = range(7)
SPAN_COLUMNS = 8
R_OP, R_SPEC, R_X, R_Y, R_Z, R_SIG, R_RAW, R_ARITY = range(8)
ROW_COLUMNS = 8
RULED = 1 << 17  # flag in R_OP: differentiable, so that the result takes part if an operand does
STRUCTURED = 1 << 18  # flag in R_OP: has a signature
LOCALS = 5  # a template's inputs: the cotangent (or tangent), the result, three operands
ARRAY_BASE = 1 << 40  # from here on operands name constant arrays

# What the hash table says besides a template's number plus one.
EMPTY, NOTHING, BY_VALUE = 0, -1, -2

REVERSE, FORWARD, BATCH = 0, 1, 2  # modes, part of the key's first word
VALUED = 64  # added to it: constants are part of the key
HOOK, FUNCTION, SKIP, LONE = 1, 2, 3, 4  # why a slot pauses a sweep; LONE: a function with one result


# --- the hash table -------------------------------------------------------------------------------


@jit
def find(keys, values, mask, key):
    """The value stored under ``key``; 0 if there is none."""
    h = 0
    for k in range(KEY_WORDS):
        h = (h ^ key[k]) * 0x2545F4914F6CDD1D
        h ^= h >> 29
    h &= mask
    while values[h] != EMPTY:
        same = True
        for k in range(KEY_WORDS):
            if keys[KEY_WORDS * h + k] != key[k]:
                same = False
        if same:
            return values[h]
        h = (h + 1) & mask
    return EMPTY


@jit
def insert(key_array, value_array, new_array, value):
    """Store a value under a key that is not there yet; the table's size is a power of two."""
    keys, values, key = words(key_array), words(value_array), words(new_array)
    mask = len(value_array) - 1
    h = 0
    for k in range(KEY_WORDS):
        h = (h ^ key[k]) * 0x2545F4914F6CDD1D
        h ^= h >> 29
    h &= mask
    while values[h] != EMPTY:
        h = (h + 1) & mask
    for k in range(KEY_WORDS):
        keys[KEY_WORDS * h + k] = key[k]
    values[h] = value


@jit
def pick(frame, i, op, which, mode_batch):
    """The template for instruction ``i``: its number, -1 for none, -2 if Python has to provide it."""
    state, source, info = at(frame[E_STATE]), at(frame[E_SOURCE]), at(frame[E_INFO])
    key = at(frame[E_STATE] + 8 * KEY)
    key[0], key[1] = which, op
    for k in range(2, KEY_WORDS):
        key[k] = 0
    elementwise = info[8 * op + KIND] == KIND_ELEMENTWISE
    if elementwise:
        key[2] = source[8 * i + SPEC]
    else:
        key[2] = at(frame[E_IDENTITIES])[source[8 * i + SIG]]
    if elementwise or mode_batch:
        marks, code = at(frame[E_MARKS]), at(frame[E_CODE])
        for k in range(info[8 * op + ARITY]):
            o = source[8 * i + X + k]
            key[3 + k] = -1
            if o >= 0:
                key[3 + k] = source[8 * o + SPEC]
                if mode_batch and marks[o] >= 0:
                    key[3 + k] = code[8 * marks[o] + SPEC]
    keys, values, mask = at(frame[E_KEYS]), at(frame[E_VALUES]), state[HASH_MASK]
    found = find(keys, values, mask, key)
    if found == BY_VALUE:
        key[0] = which + VALUED
        numbers = at(frame[E_SOURCE_CONSTS])  # their bits
        for k in range(info[8 * op + ARITY]):
            o = source[8 * i + X + k]
            if o < 0:
                key[6 + k] = numbers[-o - 1]
        found = find(keys, values, mask, key)
    if found == EMPTY:
        return -2
    if found == NOTHING:
        return -1
    return found - 1


@jit
def prepare(frame, t):
    """Whether template ``t`` can be emitted now; counts what it needs."""
    span = at(frame[E_SPANS] + 8 * SPAN_COLUMNS * t)
    state = at(frame[E_STATE])
    if not span[P_PLAIN] and not at(frame[E_READY])[t]:
        state[WHERE] = t
        return False
    state[NEED_ROWS] += span[P_COUNT] + 1
    state[NEED_CONSTS] += span[P_CONST_COUNT]
    return True


@jit
def lacks_room(state):
    return (
        state[N_ROWS] + state[NEED_ROWS] > state[ROW_LIMIT]
        or state[N_CONSTS] + state[NEED_CONSTS] > state[CONST_LIMIT]
    )


@jit
def refusal(frame, i, t):
    """Whether a value that the template reads was freed or changed in place: the status to return."""
    uses = at(frame[E_SPANS] + 8 * SPAN_COLUMNS * t)[P_USES]
    if uses == 0:
        return DONE
    state, source = at(frame[E_STATE]), at(frame[E_SOURCE])
    if source[8 * i + STATE] & FREED:
        state[WHERE] = i
        return FREED_AT
    for k in range(4):
        if uses >> k & 1:
            s = i if k == 0 else source[8 * i + X + k - 1]
            if s >= 0 and source[8 * s + STATE] & MUTATED and i < source[8 * s + STATE] >> 8:
                state[WHERE], state[CHANGED] = i, s
                return MUTATED_AT
    return DONE


# --- emitting -------------------------------------------------------------------------------------


@jit
def emit(frame, t, g, out, x, y, z, raw, record):
    """Append template ``t`` over the given slots; returns the slot of its result."""
    state, code = at(frame[E_STATE]), at(frame[E_CODE])
    span = at(frame[E_SPANS] + 8 * SPAN_COLUMNS * t)
    bases, signatures, arrays = at(frame[E_BASES]), at(frame[E_SIGNATURES]), at(frame[E_ARRAYS])
    if bases[t] < 0 and span[P_CONST_COUNT] > 0:
        numbers, consts = at(frame[E_NUMBERS]), at(frame[E_CONSTS])
        bases[t] = state[N_CONSTS]
        for c in range(span[P_CONST_COUNT]):
            consts[state[N_CONSTS] + c] = numbers[span[P_CONST_START] + c]
        state[N_CONSTS] += span[P_CONST_COUNT]
    first = state[N_ROWS]
    for r in range(span[P_COUNT]):
        row = at(frame[E_ROWS] + 8 * ROW_COLUMNS * (span[P_START] + r))
        new = 8 * (first + r)
        flags = 0
        for k in range(row[R_ARITY]):
            o = row[R_X + k]
            if o < 0:
                o -= bases[t]
            elif o >= ARRAY_BASE:
                o = arrays[o - ARRAY_BASE]
            elif o >= LOCALS:
                o += first - LOCALS
            elif o == 0:
                o = g
            elif o == 1:
                o = out
            elif o == 2:
                o = x
            elif o == 3:
                o = y
            else:
                o = z
            if o >= 0:
                flags |= code[8 * o + OP]
            code[new + X + k] = o
        for k in range(row[R_ARITY], 3):
            code[new + X + k] = row[R_X + k]
        if row[R_RAW]:
            code[new + Z] = raw
        op = row[R_OP]
        code[new + OP] = op & OP_MASK
        if record and op & RULED:
            code[new + OP] |= flags & GRAD
        code[new + SPEC] = row[R_SPEC]
        code[new + SIG] = signatures[row[R_SIG]] if op & STRUCTURED else 0
        code[new + ADDR] = code[new + STATE] = 0
    state[N_ROWS] = first + span[P_COUNT]
    result = span[P_RESULT]
    if result >= ARRAY_BASE:
        return arrays[result - ARRAY_BASE]
    if result >= LOCALS:
        return first + result - LOCALS
    if result == 0:
        return g
    if result == 1:
        return out
    if result == 2:
        return x
    return y if result == 3 else z


@jit
def add_to(frame, known, more, spec, record):
    """Append the sum of two slots, unless there is only one; returns its slot."""
    if known < 0:
        return more
    state, code = at(frame[E_STATE]), at(frame[E_CODE])
    slot = state[N_ROWS]
    state[N_ROWS] += 1
    code[8 * slot + OP] = state[ADD_OP]
    if record:
        code[8 * slot + OP] |= (code[8 * known + OP] | code[8 * more + OP]) & GRAD
    code[8 * slot + SPEC], code[8 * slot + X], code[8 * slot + X + 1] = spec, known, more
    for k in range(Z, 8):
        code[8 * slot + k] = 0
    return slot


@jit
def raw_of(source, i, arity):
    """The integer that varies from call to call: rows of three operands have none."""
    return source[8 * i + Z] if arity < 3 else 0


# --- the sweeps -----------------------------------------------------------------------------------


@jit
def pick_operand(frame, i, op, mode, k):
    """Note in ``PICKED`` which template operand ``k`` of instruction ``i`` needs, if any (a status)."""
    state, picked = at(frame[E_STATE]), at(frame[E_STATE] + 8 * PICKED)
    t = pick(frame, i, op, 8 * mode + k, False)
    if t == -2:
        state[OPERAND] = k
        return MISSING
    if t >= 0:
        if not prepare(frame, t):
            return UNREADY
        status = refusal(frame, i, t)
        if status != DONE:
            return status
        picked[k] = t
    return DONE


@jit
def sweep_reverse(frame_array):
    """Cotangents, from the youngest instruction down."""
    frame = words(frame_array)
    state, source, info = at(frame[E_STATE]), at(frame[E_SOURCE]), at(frame[E_INFO])
    marks, wanted, pauses = at(frame[E_MARKS]), at(frame[E_WANTED]), at(frame[E_PAUSES])
    picked = at(frame[E_STATE] + 8 * PICKED)
    i = state[NEXT]
    while i >= state[STOP]:
        state[NEXT] = i
        g = marks[i]
        if pauses[i] == FUNCTION or (g >= 0 and (pauses[i] == HOOK or pauses[i] == LONE)):
            return PAUSED
        op = source[8 * i + OP] & OP_MASK
        flagged = source[8 * i + OP] & GRAD and info[8 * op + RULES]
        if g < 0 or not flagged or pauses[i] == SKIP:
            i -= 1
            continue
        if source[8 * i + STATE] & CUT:
            state[WHERE] = i
            return FREED_AT
        arity = info[8 * op + ARITY]
        state[NEED_ROWS] = state[NEED_CONSTS] = 0
        for k in range(arity):
            o = source[8 * i + X + k]
            picked[k] = -1
            if o < 0 or not source[8 * o + OP] & GRAD or (state[RESTRICTED] and not wanted[o]):
                continue
            status = pick_operand(frame, i, op, REVERSE, k)
            if status != DONE:
                return status
        if lacks_room(state):
            return ROOM
        x, y, z = source[8 * i + X], source[8 * i + X + 1], source[8 * i + Z]
        for k in range(arity):
            if picked[k] >= 0:
                o = source[8 * i + X + k]
                part = emit(frame, picked[k], g, i, x, y, z, raw_of(source, i, arity), state[RECORD])
                marks[o] = add_to(frame, marks[o], part, source[8 * o + SPEC], state[RECORD])
        i -= 1
    state[NEXT] = i
    return DONE


@jit
def sweep_forward(frame_array):
    """Tangents, from the oldest instruction up."""
    frame = words(frame_array)
    state, source, info = at(frame[E_STATE]), at(frame[E_SOURCE]), at(frame[E_INFO])
    marks, wanted, pauses = at(frame[E_MARKS]), at(frame[E_WANTED]), at(frame[E_PAUSES])
    picked = at(frame[E_STATE] + 8 * PICKED)
    for i in range(state[NEXT], state[STOP]):
        state[NEXT] = i
        op = source[8 * i + OP] & OP_MASK
        if not wanted[i] or not source[8 * i + OP] & GRAD or source[8 * i + STATE] & CUT:
            continue
        if pauses[i] == FUNCTION:
            return PAUSED
        if not info[8 * op + RULES] or pauses[i] == SKIP:
            continue
        arity = info[8 * op + ARITY]
        state[NEED_ROWS] = state[NEED_CONSTS] = 0
        touched = False
        for k in range(arity):
            o = source[8 * i + X + k]
            picked[k] = -1
            if o < 0 or marks[o] < 0:
                continue
            status = pick_operand(frame, i, op, FORWARD, k)
            if status != DONE:
                return status
            touched = touched or picked[k] >= 0
        if not touched:
            continue
        if lacks_room(state):
            return ROOM
        x, y, z = source[8 * i + X], source[8 * i + X + 1], source[8 * i + Z]
        for k in range(arity):
            if picked[k] >= 0:
                g = marks[source[8 * i + X + k]]
                part = emit(frame, picked[k], g, i, x, y, z, raw_of(source, i, arity), state[RECORD])
                marks[i] = add_to(frame, marks[i], part, source[8 * i + SPEC], state[RECORD])
    return DONE


@jit
def sweep_batch(frame_array):
    """A leading axis for what depends on a batched slot; what does not is shared.

    ``marks`` holds batched results, ``map`` the others: the slots themselves where a tape is expanded in
    place, their copies where the source is another tape.
    """
    frame = words(frame_array)
    state, source, info = at(frame[E_STATE]), at(frame[E_SOURCE]), at(frame[E_INFO])
    marks, places, wanted = at(frame[E_MARKS]), at(frame[E_MAP]), at(frame[E_WANTED])
    slots = at(frame[E_STATE] + 8 * PICKED)
    for i in range(state[NEXT], state[STOP]):
        state[NEXT] = i
        if not wanted[i] or marks[i] >= 0 or info[8 * (source[8 * i + OP] & OP_MASK) + ARITY] == 0:
            continue
        op = source[8 * i + OP] & OP_MASK
        arity = info[8 * op + ARITY]
        mask = 0
        for k in range(3):
            slots[k] = source[8 * i + X + k]
        for k in range(arity):
            o = slots[k]
            if o >= 0:
                if marks[o] >= 0:
                    mask |= 1 << k
                    slots[k] = marks[o]
                else:
                    slots[k] = places[o]
        if mask == 0 and places[i] >= 0:
            continue
        t = pick(frame, i, op, 8 * BATCH + mask, True)
        state[NEED_ROWS] = state[NEED_CONSTS] = 0
        if t == -2:
            state[OPERAND] = mask
            return MISSING
        if not prepare(frame, t):
            return UNREADY
        state[NEED_CONSTS] += 3
        if lacks_room(state):
            return ROOM
        if frame[E_SOURCE_CONSTS] != frame[E_CONSTS]:
            numbers, consts = at(frame[E_SOURCE_CONSTS]), at(frame[E_CONSTS])  # copied as bits
            for k in range(arity):
                if slots[k] < 0:
                    consts[state[N_CONSTS]] = numbers[-slots[k] - 1]
                    state[N_CONSTS] += 1
                    slots[k] = -state[N_CONSTS]
        record = source[8 * i + OP] & GRAD
        new = emit(frame, t, -1, -1, slots[0], slots[1], slots[2], raw_of(source, i, arity), record)
        if mask:
            marks[i] = new
        else:
            places[i] = new
    return DONE


# --- scans ----------------------------------------------------------------------------------------


@jit
def mark_wanted(frame_array, low, high, flagged):
    """Extend ``wanted`` downwards to all that wanted slots are computed from.

    With ``flagged`` only along what takes part in differentiation.
    """
    frame = words(frame_array)
    source, info, wanted = at(frame[E_SOURCE]), at(frame[E_INFO]), at(frame[E_WANTED])
    for i in range(high - 1, low - 1, -1):
        op = source[8 * i + OP] & OP_MASK
        follow = not flagged or (source[8 * i + OP] & GRAD and info[8 * op + RULES])
        if wanted[i] and follow and not source[8 * i + STATE] & CUT:
            for k in range(info[8 * op + ARITY]):
                o = source[8 * i + X + k]
                if o >= low and (not flagged or source[8 * o + OP] & GRAD):
                    wanted[o] = 1


@jit
def mark_dependent(frame_array, low, high):
    """Extend ``wanted`` upwards to all that can be differentiated by wanted slots."""
    frame = words(frame_array)
    source, info, wanted = at(frame[E_SOURCE]), at(frame[E_INFO]), at(frame[E_WANTED])
    for i in range(low, high):
        op = source[8 * i + OP] & OP_MASK
        if source[8 * i + OP] & GRAD and info[8 * op + RULES] and not source[8 * i + STATE] & CUT:
            for k in range(info[8 * op + ARITY]):
                o = source[8 * i + X + k]
                if o >= 0 and wanted[o]:
                    wanted[i] = 1


@jit
def carry_flags(code_array, info_array, low, high, argument_op, flags_array):
    """Which rows carry the ``GRAD`` flag because of something else than leaves of transforms.

    ``flags`` is given with 1 for leaves that count all the same: those of transforms still at work.
    """
    code, info, flags = words(code_array), words(info_array), words(flags_array)
    for i in range(low, high):
        op = code[8 * i + OP] & OP_MASK
        if not code[8 * i + OP] & GRAD or op == argument_op:
            continue
        if not info[8 * op + RULES]:
            flags[i] = 1
        elif not code[8 * i + STATE] & CUT:
            for k in range(info[8 * op + ARITY]):
                o = code[8 * i + X + k]
                if o >= 0:
                    flags[i] |= flags[o]
