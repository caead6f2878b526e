"""Broadcasting and un-broadcasting, sums, constants: what happens at the edges of a tile."""

from __future__ import annotations

import numpy as np

from tapegrad._jit import array, copy_bytes, fill_bytes, jit, stack
from tapegrad.engine.layout import ITEMSIZE, NDIM, SHAPE, SIZE
from tapegrad.spec import MAX_DIMS

__all__ = [
    "accumulate",
    "add",
    "add_to_total",
    "fill_constant",
    "load_broadcast",
    "merge_total",
    "reduce_into",
    "splat",
    "sum_of",
]

BLOCK = 1024  # elements un-broadcast at a time


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
    elif dtype == 12:
        p = array(address, n, np.complex128)
        for i in range(n):
            p[i] = value
    elif dtype == 11:
        q = array(address, n, np.complex64)
        for i in range(n):
            q[i] = value
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
    elif itemsize == 16:
        p, q = array(target, 2 * n, np.int64), array(source, 2, np.int64)
        for i in range(n):
            p[2 * i] = q[0]
            p[2 * i + 1] = q[1]
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
def _locate(specs, small, large, start, strides, index):
    """Where element ``start`` of shape ``large`` lies in ``small``; fills its strides and its index."""
    _broadcast_strides(specs, small, large, strides)
    rest = start
    offset = 0
    for k in range(specs[32 * large + NDIM] - 1, -1, -1):
        length = specs[32 * large + SHAPE + k]
        index[k] = rest % length
        rest //= length
        offset += index[k] * strides[k]
    return offset


@jit
def _advance(specs, large, run, strides, index, offset):
    """Move ``run`` elements on along the last axis, at most to its end; returns the new offset."""
    k = specs[32 * large + NDIM] - 1
    offset += run * strides[k]
    index[k] += run
    while k > 0 and index[k] == specs[32 * large + SHAPE + k]:
        offset += strides[k - 1] - index[k] * strides[k]
        index[k] = 0
        k -= 1
        index[k] += 1
    return offset


@jit
def _merge_axes(specs, small, large, lengths, strides):
    """Lengths and strides of ``small`` seen with shape ``large``, innermost axis first; how many there are.

    Axes of length one are left out, and axes that continue each other are one.
    """
    nd, ns = specs[32 * large + NDIM], specs[32 * small + NDIM]
    count, step = 0, 1
    lengths[0] = 1
    strides[0] = 0
    for k in range(1, nd + 1):
        length = specs[32 * large + SHAPE + nd - k]
        own = specs[32 * small + SHAPE + ns - k] if k <= ns else 1
        stride = step if own != 1 else 0
        step *= own
        if length == 1:
            continue
        if count > 0 and stride == strides[count - 1] * lengths[count - 1]:
            lengths[count - 1] *= length
        else:
            lengths[count] = length
            strides[count] = stride
            count += 1
    return max(count, 1)


@jit
def _copy_rows(target, source, itemsize, rows, length, down, repeat):
    """Write rows that lie ``down`` elements apart in the source; ``repeat``: each repeats one element."""
    if itemsize == 8:
        a, b = array(target, 0, np.int64), array(source, 0, np.int64)
        for r in range(rows):
            to, first = r * length, r * down
            if repeat:
                v = b[first]
                for i in range(length):
                    a[to + i] = v
            else:
                for i in range(length):
                    a[to + i] = b[first + i]
    elif itemsize == 4:
        c, d = array(target, 0, np.int32), array(source, 0, np.int32)
        for r in range(rows):
            to, first = r * length, r * down
            if repeat:
                w = d[first]
                for i in range(length):
                    c[to + i] = w
            else:
                for i in range(length):
                    c[to + i] = d[first + i]
    else:
        for r in range(rows):
            to, first = target + r * length * itemsize, source + r * down * itemsize
            if repeat:
                splat(to, first, length, itemsize)
            else:
                copy_bytes(to, first, length * itemsize)


