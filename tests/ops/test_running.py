"""Running extremes and log-sums: special values, ties, and PyTorch's derivatives."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
INF = np.inf


def gradient(f, x, g):
    t = tg.tensor(x, requires_grad=True)
    f(t).backward(tg.tensor(g))
    return t.grad.tolist()


def test_equal_elements_share_evenly():
    x, g = [1.0, 0.0, 1.0, 2.0, 2.0, 1.0], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    # out = 1 1 1 2 2 2: element 0 alone for two places, with element 2 for one; then 3, then 3 and 4
    assert gradient(tg.cummax, x, g) == [5.0, 0.0, 2.0, 32.0, 24.0, 0.0]
    assert gradient(tg.cummin, [-v for v in x], g) == [5.0, 0.0, 2.0, 32.0, 24.0, 0.0]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_stays():
    x = [1.0, np.nan, 3.0, np.nan]
    for f, ufunc in ((tg.cummax, np.maximum), (tg.cummin, np.minimum), (tg.logcumsumexp, np.logaddexp)):
        np.testing.assert_array_equal(f(x).numpy(), ufunc.accumulate(x))
    assert gradient(tg.cummax, x, [1.0, 1.0, 1.0, 1.0]) == [1.0, 2.5, 0.0, 0.5]


def test_log_sums_of_extremes():
    for x in ([-INF, -INF, 1.0, -INF, 2.0], [1e308, 1e308], [800.0, -800.0, 800.0], [-1.0, INF, 2.0], [-INF]):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(tg.logcumsumexp(x).numpy(), np.logaddexp.accumulate(x), rtol=1e-15)
    assert gradient(tg.logcumsumexp, [-INF, -INF, 0.0], [1.0, 1.0, 1.0]) == [0.0, 0.0, 1.0]
    check_grads(tg.logcumsumexp, [np.array([0.0, 700.0, -700.0, 1.0])], order=1)


def test_other_dtypes_and_shapes():
    for dtype in ("int32", "bool", "uint8"):
        x = RNG.integers(0, 2, (3, 4)).astype(dtype)
        for f, ufunc in ((tg.cummax, np.maximum), (tg.cummin, np.minimum)):
            assert f(x, axis=1).dtype == dtype
            np.testing.assert_array_equal(f(x, axis=1).numpy(), ufunc.accumulate(x, axis=1))
    assert tg.cummax(3.0).tolist() == [3.0] and tg.cummax(tg.zeros((0, 2)), axis=0).shape == (0, 2)
    assert tg.logcumsumexp(tg.zeros((2, 0)), dim=1).shape == (2, 0)
    with pytest.raises(np.exceptions.AxisError, match="cummax"):
        tg.cummax([1.0], axis=1)


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    x, g = RNG.normal(size=(4, 9)) * 20, RNG.normal(size=(4, 9))
    for name in ("cummax", "cummin", "logcumsumexp"):
        a, b = torch.tensor(x, requires_grad=True), tg.tensor(x, requires_grad=True)
        expected = getattr(torch, name)(a, dim=1)
        expected = expected if name == "logcumsumexp" else expected.values
        expected.backward(torch.tensor(g))
        got = getattr(tg, name)(b, dim=1)
        got.backward(tg.tensor(g))
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-10, atol=1e-12)
