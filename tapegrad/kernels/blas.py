"""Products of matrices and vectors, on SciPy's BLAS.

Everything BLAS wants by address lies in ``p``: the characters, the sizes (a little-endian ``int64``
serves as ``int32*``), and the bits of alpha and beta.  Row-major ``out = x @ y`` is column-major
``out' = y' @ x'``, so the operands change places and nothing is transposed in memory.
"""

from __future__ import annotations

from tapegrad.kernels.memory import TO, T, array, call_n, int64

__all__ = ["GEMM", "GEMV", "matmul", "matvec"]

# Columns of ``p``.  Letters are those of BLAS for (y, x), in its order of arguments.
GEMM = (
    "target letter_y letter_x n m k alpha ld_y ld_x zero one batch step_x step_y step_out tx ty size_x size_y size_out itemsize"
).split()  # fmt: skip
GEMV = (
    "target letter rows columns alpha ld step zero batch step_x step_v step_out tx m k size_x size_v size_out itemsize"
).split()


def loops(o, at, a, c, b, e, m, n, k, tx, ty, keep):  # type: ignore[no-untyped-def]
    """The plain triple loop: for integers, and for matrices too small to be worth a call."""
    si, sk = (int64(1), m) if tx else (k, int64(1))
    for i in range(m):
        to = at + i * n
        if not keep:
            for j in range(n):
                o[to + j] = TO(0)
        if ty:
            for j in range(n):
                s = o[to + j]
                for r in range(k):
                    s = TO(s + TO(a[c + i * si + r * sk]) * TO(b[e + j * k + r]))
                o[to + j] = s
        else:
            for r in range(k):
                v = TO(a[c + i * si + r * sk])
                for j in range(n):
                    o[to + j] = TO(o[to + j] + v * TO(b[e + r * n + j]))


def matmul(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``out = op(x) @ op(y)`` for each of ``batch``; ``step_out == 0`` adds the products up."""
    d = array(p, 21, int64)
    target, n, m, k = d[0], d[3], d[4], d[5]
    batch, step_x, step_y, step_out, tx, ty = d[11], d[12], d[13], d[14], d[15], d[16]
    a = array(x, d[17], T)
    b = array(y, d[18], T)
    o = array(out, d[19], TO)
    if m == 0 or n == 0:
        return 0
    if k == 0 or batch == 0:
        for i in range(d[19]):
            o[i] = TO(0)
        return 0
    size = d[20]
    for i in range(batch):
        keep = i > 0 and step_out == 0
        if target == 0 or m * n * k <= 2048:
            loops(o, i * step_out, a, i * step_x, b, i * step_y, m, n, k, tx, ty, keep)
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
        if target == 0 or m * k <= 256:
            b, c, e = i * step_out, i * step_x, i * step_v
            if tx:
                for j in range(m):
                    o[b + j] = TO(0)
                for r in range(k):
                    w = TO(v[e + r])
                    for j in range(m):
                        o[b + j] = TO(o[b + j] + TO(a[c + r * m + j]) * w)
            else:
                for j in range(m):
                    s = TO(0)
                    for r in range(k):
                        s = TO(s + TO(a[c + j * k + r]) * TO(v[e + r]))
                    o[b + j] = s
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
