"""The table in front of every ``p``, word by word, and what else the kernels here agree on."""

from __future__ import annotations

SMALL = 16  # matrices up to this size run faster in plain loops than in a library

BLAS = ("trsm", "trsv", "gemm", "symm")
LAPACK = ("potrf", "getrf", "syevd", "gesdd", "geqrf", "orgqr", "geev")
COMPLEX = {"syevd": "heevd", "orgqr": "ungqr"}  # the names that some have for complex matrices
LETTERS = "LUNTRVSC"
NUMBERS = (1.0, -1.0, 0.0)  # two words each, for complex ones

TRSM, TRSV, GEMM, SYMM = range(4)
POTRF, GETRF, SYEVD, GESDD, GEQRF, ORGQR, GEEV = range(4, 11)
LOWER, UPPER, NORMAL, TRANSPOSED, RIGHT, VECTORS, SOME, CONJUGATED = range(11, 19)
LEFT, UNIT = LOWER, UPPER  # the same letters
ONE, MINUS, ZERO = range(19, 25, 2)
SHARED = 25

# Statuses.  ``1 + i`` says that matrix ``i`` was refused; from ``DERIVATIVE`` on, that what a rule asks for
# does not exist at it.
DERIVATIVE = 1 << 19
