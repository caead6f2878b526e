"""Running one region tile by tile, forward and in reverse.

A region's values live in *registers*: a base address and how far to move it per tile.  A register
either walks along an array in memory or stays on a tile-sized buffer.  Setting up a region turns its
members into two short programs (kernel address and registers per step); then each tile runs the
forward program and, while its values are still in cache, the reverse program.
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import array, at, copy_bytes, fill_bytes, invoke, jit
from tapegrad.engine.blocks import (
    block_count,
    block_sums,
    claim,
    complete,
    failure,
    run_blocks,
    settle,
    wait,
)
from tapegrad.engine.edges import (
    add,
    add_to_total,
    fill_constant,
    load_broadcast,
    merge_total,
    reduce_into,
    splat,
    sum_of,
)
from tapegrad.engine.layout import (
    ACTIVE,
    ADDR,
    ADJ,
    AREG,
    ARITY,
    B_COUNT,
    DTYPE,
    F_BUFFER,
    F_INFO,
    F_KERNELS,
    F_SCRATCH,
    F_SHARED,
    F_SPECS,
    GRAD,
    H_LEAST_LENGTH,
    ITEMSIZE,
    OP,
    OP_MASK,
    REVERSE,
    S_BACKWARD,
    S_FORWARD,
    S_LOADS,
    S_STORES,
    S_SUMS,
    S_ZEROS,
    SCRATCH,
    SINK,
    SIZE,
    SPEC,
    STORE,
    TOUCHED,
    TYPED_BY,
    USES,
    USES_OUT,
    USES_X,
    VREG,
    WANT,
    WORK_REGION,
    X,
)  # fmt: skip
from tapegrad.spec import DTYPES, FLOAT64, dtype_index

__all__ = ["kernel_dtype", "run_region", "work_region"]


TILE = 1024  # elements at most
CACHE = 192 << 10  # bytes that the registers of a tile may take together
N_DTYPES, WHICH = len(DTYPES), 5  # shape of the kernel table
LAST_REAL = dtype_index[FLOAT64]  # dtypes above are complex


@jit
def kernel_dtype(code, specs, info, i, op):
    """The dtype a kernel computes in: its first typed operand that is not a constant."""
    for k in range(info[8 * op + TYPED_BY], info[8 * op + ARITY]):
        o = code[8 * i + X + k]
        if o >= 0:
            return specs[32 * (code[8 * o + SPEC]) + DTYPE]
    return specs[32 * (code[8 * i + SPEC]) + DTYPE]


# Columns of the register file and of the programs.
BASE, STEP = 0, 1
FN, R_OUT, R_X, R_Y, R_Z, R_G, R_GX = 0, 1, 2, 3, 4, 5, 6
DTYPE_OF, INSTRUCTION = 5, 6  # of a sink, in the forward program

# Counters of a region that is being set up.
N_REGS, NEXT_BUFFER, N_LOADS, N_STORES, N_ZEROS, N_FORWARD, N_BACKWARD, N_SUMS = range(8)
LENGTH, TILE_SIZE, TILE_BYTES = 8, 9, 10
# What helpers need to know: addresses, the shape, tiles per block, words of a block's sums.
C_CODE, C_SLOTS, C_SPECS, C_SPEC, C_BUFFER, C_TILES, C_WORDS = range(11, 18)


@jit
def _new_register(regs, c, base, step):
    r = c[N_REGS]
    c[N_REGS] += 1
    regs[2 * r + BASE] = base
    regs[2 * r + STEP] = step
    return r


@jit
def _new_buffer(regs, c):
    r = _new_register(regs, c, c[NEXT_BUFFER], 0)
    c[NEXT_BUFFER] += c[TILE_BYTES]
    return r


@jit
def _append(items, c, counter, first, second):
    k = c[counter]
    c[counter] += 1
    items[2 * k] = first
    items[2 * k + 1] = second


@jit
def _operand(code, slots, specs, consts, base, c, o, dtype):
    """The register of operand ``o``; sets up what comes from outside the region."""
    scratch = at(base)
    if o < 0:
        r = _new_buffer(at(base), c)
        fill_constant(scratch[2 * r + BASE], min(c[TILE_SIZE], c[LENGTH]), dtype, consts[-o - 1])
        return r
    if slots[16 * o + VREG] >= 0:
        return slots[16 * o + VREG]
    spec = code[8 * o + SPEC]
    itemsize = specs[32 * spec + ITEMSIZE]
    if specs[32 * spec + SIZE] == c[LENGTH]:
        r = _new_register(at(base), c, code[8 * o + ADDR], itemsize * c[TILE_SIZE])
    else:
        r = _new_buffer(at(base), c)
        if specs[32 * spec + SIZE] == 1:
            splat(scratch[2 * r + BASE], code[8 * o + ADDR], min(c[TILE_SIZE], c[LENGTH]), itemsize)
        else:
            _append(at(base + 8 * S_LOADS), c, N_LOADS, r, o)
    slots[16 * o + VREG] = r
    return r


@jit
def _set_up_forward(code, slots, specs, info, kernels, consts, members, start, stop, phase, base, c):
    """Turn the members wanted in ``phase`` into the forward program."""
    program = at(base + 8 * S_FORWARD)
    sums = array(base + 8 * S_SUMS, 0, np.float64)
    for m in range(start, stop):
        i = members[m]
        if not slots[16 * i + WANT] & phase or code[8 * i + ADDR]:
            continue
        op = code[8 * i + OP] & OP_MASK
        dtype = kernel_dtype(code, specs, info, i, op)
        step = 8 * c[N_FORWARD]
        c[N_FORWARD] += 1
        for k in range(3):
            program[step + R_X + k] = 0
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o >= 0 and slots[16 * o + VREG] < 0 and not code[8 * o + ADDR]:
                return -1
            program[step + R_X + k] = _operand(code, slots, specs, consts, base, c, o, dtype)
        if info[8 * op + SINK]:
            s = c[N_SUMS]
            c[N_SUMS] += 1
            sums[2 * s] = 0.0
            sums[2 * s + 1] = 0.0
            program[step + FN] = 0
            program[step + R_OUT] = s
            program[step + DTYPE_OF] = dtype
            program[step + INSTRUCTION] = i
            continue
        if slots[16 * i + STORE]:
            itemsize = specs[32 * code[8 * i + SPEC] + ITEMSIZE]
            r = _new_register(at(base), c, slots[16 * i + STORE], itemsize * c[TILE_SIZE])
        else:
            r = _new_buffer(at(base), c)
        slots[16 * i + VREG] = r
        program[step + FN] = kernels[(op * N_DTYPES + dtype) * WHICH]
        program[step + R_OUT] = r
    return 0


@jit
def _cotangent(code, slots, specs, base, c, i):
    """The register that accumulates slot ``i``'s cotangent within the region."""
    if slots[16 * i + AREG] >= 0:
        return slots[16 * i + AREG]
    spec = code[8 * i + SPEC]
    size, itemsize = specs[32 * spec + SIZE], specs[32 * spec + ITEMSIZE]
    zeros = at(base + 8 * S_ZEROS)
    memory = slots[16 * i + ADJ]
    if memory and size == c[LENGTH]:
        r = _new_register(at(base), c, memory, itemsize * c[TILE_SIZE])
        if not slots[16 * i + TOUCHED]:
            _append(zeros, c, N_ZEROS, r, itemsize)
            slots[16 * i + TOUCHED] = 1
    else:
        r = _new_buffer(at(base), c)
        _append(zeros, c, N_ZEROS, r, itemsize)
        if memory:
            _append(at(base + 8 * S_STORES), c, N_STORES, r, i)
            if not slots[16 * i + TOUCHED]:
                fill_bytes(memory, 0, size * itemsize)
                slots[16 * i + TOUCHED] = 1
    slots[16 * i + AREG] = r
    return r


