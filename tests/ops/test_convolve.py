"""Convolutions: against PyTorch, against the plain loops, batches, orders, errors."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.convolution import CONVOLUTION, CONVOLUTION_INPUT, CONVOLUTION_WEIGHT
from tapegrad.ops.record import record
from tapegrad.testing import check_grads

RNG = np.random.default_rng(0)


def normal(*shape, dtype="float64"):
    return RNG.normal(size=shape).astype(dtype)


# images, groups, channels and outputs per group, size, kernel: more than one block of every kind
SIZES = [
    (2, 1, 3, 5, (7, 6), (3, 2)),
    (1, 2, 2, 3, (9, 8), (2, 3)),
    (2, 1, 1, 1, (5, 5), (1, 1)),
    (1, 1, 33, 70, (6, 5), (3, 3)),  # more than 256 taps, more than 64 rows
    (1, 1, 70, 33, (6, 5), (3, 3)),
    (2, 1, 1, 2, (40, 50), (3, 3)),  # more than 256 places, several panels
    (2, 1, 8, 16, (26, 26), (3, 3)),
    (1, 1, 9, 5, (21, 33), (2, 4)),
    (1, 4, 1, 1, (8, 8), (3, 3)),
]
GEOMETRIES = [
    {},
    {"padding": 1},
    {"stride": 2},
    {"stride": (2, 3), "padding": (1, 2)},
    {"dilation": 2, "padding": 2},
    {"dilation": (1, 2), "stride": (3, 2), "padding": 3},
    {"stride": (4, 2), "dilation": (2, 2), "padding": 2},
    {"stride": 5},
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_conv2d_is_pytorchs(size, geometry, dtype):
    torch = pytest.importorskip("torch")
    images, groups, c, f, image, kernel = size
    x, w = normal(images, groups * c, *image, dtype=dtype), normal(groups * f, c, *kernel, dtype=dtype)
    b = normal(groups * f, dtype=dtype)
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    try:
        expected = torch.nn.functional.conv2d(*theirs, **geometry, groups=groups)
    except RuntimeError:
        with pytest.raises(ValueError, match="conv2d: a kernel"):
            tg.conv2d(x, w, b, **geometry, groups=groups)
        return
    ours = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    got = tg.conv2d(*ours, **geometry, groups=groups)
    assert got.dtype == dtype
    g = normal(*got.shape, dtype=dtype)
    expected.backward(torch.tensor(g))
    got.backward(tg.tensor(g))
    close = {"rtol": 1e-10, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-4, "atol": 2e-4}
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), **close)
    for a, e in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), e.grad.numpy(), **close)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("output_padding", [0, 1])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose2d_is_pytorchs(geometry, output_padding, groups):
    torch = pytest.importorskip("torch")
    x, w, b = normal(2, 4, 5, 4), normal(4, 3, 3, 4), normal(3 * groups)
    more = {**geometry, "output_padding": output_padding, "groups": groups}
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    ours = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    try:
        expected = torch.nn.functional.conv_transpose2d(*theirs, **more)
    except RuntimeError:
        with pytest.raises(ValueError, match="conv_transpose2d"):
            tg.conv_transpose2d(*ours, **more)
        return
    got = tg.conv_transpose2d(*ours, **more)
    (expected * expected.detach()).sum().backward()
    (got * got.detach()).sum().backward()
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-11)
    for a, e in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), e.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_one_axis_and_same_padding_are_pytorchs():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, w = normal(2, 4, 9), normal(6, 2, 4)
    for more in ({"padding": "same"}, {"padding": "valid", "stride": 2}, {"dilation": 2, "padding": 1}):
        got, expected = (
            tg.conv1d(x, w, groups=2, **more),
            f.conv1d(*map(torch.tensor, (x, w)), groups=2, **more),
        )
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)
    w = normal(4, 3, 4)
    for more in ({}, {"stride": 3, "output_padding": 2}, {"dilation": 3, "padding": 1, "output_padding": 2}):
        got = tg.conv_transpose1d(x, w, **more)
        expected = f.conv_transpose1d(torch.tensor(x), torch.tensor(w), **more)
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)
    x, w = normal(4, 6, 5), normal(2, 4, 4, 3)
    for dilation in (1, (2, 1)):
        got = tg.conv2d(x, w, padding="same", dilation=dilation)
        expected = f.conv2d(torch.tensor(x), torch.tensor(w), padding="same", dilation=dilation)
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


def test_the_three_rows_are_adjoint_to_each_other():
    """<g, conv(x, w)> = <input(g, w), x> = <weight(x, g), w>, also of the integers' plain loops."""
    for stride, dilation, groups in itertools.product(((1, 1), (2, 3)), ((1, 1), (2, 1)), (1, 2)):
        static = {"stride": stride, "padding": (1, 0, 2, 1), "dilation": dilation, "groups": groups}
        for dtype in ("float64", "int64"):
            x = tg.tensor(RNG.integers(-5, 5, (2, 2 * groups, 7, 8)).astype(dtype))
            w = tg.tensor(RNG.integers(-5, 5, (3 * groups, 2, 3, 2)).astype(dtype))
            y = record(CONVOLUTION, (x, w), static)
            g = tg.tensor(RNG.integers(-5, 5, y.shape).astype(dtype))
            by_x = record(CONVOLUTION_INPUT, (g, w), {"size": (7, 8), **static})
            by_w = record(CONVOLUTION_WEIGHT, (x, g), {"size": (3, 2), **static})
            total = (g * y).sum().item()
            assert total == (by_x * x).sum().item() == (by_w * w).sum().item()
            assert y.dtype == by_x.dtype == by_w.dtype == dtype


