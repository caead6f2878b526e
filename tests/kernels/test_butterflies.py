"""Butterflies of vectors against their plain twins, and what the Fourier kernels do without memory."""

import ctypes

import numpy as np
import pytest

from tapegrad import _jit
from tapegrad.kernels import butterflies, fft, fft_real, memory
from tapegrad.kernels.memory import NO_MEMORY, R, T, array, butterfly_odd, int64

CALL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)
RNG = np.random.default_rng(0)
COUNT = 13  # lanes: more than a vector, and no multiple of one
butterfly = merge_lanes = memory.butterfly_2  # placeholders


def planes(out, x, y, z, p, q):
    """A butterfly from two planes to two planes."""
    a, o, w = array(x, 512, R), array(out, 512, R), array(y, 16, T)
    butterfly(
        a, int64(3), int64(256), int64(16), o, int64(5), int64(250), int64(15), w, int64(1), q, int64(13)
    )
    return 0


def numbers(out, x, y, z, p, q):
    """From complex numbers to two planes."""
    a, o, w = array(x, 256, T), array(out, 512, R), array(y, 16, T)
    butterfly(a, int64(3), q, int64(16), o, int64(5), int64(250), int64(15), w, int64(1), int64(1), int64(13))
    return 0


def lanes(out, x, y, z, p, q):
    """Neighbours in two planes become rows of complex numbers."""
    a, o, w = array(x, 512, R), array(out, 256, T), array(y, 128, T)
    merge_lanes(a, int64(3), int64(256), o, int64(5), q, w, int64(1), int64(13))
    return 0


def both_ways(kernel, name, dtype, x, w, shape, out_dtype, q):
    """What the plain function and the compiled one write."""
    found = []
    part = np.zeros(0, dtype).real.dtype.type
    for compiled in (False, True):
        out = np.full(shape, 7, out_dtype)
        names = {"T": np.dtype(dtype).type, "TO": np.dtype(dtype).type, "R": part}
        names |= {"butterfly": getattr(memory, name), "merge_lanes": memory.merge_lanes}
        if compiled:
            label = f"test_{kernel.__name__}_{name}_{dtype}_{COUNT}"
            call = CALL(_jit.kernel(label, kernel, 6, names))
        else:
            call = type(kernel)(kernel.__code__, {**globals(), **names})
        assert call(out.ctypes.data, x.ctypes.data, w.ctypes.data, 0, 0, q) == 0
        found.append(out)
    return found


def drawn(n, dtype):
    return (RNG.standard_normal(n) + 1j * RNG.standard_normal(n)).astype(dtype)


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("name", ["butterfly_2", "butterfly_3", "butterfly_4", "butterfly_5", "merge_8"])
def test_butterflies(name, dtype):
    tolerance = 1e-14 if dtype == "complex128" else 1e-5
    x, w = drawn(256, dtype), drawn(16, dtype)
    part = x.real.dtype
    flat = np.concatenate([x.real, x.imag])
    for apart in (1, 2):
        plain, quick = both_ways(planes, name, dtype, flat, w, 512, part, apart)
        np.testing.assert_allclose(quick, plain, rtol=tolerance, atol=10 * tolerance)
    for exchange in (0, 1):
        plain, quick = both_ways(numbers, name, dtype, x, w, 512, part, exchange)
        np.testing.assert_allclose(quick, plain, rtol=tolerance, atol=10 * tolerance)


def odd(out, x, y, z, p, q):
    """A butterfly of an odd radix ``q``, whose roots are behind the others."""
    a, o, w = array(x, 512, R), array(out, 512, R), array(y, 64, T)
    turns, apart, roots, n = int64(1), int64(2), int64(40), int64(13)
    at, far, step, to, away, by = int64(3), int64(256), int64(16), int64(5), int64(250), int64(15)
    butterfly_odd(a, at, far, step, o, to, away, by, w, turns, apart, n, q, roots)
    return 0


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("r", [3, 7, 11, 13])
def test_odd_radices(dtype, r):
    tolerance = 1e-14 if dtype == "complex128" else 1e-5
    x, w = drawn(256, dtype), drawn(64, dtype)
    w[40 : 40 + r] = np.exp(-2j * np.pi * np.arange(r) / r)
    flat = np.concatenate([x.real, x.imag])
    plain, quick = both_ways(odd, "butterfly_2", dtype, flat, w, 512, x.real.dtype, r)
    np.testing.assert_allclose(quick, plain, rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("exchange", [0, 1])
def test_merging_of_lanes(dtype, exchange):
    tolerance = 1e-14 if dtype == "complex128" else 1e-5
    x, w = drawn(256, dtype), drawn(128, dtype)
    flat = np.concatenate([x.real, x.imag])
    plain, quick = both_ways(lanes, "butterfly_2", dtype, flat, w, 256, dtype, exchange)
    np.testing.assert_allclose(quick, plain, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name, r", [("two", 2), ("three", 3), ("four", 4), ("five", 5), ("eight", 8)])
def test_formulas(name, r):
    x = drawn(r, "complex128")
    got = np.array(getattr(butterflies, name)(*x.view(np.float64))).view(np.complex128)
    np.testing.assert_allclose(got, np.fft.fft(x), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("kernel, t, to", [
    (fft.fft, "complex128", "complex128"), (fft_real.fft_real, "float64", "complex128"),
    (fft_real.fft_half, "complex128", "float64"),
])  # fmt: skip
def test_no_memory(kernel, t, to):
    """A length for which there cannot be room: the kernel says so before it touches anything."""
    names = {"T": np.dtype(t).type, "TO": np.dtype(to).type, "R": np.float64}
    call = CALL(_jit.kernel(f"{kernel.__name__}_{t}_{to}", kernel, 6, names))
    n = 1 << 46
    p = np.array([1, n, 1, n, n, 0, 1], np.int64)
    assert call(0, 0, 0, 0, p.ctypes.data, 0) == NO_MEMORY
