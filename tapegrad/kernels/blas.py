"""Products of matrices and vectors, on SciPy's BLAS.

Everything BLAS wants by address lies in ``p``: the characters, the sizes (a little-endian ``int64``
serves as ``int32*``), and the bits of alpha and beta.  Row-major ``out = x @ y`` is column-major
``out' = y' @ x'``, so the operands change places and nothing is transposed in memory.
"""

from __future__ import annotations

from tapegrad.kernels.memory import (
    TO,
    T,
    array,
    call_n,
    int64,
    lanes,
    many,
    reach,
    room,
    tile_1_1,
    tile_1_2,
    tile_4_1,
    tile_4_2,
    tile_many_1,
    tile_many_2,
)

__all__ = ["matmul", "matvec"]

SHORT = 32  # rows up to this length run faster in plain loops than in a library
LEAST = 216  # multiplications from which on tiles of vectors pay
NARROW = 2  # columns that would leave most of a vector empty

# Blocks of a product in tiles: a panel of 256 rows and two vectors (128 bytes at most), rows of the result.
DEPTH, ROWS = 256, 480
PANEL, EDGE = DEPTH * 32, 8 * 32  # elements: two vectors hold at most 32
FEW = 24  # rows that are not worth copying a panel for

# ``p`` of matmul: target, letter_y, letter_x, n, m, k, alpha, ld_y, ld_x, beta 0, beta 1, batch, step_x,
# step_y, step_out, tx, ty, size_x, size_y, size_out, itemsize, most (multiplications for tiles), base.  The
# letters are BLAS's 'N' and 'T'.
# ``p`` of matvec: target, letter, rows, columns, alpha, ld, 1, beta 0, batch, step_x, step_v, step_out, tx,
# m, k, size_x, size_v, size_out, itemsize.  That of complex matrices ends with 1 and 0, two words each.
# Both in the order BLAS takes them, a target of 0 for none.


def loops(o, at, a, c, b, e, m, n, k, tx, ty, keep):  # type: ignore[no-untyped-def]
    """Plain loops, sums in registers: for integers, and for matrices not worth a call."""
    si, sk = (int64(1), m) if tx else (k, int64(1))
    for i in range(m):
        to, first = at + i * n, c + i * si
        j = int64(0)
        while not ty and j + 8 <= n:
            f = to + j
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = TO(0)
            if keep:
                s0, s1, s2, s3 = o[f], o[f + 1], o[f + 2], o[f + 3]
                s4, s5, s6, s7 = o[f + 4], o[f + 5], o[f + 6], o[f + 7]
            left, right = first, e + j
            for _ in range(k):
                v = a[left]
                s0 = TO(s0 + TO(v * b[right]))
                s1 = TO(s1 + TO(v * b[right + 1]))
                s2 = TO(s2 + TO(v * b[right + 2]))
                s3 = TO(s3 + TO(v * b[right + 3]))
                s4 = TO(s4 + TO(v * b[right + 4]))
                s5 = TO(s5 + TO(v * b[right + 5]))
                s6 = TO(s6 + TO(v * b[right + 6]))
                s7 = TO(s7 + TO(v * b[right + 7]))
                left += sk
                right += n
            o[f], o[f + 1], o[f + 2], o[f + 3] = s0, s1, s2, s3
            o[f + 4], o[f + 5], o[f + 6], o[f + 7] = s4, s5, s6, s7
            j += 8
        while not ty and j + 4 <= n:
            f = to + j
            s0 = s1 = s2 = s3 = TO(0)
            if keep:
                s0, s1, s2, s3 = o[f], o[f + 1], o[f + 2], o[f + 3]
            left, right = first, e + j
            for _ in range(k):
                v = a[left]
                s0 = TO(s0 + TO(v * b[right]))
                s1 = TO(s1 + TO(v * b[right + 1]))
                s2 = TO(s2 + TO(v * b[right + 2]))
                s3 = TO(s3 + TO(v * b[right + 3]))
                left += sk
                right += n
            o[f], o[f + 1], o[f + 2], o[f + 3] = s0, s1, s2, s3
            j += 4
        while j < n:
            s0 = o[to + j] if keep else TO(0)
            left = first
            right, step = (e + j * k, int64(1)) if ty else (e + j, n)
            for _ in range(k):
                s0 = TO(s0 + TO(a[left] * b[right]))
                left += sk
                right += step
            o[to + j] = s0
            j += 1


def pack(panel, wide, b, first, depth, width, n, k, ty):  # type: ignore[no-untyped-def]
    """Copy a panel of ``op(b)``, ``depth`` rows of ``width`` columns, padded with zeros to ``wide``."""
    if ty:
        for j in range(width):
            source = first + j * k
            for p in range(depth):
                panel[p * wide + j] = b[source + p]
    elif width == wide:
        for p in range(depth):
            source = first + p * n
            for j in range(wide):
                panel[p * wide + j] = b[source + j]
    else:
        for p in range(depth):
            for j in range(width):
                panel[p * wide + j] = b[first + p * n + j]
    for j in range(width, wide):
        for p in range(depth):
            panel[p * wide + j] = T(0)


