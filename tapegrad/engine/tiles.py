"""Running one region tile by tile, forward and in reverse.

A region's values live in *registers*: a base address and how far to move it per tile.  A register
either walks along an array in memory or stays on a tile-sized buffer.  Setting up a region turns its
members into two short programs (kernel address and registers per step); then each tile runs the
forward program and, while its values are still in cache, the reverse program.
"""

from __future__ import annotations

import numpy as np

from tapegrad._jit import array, call5, call7, copy_bytes, fill_bytes, jit
from tapegrad.engine.layout import (
    ACTIVE, ADDR, ADJ, AREG, ARITY, DTYPE, GRAD, ITEMSIZE, NDIM, OP, OP_MASK, REVERSE, SHAPE, SINK, SIZE,
    SPEC, STORE, TOUCHED, TYPED_BY, USES, USES_OUT, USES_X, VREG, WANT, X,
)  # fmt: skip
from tapegrad.spec import MAX_DIMS

__all__ = ["accumulate", "kernel_dtype", "reduce_into", "run_region"]

TILE = 1024  # elements at most
CACHE = 192 << 10  # bytes that the registers of a tile may take together


@jit
def kernel_dtype(code, specs, info, i, op):
    """The dtype a kernel computes in: its first typed operand that is not a constant."""
    for k in range(info[op, TYPED_BY], info[op, ARITY]):
        o = code[i, X + k]
        if o >= 0:
            return specs[code[o, SPEC], DTYPE]
    return specs[code[i, SPEC], DTYPE]


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
    nd, ns = specs[large, NDIM], specs[small, NDIM]
    step = 1
    for k in range(1, nd + 1):
        strides[nd - k] = 0
        if k <= ns:
            length = specs[small, SHAPE + ns - k]
            if length != 1:
                strides[nd - k] = step
            step *= length


@jit
def load_broadcast(target, source, itemsize, specs, small, large, start, n):
    """Write elements ``start`` to ``start + n`` of ``source`` broadcast to shape ``large``."""
    strides = np.empty(MAX_DIMS, np.int64)
    index = np.empty(MAX_DIMS, np.int64)
    _broadcast_strides(specs, small, large, strides)
    nd = specs[large, NDIM]
    rest = start
    offset = 0
    for k in range(nd - 1, -1, -1):
        length = specs[large, SHAPE + k]
        index[k] = rest % length
        rest //= length
        offset += index[k] * strides[k]
    last = specs[large, SHAPE + nd - 1]
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
        while k > 0 and index[k] == specs[large, SHAPE + k]:
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
    if specs[small, SIZE] == 1:
        _add_one(target, _sum(source, n, dtype), dtype)
        return
    strides = np.empty(MAX_DIMS, np.int64)
    index = np.empty(MAX_DIMS, np.int64)
    _broadcast_strides(specs, small, large, strides)
    nd = specs[large, NDIM]
    rest = start
    offset = 0
    for k in range(nd - 1, -1, -1):
        length = specs[large, SHAPE + k]
        index[k] = rest % length
        rest //= length
        offset += index[k] * strides[k]
    last = specs[large, SHAPE + nd - 1]
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
        while k > 0 and index[k] == specs[large, SHAPE + k]:
            offset += strides[k - 1] - index[k] * strides[k]
            index[k] = 0
            k -= 1
            index[k] += 1


@jit
def accumulate(target, source, specs, small, large, dtype, touched):
    """``target += source`` (un-broadcast), or ``=`` if the target has not been written yet."""
    nbytes = specs[small, SIZE] * specs[small, ITEMSIZE]
    if specs[small, SIZE] == specs[large, SIZE]:
        if touched:
            _add(target, source, specs[small, SIZE], dtype)
        else:
            copy_bytes(target, source, nbytes)
        return
    if not touched:
        fill_bytes(target, 0, nbytes)
    total = specs[large, SIZE]
    start = 0
    while start < total:
        n = min(TILE, total - start)
        reduce_into(target, source + start * specs[large, ITEMSIZE], dtype, specs, small, large, start, n)
        start += n