def test_third_order_and_forward_mode():
    x, w = normal(1, 1, 3, 4), normal(1, 1, 2, 2)
    check_grads(
        lambda x, w: tg.conv2d(tg.sin(x), w**2, padding=1, stride=2), [x, w], order=3, modes=("rev", "fwd")
    )


def test_batches_of_images_and_of_weights():
    x, w = normal(3, 2, 2, 5, 6), normal(3, 4, 2, 3, 2)
    for in_axes in ((0, None), (None, 0), (0, 0)):
        given = [a if k == 0 else a[0] for a, k in zip((x, w), in_axes)]
        each = [[a[i] if k == 0 else a[0] for a, k in zip((x, w), in_axes)] for i in range(3)]
        for more in ({}, {"stride": 2, "padding": 1}):
            got = tg.vmap(lambda x, w: tg.conv2d(x, w, **more), in_axes)(*given)  # noqa: B023
            expected = np.stack([tg.conv2d(*e, **more).numpy() for e in each])
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    w = normal(3, 4, 1, 3, 2)
    got = tg.vmap(lambda x, w: tg.conv2d(x, w, groups=2))(x, w)
    np.testing.assert_allclose(
        got, np.stack([tg.conv2d(a, b, groups=2).numpy() for a, b in zip(x, w)]), rtol=1e-12
    )


def test_gradients_of_single_images():
    """`vmap` of a gradient: the adjoint by the weights, in a batch."""
    x, w = normal(5, 1, 6, 6), normal(2, 1, 3, 3)
    each = tg.vmap(tg.grad(lambda w, x: (tg.conv2d(x, w) ** 2).sum()), (None, 0))(w, x)
    total = tg.grad(lambda w: (tg.conv2d(x, w) ** 2).sum())(w)
    assert each.shape == (5, 2, 1, 3, 3)
    np.testing.assert_allclose(each.sum(axis=0), total, rtol=1e-10)


def test_nothing_to_convolve():
    assert tg.conv2d(tg.zeros((0, 2, 4, 4)), tg.zeros((3, 2, 2, 2))).shape == (0, 3, 3, 3)
    assert tg.conv2d(tg.zeros((2, 0, 4, 4)), tg.zeros((3, 0, 2, 2)), tg.ones(3)).sum().item() == 54.0
    assert tg.conv2d(tg.zeros((2, 1, 4, 4)), tg.zeros((0, 1, 2, 2))).shape == (2, 0, 3, 3)
    w = tg.zeros((3, 2, 2, 2), requires_grad=True)
    tg.conv2d(tg.zeros((0, 2, 4, 4)), w).sum().backward()
    assert (w.grad.numpy() == 0).all()
    x = tg.tensor(normal(1, 1, 5, 5), requires_grad=True)
    tg.conv2d(x, tg.ones((1, 1, 1, 1)), stride=3).sum().backward()
    assert x.grad.sum().item() == 4.0  # places that no window meets


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_numpys_functions_in_every_length_and_dtype(name, mode):
    for n, m in itertools.product((1, 2, 3, 4, 7, 40, 700), (1, 2, 3, 4, 5, 300)):
        for dtype in ("float64", "int32", "bool", "float32"):
            a, v = RNG.integers(-9, 9, n).astype(dtype), RNG.integers(-9, 9, m).astype(dtype)
            if dtype == "int32" and n * m > 1000:
                continue
            got, expected = getattr(tg, name)(a, v, mode), getattr(np, name)(a, v, mode)
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(
                got.numpy(), expected, rtol=1e-5, atol=1e-3 if dtype == "float32" else 0
            )


