"""Raw memory as arrays: the plain-Python twin of the view that jitted kernels use."""

from __future__ import annotations

import ctypes

import numpy as np

__all__ = ["T", "TO", "array", "int64"]

int64 = np.int64
# Placeholders: the compiler substitutes the dtype a kernel is built for.
T = np.float64
TO = np.float64


def array(address: int, n: int, dtype: type) -> np.ndarray:
    """View ``n`` elements of ``dtype`` at ``address`` as a flat, writable array.

    The caller vouches for the address; in plain Python this is only used by tests.
    """
    itemsize = np.dtype(dtype).itemsize
    if n == 0:
        return np.empty(0, dtype)
    raw = (ctypes.c_char * (n * itemsize)).from_address(address)
    return np.frombuffer(raw, dtype=dtype, count=n)
