"""Special values and conventions of reductions, scans, norms, sorts and products."""

import math

import numpy as np
import pytest

import tapegrad as tg

INF, NAN = math.inf, math.nan


def gradient(f, x):
    t = tg.tensor(x, requires_grad=True)
    out = f(t)
    (out.sum() if out.ndim else out).backward()
    return t.grad.numpy()


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (tg.prod, [0.0, 2.0, 3.0], [6, 0, 0]),
        (tg.prod, [0.0, 2.0, 0.0], [0, 0, 0]),
        (tg.cumprod, [2.0, 0.0, 3.0, 0.0], [1, 8, 0, 0]),
        (tg.max, [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
        (tg.min, [[1.0, 1.0], [2.0, 1.0]], [[1 / 3, 1 / 3], [0, 1 / 3]]),
        (tg.max, [1.0, NAN, 2.0], [0, 1, 0]),
        (tg.vector_norm, [0.0, 0.0], [0, 0]),
        (tg.vector_norm, [3e200, 4e200], [0.6, 0.8]),
        (lambda x: tg.vector_norm(x, ord=3), [0.0, 0.0], [0, 0]),
        (tg.std, [1.0, 1.0], [0, 0]),
        (lambda x: tg.logsumexp(x, axis=1), [[-INF, -INF], [0.0, -INF]], [[0, 0], [1, 0]]),
        (tg.logsumexp, [1000.0, 1000.0], [0.5, 0.5]),
        (lambda x: tg.log_softmax(x, axis=0)[0], [0.0, -INF], [0, 0]),
    ],
)
def test_gradient_conventions(f, x, expected):
    np.testing.assert_allclose(gradient(f, x), expected, atol=1e-15)


def test_values_at_the_edge():
    assert math.isnan(tg.max(tg.tensor([1.0, NAN])).item())
    assert tg.argmax(tg.tensor([1.0, NAN, 2.0, NAN])).item() == 1
    assert tg.argmin(tg.tensor([2.0, 1.0, 1.0])).item() == 1
    assert tg.logsumexp(tg.tensor([-INF, -INF])).item() == -INF
    assert tg.vector_norm(tg.tensor([3e200, 4e200])).item() == pytest.approx(5e200)
    assert tg.vector_norm(tg.tensor([3e-200, 4e-200])).item() == pytest.approx(5e-200)
    assert tg.sum(tg.tensor([INF] * 1000)).item() == INF
    assert tg.sum(tg.zeros((0, 3)), axis=0).tolist() == [0, 0, 0]
    assert tg.prod(tg.zeros(0)).item() == 1
    assert (tg.zeros((2, 0)) @ tg.zeros((0, 3))).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "argmax", "cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int64", "uint8", "uint32", "float32"])
def test_reductions_follow_numpy_in_every_dtype(name, dtype):
    a = (np.arange(24) % 5).reshape(2, 3, 4).astype(dtype)
    several = name not in ("argmax", "cumsum", "cumprod")
    for axis in (None, 0, 1, -1, *([(0, 2), (0, 1)] if several else [])):
        expected = np.asarray(getattr(np, name)(a, axis=axis))
        out = getattr(tg, name)(tg.tensor(a), axis=axis).numpy()
        assert out.dtype == expected.dtype
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("n", [7, 300, 12345])
def test_sums_are_as_accurate_as_numpys(n):
    rng = np.random.default_rng(n)
    a = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n)
    scale = np.abs(a).sum() * 1e-16 * 4
    exact = math.fsum(a)
    x = tg.tensor(a)
    for out in (tg.sum(x), tg.sum(x[None], axis=1)[0], tg.sum(x[:, None], axis=0)[0]):
        assert abs(out.item() - exact) <= scale


@pytest.mark.parametrize("n", [0, 1, 5, 13, 200])
def test_sorting_is_stable_with_nan_last(n):
    a = np.random.default_rng(n).integers(0, 9, n).astype(float)
    a[2:3] = NAN
    np.testing.assert_array_equal(tg.argsort(tg.tensor(a)).numpy(), np.argsort(a, kind="stable"))
    np.testing.assert_array_equal(tg.sort(tg.tensor(a), descending=True).numpy(), -np.sort(-a))
    values = np.array([0.0, 3.0, 3.5, NAN, 9.0, -1.0])
    for side in ("left", "right"):
        found = tg.searchsorted(tg.tensor(np.sort(a)), tg.tensor(values), side=side).numpy()
        np.testing.assert_array_equal(found, np.searchsorted(np.sort(a), values, side=side))


BATCHES = [((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 1), (1, 3)), ((2, 3), (3,))]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 5, 7), (40, 50, 60), (60, 50, 1), (1, 50, 60)], ids=str)
@pytest.mark.parametrize("batches", BATCHES, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_and_their_derivatives(sizes, batches, dtype):
    m, k, n = sizes
    rng = np.random.default_rng(m * k + n)
    a = rng.standard_normal((*batches[0], m, k)).astype(dtype)
    b = rng.standard_normal((*batches[1], k, n)).astype(dtype)
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    out = x @ y
    g = rng.standard_normal(out.shape).astype(dtype)
    out.backward(tg.tensor(g))
    tol = {"rtol": 1e-12, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-4, "atol": 2e-3}

    def unbroadcast(c, shape):
        c = c.sum(axis=tuple(range(c.ndim - len(shape))))
        return c.sum(axis=tuple(i for i, s in enumerate(shape) if s == 1 and c.shape[i] != 1), keepdims=True)

    np.testing.assert_allclose(out.detach().numpy(), a @ b, **tol)
    np.testing.assert_allclose(x.grad.numpy(), unbroadcast(g @ np.swapaxes(b, -1, -2), a.shape), **tol)
    np.testing.assert_allclose(y.grad.numpy(), unbroadcast(np.swapaxes(a, -1, -2) @ g, b.shape), **tol)


def test_errors_name_the_operation_and_shapes():
    cases = [
        (lambda: tg.sum(tg.zeros(3), axis=2), np.exceptions.AxisError, "sum: axis 2 is out of bounds"),
        (lambda: tg.max(tg.zeros(0)), ValueError, "max: zero-size array"),
        (lambda: tg.zeros((2, 3)) @ tg.zeros((2, 3)), ValueError, r"matmul: .*\(2, 3\) and \(2, 3\)"),
        (
            lambda: tg.concat([tg.zeros((2, 3)), tg.zeros((3, 4))]),
            ValueError,
            r"concat: .*\(2, 3\) and",
        ),
        (lambda: tg.stack([tg.zeros(2), tg.zeros(3)]), ValueError, "stack: all input arrays"),
        (lambda: tg.reshape(tg.zeros(4), (3,)), ValueError, r"reshape: .*\(4,\) into shape \(3,\)"),
        (lambda: tg.einsum("ij,jk", tg.zeros((2, 3)), tg.zeros((2, 3))), ValueError, "einsum: "),
        (lambda: tg.squeeze(tg.zeros((2, 1)), axis=0), ValueError, "squeeze: "),
        (lambda: tg.sum(tg.zeros((2, 2)), axis=(0, 0)), ValueError, "sum: duplicate value"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
