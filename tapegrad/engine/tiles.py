"""Running one region tile by tile, forward and in reverse.

A region's values live in *registers*: a base address and how far to move it per tile.  A register
either walks along an array in memory or stays on a tile-sized buffer.  Setting up a region turns its
members into two short programs (kernel address and registers per step); then each tile runs the
forward program and, while its values are still in cache, the reverse program.
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import array, at, copy_bytes, fill_bytes, invoke, jit
from tapegrad.engine.layout import (
    ACTIVE,
    ADDR,
    ADJ,
    AREG,
    ARITY,
    DTYPE,
    F_BUFFER,
    F_INFO,
    F_KERNELS,
    F_SCRATCH,
    F_SPECS,
    GRAD,
    ITEMSIZE,
    NDIM,
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
    SHAPE,
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
    X,
)  # fmt: skip
from tapegrad.spec import DTYPES, MAX_DIMS

__all__ = ["accumulate", "kernel_dtype", "reduce_into", "run_region"]

TILE = 1024  # elements at most
CACHE = 192 << 10  # bytes that the registers of a tile may take together
N_DTYPES, WHICH = len(DTYPES), 5  # shape of the kernel table


@jit
def kernel_dtype(code, specs, info, i, op):
    """The dtype a kernel computes in: its first typed operand that is not a constant."""
    for k in range(info[8 * op + TYPED_BY], info[8 * op + ARITY]):
        o = code[8 * i + X + k]
        if o >= 0:
            return specs[32 * (code[8 * o + SPEC]) + DTYPE]
    return specs[32 * (code[8 * i + SPEC]) + DTYPE]


@jit
def fill_constant(address, n, dtype, value):
    """Write ``n`` copies of a float64 constant as elements of ``dtype`` (an index of DTYPES)."""
    if dtype == 10:
        a = array(address, n, np.float64)
        for i in range(n):
            a[i] = value
    elif dtype == 9:
        b = array(address, n, np.float32)
        for i in range(n):
            b[i] = np.float32(value)
    elif dtype == 0:
        fill_bytes(address, np.int64(value != 0), n)
    elif dtype == 1 or dtype == 5:
        fill_bytes(address, np.int64(value) & 255, n)
    elif dtype == 2 or dtype == 6:
        c = array(address, n, np.int16)
        for i in range(n):
            c[i] = np.int16(np.int64(value))
    elif dtype == 3 or dtype == 7:
        d = array(address, n, np.int32)
        for i in range(n):
            d[i] = np.int32(np.int64(value))
    else:
        e = array(address, n, np.int64)
        for i in range(n):
            e[i] = np.int64(value)


@jit
def splat(target, source, n, itemsize):
    """Write ``n`` copies of the element at ``source``."""
    if itemsize == 8:
        a, b = array(target, n, np.int64), array(source, 1, np.int64)
        for i in range(n):
            a[i] = b[0]
    elif itemsize == 4:
        c, d = array(target, n, np.int32), array(source, 1, np.int32)
        for i in range(n):
            c[i] = d[0]
    elif itemsize == 2:
        e, f = array(target, n, np.int16), array(source, 1, np.int16)
        for i in range(n):
            e[i] = f[0]
    else:
        fill_bytes(target, np.int64(array(source, 1, np.uint8)[0]), n)


@jit
def _broadcast_strides(specs, small, large, strides):
    """Strides, in elements, of an array of shape ``small`` seen with shape ``large``."""
    nd, ns = specs[32 * large + NDIM], specs[32 * small + NDIM]
    step = 1
    for k in range(1, nd + 1):
        strides[nd - k] = 0
        if k <= ns:
            length = specs[32 * small + SHAPE + ns - k]
            if length != 1:
                strides[nd - k] = step
            step *= length


@jit
def load_broadcast(target, source, itemsize, specs, small, large, start, n):
    """Write elements ``start`` to ``start + n`` of ``source`` broadcast to shape ``large``."""
    strides = np.empty(MAX_DIMS, np.int64)
    index = np.empty(MAX_DIMS, np.int64)
    _broadcast_strides(specs, small, large, strides)
    nd = specs[32 * large + NDIM]
    rest = start
    offset = 0
    for k in range(nd - 1, -1, -1):
        length = specs[32 * large + SHAPE + k]
        index[k] = rest % length
        rest //= length
        offset += index[k] * strides[k]
    last = specs[32 * large + SHAPE + nd - 1]
    done = 0
    while done < n:
        run = min(last - index[nd - 1], n - done)
        if strides[nd - 1] == 0:
            splat(target + done * itemsize, source + offset * itemsize, run, itemsize)
        else:
            copy_bytes(target + done * itemsize, source + offset * itemsize, run * itemsize)
        done += run
        offset += run * strides[nd - 1]
        index[nd - 1] += run
        k = nd - 1
        while k > 0 and index[k] == specs[32 * large + SHAPE + k]:
            offset += strides[k - 1] - index[k] * strides[k]
            index[k] = 0
            k -= 1
            index[k] += 1


@jit
def _add(target, source, n, dtype):
    if dtype == 10:
        a, b = array(target, n, np.float64), array(source, n, np.float64)
        for i in range(n):
            a[i] += b[i]
    else:
        c, d = array(target, n, np.float32), array(source, n, np.float32)
        for i in range(n):
            c[i] += d[i]


@jit
def _sum64(a, start, n):
    """Sum of up to a tile: eight running sums, as NumPy's pairwise summation does in its blocks."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    m = n & -8
    i = start
    while i < start + m:
        s0 += a[i]
        s1 += a[i + 1]
        s2 += a[i + 2]
        s3 += a[i + 3]
        s4 += a[i + 4]
        s5 += a[i + 5]
        s6 += a[i + 6]
        s7 += a[i + 7]
        i += 8
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    while i < start + n:
        total += a[i]
        i += 1
    return total


