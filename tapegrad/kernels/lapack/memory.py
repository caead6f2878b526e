"""Small pieces that factorisations share: statuses, finiteness, transposed copies."""

from __future__ import annotations

from tapegrad.kernels.lapack.table import DERIVATIVE
from tapegrad.kernels.memory import T, array, int32, int64

__all__ = ["finite", "refused", "room_for", "transposed", "went_wrong"]


def refused(i):  # type: ignore[no-untyped-def]
    """The status for matrix ``i``."""
    return min(i + 1, int64(DERIVATIVE - 1))


def finite(a, at, n):  # type: ignore[no-untyped-def]
    """Whether ``n`` numbers are finite: LAPACK may search for eigenvalues of others for ever."""
    s = T(0)
    for i in range(at, at + n):
        s = T(s + T(a[i] - a[i]))  # NaN, for those that are not
    return s == 0


def transposed(o, at, a, c, m, n):  # type: ignore[no-untyped-def]
    """``o = a'`` for ``a`` of shape ``(m, n)``, in squares so that neither side misses its cache."""
    for i0 in range(0, m, 16):
        for j0 in range(0, n, 16):
            for i in range(i0, min(i0 + 16, m)):
                for j in range(j0, min(j0 + 16, n)):
                    o[at + j * m + i] = a[c + i * n + j]


def room_for(n, size):  # type: ignore[no-untyped-def]
    """How many words ``n`` elements of ``size`` bytes take."""
    return (n * size + 7) // 8


def went_wrong(info):  # type: ignore[no-untyped-def]
    """Whether a routine has left anything but 0 in the word at ``info``."""
    return array(info, 2, int32)[0] != 0
