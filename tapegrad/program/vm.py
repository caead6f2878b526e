"""The machine that replays a program: one loop over a stream of 32-bit words.

Scalars (one float64 or boolean) live in the program's memory, eight bytes each, and are named by their
index there; arithmetic on them is inline.  Everything else is named by an entry of the pointer table:
elementwise regions, tile by tile (``run_tiles``), structured kernels, guards, copies.  Nothing is allocated
and nothing is looked up by name: addresses were put into tables when the program was built
(``program.program``).
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import array, at, copy_bytes, fill_bytes, give_back, invoke, jit, take
from tapegrad.engine.blocks import block_sums, claim, complete, failure, run_blocks, settle, wait
from tapegrad.engine.calls import call_split
from tapegrad.engine.edges import add_to_total, fill_constant, load_broadcast, merge_total, splat, sum_of
from tapegrad.engine.layout import B_COUNT, WORK_TILES

__all__ = [
    "BATCH", "BATCH_BYTES", "CALL", "COPY", "END", "FRAME", "GUARD", "INLINE", "MASKED_DIVIDE",
    "MASKED_MULTIPLY", "MOVE", "MULTIPLY_ADD", "MULTIPLY_SUBTRACT", "NATIVE", "REGION", "SPLIT",
    "STRUCTURED", "SUBTRACT_MULTIPLY", "TEST", "ZERO", "run_program", "run_tiles", "work_tiles",
]  # fmt: skip

# --- opcodes --------------------------------------------------------------------------------------

# Words of an instruction in brackets; ``o, x, y, z`` are scalars, ``P`` pointer entries.
END = 0
CALL = 1  # [kernel, o, x, y, z]: an elementwise kernel on scalars
REGION = 2  # [region]
STRUCTURED = 3  # [kernel, P out, P x, P y, P z, P params, word q, row]
GUARD = 4  # [kind, P x, dtype, word expected, word nbytes, index, pending]
TEST = 5  # [x, expected, index, pending]: truth of a boolean scalar
COPY = 6  # [P to, P from, word nbytes]
ZERO = 7  # [P to, word nbytes]
MOVE = 8  # [o, x]
MULTIPLY_ADD = 9  # [o, x, y, z]: x * y + z
MULTIPLY_SUBTRACT = 10  # x * y - z
SUBTRACT_MULTIPLY = 11  # z - x * y
MASKED_MULTIPLY = 35  # [o, x, y, z]: y * z, or 0 where x is 0
MASKED_DIVIDE = 36
NATIVE = 37  # [word address, pending]: a stretch of scalars in machine code (``program.lower``)
BATCH = 33  # [kernel, arity, n, (o, x, ...) * n]: one call of a kernel for n float64 scalars

# Rows of the table that are inline for float64 scalars: row name -> opcode.
ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATIVE, SQUARE, SQRT, RECIPROCAL, ABS = range(12, 21)
MAXIMUM, MINIMUM, WHERE, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, NOT_EQUAL = range(21, 30)
AND, OR, NOT = range(30, 33)
UNLESS_ZERO = 34
SPLIT = 38  # like STRUCTURED, then [split, bytes of an element of x, of out, dtype of out]
INLINE = {
    "add": ADD, "subtract": SUBTRACT, "multiply": MULTIPLY, "divide": DIVIDE, "negative": NEGATIVE,
    "square": SQUARE, "sqrt": SQRT, "reciprocal": RECIPROCAL, "abs": ABS, "maximum": MAXIMUM,
    "minimum": MINIMUM, "where": WHERE, "less": LESS, "less_equal": LESS_EQUAL, "greater": GREATER,
    "greater_equal": GREATER_EQUAL, "equal": EQUAL, "not_equal": NOT_EQUAL,
    "unless_zero": UNLESS_ZERO, "logical_and": AND, "logical_or": OR, "logical_not": NOT,
}  # fmt: skip

BATCH_BYTES = 8 * 512  # of one operand of a batch

# --- the frame: one per running instance ----------------------------------------------------------

(
    CODE, MEMORY, POINTERS, KERNELS, WORDS, REGIONS, PATCHES, N_PATCHES, EXTERNAL, SCRATCH, BUFFERS, SPECS,
    RUN_TILES, FAILED_ROW, BUSY, ARGUMENTS, RESULTS, LEFT, SHARED, SCRATCH_BYTES, BUFFER_BYTES,
) = range(21)  # fmt: skip
FRAME = 24
HOT = 1 << 50  # what ``run_program`` returns after ``LEFT`` replays: success, and the program runs often

# A region's record: these words, then registers (pointer entry or -1 - buffer offset; step in bytes), then
# steps.
R_LENGTH, R_TILE, R_REGISTERS, R_STEPS, R_SPLATS, R_SUMS, R_SPEC, R_PER_BLOCK = range(8)
R_HEAD = 8
S_FN, S_OUT, S_X, S_Y, S_Z, S_A, S_B = range(7)
STEP = 8
SUM, LOAD, SPLAT = 0, 1, 2  # values of S_FN that are not kernels

TRUTH, INTEGER, VALUE = range(3)  # kinds of guards, as in ``trace``


@jit
def _set_up(frame, index, base, buffers):
    """Fill in the registers and the constants of region ``index``."""
    h = at(frame[REGIONS] + 8 * index)
    pointers = at(frame[POINTERS])
    registers = at(frame[REGIONS] + 8 * (index + R_HEAD))
    for r in range(h[R_REGISTERS]):
        where = registers[2 * r]
        base[r] = pointers[where] if where >= 0 else buffers - 1 - where
    steps = at(frame[REGIONS] + 8 * (index + R_HEAD + 2 * h[R_REGISTERS]))
    for s in range(h[R_SPLATS]):
        k = STEP * s
        n = min(h[R_TILE], h[R_LENGTH])
        splat(base[steps[k + S_OUT]], pointers[steps[k + S_X]], n, steps[k + S_A])


@jit
def _tiles(frame, index, base, sums, t, stop):
    """Run tiles ``t`` to ``stop`` of region ``index``; returns a kernel's status."""
    h = at(frame[REGIONS] + 8 * index)
    pointers, specs = at(frame[POINTERS]), at(frame[SPECS])
    registers = at(frame[REGIONS] + 8 * (index + R_HEAD))
    steps = at(frame[REGIONS] + 8 * (index + R_HEAD + 2 * h[R_REGISTERS]))
    length, tile = h[R_LENGTH], h[R_TILE]
    while t < stop:
        start = t * tile
        n = min(tile, length - start)
        for s in range(h[R_SPLATS], h[R_STEPS]):
            k = STEP * s
            fn = steps[k + S_FN]
            out = base[steps[k + S_OUT]] + t * registers[2 * steps[k + S_OUT] + 1]
            if fn > SPLAT:
                x = base[steps[k + S_X]] + t * registers[2 * steps[k + S_X] + 1]
                y = base[steps[k + S_Y]] + t * registers[2 * steps[k + S_Y] + 1]
                z = base[steps[k + S_Z]] + t * registers[2 * steps[k + S_Z] + 1]
                status = invoke(fn, (n, out, x, y, z))
                if status != 0:
                    return status
            elif fn == LOAD:
                spec = steps[k + S_B]
                load_broadcast(
                    out, pointers[steps[k + S_X]], steps[k + S_A], specs, spec, h[R_SPEC], start, n
                )
            else:
                x = base[steps[k + S_X]] + t * registers[2 * steps[k + S_X] + 1]
                add_to_total(sums, steps[k + S_Y], sum_of(x, n, steps[k + S_A]))
        t += 1
    return np.int64(0)