def strip(o, to, ld, a, x, row, step, b, y, following, m, depth, width, wide, edge, more):  # type: ignore[no-untyped-def]
    """Two vectors' columns of a product, or one's, for ``m`` rows: tiles of vector registers.

    ``width`` of the ``wide`` columns are stored at ``to``, rows ``ld`` apart; ``more`` adds them.
    """
    full = 2 * lanes(o)
    whole = width == wide
    i = int64(0)
    while i < m:
        left = m - i
        here = many() if left >= many() else int64(4) if left >= 4 else int64(1)
        p = x + i * row
        target, at, by, add = edge, int64(0), wide, False
        if whole:
            target, at, by, add = o, to + i * ld, ld, more
        if wide == full:
            if here == many():
                tile_many_2(a, p, row, step, b, y, following, depth, target, at, by, add)
            elif here == 4:
                tile_4_2(a, p, row, step, b, y, following, depth, target, at, by, add)
            else:
                tile_1_2(a, p, row, step, b, y, following, depth, target, at, by, add)
        elif here == many():
            tile_many_1(a, p, row, step, b, y, following, depth, target, at, by, add)
        elif here == 4:
            tile_4_1(a, p, row, step, b, y, following, depth, target, at, by, add)
        else:
            tile_1_1(a, p, row, step, b, y, following, depth, target, at, by, add)
        if not whole:
            for r in range(here):
                at = to + (i + r) * ld
                if more:
                    for j in range(width):
                        o[at + j] = TO(o[at + j] + edge[r * wide + j])
                else:
                    for j in range(width):
                        o[at + j] = edge[r * wide + j]
        i += here


def product(o, at, a, c, b, e, m, n, k, tx, ty, keep):  # type: ignore[no-untyped-def]
    """One product, tile by tile in vector registers; ``keep`` adds it to what is there.

    Panels of ``op(b)`` are as deep as the first cache holds, and met by as many rows of ``op(a)`` as the
    second does.
    """
    panel, edge = room(PANEL, o), room(EDGE, o)
    lane = lanes(o)
    full = 2 * lane
    row, step = (int64(1), m) if tx else (k, int64(1))
    for i0 in range(0, m, ROWS):
        rows = min(m - i0, int64(ROWS))
        for p0 in range(0, k, DEPTH):
            depth = min(k - p0, int64(DEPTH))
            more = keep or p0 > 0
            x = c + i0 * row + p0 * step
            for j0 in range(0, n, full):
                width = min(full, n - j0)
                wide = full if width > lane else lane
                source, first, following = b, e + p0 * n + j0, n
                if ty or width != wide or rows > FEW:
                    pack(panel, wide, b, e + j0 * k + p0 if ty else first, depth, width, n, k, ty)
                    source, first, following = panel, int64(0), wide
                to = at + i0 * n + j0
                strip(
                    o, to, n, a, x, row, step, source, first, following, rows, depth, width, wide, edge, more
                )


def rows_dot(o, at, a, c, v, e, m, k):  # type: ignore[no-untyped-def]
    """Short rows times a vector, four rows at a time."""
    i = int64(0)
    while i + 4 <= m:
        s0 = s1 = s2 = s3 = TO(0)
        first = c + i * k
        for j in range(k):
            w = v[e + j]
            s0 = TO(s0 + TO(a[first + j] * w))
            s1 = TO(s1 + TO(a[first + k + j] * w))
            s2 = TO(s2 + TO(a[first + 2 * k + j] * w))
            s3 = TO(s3 + TO(a[first + 3 * k + j] * w))
        o[at + i], o[at + i + 1], o[at + i + 2], o[at + i + 3] = s0, s1, s2, s3
        i += 4
    while i < m:
        s0 = TO(0)
        for j in range(k):
            s0 = TO(s0 + TO(a[c + i * k + j] * v[e + j]))
        o[at + i] = s0
        i += 1


def rows_sum(o, at, a, c, v, e, m, k):  # type: ignore[no-untyped-def]
    """The sum of ``k`` short rows of ``m``, weighted by a vector, four rows at a time."""
    for j in range(m):
        o[at + j] = TO(0)
    i = int64(0)
    while i + 4 <= k:
        w0, w1, w2, w3 = v[e + i], v[e + i + 1], v[e + i + 2], v[e + i + 3]
        first = c + i * m
        for j in range(m):
            s = TO(TO(a[first + j] * w0) + TO(a[first + m + j] * w1))
            r = TO(TO(a[first + 2 * m + j] * w2) + TO(a[first + 3 * m + j] * w3))
            o[at + j] = TO(o[at + j] + TO(s + r))
        i += 4
    while i < k:
        for j in range(m):
            o[at + j] = TO(o[at + j] + TO(a[c + i * m + j] * v[e + i]))
        i += 1


