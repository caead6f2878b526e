"""Quantiles and medians: NumPy's values in special cases, errors, derivatives where elements meet."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.quantiles import CONTINUOUS, MEANS, WHOLE
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
METHODS = [*CONTINUOUS, *WHOLE, *MEANS]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_every_method_is_numpys(method, n):
    q = np.linspace(0, 1, 41)
    for x in (RNG.normal(size=n), np.arange(n)[::-1], RNG.integers(0, 3, n).astype(float)):
        got, expected = tg.quantile(x, q, method=method), np.quantile(x, q, method=method)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14, atol=1e-14)
        got, expected = (g.percentile(x, np.arange(0, 101, 2.5), method=method) for g in (tg, np))
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14, atol=1e-14)
        if method != "midpoint" or n % 2:  # NumPy mixes infinities with its midpoints
            np.testing.assert_allclose(
                tg.nanquantile([*x, np.nan], q, method=method).numpy(),
                np.nanquantile([*x, np.nan], q, method=method),
                rtol=1e-14,
                atol=1e-14,
            )


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty", "ignore:invalid value")
def test_nan_and_infinity():
    x = RNG.normal(size=(4, 5))
    x[0, 1] = x[2, 3] = np.nan
    x[3] = np.nan
    for axis in (None, 0, 1, (0, 1)):
        for keepdims in (False, True):
            for name, q in (("quantile", (0.3,)), ("median", ()), ("percentile", ([20.0, 60.0],))):
                for prefix in ("", "nan"):
                    ours, theirs = getattr(tg, prefix + name), getattr(np, prefix + name)
                    np.testing.assert_allclose(
                        ours(x, *q, axis=axis, keepdims=keepdims).numpy(),
                        theirs(x, *q, axis=axis, keepdims=keepdims),
                        rtol=1e-14,
                    )
    inf = np.inf
    assert tg.quantile([1.0, inf, inf], [0.0, 0.5, 0.75, 1.0]).tolist() == [1.0, inf, inf, inf]
    assert tg.quantile([-inf, 1.0], 1.0).item() == 1.0
    assert tg.median([inf, inf]).item() == inf
    assert tg.quantile(tg.zeros((0, 3)), 0.5, axis=1).shape == (0,)
    assert np.isnan(tg.median([]).item()) and np.isnan(tg.nanmedian([]).item())
    assert tg.nanquantile(tg.zeros((3, 0)), [0.5, 0.6], axis=1).shape == (2, 3)


def weighted(x, weights, axis=0):
    return tg.quantile(x, 0.5, axis=axis, method="inverted_cdf", weights=weights)


def test_weights_are_numpys():
    q = np.linspace(0, 1, 21)
    x, w = RNG.normal(size=(4, 9)), RNG.integers(0, 4, (4, 9)).astype(float)
    x[2, 3] = np.nan
    w[:, 0] += 1
    for name in ("quantile", "nanquantile"):
        few = ((1, w[0]), (0, w[:, 0])) if name == "quantile" else ()  # NumPy's nanquantile fails there
        for axis, weights in ((None, w), (1, w), ((1, 0), w.T), *few):
            got, expected = (
                getattr(xp, name)(x, q, axis=axis, method="inverted_cdf", weights=weights) for xp in (tg, np)
            )
            np.testing.assert_array_equal(got.numpy(), expected)
    x = np.array([5, 1, 3])
    got, expected = (xp.percentile(x, [0, 40], method="inverted_cdf", weights=[2, 0, 1]) for xp in (tg, np))
    assert got.dtype == expected.dtype and got.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.quantile([1.0], 1.5), ValueError, r"quantile: .*\[0, 1\]"),
        (lambda: tg.quantile([1.0], [0.5, np.nan]), ValueError, "quantile: "),
        (lambda: tg.percentile([1.0], 101), ValueError, r"percentile: .*\[0, 100\]"),
        (lambda: tg.quantile([1.0], 0.5, method="cubic"), ValueError, "quantile: 'cubic'"),
        (lambda: tg.quantile([], 0.5), IndexError, "quantile: no elements"),
        (lambda: tg.quantile([1.0], 0.5, axis=1), np.exceptions.AxisError, "quantile"),
        (lambda: tg.median([1.0], overwrite_input=True), TypeError, "median.*overwrite_input"),
        (lambda: tg.quantile([1.0, 2.0], 0.5, weights=[1.0, 1.0]), ValueError, "quantile: only method"),
        (lambda: weighted([1.0], [1.0, 2.0]), ValueError, r"quantile: weights of shape \(2,\)"),
        (lambda: weighted([1.0], [-1.0]), ValueError, "quantile: .*non-negative"),
        (lambda: weighted([[1.0]], [1.0], axis=None), TypeError, "quantile: axis must be given"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_derivatives_at_order_statistics_and_ties():
    def gradient(f, x):
        t = tg.tensor(x, requires_grad=True)
        f(t).backward()
        return t.grad.tolist()

    assert gradient(tg.median, [3.0, 1.0, 2.0]) == [0.0, 0.0, 1.0]
    assert gradient(tg.median, [3.0, 1.0, 2.0, 5.0]) == [0.5, 0.0, 0.5, 0.0]
    assert gradient(tg.median, [2.0, 2.0, 2.0]) == [0.0, 1.0, 0.0]  # the one that a stable sort puts there
    assert gradient(lambda x: tg.quantile(x, 0.5), [3.0, 1.0, 2.0]) == [0.0, 0.0, 1.0]
    assert gradient(tg.nanmedian, [np.nan, 1.0, 2.0]) == [0.0, 0.5, 0.5]


def test_gradient_by_the_quantile():
    x = RNG.normal(size=7)
    for method in CONTINUOUS:
        check_grads(lambda x, q, m=method: tg.quantile(x, q, method=m), [x, np.array([0.22, 0.71])])
    assert tg.quantile(tg.tensor(x, dtype="float32"), tg.tensor(0.3, dtype="float32")).dtype == np.float32


def test_against_torch():
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(5, 8))
    q = np.array([0.1, 0.5, 0.9])
    for method in ("linear", "lower", "higher", "midpoint", "nearest"):
        for name in ("quantile", "nanquantile"):
            a = torch.tensor(x, requires_grad=True)
            getattr(torch, name)(a, torch.tensor(q), dim=1, interpolation=method).sin().sum().backward()
            b = tg.tensor(x, requires_grad=True)
            getattr(tg, name)(b, q, dim=1, method=method).sin().sum().backward()
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-10, atol=1e-13)
