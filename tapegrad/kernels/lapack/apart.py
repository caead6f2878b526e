"""What rules of spectral decompositions divide by, and what they refuse."""

from __future__ import annotations

from tapegrad.kernels.lapack.memory import refused
from tapegrad.kernels.lapack.table import DERIVATIVE
from tapegrad.kernels.memory import TO, R, T, array, conjugate, int64, real

__all__ = [
    "DIFFERENCES", "SUMS", "VALUES", "apart", "apart_complex", "basis_free", "regular", "untied",
    "untied_complex", "values", "values_complex",
]  # fmt: skip

DIFFERENCES, SUMS, VALUES = range(3)


FEW = 4  # units of rounding that do not tell two eigenvalues apart


def rounding(w, at, n, units, size):  # type: ignore[no-untyped-def]
    """So many units of rounding of the greatest value."""
    epsilon = R(2.220446049250313e-16) if size == 8 else R(1.1920929e-07)
    scale = R(0)
    for j in range(at, at + n):
        scale = max(scale, abs(w[j]))
    return R(R(scale * epsilon) * R(units))


def divided(d, a, w, o):  # type: ignore[no-untyped-def]
    """`apart`, for values of any kind."""
    m, n, batch, mode = d[0], d[1], d[2], d[3]
    units = FEW if mode == DIFFERENCES else max(m, n)  # what else is small is of deficient rank
    for b in range(batch):
        limit = rounding(w, b * n, n, units, d[4])
        for i in range(m):
            for j in range(n):
                at = b * m * n + i * n + j
                v, divisor = a[at], w[b * n + j]
                if mode == DIFFERENCES:
                    divisor = divisor - w[b * n + i]
                elif mode == SUMS:
                    divisor = divisor + w[b * n + i]
                if v == 0 or (i == j and mode == DIFFERENCES):
                    o[at] = TO(0)
                elif abs(divisor) <= limit:
                    return DERIVATIVE + refused(b)
                else:
                    o[at] = TO(v / T(divisor))
    return int64(0)


def alone(d, a, w, o):  # type: ignore[no-untyped-def]
    """`untied`, for values of any kind."""
    m, n, batch = d[0], d[1], d[2]
    for b in range(batch):
        limit = rounding(w, b * n, n, FEW, d[4])
        for i in range(b * m * n, (b + 1) * m * n):
            o[i] = a[i]
        for j in range(n):
            tied = False
            for k in range(n):
                if k != j and abs(w[b * n + k] - w[b * n + j]) <= limit:
                    tied = True
            if tied:
                for i in range(m):
                    if a[b * m * n + i * n + j] != 0:
                        return DERIVATIVE + refused(b)
    return int64(0)


def apart(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``x[i, j]`` divided by ``y[j] - y[i]`` (0 on the diagonal), by ``y[i] + y[j]``, or by ``y[j]``.

    Divisors of no more than rounding are zero; what is to be divided by one is refused, unless it is zero.
    ``p`` is m, n, batch, mode, itemsize (of a part, if ``x`` is complex).
    """
    d = array(p, 5, int64)
    size = d[0] * d[1] * d[2]
    return divided(d, array(x, size, T), array(y, d[1] * d[2], R), array(out, size, TO))


def apart_complex(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`apart` for complex values."""
    d = array(p, 5, int64)
    size = d[0] * d[1] * d[2]
    return divided(d, array(x, size, T), array(y, d[1] * d[2], T), array(out, size, TO))


def untied(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``x``, refused if a column that is not zero belongs to a value (of ``y``) that is equal to another.

    ``p`` is m, n, batch, 0, itemsize (of a part).
    """
    d = array(p, 5, int64)
    size = d[0] * d[1] * d[2]
    return alone(d, array(x, size, T), array(y, d[1] * d[2], R), array(out, size, TO))


def untied_complex(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`untied` for complex values."""
    d = array(p, 5, int64)
    size = d[0] * d[1] * d[2]
    return alone(d, array(x, size, T), array(y, d[1] * d[2], T), array(out, size, TO))


def values(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The values in a decomposition's result (``y``); ``p`` is batch, step, start, count."""
    d = array(p, 4, int64)
    batch, step, start, count = d[0], d[1], d[2], d[3]
    a, o = array(y, batch * step, T), array(out, batch * count, TO)
    for b in range(batch):
        for i in range(count):
            o[b * count + i] = TO(real(a[b * step + start + i]))
    return 0


def values_complex(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """`values`, complex ones."""
    d = array(p, 4, int64)
    batch, step, start, count = d[0], d[1], d[2], d[3]
    a, o = array(y, batch * step, T), array(out, batch * count, TO)
    for b in range(batch):
        for i in range(count):
            o[b * count + i] = a[b * step + start + i]
    return 0


def basis_free(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``x``, refused unless each matrix of ``y`` is Hermitian up to rounding of numbers like those of ``x``.

    ``p`` is the size of a matrix of ``x``, n, batch, itemsize (of a part), whether only the diagonal counts.
    """
    d = array(p, 5, int64)
    size, n, batch, diagonal = d[0], d[1], d[2], d[4] != 0
    tolerance = R(1.5e-8) if d[3] == 8 else R(3.5e-4)
    a, s, o = array(x, batch * size, T), array(y, batch * n * n, T), array(out, batch * size, TO)
    for b in range(batch):
        scale = R(0)
        for i in range(b * size, (b + 1) * size):
            scale = max(scale, abs(a[i]))
            o[i] = a[i]
        limit = R(scale * tolerance)
        for i in range(n):
            for j in range(i if diagonal else int64(0), i + 1):
                if abs(T(s[(b * n + i) * n + j] - conjugate(s[(b * n + j) * n + i]))) > limit:
                    return DERIVATIVE + refused(b)
    return 0


def regular(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """``x``, refused if a matrix, of which ``y`` is the LU factors, is singular up to rounding.

    ``p`` is the size of a matrix of ``x``, n, batch, itemsize (of a part).
    """
    d = array(p, 4, int64)
    size, n, batch = d[0], d[1], d[2]
    epsilon = R(2.220446049250313e-16) if d[3] == 8 else R(1.1920929e-07)
    a, f, o = array(x, batch * size, T), array(y, batch * (n + 1) * n, T), array(out, batch * size, TO)
    for b in range(batch):
        most, at = R(0), b * (n + 1) * n
        for k in range(n):
            most = max(most, abs(f[at + k * (n + 1)]))
        for k in range(n):
            if abs(f[at + k * (n + 1)]) <= R(R(most * epsilon) * R(FEW)):
                return DERIVATIVE + refused(b)
        for i in range(b * size, (b + 1) * size):
            o[i] = a[i]
    return 0