@jit
def _write_sums(frame, index, sums):
    h = at(frame[REGIONS] + 8 * index)
    pointers = at(frame[POINTERS])
    steps = at(frame[REGIONS] + 8 * (index + R_HEAD + 2 * h[R_REGISTERS]))
    for s in range(h[R_SPLATS], h[R_STEPS]):
        k = STEP * s
        if steps[k + S_FN] == SUM:
            q = 2 * steps[k + S_Y]
            fill_constant(pointers[steps[k + S_Z]], 1, steps[k + S_A], sums[q] + sums[q + 1])


def run_tiles(frame_at, index):
    """Run region ``index`` tile by tile."""
    frame = at(frame_at)
    h = at(frame[REGIONS] + 8 * index)
    length, tile, sums = h[R_LENGTH], h[R_TILE], h[R_SUMS]
    tiles = (length + tile - 1) // tile
    if h[R_PER_BLOCK]:
        blocks = (tiles + h[R_PER_BLOCK] - 1) // h[R_PER_BLOCK]
        nbytes = frame[SCRATCH_BYTES] + frame[BUFFER_BYTES] + 128
        status = run_blocks(frame[SHARED], np.int64(WORK_TILES), frame_at, index, blocks, 2 * sums, nbytes)
        if status != -1:
            return status
    totals = frame[SCRATCH] + 8 * h[R_REGISTERS]
    fill_bytes(totals, 0, 16 * sums)
    _set_up(frame, index, at(frame[SCRATCH]), frame[BUFFERS])
    status = _tiles(frame, index, at(frame[SCRATCH]), array(totals, 0, np.float64), 0, tiles)
    if status == 0:
        _write_sums(frame, index, array(totals, 0, np.float64))
    return status