# Columns of the register file and of the programs.
BASE, STEP = 0, 1
FN, R_OUT, R_X, R_Y, R_Z, R_G, R_GX = 0, 1, 2, 3, 4, 5, 6


@jit
def _new_register(regs, counts, base, step):
    r = counts[0]
    counts[0] += 1
    regs[r, BASE] = base
    regs[r, STEP] = step
    return r


@jit
def _new_buffer(regs, counts, nbytes):
    r = _new_register(regs, counts, counts[1], 0)
    counts[1] += nbytes
    return r


@jit
def _operand(
    code, slots, specs, consts, regs, counts, loads, i, k, tile, length, constant_dtype, tile_bytes,
):  # fmt: skip
    """The register of operand ``k`` of instruction ``i``; sets up what comes from outside."""
    o = code[i, X + k]
    if o < 0:
        r = _new_buffer(regs, counts, tile_bytes)
        fill_constant(regs[r, BASE], min(tile, length), constant_dtype, consts[-o - 1])
        return r
    if slots[o, VREG] >= 0:
        return slots[o, VREG]
    itemsize = specs[code[o, SPEC], ITEMSIZE]
    if specs[code[o, SPEC], SIZE] == length:
        r = _new_register(regs, counts, code[o, ADDR], itemsize * tile)
    else:
        r = _new_buffer(regs, counts, tile_bytes)
        if specs[code[o, SPEC], SIZE] == 1:
            splat(regs[r, BASE], code[o, ADDR], min(tile, length), itemsize)
        else:
            q = counts[2]
            loads[q, 0] = r
            loads[q, 1] = o
            counts[2] += 1
    slots[o, VREG] = r
    return r