@jit
def _set_up_reverse(code, slots, specs, info, kernels, consts, members, start, stop, base, c):
    """Turn the members that run in reverse into the reverse program."""
    scratch = at(base)
    program = at(base + 8 * S_BACKWARD)
    for m in range(stop - 1, start - 1, -1):
        i = members[m]
        if not slots[16 * i + REVERSE]:
            continue
        op = code[8 * i + OP] & OP_MASK
        sink = info[8 * op + SINK] != 0
        dtype = kernel_dtype(code, specs, info, i, op)
        if sink:
            if not slots[16 * i + TOUCHED]:
                continue
            g = _new_buffer(at(base), c)
            itemsize = specs[32 * code[8 * i + SPEC] + ITEMSIZE]
            splat(scratch[2 * g + BASE], slots[16 * i + ADJ], min(c[TILE_SIZE], c[LENGTH]), itemsize)
        else:
            g = _cotangent(code, slots, specs, base, c, i)
        for k in range(info[8 * op + ARITY]):
            o = code[8 * i + X + k]
            if o < 0 or not slots[16 * o + ACTIVE] or not code[8 * o + OP] & GRAD:
                continue
            reads = 0 if sink else info[8 * op + USES + k]
            if reads < 0:
                continue
            step = 8 * c[N_BACKWARD]
            c[N_BACKWARD] += 1
            for j in range(R_OUT, R_Z + 1):
                program[step + j] = 0
            program[step + R_G] = g
            program[step + R_GX] = _cotangent(code, slots, specs, base, c, o)
            if sink:
                program[step + FN] = 0
                program[step + R_OUT] = dtype
                continue
            program[step + FN] = kernels[(op * N_DTYPES + dtype) * WHICH + 1 + k]
            if reads & USES_OUT:
                if slots[16 * i + VREG] < 0:
                    if not code[8 * i + ADDR]:
                        return -2
                    itemsize = specs[32 * code[8 * i + SPEC] + ITEMSIZE]
                    slots[16 * i + VREG] = _new_register(
                        at(base), c, code[8 * i + ADDR], itemsize * c[TILE_SIZE]
                    )
                program[step + R_OUT] = slots[16 * i + VREG]
            for j in range(info[8 * op + ARITY]):
                if reads & (USES_X << j):
                    p = code[8 * i + X + j]
                    if p >= 0 and slots[16 * p + VREG] < 0 and not code[8 * p + ADDR]:
                        return -3
                    program[step + R_X + j] = _operand(code, slots, specs, consts, base, c, p, dtype)
    return 0