@jit
def _run_block(frame, index, control, base, b):
    """Run block ``b`` of region ``index``; returns a kernel's status."""
    h = at(frame[REGIONS] + 8 * index)
    tiles = (h[R_LENGTH] + h[R_TILE] - 1) // h[R_TILE]
    sums = block_sums(control) + 16 * b * h[R_SUMS]
    fill_bytes(sums, 0, 16 * h[R_SUMS])
    first, stop = b * h[R_PER_BLOCK], min((b + 1) * h[R_PER_BLOCK], tiles)
    return _tiles(frame, index, at(base), array(sums, 0, np.float64), first, stop)


@jit
def _merge(frame, index, control):
    """Add up what the blocks have summed, in their order."""
    sums = at(frame[REGIONS] + 8 * index)[R_SUMS]
    total = array(block_sums(control), 0, np.float64)
    for b in range(1, at(control)[B_COUNT]):
        for s in range(sums):
            merge_total(total, s, total, b * sums + s)
    _write_sums(frame, index, total)


def work_tiles(frame_at, index, control, area, spins):
    """Run blocks of region ``index`` until none is left (see ``blocks``).

    ``area`` is memory for registers and buffers, 0 for those of the frame.
    """
    b = claim(control)
    if b < 0:
        return wait(control, spins)
    frame = at(frame_at)
    base, buffers = frame[SCRATCH], frame[BUFFERS]
    if area:
        base = (area + 63) & -64
        buffers = base + ((frame[SCRATCH_BYTES] + 63) & -64)
    _set_up(frame, index, at(base), buffers)
    while b >= 0:
        status = _run_block(frame, index, control, base, b)
        if settle(control, b, status):
            b = failure(control)
            if b < 0:
                _merge(frame, index, control)
            else:
                # once more, by itself: a user's kernel has noted which operands it failed on
                _run_block(frame, index, control, base, b)
            return complete(control)
        b = claim(control)
    return wait(control, spins)


@jit
def _number(address, dtype):
    """Element 0 as float64, for the truth and the integer value of what Python looked at."""
    if dtype == 10:
        return array(address, 1, np.float64)[0]
    if dtype == 9:
        return np.float64(array(address, 1, np.float32)[0])
    if dtype == 0 or dtype == 5:
        return np.float64(array(address, 1, np.uint8)[0])
    if dtype == 1:
        return np.float64(array(address, 1, np.int8)[0])
    if dtype == 2:
        return np.float64(array(address, 1, np.int16)[0])
    if dtype == 6:
        return np.float64(array(address, 1, np.uint16)[0])
    if dtype == 3:
        return np.float64(array(address, 1, np.int32)[0])
    if dtype == 7:
        return np.float64(array(address, 1, np.uint32)[0])
    # a complex number is zero if both parts are; only its truth is asked for
    if dtype == 12:
        a = array(address, 2, np.float64)
        return a[0] if a[0] != 0.0 else a[1]
    b = array(address, 2, np.float32)
    return np.float64(b[0] if b[0] != 0.0 else b[1])