X, W = np.zeros((1, 2, 4, 4)), np.zeros((2, 2, 3, 3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.conv2d(X[0, 0], W), ValueError, r"conv2d: .*\(4, 4\)"),
        (lambda: tg.conv2d(X, W[0]), ValueError, r"conv2d: .*\(2, 3, 3\)"),
        (lambda: tg.conv2d(X, W[:, :1]), ValueError, r"conv2d: .*\(2, 1, 3, 3\) and 1 groups"),
        (lambda: tg.conv2d(X, W, groups=3), ValueError, "conv2d: .*3 groups"),
        (lambda: tg.conv2d(X, W, [1.0]), ValueError, "conv2d: bias"),
        (lambda: tg.conv2d(X, W, stride=0), ValueError, "conv2d: stride"),
        (lambda: tg.conv2d(X, W, stride=1.5), TypeError, "conv2d: stride"),
        (lambda: tg.conv2d(X, W, padding=-1), ValueError, "conv2d: padding"),
        (lambda: tg.conv2d(X, W, padding="full"), ValueError, "conv2d: padding.*'full'"),
        (lambda: tg.conv2d(X, W, padding="same", stride=2), ValueError, "conv2d: padding='same'.*strided"),
        (lambda: tg.conv2d(X, W, dilation=2), ValueError, "conv2d: a kernel of shape"),
        (lambda: tg.conv2d(X > 0, W > 0), TypeError, "conv2d: .*booleans"),
        (lambda: tg.conv1d(X, W), ValueError, "conv1d: "),
        (lambda: tg.conv_transpose2d(X, W, output_padding=1), ValueError, "conv_transpose2d: output_padding"),
        (lambda: tg.conv_transpose2d(X, W, padding="same"), TypeError, "conv_transpose2d: padding"),
        (lambda: tg.conv_transpose2d(X, W, padding=3), ValueError, "conv_transpose2d: .*gives output"),
        (lambda: tg.convolve([], [1.0]), ValueError, "convolve: a cannot be empty"),
        (lambda: tg.correlate([1.0], [[1.0]]), ValueError, "correlate: .*too deep"),
        (lambda: tg.convolve([1.0], [1.0], "wrap"), ValueError, "convolve: mode"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def complex_normal(*shape):
    return normal(*shape) + 1j * normal(*shape)


def test_complex_convolutions_are_pytorchs():
    torch = pytest.importorskip("torch")
    x, w = complex_normal(2, 2, 5, 6), complex_normal(3, 2, 2, 3)
    a, b = (torch.tensor(v, requires_grad=True) for v in (x, w))
    c, d = (tg.tensor(v, requires_grad=True) for v in (x, w))
    torch.nn.functional.conv2d(a, b, stride=2).abs().sum().backward()
    tg.conv2d(c, d, stride=2).abs().sum().backward()
    np.testing.assert_allclose(c.grad.numpy(), a.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(d.grad.numpy(), b.grad.numpy(), rtol=1e-10)


def test_complex_vectors():
    for n, m in ((5, 3), (2, 4), (1, 1)):
        a, v = complex_normal(n), complex_normal(m)
        for mode in ("full", "same", "valid"):
            for f in ("convolve", "correlate"):
                expected = getattr(np, f)(a, v, mode)
                np.testing.assert_allclose(getattr(tg, f)(a, v, mode).numpy(), expected, rtol=1e-13)
                np.testing.assert_allclose(
                    getattr(tg, f)(a, v.real, mode).numpy(), getattr(np, f)(a, v.real, mode)
                )
