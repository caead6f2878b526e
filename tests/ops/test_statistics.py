"""Covariances, bins and segments: NumPy's values in special cases, weights, errors."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3, 7)), RNG.normal(size=(2, 7))
A, F = RNG.uniform(0.5, 2.0, 7), RNG.integers(1, 4, 7)


def same(call, rtol=1e-12):
    """The same call in both libraries."""
    got, expected = call(tg), call(np)
    several = isinstance(expected, tuple)
    for g, e in zip(got if several else [got], expected if several else [expected], strict=True):
        assert g.shape == np.shape(e) and g.dtype == np.asarray(e).dtype
        np.testing.assert_allclose(g.numpy(), e, rtol=rtol, atol=1e-13)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_covariances():
    for more in (
        {},
        {"ddof": 0},
        {"bias": True},
        {"aweights": A},
        {"fweights": F},
        {"aweights": A, "fweights": F},
    ):
        same(lambda xp, more=more: xp.cov(X, **more))
        same(lambda xp, more=more: xp.cov(X[0], Y, **more))
        same(lambda xp, more=more: xp.cov(X.T, rowvar=False, **more))
        same(lambda xp, more=more: xp.cov(X[0], **more))
    same(lambda xp: xp.cov(X[:, :1]))
    same(lambda xp: xp.cov(X[0], X[1], rowvar=False))
    same(lambda xp: xp.cov(np.arange(6).reshape(2, 3)))
    for args in ((X,), (X, Y), (X[0],), (X[0], X[1])):
        same(lambda xp, args=args: xp.corrcoef(*args))
    same(lambda xp: xp.corrcoef(X.T, rowvar=False))


def test_covariances_by_their_weights():
    check_grads(lambda x, a: tg.cov(x, aweights=a), [X[:2, :4], A[:4]])
    check_grads(lambda x, a: tg.cov(x, aweights=a, ddof=0), [X[:2, :4], A[:4]])


def test_correlations_of_pytorch():
    torch = pytest.importorskip("torch")
    for name in ("cov", "corrcoef"):
        a, b = torch.tensor(X, requires_grad=True), tg.tensor(X, requires_grad=True)
        getattr(torch, name)(a).sin().sum().backward()
        getattr(tg, name)(b).sin().sum().backward()
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_histograms():
    x = np.round(RNG.normal(size=200), 1)
    for bins in (1, 7, [-2.0, -0.5, 0.1, 1.0, 1.0, 3.0], "auto", "sturges"):
        for density in (False, True):
            same(lambda xp, b=bins, d=density: xp.histogram(x, bins=b, density=d))
    same(lambda xp: xp.histogram(x, 5, (-1, 1)))
    same(lambda xp: xp.histogram(x, 5, (1, 1)))
    same(lambda xp: xp.histogram(x, 5, weights=x**2))
    same(lambda xp: xp.histogram(x, 5, weights=x**2, density=True))
    same(lambda xp: xp.histogram([3, 3, 3]))
    same(lambda xp: xp.histogram([]))
    same(lambda xp: xp.histogram([1, 2, 7], bins=3))
    same(lambda xp: xp.histogram(np.float32([1, 2, 7]), bins=3))
    y = RNG.uniform(size=200)
    same(lambda xp: xp.histogram2d(x, y))
    same(lambda xp: xp.histogram2d(x, y, [3, [0.0, 0.2, 1.0]], density=True))
    same(lambda xp: xp.histogram2d(x, y, 4, [[-1, 1], [0, 0.5]], weights=y))


def test_histograms_of_more_axes():
    x = RNG.uniform(size=(50, 3))
    for more in ({}, {"density": True}, {"weights": x[:, 0]}, {"range": [(0, 1), None, (0.2, 0.5)]}):
        for bins in (3, (2, 3, [0.0, 0.3, 1.0])):
            got, expected = (xp.histogramdd(x, bins, **more) for xp in (tg, np))
            np.testing.assert_allclose(got[0].numpy(), expected[0], rtol=1e-12)
            for g, e in zip(got[1], expected[1], strict=True):
                np.testing.assert_allclose(g.numpy(), e, rtol=1e-13)
    got, expected = (xp.histogramdd([x[:, 0], x[:, 1]], 2) for xp in (tg, np))
    np.testing.assert_array_equal(got[0].numpy(), expected[0])
    for bins in (4, "fd", [0.0, 1.0]):
        same(lambda xp, b=bins: xp.histogram_bin_edges(x, b))


def test_histograms_by_their_weights():
    x = np.array([0.0, 1.0, 1.5, 3.0, 9.0])
    w = tg.tensor(RNG.uniform(1, 2, 5), requires_grad=True)
    total, _ = tg.histogram(x, [0.0, 1.0, 2.0, 3.0], weights=w)
    (total * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert w.grad.tolist() == [1.0, 2.0, 2.0, 3.0, 0.0]
    check_grads(lambda w: tg.histogram2d(x[:4], x[:4], 2, density=True, weights=w)[0], [RNG.uniform(1, 2, 4)])


def test_digitize():
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf])
    for edges in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0], [0, 0, 1]):
        for right in (False, True):
            same(lambda xp, e=edges, r=right: xp.digitize(x, e, r))


def test_bincount():
    x = np.array([3, 1, 1, 0])
    same(lambda xp: xp.bincount(x))
    same(lambda xp: xp.bincount(x, minlength=9))
    same(lambda xp: xp.bincount(x, [0.5, 1.0, 2.0, 4.0]))
    same(lambda xp: xp.bincount(x, [1, 2, 3, 4]))
    same(lambda xp: xp.bincount(np.array([], np.int64)))
    same(lambda xp: xp.bincount(np.array([], np.int64), minlength=2))


def test_segments_without_rows():
    x, ids = tg.tensor([[1.0, -2.0], [3.0, 4.0]]), [2, 2]
    assert tg.segment_sum(x, ids, 4).tolist() == [[0, 0], [0, 0], [4, 2], [0, 0]]
    assert tg.segment_prod(x, ids).tolist() == [[1, 1], [1, 1], [3, -8]]
    assert tg.segment_max(x, ids).tolist() == [[-np.inf, -np.inf]] * 2 + [[3, 4]]
    assert tg.segment_min(x, ids).tolist() == [[np.inf, np.inf]] * 2 + [[1, -2]]
    assert tg.segment_mean(x, ids).tolist() == [[0, 0], [0, 0], [2, 1]]
    whole = tg.tensor(np.int8([5, -3]))
    assert tg.segment_max(whole, [1, 1]).tolist() == [-128, 5] and tg.segment_min(whole, [1, 1])[0] == 127
    assert tg.segment_max(tg.tensor([True, False]), [1, 1]).tolist() == [False, True]
    assert tg.segment_sum(tg.zeros((0, 3)), np.array([], int), 2).shape == (2, 3)
    assert tg.segment_prod(tg.zeros((0,)), np.array([], int), 2).tolist() == [1.0, 1.0]


def test_products_of_segments_with_zeros():
    ids = np.array([1, 0, 1, 1, 0])
    check_grads(lambda x: tg.segment_prod(x, ids), [np.array([2.0, 0.0, 0.0, 3.0, 0.0])])
    check_grads(lambda x: tg.segment_prod(x, ids), [np.array([[2.0], [0.0], [0.5], [3.0], [1.0]])])


def test_ties_and_nan_in_segments():
    x = tg.tensor([1.0, 1.0, 0.0, np.nan, 2.0], requires_grad=True)
    out = tg.segment_max(x, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(out.detach().numpy(), [1.0, np.nan])
    out.backward(tg.tensor([4.0, 3.0]))
    assert x.grad.tolist() == [2.0, 2.0, 0.0, 3.0, 0.0]


def test_against_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    x, ids = RNG.normal(size=(9, 2)), RNG.integers(0, 4, 9)
    for name in ("segment_sum", "segment_max", "segment_min"):  # of products JAX has no derivative
        theirs = jax.grad(lambda x: (getattr(jax.ops, name)(x, ids, 4) ** 2).sum())(x)  # noqa: B023
        ours = tg.grad(lambda x: (getattr(tg, name)(x, ids, 4) ** 2).sum())(x)  # noqa: B023
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.cov(np.zeros((2, 2, 2))), ValueError, r"cov: .*\(2, 2, 2\)"),
        (lambda: tg.cov(X, ddof=0.5), ValueError, "cov: ddof"),
        (lambda: tg.cov(X, fweights=A), TypeError, "cov: fweights"),
        (lambda: tg.cov(X, aweights=A[:3]), RuntimeError, "cov: .*7 and 3"),
        (lambda: tg.cov(X, aweights=-A), ValueError, "cov: aweights cannot be negative"),
        (lambda: tg.histogram(X, 0), ValueError, "histogram: bins must be positive"),
        (lambda: tg.histogram(X, 2.5), TypeError, "histogram: bins"),
        (lambda: tg.histogram(X, [2.0, 1.0]), ValueError, "histogram: bins must increase"),
        (lambda: tg.histogram(X, 3, (1, 0)), ValueError, "histogram: max must be larger"),
        (lambda: tg.histogram(X, 3, (0, np.inf)), ValueError, "histogram: .*not finite"),
        (lambda: tg.histogram(X, 3, weights=A), ValueError, r"histogram: weights of shape \(7,\)"),
        (lambda: tg.histogram(X, "auto", weights=X), TypeError, "histogram: bins='auto'"),
        (lambda: tg.histogram2d(A, A[:3]), ValueError, "histogram2d: x and y"),
        (lambda: tg.digitize(X, [0.0, 2.0, 1.0]), ValueError, "digitize: .*monotonically"),
        (lambda: tg.histogramdd(X.T, (2, 2)), ValueError, "histogramdd: the dimension of bins"),
        (lambda: tg.histogramdd([A, A[:2]]), ValueError, "histogramdd: coordinates"),
        (lambda: tg.bincount([[1]]), ValueError, "bincount: "),
        (lambda: tg.bincount([0.5]), TypeError, "bincount: .*float64"),
        (lambda: tg.bincount([-1]), ValueError, "bincount: .*negative"),
        (lambda: tg.bincount([1], [1.0, 2.0]), ValueError, "bincount: weights"),
        (lambda: tg.bincount([1], minlength=-1), ValueError, "bincount: minlength"),
        (lambda: tg.segment_sum(X, [0, 1]), ValueError, "segment_sum: "),
        (lambda: tg.segment_sum(X, [0, 1, 2], 2), IndexError, "segment_sum: segment 2"),
        (lambda: tg.segment_max(X, [0, -1, 2]), IndexError, "segment_max: segment -1"),
        (lambda: tg.segment_sum(X, [0.0, 1.0, 2.0]), TypeError, "segment_sum: .*float64"),
        (lambda: tg.index_add(X, 0, [5], Y[:1]), IndexError, "index_add: "),
        (lambda: tg.index_add(X, 1, [0], Y[:1]), ValueError, "index_add: "),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_segment_out_of_bounds_that_is_computed():
    ids = tg.tensor([0, 1]) * 5
    with pytest.raises(IndexError, match="scatter_max: index out of bounds"):
        tg.segment_max(tg.ones(2), ids, 2).numpy()


def test_complex_observations():
    z = X + 1j * RNG.normal(size=X.shape)
    for more in ({}, {"aweights": A}):
        same(lambda xp, more=more: xp.cov(z, **more))
    same(lambda xp: xp.corrcoef(z))
    same(lambda xp: xp.nanvar(np.where(X > 1, np.nan, z), axis=1, ddof=1))
    same(lambda xp: xp.nanstd(np.where(X > 1, np.nan, z)))
    same(lambda xp: xp.interp(X[0], [0.0, 1.0, 2.0], [1.0, 1j, 2 - 1j]))
