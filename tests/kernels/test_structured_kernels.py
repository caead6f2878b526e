"""Structured kernels: plain Python first, then compiled; both must write the same."""

import ctypes

import numpy as np
import pytest

from tapegrad import _jit
from tapegrad.kernels import (
    blas,
    convolution,
    gather,
    move,
    nan,
    normalise,
    pooling,
    reduce,
    running,
    segments,
    sort,
)
from tapegrad.ops.contraction import MATMUL, MATVEC
from tapegrad.ops.convolution import CONVOLUTION, CONVOLUTION_INPUT, CONVOLUTION_WEIGHT
from tapegrad.ops.pooling import MAX_POOL, POOL_HITS, POOL_SHARES, SUM_POOL, SUM_POOL_ADJOINT
from tapegrad.spec import intern_spec

CALL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 20, 5))
G = RNG.standard_normal((20, 3))
INDEX = np.array([2, 0, 1, 2])
MIDDLE = (3, 20, 5)  # outer, n, inner of X
ROWS = (15, 20, 1)


def spec(x):
    return intern_spec(x.shape, x.dtype)


def product(row, *operands, **static):
    out = row.shape(*map(spec, operands), **static)
    return operands, out.params, out.shape, "float64"


A, B, V = RNG.standard_normal((17, 19)), RNG.standard_normal((19, 23)), RNG.standard_normal(19)
STACK = RNG.standard_normal((4, 3, 5))
IMAGE, WEIGHT = RNG.standard_normal((2, 4, 9, 11)), RNG.standard_normal((6, 2, 3, 2))
PLACES = RNG.standard_normal((2, 6, 5, 4))
GEOMETRY = {"stride": (2, 3), "padding": (1, 1, 0, 1), "dilation": (1, 2), "groups": 2}
WINDOWS = {"window": (3, 2), "places": (5, 4), "stride": (2, 3), "padding": (1, 1), "dilation": (1, 2)}
CASES = {
    "gather": (move.gather, (X,), (3, 5, 3, 20, 1, 100, 5, 300), (5, 3, 20), "float64"),
    "gather backwards": (move.gather, (X,), (1, 10, -2, 300), (10,), "float64", 299),
    "scatter_strided": (move.scatter_strided, (G,), (2, 20, 3, 1, 0, 20), (20,), "float64"),
    "scatter transposed": (move.scatter_strided, (G,), (2, 20, 3, 1, 20, 60), (60,), "float64"),
    "set_strided": (move.set_strided, (X, G), (2, 20, 3, 5, 100, 300), (300,), "float64", 2),
    "clear_strided": (move.clear_strided, (X,), (2, 20, 3, 5, 100, 300), (300,), "float64", 2),
    "concat": (move.concat, (X, X), (3, 100, 100), (3, 200), "float64"),
    "gather blocks": (gather.gather, (X, INDEX), (4, 100, 3), (4, 100), "float64"),
    "scatter_add": (gather.scatter_add, (X[[0, 1, 2, 0]], INDEX), (4, 100, 3), (3, 100), "float64"),
    "index_put": (gather.index_put, (X, X[[0, 1, 2, 0]] + 1, INDEX), (4, 100, 3), (3, 100), "float64"),
    "index_clear": (gather.index_clear, (X, INDEX[:2]), (2, 100, 3), (3, 100), "float64"),
    "last_writes": (gather.last_writes, (INDEX,), (4, 1, 3), (7,), "int64"),
    "wrap_index": (gather.wrap_index, (INDEX - 1,), (4, 3, 7), (4,), "int64"),
    "sum": (reduce.sum_, (X,), MIDDLE, (3, 5), "float64"),
    "sum rows": (reduce.sum_, (X,), (1, 300, 1), (1,), "float64"),
    "sum int": (reduce.sum_, ((X * 9).astype(np.int8),), MIDDLE, (3, 5), "int64"),
    "sum_all": (reduce.sum_all, (X,), (300,), (1,), "float64"),
    "prod": (reduce.prod, (X,), MIDDLE, (3, 5), "float64"),
    "max": (reduce.max_, (X,), MIDDLE, (3, 5), "float64"),
    "max rows": (reduce.max_, (X,), ROWS, (15,), "float64"),
    "min rows": (reduce.min_, (X,), ROWS, (15,), "float64"),
    "argmax": (reduce.argmax, (X,), MIDDLE, (3, 5), "int64"),
    "argmin rows": (reduce.argmin, (X,), ROWS, (15,), "int64"),
    "any": (reduce.any_, (X,), MIDDLE, (3, 5), "uint8"),
    "all": (reduce.all_, (X,), MIDDLE, (3, 5), "uint8"),
    "cumsum": (reduce.cumsum, (X,), (*MIDDLE, 1), X.shape, "float64"),
    "cumprod": (reduce.cumprod, (X,), (*MIDDLE, 1), X.shape, "float64"),
    "linear_recurrence": (reduce.linear_recurrence, (X, X), (*MIDDLE, 0), X.shape, "float64"),
    "logsumexp": (normalise.logsumexp, (X,), MIDDLE, (3, 5), "float64"),
    "softmax": (normalise.softmax, (X,), MIDDLE, X.shape, "float64"),
    "softmax columns": (normalise.softmax, (X,), (3, 10, 10), X.shape, "float64"),
    "softmax rows": (normalise.softmax, (X,), ROWS, X.shape, "float64"),
    "log_softmax": (normalise.log_softmax, (X,), MIDDLE, X.shape, "float64"),
    "norm2": (normalise.norm2, (X * 1e-200,), MIDDLE, (3, 5), "float64"),
    "argsort": (sort.argsort, (X,), (3, 100, 1), (2, 300), "int64"),
    "scatter_max": (segments.scatter_max, (X[[0, 1, 2, 0]], INDEX), (4, 100, 3), (3, 100), "float64"),
    "scatter_min": (segments.scatter_min, (X[[0, 1, 2, 0]], INDEX), (4, 100, 3), (3, 100), "float64"),
    "cummax": (running.running_max, (X,), MIDDLE, X.shape, "float64"),
    "cummin": (running.running_min, (X,), MIDDLE, X.shape, "float64"),
    "logcumsumexp": (running.logcumsumexp, (X,), MIDDLE, X.shape, "float64"),
    "nanargmax": (nan.nanargmax, (X,), MIDDLE, (3, 5), "int64"),
    "nanargmin": (nan.nanargmin, (X,), MIDDLE, (3, 5), "int64"),
    "searchsorted": (sort.searchsorted, (np.sort(V), V), (1, 19, 19, 1), (19,), "int64"),
    "matmul": (blas.matmul, *product(MATMUL, A, B, tx=False, ty=False, reduce=False)),
    "matmul flags": (blas.matmul, *product(MATMUL, A.T.copy(), B.T.copy(), tx=True, ty=True, reduce=False)),
    "matmul small": (blas.matmul, *product(MATMUL, STACK, STACK, tx=False, ty=True, reduce=True)),
    "convolution": (convolution.convolution, *product(CONVOLUTION, IMAGE, WEIGHT, **GEOMETRY)),
    "convolution input": (
        convolution.convolution,
        *product(CONVOLUTION_INPUT, PLACES, WEIGHT, size=(9, 11), **GEOMETRY),
    ),
    "convolution weight": (
        convolution.convolution,
        *product(CONVOLUTION_WEIGHT, IMAGE, PLACES, size=(3, 2), **GEOMETRY),
    ),
    "max_pool": (pooling.max_pool, *product(MAX_POOL, IMAGE, **WINDOWS)),
    "sum_pool": (pooling.sum_pool, *product(SUM_POOL, IMAGE, **WINDOWS)),
    "sum_pool_adjoint": (
        pooling.sum_pool_adjoint,
        *product(SUM_POOL_ADJOINT, PLACES, size=(9, 11), **WINDOWS),
    ),
    "pool_shares": (
        pooling.pool_shares,
        *product(POOL_SHARES, PLACES[:, :4], np.round(IMAGE), np.ones((2, 4, 5, 4)), **WINDOWS),
    ),
    "pool_hits": (
        pooling.pool_hits,
        *product(POOL_HITS, IMAGE, np.round(IMAGE), np.ones((2, 4, 5, 4)), **WINDOWS),
    ),
    "matvec": (blas.matvec, *product(MATVEC, A, V, tx=False)),
    "matvec flags": (blas.matvec, *product(MATVEC, B, V, tx=True)),
    "matvec long": (blas.matvec, *product(MATVEC, np.ones((3, 50)), np.arange(50.0), tx=False)),
}