@jit
def _holds(kind, address, dtype, expected, nbytes):
    """Whether a guard's value is the recorded one."""
    if kind == VALUE:
        a, b = array(address, nbytes, np.uint8), array(expected, nbytes, np.uint8)
        for i in range(nbytes):  # noqa: SIM110
            if a[i] != b[i]:
                return False
        return True
    if dtype == 4 or dtype == 8:  # 64-bit integers do not fit a float64
        whole = at(address)[0]
        return (whole != 0) == (expected != 0) if kind == TRUTH else whole == expected
    value = _number(address, dtype)
    if kind == TRUTH:
        return (value != 0.0) == (expected != 0)
    # int() truncates; outside the range of int64 nothing is equal to a recorded integer
    return np.fabs(value) < 9.2e18 and np.int64(value) == expected


@jit
def _raised(frame, failed, status):
    """What ends a replay in which a user's kernel raised: a guard that failed before comes first."""
    if failed < 1 << 40:
        return failed + 1
    frame[FAILED_ROW] = -1  # some row of the region
    return status if status < 0 else -status


def run_program(frame_at):
    """Replay.

    Returns 0 (or ``HOT``, once), ``1 + index`` of the first guard that failed, or a kernel's negative
    status.
    """
    frame = at(frame_at)
    code = array(frame[CODE], 0, np.int32)
    memory = frame[MEMORY]
    v, truth = array(memory, 0, np.float64), array(memory, 0, np.uint8)
    pointers, kernels, words = at(frame[POINTERS]), at(frame[KERNELS]), at(frame[WORDS])
    patches, external = at(frame[PATCHES]), at(frame[EXTERNAL])
    for k in range(frame[N_PATCHES]):
        pointers[patches[3 * k]] = external[patches[3 * k + 1]] + patches[3 * k + 2]
    failed = np.int64(1 << 40)
    pc = np.int64(0)
    while True:
        op = code[pc]
        if op == ADD:
            v[code[pc + 1]] = v[code[pc + 2]] + v[code[pc + 3]]
            pc += 4
        elif op == MULTIPLY:
            v[code[pc + 1]] = v[code[pc + 2]] * v[code[pc + 3]]
            pc += 4
        elif op == MULTIPLY_ADD:
            v[code[pc + 1]] = v[code[pc + 2]] * v[code[pc + 3]] + v[code[pc + 4]]
            pc += 5
        elif op == SUBTRACT:
            v[code[pc + 1]] = v[code[pc + 2]] - v[code[pc + 3]]
            pc += 4
        elif op == SUBTRACT_MULTIPLY:
            v[code[pc + 1]] = v[code[pc + 4]] - v[code[pc + 2]] * v[code[pc + 3]]
            pc += 5
        elif op == MULTIPLY_SUBTRACT:
            v[code[pc + 1]] = v[code[pc + 2]] * v[code[pc + 3]] - v[code[pc + 4]]
            pc += 5
        elif op == DIVIDE:
            v[code[pc + 1]] = v[code[pc + 2]] / v[code[pc + 3]]
            pc += 4
        elif op == NEGATIVE:
            v[code[pc + 1]] = -v[code[pc + 2]]
            pc += 3
        elif op == MOVE:
            v[code[pc + 1]] = v[code[pc + 2]]
            pc += 3
        elif op == SQUARE:
            v[code[pc + 1]] = v[code[pc + 2]] * v[code[pc + 2]]
            pc += 3
        elif op == SQRT:
            v[code[pc + 1]] = np.sqrt(v[code[pc + 2]])
            pc += 3
        elif op == RECIPROCAL:
            v[code[pc + 1]] = 1.0 / v[code[pc + 2]]
            pc += 3
        elif op == ABS:
            v[code[pc + 1]] = np.fabs(v[code[pc + 2]])
            pc += 3
        elif op == MAXIMUM:
            x = v[code[pc + 2]]
            y = v[code[pc + 3]]
            v[code[pc + 1]] = x if (x >= y) | (x != x) else y
            pc += 4
        elif op == MINIMUM:
            x = v[code[pc + 2]]
            y = v[code[pc + 3]]
            v[code[pc + 1]] = x if (x <= y) | (x != x) else y
            pc += 4
        elif op == WHERE:
            v[code[pc + 1]] = v[code[pc + 3]] if truth[8 * code[pc + 2]] else v[code[pc + 4]]
            pc += 5
        elif op == UNLESS_ZERO:
            v[code[pc + 1]] = 0.0 if v[code[pc + 2]] == 0.0 else v[code[pc + 3]]
            pc += 4
        elif op == MASKED_MULTIPLY:
            v[code[pc + 1]] = 0.0 if v[code[pc + 2]] == 0.0 else v[code[pc + 3]] * v[code[pc + 4]]
            pc += 5
        elif op == MASKED_DIVIDE:
            v[code[pc + 1]] = 0.0 if v[code[pc + 2]] == 0.0 else v[code[pc + 3]] / v[code[pc + 4]]
            pc += 5
        elif op == LESS:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] < v[code[pc + 3]]
            pc += 4
        elif op == LESS_EQUAL:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] <= v[code[pc + 3]]
            pc += 4
        elif op == GREATER:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] > v[code[pc + 3]]
            pc += 4
        elif op == GREATER_EQUAL:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] >= v[code[pc + 3]]
            pc += 4
        elif op == EQUAL:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] == v[code[pc + 3]]
            pc += 4
        elif op == NOT_EQUAL:
            truth[8 * code[pc + 1]] = v[code[pc + 2]] != v[code[pc + 3]]
            pc += 4
        elif op == AND:
            truth[8 * code[pc + 1]] = (truth[8 * code[pc + 2]] != 0) & (truth[8 * code[pc + 3]] != 0)
            pc += 4
        elif op == OR:
            truth[8 * code[pc + 1]] = (truth[8 * code[pc + 2]] != 0) | (truth[8 * code[pc + 3]] != 0)
            pc += 4
        elif op == NOT:
            truth[8 * code[pc + 1]] = truth[8 * code[pc + 2]] == 0
            pc += 3
        elif op == CALL:
            status = invoke(
                kernels[code[pc + 1]],
                (
                    np.int64(1), memory + 8 * np.int64(code[pc + 2]), memory + 8 * np.int64(code[pc + 3]),
                    memory + 8 * np.int64(code[pc + 4]), memory + 8 * np.int64(code[pc + 5]),
                ),
            )  # fmt: skip
            if status != 0:
                return _raised(frame, failed, status)
            pc += 6
        elif op == BATCH:
            arity, n = np.int64(code[pc + 2]), np.int64(code[pc + 3])
            bufs = frame[BUFFERS]
            step = arity + 1
            first = pc + 4
            for k in range(arity):
                part = array(bufs + (k + 1) * BATCH_BYTES, 0, np.float64)
                for i in range(n):
                    part[i] = v[code[first + step * i + 1 + k]]
            status = invoke(
                kernels[code[pc + 1]],
                (n, bufs, bufs + BATCH_BYTES, bufs + 2 * BATCH_BYTES, bufs + 3 * BATCH_BYTES),
            )
            if status != 0:
                return _raised(frame, failed, status)
            part = array(bufs, 0, np.float64)
            for i in range(n):
                v[code[first + step * i]] = part[i]
            pc = first + step * n
        elif op == REGION:
            status = invoke(frame[RUN_TILES], (frame_at, np.int64(code[pc + 1])))
            if status != 0:
                return _raised(frame, failed, status)
            pc += 2
        elif op == STRUCTURED:
            status = invoke(
                kernels[code[pc + 1]],
                (
                    pointers[code[pc + 2]], pointers[code[pc + 3]], pointers[code[pc + 4]],
                    pointers[code[pc + 5]], pointers[code[pc + 6]], words[code[pc + 7]],
                ),
            )  # fmt: skip
            if status != 0:
                if failed < 1 << 40:
                    return failed + 1
                frame[FAILED_ROW] = code[pc + 8]
                return status if status < 0 else -status
            pc += 9
        elif op == SPLIT:
            out, x, y, z = (
                pointers[code[pc + 2]], pointers[code[pc + 3]], pointers[code[pc + 4]], pointers[code[pc + 5]]
            )  # fmt: skip
            kernel, p, q = kernels[code[pc + 1]], pointers[code[pc + 6]], words[code[pc + 7]]
            status = call_split(
                frame[SHARED], np.int64(code[pc + 9]), kernel, out, x, y, z, p, q, np.int64(code[pc + 10]),
                np.int64(code[pc + 11]), np.int64(code[pc + 12]),
            )  # fmt: skip
            if status == -1:
                status = invoke(kernel, (out, x, y, z, p, q))
            if status != 0:
                if failed < 1 << 40:
                    return failed + 1
                frame[FAILED_ROW] = code[pc + 8]
                return status if status < 0 else -status
            pc += 13
        elif op == TEST:
            if truth[8 * code[pc + 1]] != code[pc + 2]:
                failed = min(failed, np.int64(code[pc + 3]))
            if failed < code[pc + 4]:
                return failed + 1
            pc += 5
        elif op == GUARD:
            ok = _holds(
                code[pc + 1], pointers[code[pc + 2]], code[pc + 3], words[code[pc + 4]], words[code[pc + 5]]
            )
            if not ok:
                failed = min(failed, np.int64(code[pc + 6]))
            if failed < code[pc + 7]:
                return failed + 1
            pc += 8
        elif op == NATIVE:
            failed = invoke(words[code[pc + 1]], (memory, memory, frame[EXTERNAL], failed))
            if failed < code[pc + 2]:
                return failed + 1
            pc += 3
        elif op == COPY:
            copy_bytes(pointers[code[pc + 1]], pointers[code[pc + 2]], words[code[pc + 3]])
            pc += 4
        elif op == ZERO:
            fill_bytes(pointers[code[pc + 1]], 0, words[code[pc + 2]])
            pc += 3
        else:
            frame[LEFT] -= 1
            return HOT if frame[LEFT] == 0 else 0