@jit
def _sum(address, n, dtype):
    """Sum ``n`` floating elements, blockwise."""
    total = 0.0
    start = 0
    while start < n:
        block = min(128, n - start)
        if dtype == 10:
            total += _sum64(array(address, n, np.float64), start, block)
        else:
            total += _sum64(array(address, n, np.float32), start, block)
        start += block
    return total


@jit
def _add_one(target, value, dtype):
    if dtype == 10:
        array(target, 1, np.float64)[0] += value
    else:
        a = array(target, 1, np.float32)
        a[0] = np.float32(a[0] + value)


@jit
def reduce_into(target, source, dtype, specs, small, large, start, n):
    """Add elements ``start`` to ``start + n`` of a cotangent of shape ``large`` to one of ``small``.

    This is un-broadcasting, in the one place where it is done.
    """
    itemsize = 8 if dtype == 10 else 4
    if specs[32 * small + SIZE] == 1:
        _add_one(target, _sum(source, n, dtype), dtype)
        return
    strides = np.empty(MAX_DIMS, np.int64)
    index = np.empty(MAX_DIMS, np.int64)
    _broadcast_strides(specs, small, large, strides)
    nd = specs[32 * large + NDIM]
    rest = start
    offset = 0
    for k in range(nd - 1, -1, -1):
        length = specs[32 * large + SHAPE + k]
        index[k] = rest % length
        rest //= length
        offset += index[k] * strides[k]
    last = specs[32 * large + SHAPE + nd - 1]
    done = 0
    while done < n:
        run = min(last - index[nd - 1], n - done)
        if strides[nd - 1] == 0:
            _add_one(target + offset * itemsize, _sum(source + done * itemsize, run, dtype), dtype)
        else:
            _add(target + offset * itemsize, source + done * itemsize, run, dtype)
        done += run
        offset += run * strides[nd - 1]
        index[nd - 1] += run
        k = nd - 1
        while k > 0 and index[k] == specs[32 * large + SHAPE + k]:
            offset += strides[k - 1] - index[k] * strides[k]
            index[k] = 0
            k -= 1
            index[k] += 1


