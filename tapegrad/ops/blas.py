"""Addresses of SciPy's BLAS and LAPACK routines, and numbers as they lie in memory."""

from __future__ import annotations

import ctypes
import functools
import importlib
import struct

import numpy as np

__all__ = ["bits_of", "capsule_address"]


@functools.cache
def capsule_address(module: str, name: str) -> int:
    """The address of a routine that SciPy exports, e.g. ``("cython_blas", "dgemm")``."""
    capsule = importlib.import_module(f"scipy.linalg.{module}").__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, get_name(capsule))
    assert address is not None
    return int(address)


def bits_of(value: float, dtype: np.dtype) -> int:
    """A number of ``dtype`` (float64 or float32) as the integer with the same bits."""
    code = "<q" if dtype.itemsize == 8 else "<i"
    return int(struct.unpack(code, struct.pack("<d" if dtype.itemsize == 8 else "<f", value))[0])