@jit
def load_broadcast(target, source, itemsize, specs, small, large, start, n):
    """Write elements ``start`` to ``start + n`` of ``source`` broadcast to shape ``large``."""
    lengths, strides, index = stack(MAX_DIMS), stack(MAX_DIMS), stack(MAX_DIMS)
    axes = _merge_axes(specs, small, large, lengths, strides)
    offset, rest = 0, start
    for k in range(axes):
        index[k] = rest % lengths[k]
        rest //= lengths[k]
        offset += index[k] * strides[k]
    length, repeat = lengths[0], strides[0] == 0
    done = 0
    while done < n:
        run, rows, down = min(length - index[0], n - done), 1, 0
        if run == length and axes > 1:  # whole rows: as many as there are before the next axis moves
            rows, down = min((n - done) // length, lengths[1] - index[1]), strides[1]
        _copy_rows(target + done * itemsize, source + offset * itemsize, itemsize, rows, run, down, repeat)
        done += rows * run
        index[0] += run
        if index[0] < length or axes == 1:
            offset += run * strides[0]
            continue
        offset += (run - length) * strides[0] + rows * strides[1]
        index[0] = 0
        index[1] += rows
        k = 1
        while k < axes - 1 and index[k] == lengths[k]:
            offset += strides[k + 1] - index[k] * strides[k]
            index[k] = 0
            index[k + 1] += 1
            k += 1


@jit
def _real(dtype):
    """The dtype of a complex dtype's parts; any other stays as it is."""
    return dtype - 2 if dtype > 10 else dtype


@jit
def add(target, source, n, dtype):
    if dtype > 10:  # a complex number is two real ones
        n = 2 * n
        dtype = _real(dtype)
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
def sum_of(address, n, dtype):
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
def _add_sum(target, source, n, dtype):
    """Add the sum of ``n`` elements to the one at ``target``."""
    if dtype <= 10:
        _add_one(target, sum_of(source, n, dtype), dtype)
    elif dtype == 12:
        a, b = array(target, 1, np.complex128), array(source, n, np.complex128)
        s = t = u = v = np.complex128(0.0)
        i = 0
        while i + 4 <= n:
            s += b[i]
            t += b[i + 1]
            u += b[i + 2]
            v += b[i + 3]
            i += 4
        while i < n:
            s += b[i]
            i += 1
        a[0] += (s + t) + (u + v)
    else:
        c, d = array(target, 1, np.complex64), array(source, n, np.complex64)
        w = np.complex128(0.0)
        i = 0
        while i < n:
            w += np.complex128(d[i])
            i += 1
        c[0] += np.complex64(w)


@jit
def add_to_total(totals, s, value):
    """Add to total ``s``, kept as a sum and its rounding error: as accurate over tiles as a pairwise sum."""
    old = totals[2 * s]
    new = old + value
    carry = new - old
    if np.isfinite(new):
        totals[2 * s + 1] += (old - (new - carry)) + (value - carry)
    totals[2 * s] = new


@jit
def merge_total(totals, s, more, r):
    """Add total ``r`` of ``more`` to total ``s``."""
    add_to_total(totals, s, more[2 * r])
    totals[2 * s + 1] += more[2 * r + 1]


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
    itemsize = specs[32 * small + ITEMSIZE]
    if specs[32 * small + SIZE] == 1:
        _add_sum(target, source, n, dtype)
        return
    strides = stack(MAX_DIMS)
    index = stack(MAX_DIMS)
    nd = specs[32 * large + NDIM]
    offset = _locate(specs, small, large, start, strides, index)
    last = specs[32 * large + SHAPE + nd - 1]
    done = 0
    while done < n:
        run = min(last - index[nd - 1], n - done)
        if strides[nd - 1] == 0:
            _add_sum(target + offset * itemsize, source + done * itemsize, run, dtype)
        else:
            add(target + offset * itemsize, source + done * itemsize, run, dtype)
        done += run
        offset = _advance(specs, large, run, strides, index, offset)


@jit
def accumulate(target, source, specs, small, large, dtype, touched):
    """``target += source`` (un-broadcast), or ``=`` if the target has not been written yet."""
    nbytes = specs[32 * small + SIZE] * specs[32 * small + ITEMSIZE]
    if specs[32 * small + SIZE] == specs[32 * large + SIZE]:
        if touched:
            add(target, source, specs[32 * small + SIZE], dtype)
        else:
            copy_bytes(target, source, nbytes)
        return
    if not touched:
        fill_bytes(target, 0, nbytes)
    total = specs[32 * large + SIZE]
    start = 0
    while start < total:
        n = min(BLOCK, total - start)
        first = source + start * specs[32 * large + ITEMSIZE]
        reduce_into(target, first, dtype, specs, small, large, start, n)
        start += n