@jit
def _run_tiles(code, slots, specs, region_spec, base, c, registers, totals, partial, t, stop):
    """Run both programs for tiles ``t`` to ``stop``; returns a user's kernel's status, 0 for success.

    ``registers`` and ``totals`` are addresses.  Un-broadcast cotangents are added at ``partial``, one after
    the other (see `_partial_words`); 0 stands for the place where they belong.
    """
    scratch = at(registers)
    loads = at(base + 8 * S_LOADS)
    stores = at(base + 8 * S_STORES)
    zeros = at(base + 8 * S_ZEROS)
    forward = at(base + 8 * S_FORWARD)
    backward = at(base + 8 * S_BACKWARD)
    sums = array(totals, 0, np.float64)
    length, tile = c[LENGTH], c[TILE_SIZE]
    while t < stop:
        start = t * tile
        n = min(tile, length - start)
        for q in range(c[N_LOADS]):
            o = loads[2 * q + 1]
            spec = code[8 * o + SPEC]
            load_broadcast(
                scratch[2 * loads[2 * q]], code[8 * o + ADDR], specs[32 * spec + ITEMSIZE], specs, spec,
                region_spec, start, n,
            )  # fmt: skip
        for p in range(c[N_FORWARD]):
            step = 8 * p
            r = 2 * forward[step + R_X]
            x = scratch[r] + t * scratch[r + 1]
            fn = forward[step + FN]
            if fn == 0:
                add_to_total(sums, forward[step + R_OUT], sum_of(x, n, forward[step + DTYPE_OF]))
                continue
            r = 2 * forward[step + R_OUT]
            out = scratch[r] + t * scratch[r + 1]
            r = 2 * forward[step + R_Y]
            y = scratch[r] + t * scratch[r + 1]
            r = 2 * forward[step + R_Z]
            z = scratch[r] + t * scratch[r + 1]
            status = invoke(fn, (n, out, x, y, z))
            if status:
                return status
        for q in range(c[N_ZEROS]):
            r = 2 * zeros[2 * q]
            fill_bytes(scratch[r] + t * scratch[r + 1], 0, n * zeros[2 * q + 1])
        for p in range(c[N_BACKWARD]):
            step = 8 * p
            r = 2 * backward[step + R_GX]
            gx = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_G]
            g = scratch[r] + t * scratch[r + 1]
            fn = backward[step + FN]
            if fn == 0:
                add(gx, g, n, backward[step + R_OUT])
                continue
            r = 2 * backward[step + R_OUT]
            out = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_X]
            x = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_Y]
            y = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_Z]
            z = scratch[r] + t * scratch[r + 1]
            status = invoke(fn, (n, gx, g, out, x, y, z))
            if status:
                return status
        into = partial
        for q in range(c[N_STORES]):
            o = stores[2 * q + 1]
            g = scratch[2 * stores[2 * q]]
            spec = code[8 * o + SPEC]
            dtype = specs[32 * spec + DTYPE]
            if not partial:
                reduce_into(slots[16 * o + ADJ], g, dtype, specs, spec, region_spec, start, n)
            elif specs[32 * spec + SIZE] == 1:
                add_to_total(array(into, 2, np.float64), 0, sum_of(g, n, dtype))
            else:
                reduce_into(into, g, dtype, specs, spec, region_spec, start, n)
            into += 8 * _partial_words(specs, spec)
        t += 1
    return 0


