"""The exponential of matrices, and its derivative: scaling, a rational function, squaring.

Higham, "The scaling and squaring method for the matrix exponential revisited" (2005), with the smaller
scalings that powers of the matrix allow (Al-Mohy and Higham, "A new scaling and squaring algorithm", 2009).
The derivative along ``e`` is that of each step (Al-Mohy and Higham, "Computing the Frechet derivative of the
matrix exponential", 2009, algorithm 6.4).
"""

from __future__ import annotations

import math

from tapegrad.kernels.lapack.lu import back, factor
from tapegrad.kernels.lapack.memory import finite
from tapegrad.kernels.lapack.product import multiply
from tapegrad.kernels.lapack.table import SHARED
from tapegrad.kernels.memory import NO_MEMORY, TO, R, T, allocate, array, int64, release, word

__all__ = ["expm", "expm_derivative"]

# Workspace, in matrices: the scaled matrix and its even powers, numerator and denominator, room; then the
# same for the derivative.  The last has a row more, for exchanges.
A, A2, A4, A6, U, V, W, E, E2, E4, E6, LU_, LV, X, FACTORS = range(15)
HUGE = 1e10, 1e4  # norms (float64, float32) whose powers may overflow


def norm(w, at, n):  # type: ignore[no-untyped-def]
    """The greatest sum of magnitudes of a column."""
    most = R(0)
    for j in range(n):
        s = R(0)
        for i in range(n):
            s = R(s + abs(w[at + i * n + j]))
        most = max(most, s)
    return most


def excess(w, at, n, v):  # type: ignore[no-untyped-def]
    """Squarings that rounding in the numerator of order 13 asks for: ``l`` of Al-Mohy and Higham, (4.3).

    It rests on the norm of ``|a|^27``, found from products with a vector, which is in ``v``.
    """
    total = 0.0  # of logarithms
    for j in range(n):
        v[j] = R(1)
    for _ in range(27):
        most = R(0)
        for j in range(n):
            s = R(0)
            for i in range(n):
                s = R(s + R(abs(w[at + i * n + j]) * v[i]))
            v[n + j] = s
            most = max(most, s)
        if not most > 0:
            return int64(0)
        total += math.log(most)
        for j in range(n):
            v[j] = R(v[n + j] / most)
    # 1 / (binomial(26, 13) 27!), over the unit roundoff
    need = total - math.log(norm(w, at, n)) - 80.70384309867893 + 36.7368005696771
    return int64(max(math.ceil(need / (26.0 * 0.6931471805599453)), 0.0))


def combine(w, to, n, c0, c1, c2, c3, at):  # type: ignore[no-untyped-def]
    """``w[to:] = c0 I + c1 a^2 + c2 a^4 + c3 a^6``, with the powers from ``at`` on."""
    size = n * n
    for i in range(size):
        v = T(T(c1 * w[at + i]) + T(c2 * w[at + size + i]))
        w[to + i] = T(v + T(c3 * w[at + 2 * size + i]))
    for i in range(n):
        w[to + i * (n + 1)] = T(w[to + i * (n + 1)] + c0)


def both(p, size, n, base, to, first, second, third, fourth, keep):  # type: ignore[no-untyped-def]
    """``to = first second + third fourth``, or added: numbers of matrices in the workspace at ``base``."""
    step = n * n * size
    multiply(p, size, base + to * step, base + first * step, base + second * step, n, n, n, False, keep)
    multiply(p, size, base + to * step, base + third * step, base + fourth * step, n, n, n, False, True)


def one(p, size, n, base, to, first, second):  # type: ignore[no-untyped-def]
    """``to = first second``."""
    step = n * n * size
    multiply(p, size, base + to * step, base + first * step, base + second * step, n, n, n, False, False)


def coefficients(order, k):  # type: ignore[no-untyped-def]
    """The coefficient of ``a^k`` in the numerator, that of 1 being 1; 0 beyond the order."""
    c = 1.0
    for j in range(1, k + 1):
        c *= (order - j + 1) / ((2 * order - j + 1) * j)
    return c if k <= order else 0.0