# Tables of a native call (``run_native``): how many entries, then (number, place, bytes) per argument or
# result; the place is an offset in the memory, or -1 - external for what is read and written where it lies.
T_NUMBER, T_PLACE, T_BYTES = range(3)

# A handle: programs, instances per program, which program ran last, the address of ``run_program``, whether
# one has become hot; frames.  A frame may be replaced by that of a faster program at any time.
H_PROGRAMS, H_INSTANCES, H_LAST, H_RUN, H_HOT = range(5)
HANDLE = 5


def run_native(handle_at, arguments_at, results_at):
    """Replay from machine code: the first program whose guards hold; arguments and results by address.

    Returns 0, the last program's failed guard plus one, or a kernel's negative status.  Any number of threads
    may call it: each takes an instance that no other is using.
    """
    handle = at(handle_at)
    arguments, results = at(arguments_at), at(results_at)
    programs, instances = handle[H_PROGRAMS], handle[H_INSTANCES]
    status = np.int64(0)
    first = handle[H_LAST]
    for turn in range(programs):
        p = first + turn
        if p >= programs:
            p -= programs
        k = np.int64(0)
        frame_at = handle[HANDLE + p * instances]
        while not take(frame_at + 8 * BUSY):
            k = k + 1 if k + 1 < instances else np.int64(0)
            frame_at = handle[HANDLE + p * instances + k]
        frame = at(frame_at)
        memory, external = frame[MEMORY], at(frame[EXTERNAL])
        table = at(frame[ARGUMENTS])
        for e in range(table[0]):
            q = 1 + 3 * e
            number, place = table[q + T_NUMBER], table[q + T_PLACE]
            # captures have their address, negated, in place of a number
            source = arguments[number] if number >= 0 else -number
            if place < 0:
                external[-1 - place] = source
            else:
                copy_bytes(memory + place, source, table[q + T_BYTES])
        table = at(frame[RESULTS])
        for e in range(table[0]):
            q = 1 + 3 * e
            if table[q + T_PLACE] < 0:
                external[-1 - table[q + T_PLACE]] = results[table[q + T_NUMBER]]
        status = invoke(handle[H_RUN], (frame_at,))
        if status == HOT:
            handle[H_HOT] = 1
            status = np.int64(0)
        if status == 0:
            for e in range(table[0]):
                q = 1 + 3 * e
                if table[q + T_PLACE] >= 0:
                    copy_bytes(results[table[q + T_NUMBER]], memory + table[q + T_PLACE], table[q + T_BYTES])
            handle[H_LAST] = p
        give_back(frame_at + 8 * BUSY)
        if status <= 0:
            return status
    return status


@jit
def execute(target, frame):
    """Call ``run_program`` from Python."""
    return invoke(target, (frame,))