@jit
def _write_totals(code, slots, specs, base, c, totals):
    """Write the sums that ended in ``totals`` where they belong."""
    forward = at(base + 8 * S_FORWARD)
    sums = array(totals, 0, np.float64)
    for p in range(c[N_FORWARD]):
        if forward[8 * p + FN] == 0:
            i = forward[8 * p + INSTRUCTION]
            s = 2 * forward[8 * p + R_OUT]
            dtype = specs[32 * code[8 * i + SPEC] + DTYPE]
            fill_constant(slots[16 * i + STORE], 1, dtype, sums[s] + sums[s + 1])


# --- blocks: what threads share -------------------------------------------------------------------


@jit
def _partial_words(specs, spec):
    """Words that one block's share of a cotangent takes: a total and its error, or an array."""
    size = specs[32 * spec + SIZE]
    return 2 if size == 1 else (size * specs[32 * spec + ITEMSIZE] + 7) >> 3


@jit
def _prepare(base, c, area):
    """Copy the registers and the constants in buffers to ``area``; returns the address of the registers."""
    if not area:
        return base
    source, target = at(base), at(area)
    moved = ((area + 16 * c[N_REGS] + 63) & -64) - c[C_BUFFER]
    for r in range(c[N_REGS]):
        where = source[2 * r + BASE]
        if where and not source[2 * r + STEP]:
            where += moved
        target[2 * r + BASE] = where
        target[2 * r + STEP] = source[2 * r + STEP]
    copy_bytes(c[C_BUFFER] + moved, c[C_BUFFER], c[NEXT_BUFFER] - c[C_BUFFER])
    return area