def squarings(p, base, w, n, size, narrow, along):  # type: ignore[no-untyped-def]
    """The order to use, and how often to halve: ``64 * halvings + order``.

    With ``along`` the limits are those for the derivative, and the powers are not looked at.
    """
    s = norm(w, int64(0), n)
    N = n * n
    single = narrow == 4
    if single:
        small, middle, large = (
            (0.3, 1.3, 2.7) if along else (0.4258730016922831, 1.880152677804762, 3.925724783138660)
        )
    elif along:
        small, middle, large = 0.0108, 0.2, 0.783
    else:
        small, middle, large = 0.01495585217958292, 0.2539398330063230, 0.9504178996162932
    if s <= small:
        return int64(3)
    if s <= middle:
        return int64(5)
    if s <= large:
        return int64(7)
    halvings = int64(0)
    if single:
        while s > large:
            s = R(s * R(0.5))
            halvings += 1
        return 64 * halvings + 7
    limit = 4.74
    if not along:
        limit = 4.25
        if s > limit:  # the least of bounds that powers give
            one(p, size, n, base, W, A4, A4)
            eighth = norm(w, W * N, n) ** 0.125
            one(p, size, n, base, W, A4, A6)
            powers = min(max(norm(w, 3 * N, n) ** (1.0 / 6.0), eighth), max(eighth, norm(w, W * N, n) ** 0.1))
            s = min(s, R(powers))
    while s > limit:
        s = R(s * R(0.5))
        halvings += 1
    return 64 * halvings + 13