def run(call, inputs, params, shape, dtype, q=0):
    out = np.full(shape, 7, dtype)
    p = np.array(params, np.int64)
    inputs = [np.ascontiguousarray(a) for a in inputs]
    addresses = [a.ctypes.data for a in inputs] + [0, 0]
    assert call(out.ctypes.data, *addresses[:3], p.ctypes.data, q) == 0
    return out


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_plain(name):
    kernel, inputs, *rest = CASES[name]
    as_written = inputs[0].dtype == np.float64 and rest[2] != "uint8"  # T and TO are float64 there
    plain = run(kernel, inputs, *rest) if as_written else None
    names = {"T": inputs[0].dtype.type, "TO": np.dtype(rest[2]).type}
    label = f"test_{kernel.__module__.split('.')[-1]}_{kernel.__name__}_{inputs[0].dtype}_{rest[2]}"
    compiled = run(CALL(_jit.kernel(label, kernel, 6, names)), inputs, *rest)
    if plain is not None and kernel is not sort.argsort:
        np.testing.assert_allclose(compiled, plain, rtol=1e-13, atol=1e-13)
    if kernel is sort.argsort:  # the second plane is room to merge in
        np.testing.assert_array_equal(compiled[0], plain[0])
    if name == "matmul":
        np.testing.assert_allclose(compiled, A @ B, rtol=1e-12)


def test_bad_indices_give_a_status():
    x, index = np.zeros(3), np.array([3])
    out, p = np.zeros(1), np.array([1, 1, 3], np.int64)
    address = [a.ctypes.data for a in (out, x, index, index, p)]
    assert gather.gather(*address, 0) == 1
    assert gather.scatter_add(address[1], address[0], address[2], address[3], address[4], 0) == 1