@jit
def _run_block(base, c, control, registers, b):
    """Run block ``b``; returns a user's kernel's status."""
    tiles = (c[LENGTH] + c[TILE_SIZE] - 1) // c[TILE_SIZE]
    totals = block_sums(control) + 8 * b * c[C_WORDS]
    fill_bytes(totals, 0, 8 * c[C_WORDS])
    return _run_tiles(
        at(c[C_CODE]), at(c[C_SLOTS]), at(c[C_SPECS]), c[C_SPEC], base, c, registers, totals,
        totals + 16 * c[N_SUMS], b * c[C_TILES], min((b + 1) * c[C_TILES], tiles),
    )  # fmt: skip


@jit
def _merge(base, c, control):
    """Add up what the blocks have summed, in their order."""
    code, slots, specs = at(c[C_CODE]), at(c[C_SLOTS]), at(c[C_SPECS])
    blocks, step = at(control)[B_COUNT], 8 * c[C_WORDS]
    first = block_sums(control)
    stores = at(base + 8 * S_STORES)
    for b in range(1, blocks):
        for s in range(c[N_SUMS]):
            merge_total(array(first, 0, np.float64), s, array(first + b * step, 0, np.float64), s)
    _write_totals(code, slots, specs, base, c, first)
    into = first + 16 * c[N_SUMS]
    for q in range(c[N_STORES]):
        o = stores[2 * q + 1]
        spec = code[8 * o + SPEC]
        size, dtype = specs[32 * spec + SIZE], specs[32 * spec + DTYPE]
        for b in range(1, blocks):
            if size == 1:
                merge_total(array(into, 2, np.float64), 0, array(into + b * step, 2, np.float64), 0)
            else:
                add(into, into + b * step, size, dtype)
        if size == 1:
            total = array(into, 2, np.float64)
            fill_constant(into, 1, dtype, total[0] + total[1])
        add(slots[16 * o + ADJ], into, size, dtype)
        into += 8 * _partial_words(specs, spec)


def work_region(base, unused, control, area, spins):
    """Run blocks of a region until none is left (see ``blocks``).

    ``area`` is memory for registers and buffers, 0 for those at ``base``.
    """
    b = claim(control)
    if b < 0:
        return wait(control, spins)
    c = at(base + 8 * SCRATCH)
    registers = _prepare(base, c, area)
    while b >= 0:
        status = _run_block(base, c, control, registers, b)
        if settle(control, b, status):
            b = failure(control)
            if b < 0:
                _merge(base, c, control)
            else:
                # once more, by itself: a user's kernel has noted which operands it failed on
                _run_block(base, c, control, registers, b)
            return complete(control)
        b = claim(control)
    return wait(control, spins)


@jit
def _run_blocks(frame, code_at, slots_at, region_spec, base, c):
    """Run a large region in blocks; -1 if it is not large enough."""
    specs = at(frame[F_SPECS])
    code = at(code_at)
    stores = at(base + 8 * S_STORES)
    words = 2 * c[N_SUMS]
    for q in range(c[N_STORES]):
        words += _partial_words(specs, code[8 * stores[2 * q + 1] + SPEC])
    tiles = (c[LENGTH] + c[TILE_SIZE] - 1) // c[TILE_SIZE]
    steps = c[N_FORWARD] + c[N_BACKWARD] + c[N_LOADS]
    per_block = block_count(frame[F_SHARED], c[LENGTH], tiles, steps, words)
    if not per_block:
        return np.int64(-1)
    c[C_CODE], c[C_SLOTS], c[C_SPECS], c[C_SPEC] = code_at, slots_at, frame[F_SPECS], region_spec
    c[C_BUFFER], c[C_TILES], c[C_WORDS] = frame[F_BUFFER], per_block, words
    blocks = (tiles + per_block - 1) // per_block
    nbytes = 16 * c[N_REGS] + 64 + c[NEXT_BUFFER] - frame[F_BUFFER]
    return run_blocks(frame[F_SHARED], np.int64(WORK_REGION), base, np.int64(0), blocks, words, nbytes)


