"""Errors of kernels in units of the last place, against 45 digits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.engine.kernel_table import FORWARD, library
from tapegrad.ops.table import ROWS, Row
from tapegrad.spec import dtype_index

try:
    import mpmath
except ImportError:  # test_scalar.py does without
    mp = None
else:
    mp = mpmath.mp.clone()
    mp.dps = 45

COUNT = {"intense": 20_000, "dev": 600}.get(os.environ.get("TAPEGRAD_HYPOTHESIS", "ci"), 150)


# Files of kernels.math whose functions test_special_math.py is about.
SPECIAL_FILES = {
    "bessel",
    "bessel_modified",
    "beta",
    "densities",
    "entropy",
    "gamma_function",
    "incomplete_beta",
    "incomplete_gamma",
    "inverse_error",
    "quotients",
    "scaled_error",
}


def is_special(row: Row) -> bool:
    return row.forward is not None and row.forward.__module__.rsplit(".", 1)[-1] in SPECIAL_FILES


def compiled(name: str, *columns: np.ndarray) -> np.ndarray:
    """What the row's kernel gives."""
    dtype = columns[0].dtype
    out = np.empty_like(columns[0])
    address = library.address(ROWS[name].op, dtype_index[dtype], FORWARD, dtype_index[dtype])
    pointers = [c.ctypes.data for c in columns] + [0] * (3 - len(columns))
    ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(address)(len(out), out.ctypes.data, *pointers)
    return out


def plain(name: str, *columns: np.ndarray) -> np.ndarray:
    """What Python gives, of the body for this dtype."""
    function: Any = ROWS[name].forward
    if columns[0].dtype == np.float32:
        function = getattr(function, "single", function)
    with np.errstate(all="ignore"):
        return np.array([function(*values) for values in zip(*columns)], columns[0].dtype)


def around(low: float, high: float) -> Callable:
    return lambda rng: rng.uniform(low, high, COUNT)


def magnitudes(low: float, high: float, signed: bool = True) -> Callable:
    """Magnitudes spread evenly on a logarithmic scale."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        x = np.exp(rng.uniform(np.log(low), np.log(high), COUNT))
        return x * rng.choice([-1.0, 1.0], COUNT) if signed else x

    return draw


def near(point: float, low: float, high: float, signed: bool = True) -> Callable:
    return lambda rng: point + magnitudes(low, high, signed)(rng)


def errors(actual: np.ndarray, columns: list[np.ndarray], exact: Callable) -> np.ndarray:
    """Errors in units of the last place, denormals included."""
    out = []
    kind = actual.dtype.type
    for result, *values in zip(actual, *columns):
        true = exact(*[mp.mpf(float(v)) for v in values])
        with np.errstate(all="ignore"):
            rounded = kind(float(true))
        if not np.isfinite(rounded):
            out.append(0.0 if result == rounded else np.inf)
        elif np.isnan(result):
            out.append(np.inf)
        else:
            unit = mp.mpf(float(np.spacing(abs(rounded))))
            out.append(float(abs(mp.mpf(float(result)) - true) / unit))
    return np.array(out)