def matmul(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out = op(x) @ op(y)`` for each of ``batch``, added to ``out`` if ``q``; floating operands.

    ``step_out == 0`` adds the products of the batch up.  With ``base`` the operands are ``y`` and ``z``, and
    the products are added to ``x``.
    """
    d = array(p, 23, int64)
    target, n, m, k = d[0], d[3], d[4], d[5]
    batch, step_x, step_y, step_out, tx, ty = d[11], d[12], d[13], d[14], d[15] != 0, d[16] != 0
    o = array(out, d[19], TO)
    base = d[22] != 0
    if base:
        if x != out:
            a = array(x, d[19], T)
            for i in range(d[19]):
                o[i] = a[i]
        x, y = y, z
    a = array(x, d[17], T)
    b = array(y, d[18], T)
    if m == 0 or n == 0:
        return 0
    if k == 0 or batch == 0:
        if q == 0 and not base:
            for i in range(d[19]):
                o[i] = TO(0)
        return 0
    size, work = d[20], m * n * k
    ours = target == 0 or work <= min(d[21], reach())
    for i in range(batch):
        keep = q != 0 or base or (i > 0 and step_out == 0)
        if work <= LEAST or (n <= NARROW and target == 0):
            loops(o, i * step_out, a, i * step_x, b, i * step_y, m, n, k, tx, ty, keep)
        elif ours and n > NARROW:
            product(o, i * step_out, a, i * step_x, b, i * step_y, m, n, k, tx, ty, keep)
        else:
            call_n(
                target,
                (
                    p + 8, p + 16, p + 24, p + 32, p + 40, p + 48,
                    y + i * step_y * size, p + 56,
                    x + i * step_x * size, p + 64,
                    p + 80 if keep else p + 72,
                    out + i * step_out * size, p + 24,
                ),
            )  # fmt: skip
    return 0


def matmul_integer(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`matmul` of integers."""
    d = array(p, 22, int64)
    n, m, k = d[3], d[4], d[5]
    batch, step_x, step_y, step_out, tx, ty = d[11], d[12], d[13], d[14], d[15] != 0, d[16] != 0
    a = array(x, d[17], T)
    b = array(y, d[18], T)
    o = array(out, d[19], TO)
    if k == 0 or batch == 0:
        if q == 0:
            for i in range(d[19]):
                o[i] = TO(0)
        return 0
    for i in range(batch):
        keep = q != 0 or (i > 0 and step_out == 0)
        loops(o, i * step_out, a, i * step_x, b, i * step_y, m, n, k, tx, ty, keep)
    return 0


def matmul_complex(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`matmul` of complex numbers."""
    d = array(p, 27, int64)
    n, m, k = d[3], d[4], d[5]
    batch, step_x, step_y, step_out, tx, ty = d[11], d[12], d[13], d[14], d[15] != 0, d[16] != 0
    a = array(x, d[17], T)
    b = array(y, d[18], T)
    o = array(out, d[19], TO)
    if k == 0 or batch == 0:
        if q == 0:
            for i in range(d[19]):
                o[i] = TO(0)
        return 0
    if m == 0 or n == 0:
        return 0
    size, small = d[20], m * n * k <= LEAST
    for i in range(batch):
        keep = q != 0 or (i > 0 and step_out == 0)
        if small:
            loops(o, i * step_out, a, i * step_x, b, i * step_y, m, n, k, tx, ty, keep)
        else:
            call_n(
                d[0],
                (
                    p + 8, p + 16, p + 24, p + 32, p + 40, p + 184,
                    y + i * step_y * size, p + 56,
                    x + i * step_x * size, p + 64,
                    p + 184 if keep else p + 200,
                    out + i * step_out * size, p + 24,
                ),
            )  # fmt: skip
    return 0


matmul.kernel = "matmul"  # type: ignore[attr-defined]  # one for both rows
matmul.integer = matmul_integer  # type: ignore[attr-defined]
matmul.complex = matmul_complex  # type: ignore[attr-defined]


def matvec(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out = op(x) @ y`` for each matrix of a batch and one vector, or a vector each."""
    d = array(p, 19, int64)
    target, batch, step_x, step_v, step_out = d[0], d[8], d[9], d[10], d[11]
    tx, m, k = d[12], d[13], d[14]
    a = array(x, d[15], T)
    v = array(y, d[16], T)
    o = array(out, d[17], TO)
    if m == 0 or batch == 0:
        return 0
    if k == 0:
        for i in range(d[17]):
            o[i] = TO(0)
        return 0
    size = d[18]
    for i in range(batch):
        b, c, e = i * step_out, i * step_x, i * step_v
        if tx and (target == 0 or m <= SHORT):
            rows_sum(o, b, a, c, v, e, m, k)
        elif not tx and (target == 0 or k <= SHORT):
            rows_dot(o, b, a, c, v, e, m, k)
        else:
            call_n(
                target,
                (
                    p + 8, p + 16, p + 24, p + 32,
                    x + i * step_x * size, p + 40,
                    y + i * step_v * size, p + 48,
                    p + 56,
                    out + i * step_out * size, p + 48,
                ),
            )  # fmt: skip
    return 0