@jit
def run_region(
    code, slots, specs, info, kernels, consts, members, start, stop, region_spec, phase, reverse, buffer,
    regs, loads, stores, zeros, forward, backward, sums,
):  # fmt: skip
    """Run a region's members that are wanted in ``phase``; with ``reverse`` also its reverse.

    Parameters
    ----------
    code, slots, specs, info, kernels, consts : arrays
        The tape, the run's scratch, and the tables (see ``layout``).
    members : array
        Instruction numbers; ``members[start:stop]`` are the region's.
    region_spec : int
        A spec of the region's shape.
    buffer : int
        Address of ``CACHE`` bytes plus a margin, 64-byte aligned.
    regs, loads, stores, zeros, forward, backward, sums : arrays
        Scratch, sized for ``REGION_LIMIT`` instructions.

    Returns
    -------
    int
        0, or a negative number if an operand is missing.
    """
    length = specs[region_spec, SIZE]
    counts = np.zeros(4, np.int64)
    counts[1] = buffer
    _new_register(regs, counts, 0, 0)  # register 0: operands a kernel does not have
    bound = 4 * (stop - start) + 2
    tile = min(TILE, CACHE // (8 * bound) & -16)
    tile = max(tile, 16)
    if length < tile:
        tile = length
    tile_bytes = (tile * 8 + 63) & -64
    n_loads = 0
    n_forward = 0
    n_backward = 0
    n_zeros = 0
    n_stores = 0
    n_sums = 0

    for m in range(start, stop):
        i = members[m]
        if not (slots[i, WANT] & phase) or code[i, ADDR]:
            continue
        op = code[i, OP] & OP_MASK
        dtype = kernel_dtype(code, specs, info, i, op)
        arity = info[op, ARITY]
        for k in range(arity):
            o = code[i, X + k]
            if o >= 0 and slots[o, VREG] < 0 and code[o, ADDR] == 0:
                return -1
            forward[n_forward, R_X + k] = _operand(
                code, slots, specs, consts, regs, counts, loads, i, k, tile, length, dtype, tile_bytes,
            )  # fmt: skip
        for k in range(arity, 3):
            forward[n_forward, R_X + k] = 0
        if info[op, SINK]:
            forward[n_forward, FN] = 0
            forward[n_forward, R_OUT] = n_sums
            sums[n_sums, 0] = 0.0
            sums[n_sums, 1] = 0.0
            forward[n_forward, 5] = dtype
            forward[n_forward, 6] = i
            n_sums += 1
        else:
            forward[n_forward, FN] = kernels[op, dtype, 0]
            if slots[i, STORE]:
                itemsize = specs[code[i, SPEC], ITEMSIZE]
                r = _new_register(regs, counts, slots[i, STORE], itemsize * tile)
            else:
                r = _new_buffer(regs, counts, tile_bytes)
            slots[i, VREG] = r
            forward[n_forward, R_OUT] = r
        n_forward += 1

    if reverse:
        # Cotangent registers of what the region's reverse run reads and writes.
        for m in range(stop - 1, start - 1, -1):
            i = members[m]
            if not slots[i, REVERSE]:
                continue
            op = code[i, OP] & OP_MASK
            sink = info[op, SINK] != 0
            itemsize = specs[code[i, SPEC], ITEMSIZE]
            dtype = kernel_dtype(code, specs, info, i, op)
            if slots[i, AREG] < 0:
                if slots[i, ADJ] and not sink:
                    r = _new_register(regs, counts, slots[i, ADJ], itemsize * tile)
                    if not slots[i, TOUCHED]:
                        zeros[n_zeros, 0] = r
                        zeros[n_zeros, 1] = itemsize
                        n_zeros += 1
                        slots[i, TOUCHED] = 1
                else:
                    r = _new_buffer(regs, counts, tile_bytes)
                    if sink and slots[i, TOUCHED]:
                        splat(regs[r, BASE], slots[i, ADJ], min(tile, length), itemsize)
                    else:
                        zeros[n_zeros, 0] = r
                        zeros[n_zeros, 1] = itemsize
                        n_zeros += 1
                slots[i, AREG] = r
            for k in range(info[op, ARITY]):
                o = code[i, X + k]
                if o < 0 or not slots[o, ACTIVE] or not code[o, OP] & GRAD:
                    continue
                uses = 0 if sink else info[op, USES + k]
                if uses < 0:
                    continue
                if slots[o, AREG] < 0:
                    o_size = specs[code[o, SPEC], SIZE]
                    o_item = specs[code[o, SPEC], ITEMSIZE]
                    if slots[o, ADJ] and o_size == length:
                        r = _new_register(regs, counts, slots[o, ADJ], o_item * tile)
                        if not slots[o, TOUCHED]:
                            zeros[n_zeros, 0] = r
                            zeros[n_zeros, 1] = o_item
                            n_zeros += 1
                            slots[o, TOUCHED] = 1
                    else:
                        r = _new_buffer(regs, counts, tile_bytes)
                        zeros[n_zeros, 0] = r
                        zeros[n_zeros, 1] = o_item
                        n_zeros += 1
                        if slots[o, ADJ]:
                            stores[n_stores, 0] = r
                            stores[n_stores, 1] = o
                            n_stores += 1
                            if not slots[o, TOUCHED]:
                                fill_bytes(slots[o, ADJ], 0, o_size * o_item)
                                slots[o, TOUCHED] = 1
                    slots[o, AREG] = r
                step = backward[n_backward]
                step[R_G] = slots[i, AREG]
                step[R_GX] = slots[o, AREG]
                step[R_OUT] = step[R_X] = step[R_Y] = step[R_Z] = 0
                if sink:
                    step[FN] = 0
                    step[R_OUT] = dtype
                else:
                    step[FN] = kernels[op, dtype, 1 + k]
                    if uses & USES_OUT:
                        if slots[i, VREG] < 0:
                            if not code[i, ADDR]:
                                return -2
                            slots[i, VREG] = _new_register(regs, counts, code[i, ADDR], itemsize * tile)
                        step[R_OUT] = slots[i, VREG]
                    for j in range(info[op, ARITY]):
                        if uses & (USES_X << j):
                            p = code[i, X + j]
                            if p >= 0 and slots[p, VREG] < 0 and code[p, ADDR] == 0:
                                return -3
                            step[R_X + j] = _operand(
                                code, slots, specs, consts, regs, counts, loads, i, j, tile, length, dtype,
                                tile_bytes,
                            )  # fmt: skip
                n_backward += 1
    n_loads = counts[2]

    n_tiles = (length + tile - 1) // tile if length > 0 else 0
    for t in range(n_tiles):
        n = min(tile, length - t * tile)
        for q in range(n_loads):
            o = loads[q, 1]
            load_broadcast(
                regs[loads[q, 0], BASE], code[o, ADDR], specs[code[o, SPEC], ITEMSIZE], specs, code[o, SPEC],
                region_spec, t * tile, n,
            )  # fmt: skip
        for p in range(n_forward):
            step = forward[p]
            x = regs[step[R_X], BASE] + t * regs[step[R_X], STEP]
            if step[FN] == 0:
                # two-sum over tiles keeps the total as accurate as a pairwise sum
                s = step[R_OUT]
                value = _sum(x, n, step[5])
                old = sums[s, 0]
                new = old + value
                carry = new - old
                if np.isfinite(new):
                    sums[s, 1] += (old - (new - carry)) + (value - carry)
                sums[s, 0] = new
                continue
            out = regs[step[R_OUT], BASE] + t * regs[step[R_OUT], STEP]
            y = regs[step[R_Y], BASE] + t * regs[step[R_Y], STEP]
            z = regs[step[R_Z], BASE] + t * regs[step[R_Z], STEP]
            call5(step[FN], n, out, x, y, z)
        for q in range(n_zeros):
            r = zeros[q, 0]
            fill_bytes(regs[r, BASE] + t * regs[r, STEP], 0, n * zeros[q, 1])
        for p in range(n_backward):
            step = backward[p]
            gx = regs[step[R_GX], BASE] + t * regs[step[R_GX], STEP]
            g = regs[step[R_G], BASE] + t * regs[step[R_G], STEP]
            if step[FN] == 0:
                _add(gx, g, n, step[R_OUT])
                continue
            out = regs[step[R_OUT], BASE] + t * regs[step[R_OUT], STEP]
            x = regs[step[R_X], BASE] + t * regs[step[R_X], STEP]
            y = regs[step[R_Y], BASE] + t * regs[step[R_Y], STEP]
            z = regs[step[R_Z], BASE] + t * regs[step[R_Z], STEP]
            call7(step[FN], n, gx, g, out, x, y, z)
        for q in range(n_stores):
            o = stores[q, 1]
            reduce_into(
                slots[o, ADJ], regs[stores[q, 0], BASE], specs[code[o, SPEC], DTYPE], specs, code[o, SPEC],
                region_spec, t * tile, n,
            )  # fmt: skip

    for p in range(n_forward):
        if forward[p, FN] == 0:
            i = forward[p, 6]
            s = forward[p, R_OUT]
            fill_constant(slots[i, STORE], 1, specs[code[i, SPEC], DTYPE], sums[s, 0] + sums[s, 1])

    # Leave the registers clean, and note what is in memory now.
    for m in range(start, stop):
        i = members[m]
        op = code[i, OP] & OP_MASK
        slots[i, VREG] = -1
        slots[i, AREG] = -1
        if slots[i, WANT] & phase and code[i, ADDR] == 0 and slots[i, STORE]:
            code[i, ADDR] = slots[i, STORE]
        for k in range(info[op, ARITY]):
            o = code[i, X + k]
            if o >= 0:
                slots[o, VREG] = -1
                slots[o, AREG] = -1
    return 0
