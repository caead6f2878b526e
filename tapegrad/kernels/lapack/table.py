"""The table in front of every ``p``, word by word, and the size at which kernels change over."""

from __future__ import annotations

SMALL = 16  # matrices up to this size run faster in plain loops than in a library

BLAS = ("trsm", "trsv", "gemm", "symm")
LAPACK = ("potrf", "getrf")
LETTERS = "LUNTR"
NUMBERS = (1.0, -1.0, 0.0)

TRSM, TRSV, GEMM, SYMM = range(4)
POTRF, GETRF = range(4, 6)
LOWER, UPPER, NORMAL, TRANSPOSED, RIGHT = range(6, 11)
LEFT, UNIT = LOWER, UPPER  # the same letters
ONE, MINUS, ZERO = range(11, 14)
SHARED = 14