@jit
def _complex_bytes(code, specs, info, members, start, stop):
    """Bytes of the largest complex number that the region reads or makes, 0 if there is none."""
    found = 0
    for m in range(start, stop):
        i = members[m]
        spec = 32 * code[8 * i + SPEC]
        if specs[spec + DTYPE] > LAST_REAL:
            found = max(found, specs[spec + ITEMSIZE])
        for k in range(info[8 * (code[8 * i + OP] & OP_MASK) + ARITY]):
            o = code[8 * i + X + k]
            if o >= 0:
                spec = 32 * code[8 * o + SPEC]
                if specs[spec + DTYPE] > LAST_REAL:
                    found = max(found, specs[spec + ITEMSIZE])
    return found


def run_region(frame_at, code_at, slots_at, consts_at, members_at, start, stop, region_spec, phase, reverse):
    """Run a region's members that are wanted in ``phase``; with ``reverse`` also its reverse.

    Compiled as a kernel of its own and called by address: inlined into both loops it would double
    the time they take to compile.

    Parameters
    ----------
    frame_at : address
        The run's frame (see ``layout``).
    code_at, slots_at, consts_at, members_at : addresses
        The tape's or a template's instructions, scratch and constants; ``members[start:stop]`` are the
        region's instructions.
    region_spec : int
        A spec of the region's shape.

    Returns
    -------
    int
        0, a user's kernel's status, or a negative number if a value that should be in memory is not (a
        planning error).
    """
    frame, code, slots, members = at(frame_at), at(code_at), at(slots_at), at(members_at)
    consts = array(consts_at, 0, np.float64)
    specs, info, kernels = at(frame[F_SPECS]), at(frame[F_INFO]), at(frame[F_KERNELS])
    base = frame[F_SCRATCH]
    c = at(base + 8 * SCRATCH)
    for k in range(N_SUMS + 1):
        c[k] = 0
    length = specs[32 * region_spec + SIZE]
    tile = min(TILE, CACHE // (32 * (stop - start) + 32) & -16)
    tile = min(max(tile, 32), max(length, 1))
    c[LENGTH], c[TILE_SIZE] = length, tile
    pair = _complex_bytes(code, specs, info, members, start, stop)
    if pair > 8:
        tile = max(tile >> 1 & -16, min(tile, 32))
        c[TILE_SIZE] = tile
    c[TILE_BYTES] = (tile * max(pair, 8) + 63) & -64
    c[NEXT_BUFFER] = frame[F_BUFFER]
    _new_register(at(base), c, 0, 0)  # register 0: operands that a kernel does not have
    status = _set_up_forward(code, slots, specs, info, kernels, consts, members, start, stop, phase, base, c)
    if reverse and status == 0:
        status = _set_up_reverse(code, slots, specs, info, kernels, consts, members, start, stop, base, c)
    if status == 0:
        status = np.int64(-1)
        if length >= at(frame[F_SHARED])[H_LEAST_LENGTH] and not pair:
            status = _run_blocks(frame, code_at, slots_at, region_spec, base, c)
        if status == -1:
            totals = base + 8 * S_SUMS
            tiles = (length + tile - 1) // tile
            status = _run_tiles(code, slots, specs, region_spec, base, c, base, totals, 0, 0, tiles)
            if status == 0:
                _write_totals(code, slots, specs, base, c, totals)
    # Leave the registers clean, and note what is in memory now.
    for m in range(start, stop):
        i = members[m]
        slots[16 * i + VREG] = slots[16 * i + AREG] = -1
        if slots[16 * i + WANT] & phase and slots[16 * i + STORE]:
            code[8 * i + ADDR] = slots[16 * i + STORE]
        for k in range(info[8 * (code[8 * i + OP] & OP_MASK) + ARITY]):
            o = code[8 * i + X + k]
            if o >= 0:
                slots[16 * o + VREG] = slots[16 * o + AREG] = -1
    return status