def exponential(out, x, y, p, along):  # type: ignore[no-untyped-def]
    """``exp(x)``, or its derivative at ``x`` along ``y``.

    ``p`` goes on with n, n, 1, batch, itemsize, that of a part.
    """
    d = array(p, SHARED + 6, int64)
    n, batch, size, narrow = d[SHARED], d[SHARED + 3], d[SHARED + 4], d[SHARED + 5]
    if n == 0 or batch == 0:
        return int64(0)
    N = n * n
    a, o = array(x, batch * N, T), array(out, batch * N, TO)
    e = array(y if along else x, batch * N, T)
    memory = allocate(((FACTORS + 1) * N + 4 * n) * size // 8 + 1)
    base = word(memory)
    if base == 0:
        return int64(NO_MEMORY)
    w = array(base, (FACTORS + 1) * N + 4 * n, T)
    for b in range(batch):
        good = finite(a, b * N, N) and (not along or finite(e, b * N, N))
        if not good:
            for i in range(N):
                o[b * N + i] = TO(math.nan)
            continue
        for i in range(N):
            w[i] = a[b * N + i]
        first = int64(0)
        most = norm(w, int64(0), n)
        while most > (HUGE[0] if narrow == 8 else HUGE[1]):
            most = R(most * R(0.5))
            first += 1
        if first > 0:
            for i in range(N):
                w[i] = T(w[i] * T(0.5**first))
        one(p, size, n, base, A2, A, A)
        one(p, size, n, base, A4, A2, A2)
        one(p, size, n, base, A6, A4, A2)
        found = squarings(p, base, w, n, size, narrow, along)
        order, halvings = found % 64, found // 64
        if order == 13 and not along:
            scale(w, n, halvings)
            more = excess(w, int64(0), n, array(base + FACTORS * N * size, 2 * n, R))
            scale(w, n, more)
            halvings += more
        else:
            scale(w, n, halvings)
        halvings += first
        if along:
            f = T(0.5**halvings)
            for i in range(N):
                w[E * N + i] = T(e[b * N + i] * f)
            both(p, size, n, base, E2, A, E, E, A, False)
            both(p, size, n, base, E4, A2, E2, E2, A2, False)
            both(p, size, n, base, E6, A4, E2, E4, A2, False)
        rational(p, size, n, base, w, order, along)
        for _ in range(halvings):
            if along:
                both(p, size, n, base, W, V, LV, LV, V, False)
                for i in range(N):
                    w[LV * N + i] = w[W * N + i]
            one(p, size, n, base, W, V, V)
            for i in range(N):
                w[V * N + i] = w[W * N + i]
        last = (LV if along else V) * N
        for i in range(N):
            o[b * N + i] = w[last + i]
    release(memory)
    return int64(0)


def scale(w, n, halvings):  # type: ignore[no-untyped-def]
    """Divide the matrix and its powers as if it had been halved so often."""
    N = n * n
    f = T(0.5**halvings)
    f2 = T(f * f)
    for i in range(N):
        w[i] = T(w[i] * f)
        w[N + i] = T(w[N + i] * f2)
        w[2 * N + i] = T(T(w[2 * N + i] * f2) * f2)
        w[3 * N + i] = T(T(T(w[3 * N + i] * f2) * f2) * f2)


def rational(p, size, n, base, w, order, along):  # type: ignore[no-untyped-def]
    """The rational approximation of the exponential of the scaled matrix, in V; its derivative in LV."""
    N = n * n
    zero = T(0)
    c1, c3, c5, c7 = (
        T(coefficients(order, 1)),
        T(coefficients(order, 3)),
        T(coefficients(order, 5)),
        T(coefficients(order, 7)),
    )
    c2, c4, c6 = T(coefficients(order, 2)), T(coefficients(order, 4)), T(coefficients(order, 6))
    # numerator = V + U, denominator = V - U; U = A W
    combine(w, W * N, n, c1, c3, c5, c7, A2 * N)
    combine(w, V * N, n, T(1), c2, c4, c6, A2 * N)
    step = N * size
    if along:
        combine(w, LU_ * N, n, zero, c3, c5, c7, E2 * N)
        combine(w, LV * N, n, zero, c2, c4, c6, E2 * N)
    if order == 13:
        c9, c11, c13 = T(coefficients(order, 9)), T(coefficients(order, 11)), T(coefficients(order, 13))
        c8, c10, c12 = T(coefficients(order, 8)), T(coefficients(order, 10)), T(coefficients(order, 12))
        at = base + A6 * step
        combine(w, U * N, n, zero, c9, c11, c13, A2 * N)
        combine(w, FACTORS * N, n, zero, c8, c10, c12, A2 * N)
        if along:  # a product's derivative has two terms
            combine(w, X * N, n, zero, c9, c11, c13, E2 * N)
            both(p, size, n, base, LU_, A6, X, E6, U, True)
            combine(w, X * N, n, zero, c8, c10, c12, E2 * N)
            both(p, size, n, base, LV, A6, X, E6, FACTORS, True)
        multiply(p, size, base + W * step, at, base + U * step, n, n, n, False, True)
        multiply(p, size, base + V * step, at, base + FACTORS * step, n, n, n, False, True)
    one(p, size, n, base, U, A, W)
    if along:
        both(p, size, n, base, X, A, LU_, E, W, False)  # the derivative of U
    for i in range(N):
        u, v = w[U * N + i], w[V * N + i]
        w[FACTORS * N + i] = T(v - u)
        w[V * N + i] = T(v + u)
    # factors are those of the transpose, as LAPACK sees it
    at, sizes = base + FACTORS * step, p + 8 * SHARED
    factor(p, at, w, FACTORS * N, n, size)
    back(p, base + V * step, at, w, V * N, w, FACTORS * N, n, n, sizes, False)
    if along:  # (V - U)^-1 (LU + LV + (LU - LV) exp)
        for i in range(N):
            u, v = w[X * N + i], w[LV * N + i]
            w[LV * N + i] = T(u + v)
            w[X * N + i] = T(u - v)
        multiply(p, size, base + LV * step, base + X * step, base + V * step, n, n, n, False, True)
        back(p, base + LV * step, at, w, LV * N, w, FACTORS * N, n, n, sizes, False)


def expm(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The exponential of each matrix; see `exponential`."""
    return exponential(out, x, y, p, False)


def expm_derivative(out: int, x: int, y: int, z: int, p: int, q: int) -> int:
    """The derivative of the exponential at each matrix (``x``) along another (``y``)."""
    return exponential(out, x, y, p, True)
