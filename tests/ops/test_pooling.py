"""Pooling: against PyTorch, ties, NaN, orders of derivative, errors."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": (2, 3), "stride": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": (1, 3), "padding": (1, 1)},
    {"kernel_size": 2, "stride": 3},
]


def compare(name, x, options, dtype="float64"):
    torch = pytest.importorskip("torch")
    a = torch.tensor(x.astype(dtype), requires_grad=True)
    b = tg.tensor(x.astype(dtype), requires_grad=True)
    try:
        expected = getattr(torch.nn.functional, name)(a, **options)
    except RuntimeError:
        with pytest.raises(ValueError, match=name):
            getattr(tg, name)(b, **options)
        return
    got = getattr(tg, name)(b, **options)
    assert got.shape == tuple(expected.shape) and got.dtype == dtype
    g = RNG.normal(size=got.shape).astype(dtype)
    expected.backward(torch.tensor(g))
    got.backward(tg.tensor(g))
    rtol = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_two_axes_are_pytorchs(options, ceil_mode):
    for size in ((5, 6), (4, 7), (8, 8)):
        x = RNG.normal(size=(2, 3, *size))
        for dilation, dtype in itertools.product((1, 2, (1, 3)), ("float64", "float32")):
            compare("max_pool2d", x, {**options, "dilation": dilation, "ceil_mode": ceil_mode}, dtype)
        for include, divisor in itertools.product((True, False), (None, 3)):
            more = {"ceil_mode": ceil_mode, "count_include_pad": include, "divisor_override": divisor}
            compare("avg_pool2d", x, {**options, **more})
        compare("max_pool2d", x[0], options)


def test_one_axis_is_pytorchs():
    x = RNG.normal(size=(2, 3, 11))
    for options in ({"kernel_size": 3}, {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True}):
        compare("max_pool1d", x, options)
        compare("max_pool1d", x, {**options, "dilation": 2})
        compare("avg_pool1d", x, options)
        compare("avg_pool1d", x[1], {**options, "count_include_pad": False})


def test_equal_elements_share_evenly():
    x = tg.tensor([[[1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 2.0, 2.0]]], requires_grad=True)
    tg.max_pool2d(x, 2).backward(tg.tensor([[[3.0, 6.0]]]))
    assert x.grad.tolist() == [[[1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 2.0, 2.0]]]
    m = tg.tensor([1.0, 1.0, 0.0, 1.0], requires_grad=True)
    tg.max(m).backward(tg.tensor(3.0))
    assert m.grad.tolist() == [1.0, 1.0, 0.0, 1.0]


def test_nan_shows_and_takes_the_cotangent():
    x = np.arange(16.0).reshape(1, 4, 4)
    x[0, 0, 1] = np.nan
    t = tg.tensor(x, requires_grad=True)
    out = tg.max_pool2d(t, 2)
    np.testing.assert_array_equal(out.detach().numpy(), [[[np.nan, 7.0], [13.0, 15.0]]])
    out.backward(tg.ones((1, 2, 2)))
    assert t.grad[0].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]


def test_padding_is_never_the_greatest():
    x = tg.tensor(-np.ones((1, 3, 3)), requires_grad=True)
    out = tg.max_pool2d(x, 3, stride=2, padding=1)
    assert out.tolist() == [[[-1.0, -1.0], [-1.0, -1.0]]]
    assert tg.max_pool2d(tg.full((1, 2, 2), -np.inf), 2).item() == -np.inf
    assert tg.max_pool2d(tg.tensor([[[-5, -7], [-6, -8]]]), 2).item() == -5


@pytest.mark.parametrize("options", WINDOWS[:4], ids=str)
def test_orders_and_modes(options):
    x = RNG.permutation(30).reshape(1, 1, 5, 6) / 7.0
    for name in ("max_pool2d", "avg_pool2d"):
        check_grads(lambda x, n=name: getattr(tg, n)(x**3, **options), [x], order=3, modes=("rev", "fwd"))


def test_batches():
    x = RNG.normal(size=(3, 2, 2, 5, 6))
    for name in ("max_pool2d", "avg_pool2d"):

        def f(x, name=name):
            return getattr(tg, name)(x, 3, stride=2, padding=1)

        np.testing.assert_array_equal(tg.vmap(f)(x), np.stack([f(a).numpy() for a in x]))
        g = tg.grad(lambda x, f=f: (f(x) ** 2).sum())
        np.testing.assert_allclose(tg.vmap(g)(x), np.stack([g(a) for a in x]), rtol=1e-13)


X = np.zeros((1, 1, 4, 4))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.max_pool2d(X, 5), ValueError, "max_pool2d: a kernel of size 5"),
        (lambda: tg.max_pool2d(X, 2, padding=2), ValueError, "max_pool2d: padding 2"),
        (lambda: tg.max_pool2d(X[0, 0], 2), ValueError, r"max_pool2d: .*\(4, 4\)"),
        (lambda: tg.max_pool2d(X, 0), ValueError, "max_pool2d: kernel_size"),
        (lambda: tg.max_pool2d(X, 2, stride=(1, 2, 3)), ValueError, "max_pool2d: stride"),
        (lambda: tg.max_pool2d(X, 2, return_indices=True), ValueError, "max_pool2d: return_indices"),
        (lambda: tg.max_pool2d(X > 0, 2), TypeError, "max_pool2d: .*booleans"),
        (lambda: tg.max_pool1d(X, 2), ValueError, "max_pool1d: a kernel|max_pool1d: takes"),
        (
            lambda: tg.max_pool1d(X[0, :, :1, :1], 2, padding=2, dilation=3),
            ValueError,
            "max_pool1d: the window",
        ),
        (lambda: tg.avg_pool2d(X, 2, divisor_override=0), ValueError, "avg_pool2d: divisor_override"),
        (lambda: tg.avg_pool2d(np.zeros((1, 0, 4)), 1), ValueError, "avg_pool2d: a kernel"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