@jit
def accumulate(target, source, specs, small, large, dtype, touched):
    """``target += source`` (un-broadcast), or ``=`` if the target has not been written yet."""
    nbytes = specs[32 * small + SIZE] * specs[32 * small + ITEMSIZE]
    if specs[32 * small + SIZE] == specs[32 * large + SIZE]:
        if touched:
            _add(target, source, specs[32 * small + SIZE], dtype)
        else:
            copy_bytes(target, source, nbytes)
        return
    if not touched:
        fill_bytes(target, 0, nbytes)
    total = specs[32 * large + SIZE]
    start = 0
    while start < total:
        n = min(TILE, total - start)
        first = source + start * specs[32 * large + ITEMSIZE]
        reduce_into(target, first, dtype, specs, small, large, start, n)
        start += n


# Columns of the register file and of the programs.
BASE, STEP = 0, 1
FN, R_OUT, R_X, R_Y, R_Z, R_G, R_GX = 0, 1, 2, 3, 4, 5, 6
DTYPE_OF, INSTRUCTION = 5, 6  # of a sink, in the forward program

# Counters of a region that is being set up.
N_REGS, NEXT_BUFFER, N_LOADS, N_STORES, N_ZEROS, N_FORWARD, N_BACKWARD, N_SUMS = range(8)
LENGTH, TILE_SIZE, TILE_BYTES = 8, 9, 10


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
def _run_tiles(code, slots, specs, region_spec, base, c):
    """Run both programs, tile by tile."""
    scratch = at(base)
    loads = at(base + 8 * S_LOADS)
    stores = at(base + 8 * S_STORES)
    zeros = at(base + 8 * S_ZEROS)
    forward = at(base + 8 * S_FORWARD)
    backward = at(base + 8 * S_BACKWARD)
    sums = array(base + 8 * S_SUMS, 0, np.float64)
    length, tile = c[LENGTH], c[TILE_SIZE]
    t = 0
    start = 0
    while start < length:
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
                # Two-sum over tiles keeps the total as accurate as a pairwise sum.
                s = 2 * forward[step + R_OUT]
                value = _sum(x, n, forward[step + DTYPE_OF])
                old = sums[s]
                new = old + value
                carry = new - old
                if np.isfinite(new):
                    sums[s + 1] += (old - (new - carry)) + (value - carry)
                sums[s] = new
                continue
            r = 2 * forward[step + R_OUT]
            out = scratch[r] + t * scratch[r + 1]
            r = 2 * forward[step + R_Y]
            y = scratch[r] + t * scratch[r + 1]
            r = 2 * forward[step + R_Z]
            z = scratch[r] + t * scratch[r + 1]
            invoke(fn, (n, out, x, y, z))
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
                _add(gx, g, n, backward[step + R_OUT])
                continue
            r = 2 * backward[step + R_OUT]
            out = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_X]
            x = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_Y]
            y = scratch[r] + t * scratch[r + 1]
            r = 2 * backward[step + R_Z]
            z = scratch[r] + t * scratch[r + 1]
            invoke(fn, (n, gx, g, out, x, y, z))
        for q in range(c[N_STORES]):
            o = stores[2 * q + 1]
            spec = code[8 * o + SPEC]
            reduce_into(
                slots[16 * o + ADJ], scratch[2 * stores[2 * q]], specs[32 * spec + DTYPE], specs, spec,
                region_spec, start, n,
            )  # fmt: skip
        start += n
        t += 1
    for p in range(c[N_FORWARD]):
        if forward[8 * p + FN] == 0:
            i = forward[8 * p + INSTRUCTION]
            s = 2 * forward[8 * p + R_OUT]
            dtype = specs[32 * code[8 * i + SPEC] + DTYPE]
            fill_constant(slots[16 * i + STORE], 1, dtype, sums[s] + sums[s + 1])


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
        0, or a negative number if a value that should be in memory is not (a planning error).
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
    c[TILE_BYTES] = (tile * 8 + 63) & -64
    c[NEXT_BUFFER] = frame[F_BUFFER]
    _new_register(at(base), c, 0, 0)  # register 0: operands that a kernel does not have
    status = _set_up_forward(code, slots, specs, info, kernels, consts, members, start, stop, phase, base, c)
    if reverse and status == 0:
        status = _set_up_reverse(code, slots, specs, info, kernels, consts, members, start, stop, base, c)
    if status == 0:
        _run_tiles(code, slots, specs, region_spec, base, c)
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
